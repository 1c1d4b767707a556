"""What people rate, out to a file and back: for other tools, and for people who rate elsewhere."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from graph.services import Services
from state.errors import BadInput
from state.records import Rating, Record, Review, ReviewTask
from state.reviewing import ReviewStore
from tools.people.decisions import consequences
from tools.people.formats import Format, exported, said_in
from tools.people.formats.said import Said, checked
from tools.people.items import load_items
from tools.people.settling import review_of
from tools.sources.reader import BadRow, read_rows


class Taken(Record):
    """What an import came to."""

    sent: int
    """Ratings that were new, and fitted."""
    settled: int
    """Items that are decided now, by these ratings."""
    told: tuple[str, ...]
    """A line for each thing that does not fit, with its place; the rest was taken."""


async def export_lines(services: Services, run_id: str, format_: Format) -> AsyncIterator[str]:
    """Yield the lines of a file with all that goes to people in a run, and what they sent about it.

    Args:
        services: the process's.
        run_id: the run.
        format_: whose form; a file of JSONL, or one JSON array.

    Raises:
        UnknownRun: there is no such run.
    """
    await services.store.request_of(run_id)
    reviews, array, first = ReviewStore(services.database), format_ != "jsonl", True
    if array:
        yield "[\n"
    async for tasks in services.store.pages(run_id, ReviewTask):
        ratings: list[Rating] = await reviews.find(run_id, Rating, [task.id for task in tasks])
        for item in await load_items(services.store, run_id, tasks):
            said = sorted((r for r in ratings if r.item_id == item.id), key=lambda r: (r.decided_at, r.rater))
            for row in exported(format_, run_id, item, said):
                yield ("" if first or not array else ",\n") + _json(row) + ("" if array else "\n")
                first = False
    if array:
        yield "\n]\n"


async def import_ratings(services: Services, run_id: str, format_: Format, path: Path) -> Taken:
    """Send the ratings of a file, as if their people had sent them here; what does not fit is told, and not taken.

    Args:
        services: the process's.
        run_id: the run that the items are of.
        format_: whose form the file has.
        path: the file.

    Raises:
        BadInput: the file cannot be read, or is of another format throughout.
        UnknownRun: there is no such run.
    """
    request = await services.store.request_of(run_id)
    said, told = await asyncio.to_thread(_read, format_, path)
    if not said and told:
        raise BadInput(f"{path} is no {format_} file of ratings: {told[0]}")
    store = ReviewStore(services.database)
    ids = sorted({one.item_id for _, one in said if isinstance(one.item_id, str)})
    tasks = {task.id: task for task in await store.find(run_id, ReviewTask, ids)}
    earlier: list[Rating] = await store.find(run_id, Rating, list(tasks))
    found = checked(said, {id_: task.kind for id_, task in tasks.items()}, datetime.now(UTC), earlier)
    ratings = [Rating(**dict(draft)) for draft in found.drafts if consequences(draft.decision).settles]
    changed = await store.rate(run_id, ratings, partial(review_of, raters=request.review.raters))
    late = sorted(was.id for was, _ in changed if was.standing != "open")
    decided = {review.item_id: review for review in await store.find(run_id, Review, late)}
    return Taken(
        sent=len(ratings),
        settled=sum(was.standing == "open" != now.standing for was, now in changed),
        told=(*told, *found.told, *(_late(decided[item]) for item in late if item in decided)),
    )


def _late(review: Review) -> str:
    past = consequences(review.decision).past
    when = f"{review.decided_at:%Y-%m-%d %H:%M}"
    return f"item {review.item_id} was {past} by {review.reviewer} on {when} already, which counts; the rating is kept"


def _read(format_: Format, path: Path) -> tuple[list[tuple[str, Said]], list[str]]:
    said, told = [], []
    for row in read_rows(path, "each an item with what people said of it"):
        if isinstance(row, BadRow):
            told.append(f"{row.place}: {row.fault}")
            continue
        try:
            said += [(row.place, one) for one in said_in(format_, row.fields)]
        except ValueError as fault:
            told.append(f"{row.place}: {fault}")
    return said, told


def _json(row: dict[str, Any]) -> str:
    return json.dumps(row, ensure_ascii=False)
