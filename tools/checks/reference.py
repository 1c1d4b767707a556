"""Whether a text gives the reference answer, where that is short enough to be looked for."""

from __future__ import annotations

from state.records import CheckResult, Sample
from tools.checks.text import bare_words

KIND = "reference"
SHORT = 5
"""Words of a reference at most that a text must contain. A longer one can be said in other words, so that a text
without it is not wrong."""


def reference_check(sample: Sample, text: str) -> CheckResult:
    """Look for the reference answer of a prompt in a text, by words, whatever their case and punctuation.

    Args:
        sample: the prompt with its reference. One that a model wrote is none: it may be wrong itself.
        text: the completion.

    Returns:
        Pass where the reference stands in the text; fail where a short one does not; not applicable where there is no
        reference, a longer one may be said in other words, or it is a figure and the text may spell it out.
    """
    if sample.origin not in ("prompt", "seed") or not (wanted := bare_words(sample.output)):
        return _result(None, "there is no reference")
    told = bare_words(text)
    if any(told[start : start + len(wanted)] == wanted for start in range(len(told) - len(wanted) + 1)):
        return _result(True, f"it gives the reference answer '{_short(sample.output)}'")
    figures_alone = all(word.isdigit() for word in wanted) and not any(any(map(str.isdigit, word)) for word in told)
    if len(wanted) > SHORT or figures_alone:
        return _result(None, "the reference may be said in other words")
    return _result(False, f"it does not give the reference answer '{_short(sample.output)}'")


def _result(passed: bool | None, evidence: str) -> CheckResult:
    return CheckResult(kind=KIND, passed=passed, evidence=evidence, dimension="accuracy")


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= 60 else line[:57] + "..."
