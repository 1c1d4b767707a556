"""One JSON object a line: an item with one person's rating, or an item alone, to be filled in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from state.records import Rating
from tools.people.formats.said import Said
from tools.people.items import WHY, Item


def rows_of(run_id: str, item: Item, ratings: Sequence[Rating]) -> list[dict[str, Any]]:
    """Return a row for each rating, or one with an empty decision where there is none; arguments as ``exported``."""
    head = {
        "run": run_id,
        "item_id": item.id,
        "kind": item.task.kind,
        "prompt": item.sample.prompt,
        "texts": list(item.texts),
        "why": [WHY[why] for why in item.task.why],
    }
    empty = {"rater": "", "decision": "", "text": "", "comment": "", "ratings": {}}
    return [head | rating.model_dump(mode="json", exclude={"item_id"}) for rating in ratings] or [head | empty]


def said_in(row: Mapping[str, Any]) -> list[Said]:
    """Return what a row says; nothing where no decision was filled in.

    Raises:
        ValueError: it has no item.
    """
    if "item_id" not in row:
        raise ValueError("it has no 'item_id'")
    ratings = row.get("ratings") or {}
    if not isinstance(ratings, Mapping):
        raise ValueError("'ratings' is an object with stars by criterion")
    if not row.get("decision") and not ratings:
        return []
    given = {name: row.get(name) for name in ("item_id", "rater", "decision", "text", "comment", "decided_at")}
    return [Said(**given, ratings=ratings)]
