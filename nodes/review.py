"""review: borderline items wait for a person, a page at a time; an unattended run applies a named policy."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Container, Sequence
from datetime import UTC, datetime
from functools import partial
from itertools import chain
from pathlib import Path
from typing import assert_never

from langgraph.types import interrupt

from state.names import POLICY
from state.pipeline import Node, PipelineState
from state.records import Candidate, Judgement, Outcome, Rating, Review, ReviewTask, Sample
from state.request import RunRequest
from state.reviewing import ReviewStore
from state.store import RecordStore
from tools.dataset.pairing import REJECTED_STARS
from tools.people.asking import apply_review, ratings_of, review_actions
from tools.people.choosing import chosen_tasks, completion_task, instruction_task, why_completion
from tools.people.decisions import consequences, decider_of, edited_id, reason_of
from tools.people.gold import gold_tasks, read_gold
from tools.people.items import Item, load_items
from tools.people.questions import Decision, HumanAnswer, answer_schema, question
from tools.people.settling import review_of, second
from tools.progress import report_progress

PAGE = 500
"""Items that are decided or written at a time where no person looks at them."""


def make_review(store: RecordStore) -> Node:
    """Return the node.

    It asks about one page of items at a time; the edge after it comes back while more wait. Which items a page holds
    follows from the state alone, and what was decided elsewhere meanwhile counts: of two decisions on an item the first
    that was written. A review that was killed after its decisions were written goes on with the next page.
    """
    people = ReviewStore(store.database)

    async def review(state: PipelineState) -> PipelineState:
        run_id, request = state["run_id"], state["request"]
        if request.unattended:
            done, total = state.get("reviewed", 0), await store.count_borderline(run_id)
            await review_unattended(store, run_id, request, range(done, total, PAGE))
            return {"reviewed": max(done, total), "waiting": 0}
        await open_tasks(store, people, run_id, request, datetime.now(UTC))
        if not (total := await people.count(run_id)):
            return {"reviewed": 0, "waiting": 0}
        tasks = await asked(people, run_id, state, request.review.page)
        told: list[str] = []
        if any(task.standing == "open" for task in tasks):
            left = await people.count(run_id, "open")
            report_progress("review", total=left)
            items = await load_items(store, run_id, tasks)
            actions = review_actions(items, request)
            answer = interrupt(question(actions), response_schema=answer_schema(actions))
            ratings = [r for r in ratings_of(items, answer, datetime.now(UTC)) if consequences(r.decision).settles]
            await people.rate(run_id, ratings, partial(review_of, raters=request.review.raters))
            told = await second_of(people, run_id, tasks, ratings)
            report_progress("review", left - await people.count(run_id, "open"))
        await settle_decided(store, people, run_id)
        waiting = await people.count(run_id, "open")
        following = await next_page(people, run_id, tasks, request.review.page)
        return {"reviewed": total - waiting, "waiting": waiting, "asked": following, "warnings": told}

    return review


async def open_tasks(store: RecordStore, people: ReviewStore, run_id: str, request: RunRequest, now: datetime) -> None:
    """Write what goes to people in this run, once: before the first question, all at once."""
    if await people.count(run_id):
        return
    # Of a million rows there are hundreds of thousands: as text they take a fifth of a record's memory.
    kept: dict[str, str] = {}
    async for task in tasks_to_open(store, run_id, request, now):
        kept.setdefault(task.id, task.model_dump_json())
    gold = await asyncio.to_thread(read_gold, Path(request.sources.gold)) if request.sources.gold and kept else ()
    opened = (
        ReviewTask.model_validate_json(text).model_copy(update={"position": n}) for n, text in enumerate(kept.values())
    )
    await people.open_tasks(run_id, chain(opened, gold_tasks(gold, len(kept), now)))


async def tasks_to_open(
    store: RecordStore, run_id: str, request: RunRequest, now: datetime
) -> AsyncIterator[ReviewTask]:
    """Yield what the machines could not decide, then what was chosen beside it; an item may come twice."""
    start = 0
    while found := await borderline_items(store, run_id, request, start, PAGE, now):
        for item in found:
            yield item.task
        start += len(found)
    async for task in chosen_tasks(store, run_id, request, now):
        yield task


async def asked(people: ReviewStore, run_id: str, state: PipelineState, page: int) -> list[ReviewTask]:
    """Return what the interrupt that follows from this state asks about."""
    if (ids := state.get("asked")) is None:
        return (await people.tasks(run_id, start=state.get("reviewed", 0), size=page))[:page]
    found: dict[str, ReviewTask] = {task.id: task for task in await people.find(run_id, ReviewTask, ids)}
    return [found[id_] for id_ in ids if id_ in found]  # a text that was withdrawn is asked about no more


async def second_of(
    people: ReviewStore, run_id: str, before: Sequence[ReviewTask], ratings: Sequence[Rating]
) -> list[str]:
    """Return a line for each rating of an item that others had decided before.

    Args:
        people: the store.
        run_id: the run.
        before: the tasks as they were when the ratings came.
        ratings: of them.
    """
    tasks = {task.id: task for task in before}
    reviews = {r.item_id: r for r in await people.find(run_id, Review, list(tasks))}
    lines = (second(r, tasks[r.item_id], reviews.get(r.item_id)) for r in ratings)
    return [line for line in lines if line]


async def next_page(people: ReviewStore, run_id: str, shown: Sequence[ReviewTask], page: int) -> list[str]:
    """Return what to ask about next: what waits behind the page that was shown, then what waits before its end."""
    last = max((task.position for task in shown), default=-1)
    behind = await people.standing(run_id, "open", page, after=last)
    first = await people.standing(run_id, "open", page) if len(behind) < page else []
    return list(dict.fromkeys(task.id for task in (*behind, *first)))[:page]


async def settle_decided(store: RecordStore, people: ReviewStore, run_id: str) -> None:
    """Write what follows from all decisions that were sent since the last time, here or elsewhere."""
    while tasks := await people.standing(run_id, "decided", PAGE):
        items = await load_items(store, run_id, tasks)
        reviews = {review.item_id: review for review in await people.find(run_id, Review, [item.id for item in items])}
        await settle(store, run_id, items, [reviews[item.id] for item in items])
        await people.settle(run_id, tasks)


async def review_unattended(store: RecordStore, run_id: str, request: RunRequest, starts: range) -> None:
    """Let the request's policy decide all items that wait, page by page."""
    report_progress("review", total=starts.stop - starts.start)
    now = datetime.now(UTC)
    for start in starts:
        page = await borderline_items(store, run_id, request, start, PAGE, now)
        await settle(store, run_id, page, apply_review(page, unattended_answer(page, request), now))
        report_progress("review", len(page))


