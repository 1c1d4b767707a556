"""Cutting an answer into blocks, and a block into its parts, by the labels that begin a line."""

from __future__ import annotations

import re
from collections.abc import Sequence

HEAD = 120
"""A label ends within this many characters of its line; the bound keeps all matching linear in the text."""
LABEL = re.compile(
    r"[\s#>*_`•-]*(?:(?:task|example)\b\s*)?(?:#?(?P<number>\d{1,4})\s*[.):\]-]*[\s*_`]*)?"
    r"(?P<name>instruction|input|output)(?P<plural>s?)(?:\s*#?(?P<after>\d{1,4}))?[\s*_`]*[:\uff1a][*_`]*",
    re.IGNORECASE,
)
NUMBERED_INLINE = re.compile(r"(?<=[^\s#>*_`•-])[ \t](?=\d{1,4}[.)] ?\**(?:Instruction|Input|Output)\** ?:)")
INLINE = re.compile(r"[ \t](?=\**(Input|Output)\** ?:)")
AFTER_NO_INPUT = re.compile(r"(?<=<noinput>)[ \t](?=(?:\d{1,4}[.)] ?)?\**Output\** ?:)", re.IGNORECASE)
FENCE = re.compile(r"(?:[ \t]*|.*: ?)(`{3,}|~{3,})[^`~]*$")
SEPARATOR = re.compile(r"\s*#{2,}\s*")
HEADING = re.compile(
    r"\s*(?:[#*_\s]*(?:task|example)\s*#?\d{1,4}[\s.:)*_]*|#+\s*\d{1,4}[.:)]*\s*|[-=*_]{3,}\s*)", re.IGNORECASE
)
BARE_NUMBER = re.compile(r"\s*\**\d{1,4}[.)]\**\s*")
LEADING_NUMBER = re.compile(r"\s*\**\d{1,4}[.)]\**\s+")


class Label:
    """A line that names a part: ``4. Input: ...``.

    Attributes:
        name: ``instruction``, ``input`` or ``output``.
        number: the task's number, before or after the name; ``None`` where there is none.
        rest: the line behind the colon.
    """

    def __init__(self, match: re.Match[str], line: str) -> None:
        digits = match["number"] or match["after"]
        self.name = match["name"].lower()
        self.number = int(digits) if digits else None
        self.is_plural = bool(match["plural"])
        self.line = line
        self.rest = line[match.end() :]


class Block:
    """One task under construction.

    Attributes:
        number: its own, or that of the block before it where it has no label.
        labelled: whether it began with an instruction label, rather than where one was to be expected.
        lines: the raw text.
        parts: lines of each part that was opened; the instruction always is.
        repeated: whether a part came twice, or the input after the output.
    """

    def __init__(self, number: int | None, label: Label | None = None) -> None:
        self.number = number
        self.labelled = label is not None
        self.lines: list[str] = [label.line] if label else []
        self.parts: dict[str, list[str]] = {"instruction": [label.rest] if label else []}
        self.current = "instruction"
        self.repeated = False

    def text(self, name: str) -> str:
        """Return a part's text; empty where it is missing."""
        text = "\n".join(self.parts.get(name, ()))
        number = LEADING_NUMBER.match(text) if name == "instruction" and not self.labelled else None
        return text[number.end() :] if number else text

    def is_empty(self) -> bool:
        """Return whether there is nothing, not even a label."""
        return not (self.labelled or len(self.parts) > 1 or any(line.strip() for line in self.parts["instruction"]))

    def add(self, line: str) -> None:
        """Append a line of text to the open part."""
        self.lines.append(line)
        self.parts[self.current].append(line)

    def open_part(self, label: Label) -> None:
        """Open the input or the output, or take the line for text where the label cannot be meant as one."""
        out_of_place = label.name in self.parts or (label.name == "input" and "output" in self.parts)
        if out_of_place and label.number is None and self.number is not None:
            self.add(label.line)
            return
        self.repeated = self.repeated or out_of_place
        self.current = label.name
        self.lines.append(label.line)
        self.parts.setdefault(label.name, []).append(label.rest)

    def ends_in_heading(self, *, bare_number: bool) -> bool:
        """Return whether the last line of text is one such as ``Task 5``, a rule or, if asked, a lone number."""
        last = next((line for line in reversed(self.parts[self.current]) if line.strip()), "")
        if len(last) > HEAD:
            return False
        bare_number = bare_number and (len(self.parts[self.current]) > 1 or not self.labelled)
        return (bare_number and BARE_NUMBER.fullmatch(last) is not None) or HEADING.fullmatch(last) is not None

    def drop_headings(self, *, bare_number: bool) -> None:
        """Remove trailing headings: they belong to the block that follows."""
        lines = self.parts[self.current]
        while self.ends_in_heading(bare_number=bare_number):
            while not lines[-1].strip():
                lines.pop()
            lines.pop()
            bare_number = False


