"""Read tasks from what models really return.

The format asked for is Alpaca's: blocks separated by ``###``, each with a numbered instruction, input and output.
Models deviate from it: numbers go missing or wrong, labels turn bold or lower-case, two parts share a line, the list
becomes JSON. Every block ends as a task or as a failure with its reason, whatever the text; nothing here raises.
"""

from __future__ import annotations

import re

from state.records import Record
from tools.endpoint.chat import ChatCall, Completion
from tools.generation.blocks import Block, read_label, split_blocks
from tools.generation.jsontasks import holds_json_tasks, json_tasks
from tools.generation.parts import FailureReason, ParsedTask, ParseFailure, finish
from tools.generation.prompting import NO_INPUT

SPECIAL_TOKEN = re.compile(r"<\|[a-z_]{1,20}\|>")
MISSPELT_NO_INPUT = re.compile(r"<no\w{0,6}put>", re.IGNORECASE)


class ParsedTasks(Record):
    """All blocks of one answer."""

    tasks: tuple[ParsedTask, ...]
    failures: tuple[ParseFailure, ...]


def answered_tasks(call: ChatCall, completion: Completion) -> ParsedTasks:
    """Read the answer to a ``generation_call``; a server may repeat the head of the list before it goes on."""
    head = call.messages[-1]["content"]
    return parse_tasks(
        completion.text.removeprefix(head),
        first_number=int(head.rpartition("\n")[2].partition(".")[0]),
        truncated=completion.finish_reason == "length",
    )


def parse_tasks(text: str, *, first_number: int, truncated: bool) -> ParsedTasks:
    """Read all tasks of one text.

    Args:
        text: what a model wrote. It may begin in the middle of a block whose head the prompt had already written, or
            repeat that head.
        first_number: number of that block.
        truncated: whether the text ended at the length limit; its last block is then dropped, and counted.
    """
    text = SPECIAL_TOKEN.sub("", text.replace("\r\n", "\n").replace("\r", "\n"))
    text = MISSPELT_NO_INPUT.sub(NO_INPUT, text)
    results: list[ParsedTask | ParseFailure]
    if holds_json_tasks(text) and not _has_instruction_label(text):
        results = json_tasks(text, truncated=truncated)
    else:
        blocks = split_blocks(text, first_number)
        cut = blocks[-1] if truncated and blocks and not _ends_between_blocks(text) else None
        results = [_read(block, cut=block is cut) for block in blocks]
    return ParsedTasks(
        tasks=tuple(result for result in results if isinstance(result, ParsedTask)),
        failures=tuple(result for result in results if isinstance(result, ParseFailure)),
    )


def _has_instruction_label(text: str) -> bool:
    labels = map(read_label, text.split("\n"))
    return any(label is not None and label.name == "instruction" for label in labels)


def _ends_between_blocks(text: str) -> bool:
    """Return whether the text ends with a separator, so that its last block is whole."""
    return text.rstrip().rpartition("\n")[2].strip() == "###"


def _read(block: Block, *, cut: bool) -> ParsedTask | ParseFailure:
    reason: FailureReason | None = "cut_off" if cut else "repeated_part" if block.repeated else None
    return finish(
        block.text("instruction"), block.text("input"), block.text("output"), raw="\n".join(block.lines), reason=reason
    )
