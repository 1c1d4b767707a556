"""Reading tasks out of what models really return.

The format asked for is Alpaca's: blocks parted by ``###``, each with a numbered instruction, input and output. Models
bend it: numbers go missing or wrong, labels turn bold or lower-case, two parts share a line, the list becomes JSON.
Every block ends as a task or as a failure with its reason, whatever the text; nothing here raises.
"""

from __future__ import annotations

import re
from typing import Literal

from state.records import Record
from tools.generation.jsontasks import holds_json_tasks, json_tasks
from tools.generation.parts import ParsedTask, ParseFailure, finish

HEAD = 120
"""A label ends within so many characters of its line; the bound keeps the matching linear."""
LABEL = re.compile(
    r"[\s#>*_`•-]*(?:(?:task|example)\b\s*)?(?:#?(?P<number>\d{1,4})\s*[.):\]-]*[\s*_`]*)?"
    r"(?P<name>instruction|input|output)s?(?:\s*#?(?P<after>\d{1,4}))?[\s*_`]*[:\uff1a][*_`]*",
    re.IGNORECASE,
)
NUMBERED_INLINE = re.compile(r"(?<=[^\n])[ \t](?=\d{1,4}[.)] ?\**(?:Instruction|Input|Output)\** ?:)")
INLINE = re.compile(r"(?<=[^\n])[ \t](?=\**(?:Input|Output)\** ?:)")
AFTER_NO_INPUT = re.compile(r"(?<=<noinput>)[ \t](?=\**Output\** ?:)", re.IGNORECASE)
SEPARATOR_LINE = re.compile(r"\s*#{2,}\s*")
HEADING_LINE = re.compile(
    r"\s*(?:[#*_\s]*(?:task|example)\s*#?\d{1,4}[\s.:)*_]*|#+\s*\d{1,4}[.:)]*\s*|[-=*_]{3,}\s*)", re.I
)
BARE_NUMBER_LINE = re.compile(r"\s*\**\d{1,4}[.)]\**\s*")
LEADING_NUMBER = re.compile(r"\s*\**\d{1,4}[.)]\**\s+")


class ParsedTasks(Record):
    """All blocks of one answer."""

    tasks: tuple[ParsedTask, ...]
    failures: tuple[ParseFailure, ...]


class _Block:
    """A block under construction: which part a line belongs to, and what was seen."""

    def __init__(self, *, number: int | None, labelled: bool) -> None:
        self.number = number
        self.labelled = labelled
        """Whether it began with an instruction label, rather than where one was to be expected."""
        self.lines: list[str] = []
        self.parts: dict[str, list[str]] = {"instruction": []}
        self.current = "instruction"
        self.repeated = False

    def add(self, line: str) -> None:
        self.lines.append(line)
        self.parts[self.current].append(line)

    def open_part(self, name: str, number: int | None, line: str, rest: str) -> None:
        """Begin the input or the output, or take the line for text where the label cannot be meant as one."""
        out_of_place = name in self.parts or (name == "input" and "output" in self.parts)
        if out_of_place and number is None and self.number is not None:
            self.add(line)
            return
        self.repeated = self.repeated or out_of_place
        self.current = name
        self.lines.append(line)
        self.parts.setdefault(name, []).append(rest)

    def drop_trailing_heading(self, *, next_is_numbered: bool) -> None:
        """Remove ``Task 5``, a rule or a lone number that belongs to the block that follows."""
        lines = self.parts[self.current]
        while lines and not lines[-1].strip():
            lines.pop()
        lone = not next_is_numbered and len(lines) > 1 and lines[-1:] and BARE_NUMBER_LINE.fullmatch(lines[-1][:HEAD])
        if lines and (lone or HEADING_LINE.fullmatch(lines[-1][:HEAD])):
            lines.pop()
            self.drop_trailing_heading(next_is_numbered=True)


def parse_tasks(text: str, *, first_number: int, truncated: bool) -> ParsedTasks:
    """Read all tasks of one answer.

    Args:
        text: the model's answer. It may begin in the middle of a block whose head the prompt had already written, or
            repeat that head.
        first_number: number of that block.
        truncated: whether the answer ended at the length limit; its last block is then dropped, and counted.
    """
    text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = re.sub(r"<\|[a-z_]{1,20}\|>", "", text)
    if holds_json_tasks(text) and not any(_is_head(line) for line in text.split("\n")):
        results = json_tasks(text, truncated=truncated)
    else:
        results = [_finish(block, cut) for block, cut in _blocks(text, first_number, truncated)]
    return ParsedTasks(
        tasks=tuple(result for result in results if isinstance(result, ParsedTask)),
        failures=tuple(result for result in results if isinstance(result, ParseFailure)),
    )


def _is_head(line: str) -> bool:
    match = LABEL.match(line[:HEAD])
    return match is not None and match["name"].lower() == "instruction"


def _blocks(text: str, first_number: int, truncated: bool) -> list[tuple[_Block, bool]]:
    """Cut the text into blocks, each with whether the length limit cut it off."""
    blocks = [_Block(number=first_number, labelled=False)]
    for line in _lines(text):
        if SEPARATOR_LINE.fullmatch(line[:HEAD]) and len(line) <= HEAD:
            blocks.append(_Block(number=blocks[-1].number, labelled=False))
            continue
        match = LABEL.match(line[:HEAD])
        if match is None:
            blocks[-1].add(line)
            continue
        digits = match["number"] or match["after"]
        number = int(digits) if digits else None
        rest = line[match.end() :]
        if match["name"].lower() == "instruction":
            blocks[-1].drop_trailing_heading(next_is_numbered=number is not None)
            blocks.append(_Block(number=number, labelled=True))
            blocks[-1].lines.append(line)
            blocks[-1].parts["instruction"].append(rest)
        else:
            blocks[-1].open_part(match["name"].lower(), number, line, rest)
    cut = blocks[-1] if truncated else None
    return [(block, block is cut) for place, block in enumerate(blocks) if not _is_no_block(block, blocks, place)]


def _is_no_block(block: _Block, blocks: list[_Block], place: int) -> bool:
    """Tell an empty stretch, or a lead-in such as "Here are the tasks:", from a block."""
    if block.labelled or len(block.parts) > 1:
        return False
    text = "\n".join(block.parts["instruction"]).strip()
    return not text or (place == 0 and len(blocks) > 1 and text.endswith(":"))


def _lines(text: str) -> list[str]:
    """Split into lines, first parting labels that share one."""
    text = AFTER_NO_INPUT.sub("\n", NUMBERED_INLINE.sub("\n", text))
    lines: list[str] = []
    for line in text.split("\n"):
        lines.extend(INLINE.sub("\n", line).split("\n") if _is_head(line) else [line])
    return lines


def _finish(block: _Block, cut: bool) -> ParsedTask | ParseFailure:
    reason: Literal["cut_off", "repeated_part"] | None = (
        "cut_off" if cut else "repeated_part" if block.repeated else None
    )
    parts = {name: "\n".join(lines) for name, lines in block.parts.items()}
    if not block.labelled:
        parts["instruction"] = LEADING_NUMBER.sub("", parts["instruction"], count=1)
    return finish(
        parts["instruction"], parts.get("input", ""), parts.get("output", ""), raw="\n".join(block.lines), reason=reason
    )