def split_blocks(text: str, first_number: int) -> list[Block]:
    """Cut a text into blocks, in order; the first continues a head that the prompt had written.

    ``###`` on a line of its own always separates two blocks. So does an instruction label, except one without a number
    inside a numbered list, or ``Instructions:`` inside an output, where a recipe may have it. Code between fences is
    never cut.
    """
    blocks = [Block(first_number)]
    lines = _lines(text)
    labels = [read_label(line) for line in lines]
    numbered = any(label and label.name == "instruction" and label.number is not None for label in labels)
    fenced = _within_fences(lines)
    for line, label, code in zip(lines, labels, fenced, strict=True):
        block = blocks[-1]
        if code:
            block.add(line)
        elif label is None and len(line) <= HEAD and SEPARATOR.fullmatch(line):
            blocks.append(Block(block.number))
        elif label is None:
            block.add(line)
        elif label.name != "instruction":
            block.open_part(label)
        elif _is_text(label, block, numbered):
            block.add(line)
        else:
            block.drop_headings(bare_number=label.number is None)
            blocks.append(Block(label.number, label))
    return [
        block for place, block in enumerate(blocks) if not _is_filler(block, first=place == 0, only=len(blocks) == 1)
    ]


def _within_fences(lines: Sequence[str]) -> list[bool]:
    """Return of each line whether it is code between two fences: there ``###`` is a comment, and a label is text.

    A fence that is never closed is none, so that one answer cannot swallow all that follow. Nor is one that holds an
    instruction: it is around the whole list, or the next block's fence is not its end.
    """
    found, start, mark = [False] * len(lines), -1, ""
    for place, line in enumerate(lines):
        fence = FENCE.match(line[:HEAD])
        if start < 0 and fence:
            start, mark = place, fence.group(1)
        elif start >= 0 and (label := read_label(line)) and label.name == "instruction":
            start = -1
        elif start >= 0 and fence and fence.group(1).startswith(mark) and not line.strip().strip(mark[0]):
            found[start + 1 : place] = [True] * (place - start - 1)
            start = -1
    return found


def read_label(line: str) -> Label | None:
    """Return the label that a line begins with, if any."""
    match = LABEL.match(line[:HEAD])
    return Label(match, line) if match else None


def _is_text(label: Label, block: Block, numbered: bool) -> bool:
    """Return whether an instruction label belongs to the text of the block before it."""
    if label.number is not None or block.is_empty() or block.ends_in_heading(bare_number=True):
        return False
    return numbered or (label.is_plural and block.current == "output")


def _is_filler(block: Block, *, first: bool, only: bool) -> bool:
    """Return whether a block is empty, or a lead-in such as "Here are the tasks:"."""
    lead_in = first and not only and not block.labelled and len(block.parts) == 1
    return block.is_empty() or (lead_in and block.text("instruction").rstrip().endswith(":"))


def _lines(text: str) -> list[str]:
    """Split into lines, after separating labels that share one."""
    lines: list[str] = []
    for line in AFTER_NO_INPUT.sub("\n", NUMBERED_INLINE.sub("\n", text)).split("\n"):
        label = read_label(line)
        shared = label is not None and label.name == "instruction" and INLINE.findall(line) == ["Input", "Output"]
        lines.extend(INLINE.sub("\n", line).split("\n") if shared else [line])
    return lines
