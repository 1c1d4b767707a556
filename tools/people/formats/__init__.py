"""Items and what people said of them, as other tools read and write them: JSONL, Argilla and Label Studio.

Each format is two pure functions: of an item with its ratings to a row, and of a row to what it says. It is checked in
one place, ``said.py``, whatever format it came in.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal, assert_never

from state.records import Rating
from tools.people.formats import argilla, jsonl, label_studio
from tools.people.formats.said import Said
from tools.people.items import Item

Format = Literal["jsonl", "argilla", "label-studio"]


def exported(format_: Format, run_id: str, item: Item, ratings: Sequence[Rating]) -> list[dict[str, Any]]:
    """Return the rows of an item: one in Argilla's and Label Studio's form, one for each rating in JSONL.

    Args:
        format_: whose form.
        run_id: the item's run.
        item: what people decide on.
        ratings: what they sent; an item without any is there to be rated.
    """
    match format_:
        case "jsonl":
            return jsonl.rows_of(run_id, item, ratings)
        case "argilla":
            return [argilla.record_of(run_id, item, ratings)]
        case "label-studio":
            return [label_studio.task_of(run_id, item, ratings)]
        case _:
            assert_never(format_)


def said_in(format_: Format, row: Mapping[str, Any]) -> list[Said]:
    """Return what a row says, one for each person; an item that nobody rated says nothing.

    Args:
        format_: whose form.
        row: of a file that was exported and filled in.

    Raises:
        ValueError: it is no such row; the message says what is missing.
    """
    match format_:
        case "jsonl":
            return jsonl.said_in(row)
        case "argilla":
            return argilla.said_in(row)
        case "label-studio":
            return label_studio.said_in(row)
        case _:
            assert_never(format_)
