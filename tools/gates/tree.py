"""The preset ``guide``: Alpaca's rules, and those of a decision tree on quality, each with its severity.

The tree asks for an instruction of 5 to 100 words that begins with a capital letter and ends with a punctuation mark,
for an output of 5 to 1,000 characters, and that the two share a word. Its numbers and severities are settings; the
severities here are the defaults. None of these rules was measured: what they stop is seen by ``corral gate``.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from state.records import Sample
from state.request import Gates
from tools.gates.results import Issue, Severity
from tools.gates.texts import words_of

TREE_CODES = (
    *("short_instruction", "long_instruction", "no_final_punctuation", "no_capital", "download"),
    *("short_output", "long_output", "unaligned"),
)
_DOWNLOAD = re.compile(r"\bdownload(?:s|ed|ing)?\b", re.IGNORECASE)
_ENDS = (".", "!", "?", ":", ".)", '."', "\u3002", "\uff01", "\uff1f", "\u2026")
"""The last four are those of Chinese and Japanese, and the ellipsis."""
_SHORT = 3
"""Letters of the longest words that say nothing of a text's topic."""


def tree_issues(sample: Sample, settings: Gates) -> list[Issue]:
    """Return one issue for each rule of the tree that a row breaks."""
    found = [*_instruction(sample.instruction, settings)]
    if sample.output.strip():
        found += _output(sample, settings)
    return [Issue(code=code, detail=detail, severity=severity) for code, detail, severity in found]


def _instruction(text: str, settings: Gates) -> Iterator[tuple[str, str, Severity]]:
    words, stripped = len(text.split()), text.strip()
    if words < settings.min_words:
        yield "short_instruction", f"{words} words, at least {settings.min_words} wanted", Severity.MEDIUM
    if words > settings.max_words:
        yield "long_instruction", f"{words} words, at most {settings.max_words} wanted", Severity.MEDIUM
    if stripped and not stripped.endswith(_ENDS):
        yield "no_final_punctuation", f"ends with {stripped[-10:]!r}", Severity.LOW
    if (first := stripped[:1]) and first.isalpha() and first.islower():
        yield "no_capital", f"begins with {first!r}", Severity.LOW
    if hit := _DOWNLOAD.search(text):
        yield "download", f"asks for what a language model cannot do: {hit.group()!r}", Severity.CRITICAL


def _output(sample: Sample, settings: Gates) -> Iterator[tuple[str, str, Severity]]:
    length = len(sample.output.strip())
    if length < settings.min_output:
        yield "short_output", f"{length} characters, at least {settings.min_output} wanted", Severity.HIGH
    if length > settings.max_output:
        yield "long_output", f"{length} characters, at most {settings.max_output} wanted", Severity.LOW
    asked = _topics(f"{sample.instruction} {sample.input}")
    said = _topics(sample.output)
    if asked and len(said) >= _SHORT and not asked & said:
        yield "unaligned", "the output shares no word with instruction and input", Severity.LOW


def _topics(text: str) -> set[str]:
    """Return the beginnings of a text's longer words: 'rivers' and 'river' are one."""
    return {word[:5] for word in words_of(text) if len(word) > _SHORT}
