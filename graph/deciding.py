"""Decisions from a file of lines: all of them are looked at before the first is kept, and then they are sent."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

from graph.reviews import ReviewItem, Reviews, Sent
from state.errors import AlreadyDecided, BadInput
from state.records import Draft, ReviewTask
from state.reviewing import ReviewStore
from tools.people.formats.jsonl import said_in
from tools.people.formats.said import Said, checked
from tools.sources.reader import require_rows

KNOWN = frozenset(ReviewItem.model_fields) | frozenset(Draft.model_fields) | {"ratings", "run"}
"""Fields of a line: those of a decision, and those of an item as it was printed, which say nothing here."""


async def take_file(reviews: Reviews, run_id: str, path: Path, rater: str) -> Sent:
    """Send the decisions of a file; lines without a decision are left out.

    Args:
        reviews: the review of all runs.
        run_id: the run.
        path: a file of JSON objects, as ``corral review RUN --json`` prints them, with the decisions filled in.
        rater: who decided, where a line does not say.

    Raises:
        BadInput: the file cannot be read, has no decision, or a line does not fit; it is named, and nothing is saved.
        UnknownRun: there is no such run.
    """
    await reviews.runs.services.store.request_of(run_id)
    try:
        drafts = await _drafts(reviews, run_id, path, rater)
    except BadInput as error:
        raise BadInput(f"{error}; nothing was saved") from error
    late = []
    for draft in drafts:
        try:
            await reviews.save(run_id, draft)
        except AlreadyDecided as error:
            late.append(f"item {draft.item_id}: {error}")
    sent = [await reviews.send(run_id, rater) for rater in sorted({draft.rater for draft in drafts})]
    return Sent(
        sent=sum(one.sent for one in sent),
        settled=sum(one.settled for one in sent),
        told=(*late, *(line for one in sent for line in one.told)),
        complete=await reviews.answer_of(run_id) is not None,
    )


async def _drafts(reviews: Reviews, run_id: str, path: Path, rater: str) -> tuple[Draft, ...]:
    """Return the decisions of a file.

    Raises:
        BadInput: as for ``take_file``.
    """
    said = list(_said(path, rater))
    if not said:
        raise BadInput(f'{path}: no line has a decision; fill in "decision" where you have one')
    ids = [one.item_id for _, one in said if isinstance(one.item_id, str)]
    found: list[ReviewTask] = await ReviewStore(reviews.runs.services.database).find(run_id, ReviewTask, ids)
    fitting = checked(said, {task.id: task.kind for task in found}, datetime.now(UTC))
    if fitting.told:
        raise BadInput(f"{path}, {fitting.told[0]}")
    return tuple(fitting.drafts)


def _said(path: Path, rater: str) -> Iterator[tuple[str, Said]]:
    for row in require_rows(path, 'each with "item_id" and "decision"'):
        if unknown := sorted(row.fields.keys() - KNOWN):
            raise BadInput(f"{path}, {row.place}: {unknown[0]!r} is no field of a decision")
        try:
            # A time in the line is that of the item as it was printed, or of a decision that was taken back.
            yield from (
                (row.place, replace(one, rater=one.rater or rater, decided_at=None)) for one in said_in(row.fields)
            )
        except ValueError as error:
            raise BadInput(f"{path}, {row.place}: {error}") from error
