"""Clean the parts of a parsed task, or say why they are not a task."""

from __future__ import annotations

import re
from typing import Literal

from state.records import Record
from tools.gates.texts import is_missing_input

RAW_HEAD = 200
FailureReason = Literal[
    "cut_off", "repeated_part", "no_instruction", "no_output", "unstorable", "broken_json", "no_task"
]


class ParsedTask(Record):
    """One task as a model wrote it."""

    instruction: str
    input: str
    """Empty where the model said that there is none."""
    output: str


class ParseFailure(Record):
    """A block that gave no task."""

    reason: FailureReason
    """``cut_off``: the last block, at the length limit. ``repeated_part``: two inputs or outputs. ``no_instruction``,
    ``no_output``: missing or empty. ``unstorable``: a NUL or half of a surrogate pair. ``broken_json``: an object that
    does not parse. ``no_task``: JSON of another shape."""
    text: str
    """Its raw first 200 characters."""


def failure(reason: FailureReason, raw: str) -> ParseFailure:
    """Return a failure that shows where it came from, in a form that every database takes."""
    head = raw.strip()[:RAW_HEAD].replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()
    return ParseFailure(reason=reason, text=head)


def finish(
    instruction: str, input: str, output: str, *, raw: str, reason: FailureReason | None = None
) -> ParsedTask | ParseFailure:
    """Clean the parts and return a task, or a failure: for ``reason`` where given, else for what is missing."""
    instruction = _unquoted(" ".join(_clean(instruction).split()))
    input, output = _clean(input), _clean(output)
    if reason is None:
        reason = _missing(instruction, input, output)
    if reason is not None:
        return failure(reason, raw)
    return ParsedTask(instruction=instruction, input="" if is_missing_input(input) else input, output=output)


def _missing(instruction: str, input: str, output: str) -> FailureReason | None:
    if not instruction:
        return "no_instruction"
    if not output:
        return "no_output"
    unstorable = any("\0" in part or re.search("[\ud800-\udfff]", part) for part in (instruction, input, output))
    return "unstorable" if unstorable else None


def _clean(text: str) -> str:
    """Strip white space, and a bold mark whose other half went with the label."""
    text = text.strip()
    if text.endswith("**") and text.count("**") % 2:
        text = text[:-2].rstrip()
    return text


def _unquoted(text: str) -> str:
    """Take off quotation marks around the whole text."""
    quoted = len(text) > 2 and text[0] == text[-1] == '"' and '"' not in text[1:-1]
    return text[1:-1].strip() if quoted else text