async def borderline_items(
    store: RecordStore, run_id: str, request: RunRequest, start: int, size: int, now: datetime
) -> list[Item]:
    """Return a page of all that the machines could not decide in this run, decided since or not.

    Args:
        store: the record store.
        run_id: the run.
        request: the run's.
        start: items before the page: instructions come first, then completions.
        size: items of the page at most.
        now: when they are put before people.
    """
    found = await store.borderline(run_id, start, size)
    instructions = [id_ for is_completion, id_ in found if not is_completion]
    candidates = await store.find(run_id, Candidate, ids=[id_ for is_completion, id_ in found if is_completion])
    judged = await store.find(run_id, Judgement, parents=[c.id for c in candidates])
    judgements = {j.candidate_id: j for j in judged if j.outcome == Outcome.WAITING}
    known = {review.item_id for review in await store.find(run_id, Review, parents=[id_ for _, id_ in found])}
    asked_ids = [*instructions, *(c.sample_id for c in candidates)]
    samples = {s.id: s for s in await store.find(run_id, Sample, ids=asked_ids)}
    tasks = [instruction_task(samples[id_], ("between_thresholds",), now, request.gates) for id_ in instructions]
    for candidate in candidates:
        sample, judgement = samples[candidate.sample_id], judgements[candidate.id]
        tasks.append(completion_task(sample, judgement, why_completion(sample, judgement, request), now))
    settled = {"standing": "settled"}  # a run of an earlier version may have decided some of them
    return await load_items(store, run_id, [t.model_copy(update=settled) if t.id in known else t for t in tasks])


def unattended_answer(items: Sequence[Item], request: RunRequest) -> HumanAnswer:
    """Return what the request's policy decides; the policy's name stands as the reviewer, never a person's.

    No policy approves what nothing could judge, nor what has one or two stars: the crew may find an answer clear that
    misses the prompt.
    What a policy approves keeps the stars that it has, so that three are not imitated.
    """
    policy = request.review.unattended

    def decide(item: Item) -> Decision:
        score = item.score
        if score is None:
            why = "; ".join(item.judgement.reasons) if item.judgement else "not judged"
            return Decision(type="reject", message=f"unattended, {why}")
        match policy:
            case "approve":
                good = True
            case "midpoint":
                good = score >= sum(item.thresholds(request)) / 2
            case "reject":
                good = False
            case _:
                assert_never(policy)
        stars = item.judgement.stars if item.judgement else None
        good = good and (stars is None or stars > REJECTED_STARS)
        said = f"unattended, score {score:g}" + (f", {stars} stars" if stars else "")
        return Decision(type="approve" if good else "reject", message=said)

    return HumanAnswer.model_construct(decisions=[decide(item) for item in items], reviewer=f"{POLICY}{policy}")


