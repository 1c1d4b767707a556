"""Decisions that come together, from a file or a program: all of them are looked at before the first is kept."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path

from graph.reviews import ReviewItem, Reviews, Sent, demand_fitting
from state.errors import AlreadyDecided, BadInput
from state.records import Draft, ReviewTask
from state.reviewing import ReviewStore
from tools.people.lines import read_decisions

PRINTED = frozenset(ReviewItem.model_fields) - {"item_id"}
"""Fields of an item that ``corral review RUN --json`` prints, and that a decision may be written beside."""


async def take_file(reviews: Reviews, run_id: str, path: Path, rater: str) -> Sent:
    """Send the decisions of a file; see ``take`` and ``tools.people.lines``."""
    return await take(reviews, run_id, list(read_decisions(path, rater, datetime.now(UTC), PRINTED)))


async def take(reviews: Reviews, run_id: str, given: Sequence[tuple[str, Draft]]) -> Sent:
    """Send decisions of one person or of several.

    Args:
        reviews: the review of all runs.
        run_id: the run.
        given: where each stands, for an error, and the decision.

    Raises:
        BadInput: one of them names no item of the run, or does not fit it; nothing is saved.
    """
    people = ReviewStore(reviews.runs.services.database)
    found = await people.find(run_id, ReviewTask, [draft.item_id for _, draft in given])
    tasks = {task.id: task for task in found}
    for place, draft in given:
        try:
            if draft.item_id not in tasks:
                raise BadInput(f"no item {draft.item_id!r} of run {run_id} goes to people")
            demand_fitting(tasks[draft.item_id], draft)
        except BadInput as error:
            raise BadInput(f"{place}: {error}; nothing was saved") from error
    told = []
    for place, draft in given:
        try:
            await reviews.save(run_id, draft)
        except AlreadyDecided as error:
            told.append(f"{place}: {error}")
    sent = [await reviews.send(run_id, rater) for rater in sorted({draft.rater for _, draft in given})]
    return Sent(
        sent=sum(one.sent for one in sent),
        settled=sum(one.settled for one in sent),
        told=(*told, *(line for one in sent for line in one.told)),
        complete=await reviews.answer_of(run_id) is not None,
    )
