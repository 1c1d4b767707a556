"""Answers to the review: one that comes when all was decided elsewhere is refused with who decided, and when."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, cast

from langgraph.types import StateSnapshot
from pydantic import ValidationError

from graph.services import Services
from nodes.review import asked, second_of
from state.errors import BadInput
from state.faults import first_fault
from state.pipeline import PipelineState
from state.reviewing import ReviewStore
from tools.people.asking import ratings_of, review_actions
from tools.people.items import load_items
from tools.people.questions import answer_schema


async def demand_first(services: Services, run_id: str, snapshot: StateSnapshot, answer: Any) -> None:
    """Refuse an answer to a review whose items are all decided, unless it says what counts.

    Where some of the items wait, the answer counts for those, and what it says of the others is told as a warning.

    Raises:
        BadInput: others were first; says who and when. Or the answer does not fit.
    """
    if snapshot.next != ("review",) or not snapshot.interrupts:
        return
    people, state = ReviewStore(services.database), cast(PipelineState, snapshot.values)
    request = state["request"]
    tasks = await asked(people, run_id, state, request.review.page)
    if not tasks or any(task.standing == "open" for task in tasks):
        return
    if isinstance(answer, Mapping) and answer.keys() == {snapshot.interrupts[0].id}:
        answer = answer[snapshot.interrupts[0].id]
    items = await load_items(services.store, run_id, tasks)
    try:
        given = answer_schema(review_actions(items, request)).model_validate(answer)
    except ValidationError as error:
        raise BadInput(f"the answer does not fit: {first_fault(error)}; all of it was decided before") from error
    if told := await second_of(people, run_id, tasks, ratings_of(items, given, datetime.now(UTC))):
        raise BadInput(f"{told[0]}; 'corral resume {run_id}' goes on")