async def settle(store: RecordStore, run_id: str, items: Sequence[Item], reviews: Sequence[Review]) -> None:
    """Write the reviews, then what follows from them; the next call completes a write that was killed.

    Of two decisions on an item the first that was written counts, so that rows and reviews never disagree. What was
    decided about an answer itself counts before what was decided about a pair that it is in.
    """
    await store.add(run_id, reviews)
    written = {r.id: r for r in await store.find(run_id, Review, ids=[r.id for r in reviews])}
    paired = [candidate.id for item in items if item.task.kind == "pair" for candidate in item.candidates]
    own = {r.item_id for r in await store.find(run_id, Review, parents=paired) if consequences(r.decision).outcome}
    decided = [(item, written[review.id]) for item, review in zip(items, reviews, strict=True)]
    rows = [row for item, review in decided for row in rows_after(item, review, own)]
    known = {item.sample.id for item in items} | {c.id for item in items for c in item.candidates}
    for kind in (Sample, Candidate):
        made = [row for row in rows if type(row) is kind]
        await store.add(run_id, [row for row in made if row.id not in known])
        await store.settle(run_id, [row for row in made if row.id in known])


def rows_after(item: Item, review: Review, own: Container[str]) -> list[Sample | Candidate]:
    """Return the rows that change, and the person's own, where an item was decided.

    Where nobody could judge, the machines' decision stands.

    Args:
        item: the item.
        review: the decision.
        own: the ids of answers that were decided about themselves.
    """
    reason: tuple[str, ...] = (reason_of(review.decision, review.reviewer, review.comment),)
    if item.score is None and item.judgement and decider_of(review.reviewer) == "policy":
        reason = (*item.judgement.reasons, *reason)  # why it is left out: no policy has an opinion of such an item
    rewrites = consequences(review.decision).rewrites
    made: list[Sample | Candidate] = []
    if item.task.kind == "instruction" and (outcome := outcome_after(review, item.task.machine)) is not None:
        made.append(item.sample.model_copy(update={"outcome": outcome, "reasons": reason}))
        made += [edited_sample(item.sample, review, reason)] if rewrites else []
    for rank, candidate in enumerate(item.candidates):
        pair = item.task.kind == "pair"
        outcome = outcome_after(review, candidate.outcome if pair else item.task.machine, rank)
        if outcome is None or (pair and candidate.id in own):
            continue
        made.append(candidate.model_copy(update={"outcome": outcome, "reasons": reason}))
        made += [edited_candidate(candidate, review, reason)] if rewrites else []
    return made


def outcome_after(review: Review, machine: Outcome, rank: int = 0) -> Outcome | None:
    """Return what becomes of a row that was reviewed; ``None`` where it stays as the machines left it.

    Where nobody could judge what the machines had left to people, it is rejected.

    Args:
        review: the decision.
        machine: what the machines decided.
        rank: of a pair's answer: 0 for A, 1 for B.
    """
    follows = consequences(review.decision)
    if follows.prefers is not None:
        return Outcome.ACCEPTED if rank == follows.prefers else Outcome.REJECTED
    if follows.outcome is not None:
        return follows.outcome
    return Outcome.REJECTED if machine == Outcome.WAITING else None


def edited_sample(sample: Sample, review: Review, reason: tuple[str, ...]) -> Sample:
    """Return the instruction in the person's words, for the output that it now fits.

    It is a sample of its own: the candidates of the model's instruction answer that one.
    """
    return sample.model_copy(
        update={
            "id": edited_id(sample.id, review.text),
            "instruction": review.text,
            "outcome": Outcome.ACCEPTED,
            "reasons": reason,
        }
    )


def edited_candidate(candidate: Candidate, review: Review, reason: tuple[str, ...]) -> Candidate:
    """Return the person's own completion as a candidate beside the model's."""
    return candidate.model_copy(
        update={
            "id": edited_id(candidate.id, review.text),
            "text": review.text,
            "ended": True,
            "provenance": "edited",
            "outcome": Outcome.ACCEPTED,
            "reasons": reason,
        }
    )
