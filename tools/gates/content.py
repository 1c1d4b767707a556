"""The content rules: what Stanford Alpaca refuses in an instruction, and what a reference answer must have.

All of them are critical: a row that breaks one is useless as an instruction. Those on words, keywords, beginnings and
first characters follow ``generate_instruction.py``; those on characters and on the output are ours.
"""

from __future__ import annotations

import re
import string
from collections.abc import Iterator
from typing import assert_never

from state.records import Sample
from tools.gates.gate import Gate
from tools.gates.modern import content_issues as modern_content_issues
from tools.gates.results import Issue, Severity
from tools.gates.rouge import tokens_of_any_script
from tools.gates.texts import input_fault, is_missing_input
from tools.gates.tree import TREE_CODES, tree_issues

WORDS = (4, 150)
"""Fewest and most words of an instruction, split at white space."""
CHARACTERS = (10, 500)
"""Fewest and most characters of an instruction."""
OUTPUT_CHARACTERS = 8000
"""Most characters of an output: some 1,500 words, fifteen times what the prompt asks for."""
KEYWORDS = (
    *("image", "images", "graph", "graphs", "picture", "pictures", "file", "files", "map", "maps", "draw", "plot"),
    *("go to", "video", "audio", "music", "flowchart", "diagram"),
)
"""Things a language model cannot see, hear, open or draw; matched as whole words."""

_KEYWORD = re.compile(r"\b(?:" + "|".join(word.replace(" ", r"\s+") for word in KEYWORDS) + r")\b", re.IGNORECASE)
_PROGRAM = re.compile(r"\s*write\s+a\s+program\b", re.IGNORECASE)
_PUNCTUATION = frozenset(string.punctuation)


def content_issues(sample: Sample, language: str = "en") -> list[Issue]:
    """Return one issue for each rule that the sample breaks, all critical; none for a sample that is fine.

    A given prompt (``origin`` is ``prompt``) may come without an output: the policy answers it. For languages other
    than English a letter of any script may come first, and what a script without spaces has counts by letters.
    """
    faults = _instruction_faults(sample.instruction) if language == "en" else _faults_in_any_script(sample.instruction)
    found = [*faults, *_row_faults(sample)]
    return [Issue(code=code, detail=detail, severity=Severity.CRITICAL) for code, detail in found]


def _instruction_faults(instruction: str) -> Iterator[tuple[str, str]]:
    words, characters = len(instruction.split()), len(instruction.strip())
    if words < WORDS[0]:
        yield "too_few_words", f"{words} words, at least {WORDS[0]} wanted"
    if words > WORDS[1]:
        yield "too_many_words", f"{words} words, at most {WORDS[1]} allowed"
    if characters < CHARACTERS[0]:
        yield "too_few_characters", f"{characters} characters, at least {CHARACTERS[0]} wanted"
    if characters > CHARACTERS[1]:
        yield "too_many_characters", f"{characters} characters, at most {CHARACTERS[1]} allowed"
    if keyword := _KEYWORD.search(instruction):
        yield "keyword", f"asks for what a language model cannot do: {keyword.group()!r}"
    if _PROGRAM.match(instruction):
        yield "write_a_program", "opens with 'Write a program', which leaves open what to answer"
    first = instruction.strip()[:1]
    if first in _PUNCTUATION:
        yield "starts_with_punctuation", f"begins with {first!r}"
    if first and not first.isascii():
        yield "starts_not_ascii", f"begins with {first!r}"


def _faults_in_any_script(instruction: str) -> Iterator[tuple[str, str]]:
    words, first = len(tokens_of_any_script(instruction)), instruction.strip()[:1]
    for code, detail in _instruction_faults(instruction):
        counted = code in ("too_few_words", "too_few_characters")
        if not (counted and words >= WORDS[0]) and not (code == "starts_not_ascii" and first.isalnum()):
            yield code, detail


def _row_faults(sample: Sample) -> Iterator[tuple[str, str]]:
    if fault := input_fault(sample.input):
        yield "noinput_left", fault
    if not sample.output.strip():
        if sample.origin == "generated":
            yield "empty_output", "the output is empty"
    elif len(sample.output) > OUTPUT_CHARACTERS:
        yield "output_too_long", f"the output has {len(sample.output)} characters, at most {OUTPUT_CHARACTERS} allowed"
    elif is_missing_input(sample.output) and "input" in sample.output.lower():
        yield "placeholder_output", f"the output only says {sample.output.strip()!r}"


class ContentGate(Gate):
    """Refuses rows that break a content rule."""

    name = "content"
    codes = (
        *("too_few_words", "too_many_words", "too_few_characters", "too_many_characters", "keyword"),
        *("write_a_program", "starts_with_punctuation", "starts_not_ascii", "noinput_left", "empty_output"),
        *("output_too_long", "placeholder_output"),
        *TREE_CODES,
    )

    def issues(self, sample: Sample) -> list[Issue]:
        """Return the content rules of the preset that the row breaks."""
        match self.inputs.settings.preset:
            case "alpaca":
                return content_issues(sample, self.inputs.settings.language)
            case "modern":
                return modern_content_issues(sample)
            case "guide":
                found = content_issues(sample, self.inputs.settings.language)
                return [*found, *tree_issues(sample, self.inputs.settings)]
            case _:
                assert_never(self.inputs.settings.preset)
