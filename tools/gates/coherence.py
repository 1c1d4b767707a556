"""The coherence gate: do instruction, input and output belong together, and are they English?

Each rule looks at what can be seen without a model, and none is a proof, so most lower the score and do not reject the
row. A model's opinion can be a factor of the score; the caller asks the model.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator

from state.records import Sample
from tools.gates.categories import categorise
from tools.gates.gate import Gate
from tools.gates.language import ANOTHER_SCRIPT, other_language
from tools.gates.results import GateResult, Issue, Severity, result_of

_GIVEN_TEXT = re.compile(
    r"\b(?:the|this|these|that)\s+(?:following|given|provided|attached|(?:\w+\s+)?below)\b"
    r"|\b(?:following|given|provided)\s+(?:text|sentence|paragraph|passage|article|input|list|code|data|phrase|poem|table)s?\b"
    r"|\bthis\s+(?:text|sentence|paragraph|passage|article|e-?mail|review|poem|tweet|document|excerpt)\b",
    re.IGNORECASE,
)
_HELD_INSIDE = re.compile(r":\s*\S|[\"\u201c\u201d'\u2018«`]\S.{2,}|\n\s*\S|\d+\s*[,;]\s*\d+|\(.{8,}\)", re.DOTALL)
_PLACEHOLDER = re.compile(
    r"\s*(?:<[\w\s/-]{1,60}>"
    r"|[\[({<]\s*(?:(?:insert|your|any|some|add|paste|enter|provide)\b[^\])}>]*"
    r"|[^\])}>,;]*\b(?:image|picture|photo|figure|table|link|file|attached|attachment|provided|omitted|here)\b[^\])}>,;]*)[\])}>]"
    r"|(?:\.\s*){3,}|…|_{2,}|x{3,}|lorem ipsum\b.*|(?:insert|paste|enter)\s+\w+(?:\s+\w+){0,4}\s+here\.?|tbd|todo)\s*",
    re.IGNORECASE | re.DOTALL,
)
_BLANK_TO_FILL = re.compile(
    r"\[(?:insert|your|enter)\b[^\]]{0,60}\]|<(?:insert|your|enter)\b[^>]{0,60}>", re.IGNORECASE
)
_CANNOT = r"(?:can(?:no|')t|can\s+not|unable|not\s+able|won't\s+be\s+able)"
_REFUSAL = re.compile(
    rf"\s*(?:(?:i'?m\s+|i\s+am\s+)?(?:\w+\s+)?(?:sorry|afraid|unfortunately|i\s+apologi[sz]e)\b[^.!?]{{0,60}}\b{_CANNOT}\b"
    r"|(?:i'm\s+)?sorry,\s+(?:but\s+)?(?:the|this)\s+(?:task|request|question)\b"
    rf"|as\s+an?\s+(?:ai|artificial|large\s+language|language)\b[^.!?]{{0,60}}\b(?:{_CANNOT}|do\s+not|don't|am\s+not)\b"
    rf"|(?:i|we)\s+(?:am\s+|are\s+)?{_CANNOT}\s+(?:to\s+)?(?:help|assist|answer|provide|fulfil|complete|access|comply)\b)",
    re.IGNORECASE,
)
_ASKS_FOR_INPUT = re.compile(
    r"\s*(?:please|could\s+you|can\s+you|kindly)\s+(?:please\s+)?(?:provide|share|give|supply|enter|specify)\b[^.?!]{0,80}"
    r"\b(?:text|sentence|input|passage|information|details|list|article|data|context|code|paragraph)\b",
    re.IGNORECASE,
)
_NEXT_TASK = re.compile(r"(?:^|\n)[# \t]*(?:\d+\s*[.)]\s*instruction|#+\s*(?:instruction|response))\s*:", re.IGNORECASE)
_BROKEN_LETTERS = re.compile(
    "\ufffd|Ã[\u0080-\u00bf©¨¤¶¼]|â€[\u2122\u0153\u009d\u201c\u201d\u02dc¦\u0080-\u00bf]|Â[\u0080-\u00bf]"
)
_WORD = re.compile(r"[^\W_]+(?:'[^\W_]+)?")
_ANCHORED = frozenset({"summarising", "extraction"})
_COPY_WORDS = 6
_LANGUAGE_WORDS = 8
_REPEAT_SHARE, _REPEAT_WORDS = 0.5, 24


def coherence_issues(sample: Sample) -> list[Issue]:
    """Return what does not fit together in a sample, in the rules' fixed order."""
    issues = [*_input_issues(sample), *_language_issues(sample)]
    return issues + list(_output_issues(sample)) if sample.output.strip() else issues


