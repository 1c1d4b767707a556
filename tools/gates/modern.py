r"""The preset ``modern``: rules on form for models of today, each with a precision measured on real rows.

They replace those of the preset ``alpaca`` that stop good rows: words such as "music" or "plot" anywhere in an
instruction, lengths in characters, a first character that is no ASCII letter, "the following" where what follows is
there. They add what that preset misses: an input that is only a link, an output that only says "N/A" or ``null``, line
breaks written as ``\n``. ``benchmarks/gates.py`` measures both.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from state.records import Sample
from tools.gates.results import Issue, Severity
from tools.gates.texts import (
    ASKS_FOR_INPUT,
    NEXT_TASK,
    PLACEHOLDER,
    input_fault,
    is_missing_input,
    refusal_in,
    repeated_share,
    words_of,
)

WORDS = (2, 1500)
"""Fewest and most words of an instruction; one word is enough where there is an input."""
OUTPUT_CHARACTERS = 32_000
"""Most characters of an output: some 8,000 tokens, what a training row holds at most."""

_MATERIAL = (
    r"text|sentence|paragraph|passage|article|story|poem|song|lyrics|speech|letter|e-?mail|message|conversation|"
    r"dialogue|review|tweet|post|document|report|excerpt|quote|statement|question|code|snippet|query|equation|"
    r"expression|problem|data|dataset|table|chart|graph|diagram|list|item|word|number|image|picture|photo|photograph|"
    r"painting|logo|gif|video|audio|website|webpage|recipe|menu|prompt|option|pattern|amount|input|phrase|design"
)
_MENTION = re.compile(
    rf"\b(?:the\s+following|(?:the|this)\s+(?:given|provided|attached)\s+(?:\w+\s+){{0,2}}?(?:{_MATERIAL})s?"
    rf"|(?:the|this|these)\s+(?:{_MATERIAL})s?\s+(?:given\s+)?below"
    r"|this\s+(?:text|sentence|paragraph|passage|article|e-?mail|review|poem|tweet|document|excerpt|photo|picture))\b",
    re.IGNORECASE,
)
_GENERIC = re.compile(
    r"\b(?:algorithm|function|program|script|method|class|regex|regular\s+expression|procedure|app|application|model"
    r"|formula|pseudocode)\b",
    re.IGNORECASE,
)
_CONTENT_BEHIND = re.compile(r"[:\-\u2013\u2014\n]\s*\S|[\"\u201c\u201d«`]\S.{2,}|\d|\(\S.{7,}\)", re.DOTALL)
_QUOTED = re.compile(r"[:\"\u201c\u201d]\s*[\"\u201c]?\Z")
_NEXT_SENTENCE = re.compile(r"[.?!]\s+(\w+)")
_ORDERS = frozenset(
    "output write use explain give provide list answer return make include describe then do your you identify create "
    "also add choose select respond classify format keep limit be please try consider suggest rewrite summarize "
    "summarise state justify discuss name show find mention".split()
)
_LINK = re.compile(r"\s*(?:[\w ]{0,40}[:\-]\s*)?[<(\[]*(?:https?://|www\.)[^\s<>\[\]]+[>)\]]*\s*", re.IGNORECASE)
_ABOUT_THE_ADDRESS = re.compile(r"\b(?:url|domain|http|api|link\s+type|protocol|classify|categor)", re.IGNORECASE)
_NOTHING = re.compile(
    r"[\"'`]*(?:n\s*/\s*a|nan|null|nil|undefined|not\s+applicable|\{\s*\}|\[\s*\]|-+|\.+|\?+|no\s*output\b.*|tbd|todo)"
    r"[\"'`.]*",
    re.IGNORECASE | re.DOTALL,
)
_YOUR_NAME = re.compile(r"\[your\s[^\]]{0,60}\]", re.IGNORECASE)
_BLANK_TO_FILL = re.compile(r"[\[<(](?:insert|enter|paste)\b[^\])>]{0,80}[\])>]|\[your\s[^\]]{0,60}\]", re.IGNORECASE)
_REPEAT_SHARE, _REPEAT_WORDS = 0.5, 24
_CODE = re.compile(r"```|</?\w+[^>]*>|[;{}]\s*$|^\s*(?:def|class|import|for|while|if)\b", re.MULTILINE)
_ESCAPED_BREAK = re.compile(r"(?<![\\\w:])\\[nt](?![a-z])|(?<=[.!?,\w])\\n(?=[A-Z0-9\\\-*•])")


def content_issues(sample: Sample) -> list[Issue]:
    """Return what makes a row useless by its form alone, all critical."""
    found = [*_instruction_faults(sample), *_row_faults(sample)]
    return [Issue(code=code, detail=detail, severity=Severity.CRITICAL) for code, detail in found]


def coherence_issues(sample: Sample) -> list[Issue]:
    """Return what does not fit together in a row, but for its language and letters."""
    return [*_input_issues(sample), *(_output_issues(sample) if sample.output.strip() else ())]


def is_link_alone(text: str) -> bool:
    """Return whether a text is an address and nothing to read, such as ``Article: https://...``."""
    return _LINK.fullmatch(text) is not None


def says_nothing(text: str) -> bool:
    """Return whether an output stands for none: ``N/A``, ``nan``, ``null``, ``{}``, a dash."""
    return _NOTHING.fullmatch(text.strip()) is not None


