"""The coherence gate: do instruction, input and output belong together, and are they English?

Each rule looks at what can be seen without a model, and none is a proof, so most lower the score and do not reject the
row. A model's opinion can be a factor of the score; the caller asks the model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator
from typing import assert_never

from state.records import Sample
from tools.gates.categories import categorise
from tools.gates.gate import Gate
from tools.gates.language import ANOTHER_SCRIPT, other_language
from tools.gates.modern import coherence_issues as modern_coherence_issues
from tools.gates.results import GateResult, Issue, Severity, result_of
from tools.gates.texts import (
    ASKS_FOR_INPUT,
    NEXT_TASK,
    PLACEHOLDER,
    broken_letters,
    refusal_in,
    repeated_share,
    words_of,
)

_GIVEN_TEXT = re.compile(
    r"\b(?:the|this|these|that)\s+(?:following|given|provided|attached|(?:\w+\s+)?below)\b"
    r"|\b(?:following|given|provided)\s+(?:text|sentence|paragraph|passage|article|input|list|code|data|phrase|poem|table)s?\b"
    r"|\bthis\s+(?:text|sentence|paragraph|passage|article|e-?mail|review|poem|tweet|document|excerpt)\b",
    re.IGNORECASE,
)
_HELD_INSIDE = re.compile(r":\s*\S|[\"\u201c\u201d'\u2018«`]\S.{2,}|\n\s*\S|\d+\s*[,;]\s*\d+|\(.{8,}\)", re.DOTALL)
_BLANK_TO_FILL = re.compile(
    r"\[(?:insert|your|enter)\b[^\]]{0,60}\]|<(?:insert|your|enter)\b[^>]{0,60}>", re.IGNORECASE
)
_ANCHORED = frozenset({"summarising", "extraction"})
_COPY_WORDS = 6
_LANGUAGE_WORDS = 8
REPEAT_SHARE, REPEAT_WORDS = 0.5, 24


def coherence_issues(sample: Sample, language: str = "en") -> list[Issue]:
    """Return what does not fit together in a sample, in the rules' fixed order."""
    issues = [*_input_issues(sample), *language_issues(sample, language)]
    return issues + list(_output_issues(sample)) if sample.output.strip() else issues


def _input_issues(sample: Sample) -> Iterator[Issue]:
    given = sample.input.strip()
    if (
        not given
        and (mention := _GIVEN_TEXT.search(sample.instruction))
        and not _HELD_INSIDE.search(sample.instruction)
    ):
        yield _issue("missing_input", f"mentions {mention.group()!r}, but there is no input", Severity.MEDIUM)
    if not given:
        return
    if PLACEHOLDER.fullmatch(given[:300]):
        yield _issue("placeholder_input", f"the input is a placeholder: {_short(given)!r}", Severity.HIGH)
    elif blank := _BLANK_TO_FILL.search(given):
        yield _issue("placeholder_input", f"the input has a blank left to fill: {blank.group()!r}", Severity.MEDIUM)
    if words_of(given) == words_of(sample.instruction):
        yield _issue("input_is_instruction", "the input repeats the instruction", Severity.MEDIUM)
    if given == sample.output.strip() and len(words_of(given)) >= _COPY_WORDS:
        yield _issue("output_is_input", "the output repeats the input word for word", Severity.HIGH)


def _output_issues(sample: Sample) -> Iterator[Issue]:
    output = sample.output.strip()
    if words_of(output) == words_of(sample.instruction):
        yield _issue("output_is_instruction", "the output repeats the instruction", Severity.HIGH)
    if PLACEHOLDER.fullmatch(output[:300]):
        yield _issue("placeholder_output", f"the output is a placeholder: {_short(output)!r}", Severity.HIGH)
    if refusal := refusal_in(output):
        yield _issue("refusal", f"the output declines: {refusal!r}", Severity.MEDIUM)
    if ASKS_FOR_INPUT.match(output):
        yield _issue("asks_for_input", f"the output asks for input: {_short(output)!r}", Severity.MEDIUM)
    if bled := NEXT_TASK.search(output):
        yield _issue(
            "next_task_left", f"the output runs on into the next task: {bled.group().strip()!r}", Severity.HIGH
        )
    if len(words_of(output)) >= REPEAT_WORDS and (share := repeated_share(output)) > REPEAT_SHARE:
        yield _issue("repetition", f"{share:.0%} of the output's four-word runs are repeats", Severity.HIGH)
    if sample.input and categorise(sample.instruction) in _ANCHORED and not _shares_content(sample.input, output):
        yield _issue("unrelated_output", "the output shares no content word with the input it works on", Severity.LOW)


def language_issues(sample: Sample, wanted: str = "en") -> Iterator[Issue]:
    """Yield a foreign language of the instruction, and letters lost to a wrong encoding.

    Args:
        sample: the row.
        wanted: the language that it should be in; ``any`` for all.
    """
    if found := None if wanted == "any" else other_language(sample.instruction, wanted):
        sure = len(words_of(sample.instruction)) >= _LANGUAGE_WORDS or found == ANOTHER_SCRIPT
        severity = Severity.HIGH if sure else Severity.MEDIUM
        code = "not_english" if wanted == "en" else "other_language"
        yield _issue(code, f"the instruction reads as {found}", severity)
    for name, text in (("instruction", sample.instruction), ("input", sample.input), ("output", sample.output)):
        if broken := broken_letters(text):
            detail = f"letters lost to a wrong encoding in the {name}: {broken!r}"
            yield _issue("broken_letters", detail, Severity.MEDIUM)
            return


def _shares_content(given: str, output: str) -> bool:
    theirs = Counter(word[:5] for word in words_of(given) if len(word) > 3 or word.isdigit())
    ours = [word[:5] for word in words_of(output) if len(word) > 3 or word.isdigit()]
    return len(theirs) < 5 or len(ours) < 5 or any(word in theirs for word in ours)


def _short(text: str) -> str:
    return text if len(text) <= 50 else text[:50] + "..."


def _issue(code: str, detail: str, severity: Severity) -> Issue:
    return Issue(code=code, detail=detail, severity=severity)


class CoherenceGate(Gate):
    """Refuses rows whose parts do not belong together. A model's opinion, if there is one, is a factor of the score."""

    name = "coherence"
    codes = (
        *("missing_input", "placeholder_input", "input_is_instruction", "output_is_input", "output_is_instruction"),
        *("placeholder_output", "refusal", "asks_for_input", "next_task_left", "repetition", "unrelated_output"),
        *("not_english", "broken_letters", "other_language", "model_opinion", "link_alone", "escaped_breaks"),
    )

    def issues(self, sample: Sample) -> list[Issue]:
        """Return what does not fit together in the row, by the rules of the preset."""
        match self.inputs.settings.preset:
            case "alpaca" | "guide":
                return coherence_issues(sample, self.inputs.settings.language)
            case "modern":
                return [*modern_coherence_issues(sample), *language_issues(sample, self.inputs.settings.language)]
            case _:
                assert_never(self.inputs.settings.preset)

    def judge(self, sample: Sample) -> GateResult:
        """Return what the gate found in a row, with the model's opinion as a factor of the score."""
        view = self.inputs.opinion(sample) if self.inputs.opinion is not None else None
        if view is None:
            return super().judge(sample)
        score = min(1.0, max(0.0, view[0]))
        result = result_of(self.name, self.counted(sample), self.inputs.settings, opinion=score)
        return result.model_copy(update={"reasons": (*result.reasons, f"model_opinion: {score:.2f}, {view[1]}")})