def repeated_share(text: str, n: int = 4) -> float:
    """Return the share in [0, 1) of a text's word ``n``-grams that stood in it before; 0 for fewer than two of them."""
    words = _words(text)
    total = len(words) - n + 1
    if total < 2:
        return 0.0
    return 1 - len({tuple(words[start : start + n]) for start in range(total)}) / total


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
    if _PLACEHOLDER.fullmatch(given[:300]):
        yield _issue("placeholder_input", f"the input is a placeholder: {_short(given)!r}", Severity.HIGH)
    elif blank := _BLANK_TO_FILL.search(given):
        yield _issue("placeholder_input", f"the input has a blank left to fill: {blank.group()!r}", Severity.MEDIUM)
    if _words(given) == _words(sample.instruction):
        yield _issue("input_is_instruction", "the input repeats the instruction", Severity.MEDIUM)
    if given == sample.output.strip() and len(_words(given)) >= _COPY_WORDS:
        yield _issue("output_is_input", "the output repeats the input word for word", Severity.HIGH)


def _output_issues(sample: Sample) -> Iterator[Issue]:
    output = sample.output.strip()
    if _words(output) == _words(sample.instruction):
        yield _issue("output_is_instruction", "the output repeats the instruction", Severity.HIGH)
    if _PLACEHOLDER.fullmatch(output[:300]):
        yield _issue("placeholder_output", f"the output is a placeholder: {_short(output)!r}", Severity.HIGH)
    if refusal := _REFUSAL.match(output):
        yield _issue("refusal", f"the output declines: {refusal.group().strip()!r}", Severity.MEDIUM)
    if _ASKS_FOR_INPUT.match(output):
        yield _issue("asks_for_input", f"the output asks for input: {_short(output)!r}", Severity.MEDIUM)
    if bled := _NEXT_TASK.search(output):
        yield _issue(
            "next_task_left", f"the output runs on into the next task: {bled.group().strip()!r}", Severity.HIGH
        )
    if len(_words(output)) >= _REPEAT_WORDS and (share := repeated_share(output)) > _REPEAT_SHARE:
        yield _issue("repetition", f"{share:.0%} of the output's four-word runs are repeats", Severity.HIGH)
    if sample.input and categorise(sample.instruction) in _ANCHORED and not _shares_content(sample.input, output):
        yield _issue("unrelated_output", "the output shares no content word with the input it works on", Severity.LOW)


def _language_issues(sample: Sample) -> Iterator[Issue]:
    if language := other_language(sample.instruction):
        sure = len(_words(sample.instruction)) >= _LANGUAGE_WORDS or language == ANOTHER_SCRIPT
        severity = Severity.HIGH if sure else Severity.MEDIUM
        yield _issue("not_english", f"the instruction reads as {language}", severity)
    for name, text in (("instruction", sample.instruction), ("input", sample.input), ("output", sample.output)):
        if broken := _BROKEN_LETTERS.search(text):
            yield _issue(
                "broken_letters", f"letters lost to a wrong encoding in the {name}: {broken.group()!r}", Severity.MEDIUM
            )
            return


def _shares_content(given: str, output: str) -> bool:
    theirs = Counter(word[:5] for word in _words(given) if len(word) > 3 or word.isdigit())
    ours = [word[:5] for word in _words(output) if len(word) > 3 or word.isdigit()]
    return len(theirs) < 5 or len(ours) < 5 or any(word in theirs for word in ours)


def _words(text: str) -> list[str]:
    return _WORD.findall(text.lower())


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
        *("not_english", "broken_letters", "model_opinion"),
    )

    def issues(self, sample: Sample) -> list[Issue]:
        """Return what does not fit together in the row."""
        return coherence_issues(sample)

    def judge(self, sample: Sample) -> GateResult:
        """Return what the gate found in a row, with the model's opinion as a factor of the score."""
        view = self.inputs.opinion(sample) if self.inputs.opinion is not None else None
        if view is None:
            return super().judge(sample)
        score = min(1.0, max(0.0, view[0]))
        result = result_of(self.name, self.issues(sample), self.inputs.settings, opinion=score)
        return result.model_copy(update={"reasons": (*result.reasons, f"model_opinion: {score:.2f}, {view[1]}")})