def _instruction_faults(sample: Sample) -> Iterator[tuple[str, str]]:
    words = len(sample.instruction.split())
    letters = sum(map(str.isalnum, sample.instruction))
    least = 1 if sample.input.strip() else WORDS[0]
    if letters < 2 or (words < least and sample.instruction.isascii()):
        yield "too_few_words", f"{words} words, at least {least} wanted"
    if words > WORDS[1]:
        yield "too_many_words", f"{words} words, at most {WORDS[1]} allowed"


def _row_faults(sample: Sample) -> Iterator[tuple[str, str]]:
    if fault := input_fault(sample.input):
        yield "noinput_left", fault
    if not sample.output.strip():
        if sample.origin == "generated":
            yield "empty_output", "the output is empty"
    elif len(sample.output) > OUTPUT_CHARACTERS:
        yield "output_too_long", f"the output has {len(sample.output)} characters, at most {OUTPUT_CHARACTERS} allowed"
    elif says_nothing(sample.output) or (is_missing_input(sample.output) and "input" in sample.output.lower()):
        yield "placeholder_output", f"the output only says {sample.output.strip()[:40]!r}"


def _input_issues(sample: Sample) -> Iterator[Issue]:
    given = sample.input.strip()
    if not given:
        if mention := _missing_mention(sample.instruction):
            yield _issue("missing_input", f"mentions {mention!r}, but there is no input", Severity.HIGH)
        return
    if is_link_alone(given) and not _ABOUT_THE_ADDRESS.search(sample.instruction):
        yield _issue("link_alone", f"the input is only a link: {_short(given)!r}", Severity.HIGH)
    elif PLACEHOLDER.fullmatch(given[:300]) and len(words_of(given)) <= 30:
        yield _issue("placeholder_input", f"the input is a placeholder: {_short(given)!r}", Severity.HIGH)
    elif blank := _blank_to_fill(given):
        yield _issue("placeholder_input", f"the input has a blank left to fill: {blank!r}", Severity.HIGH)
    if words_of(given) == words_of(sample.instruction):
        yield _issue("input_is_instruction", "the input repeats the instruction", Severity.MEDIUM)
    if given == sample.output.strip() and len(words_of(given)) >= 6:
        yield _issue("output_is_input", "the output repeats the input word for word", Severity.MEDIUM)


def _output_issues(sample: Sample) -> Iterator[Issue]:
    output = sample.output.strip()
    if words_of(output) == words_of(sample.instruction):
        yield _issue("output_is_instruction", "the output repeats the instruction", Severity.HIGH)
    if PLACEHOLDER.fullmatch(output[:300]) and len(words_of(output)) <= 30 and not says_nothing(output):
        yield _issue("placeholder_output", f"the output is a placeholder: {_short(output)!r}", Severity.HIGH)
    if (refusal := refusal_in(output)) and len(words_of(output)) <= 60:
        yield _issue("refusal", f"the output declines: {refusal!r}", Severity.MEDIUM)
    if ASKS_FOR_INPUT.match(output):
        yield _issue("asks_for_input", f"the output asks for input: {_short(output)!r}", Severity.MEDIUM)
    if bled := NEXT_TASK.search(output):
        yield _issue(
            "next_task_left", f"the output runs on into the next task: {bled.group().strip()!r}", Severity.HIGH
        )
    if share := _degenerate_share(output):
        yield _issue("repetition", f"{share:.0%} of the output's four-word runs are repeats", Severity.HIGH)
    for name, text in (("instruction", sample.instruction), ("output", output)):
        if not _CODE.search(text) and len(_ESCAPED_BREAK.findall(text)) >= 2:
            yield _issue("escaped_breaks", f"line breaks stand as '\\n' in the {name}", Severity.HIGH)
            return


def _missing_mention(instruction: str) -> str | None:
    """Return the words that point at a text which is neither in the instruction nor behind it."""
    for mention in _MENTION.finditer(instruction):
        before, behind = instruction[: mention.start()], instruction[mention.end() :]
        generic = not mention.group().lower().endswith("following") and _GENERIC.search(instruction)
        if generic or _QUOTED.search(before) or _CONTENT_BEHIND.search(before + behind) or _states(behind):
            continue
        return mention.group()
    return None


def _states(behind: str) -> bool:
    """Return whether another sentence follows that is no order: then it is what was pointed at."""
    following = _NEXT_SENTENCE.search(behind)
    return following is not None and following.group(1).lower() not in _ORDERS


def _blank_to_fill(given: str) -> str | None:
    """Return a blank that was meant to be filled; a letter's ``[Your Name]`` is part of the letter."""
    long = len(words_of(given)) > 15
    blanks = (blank.group() for blank in _BLANK_TO_FILL.finditer(given))
    return next((blank for blank in blanks if not (long and _YOUR_NAME.match(blank))), None)


def _degenerate_share(output: str) -> float:
    """Return the share of repeats of an output that repeats itself; 0 for one that may: code, tables, notation."""
    words = words_of(output)
    if len(words) < _REPEAT_WORDS or _CODE.search(output) or sum(map(len, words)) < 2.5 * len(words):
        return 0.0
    share = repeated_share(output)
    return share if share > _REPEAT_SHARE else 0.0


def _short(text: str) -> str:
    return text if len(text) <= 50 else text[:50] + "..."


def _issue(code: str, detail: str, severity: Severity) -> Issue:
    return Issue(code=code, detail=detail, severity=severity)
