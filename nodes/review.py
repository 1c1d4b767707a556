"""review: borderline items wait for a person, a page at a time; an unattended run applies a named policy."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import assert_never

from langgraph.types import interrupt

from state.pipeline import Node, PipelineState
from state.records import Candidate, Judgement, Outcome, Record, Review, Sample, content_hash
from state.request import RunRequest
from state.store import RecordStore
from tools.dataset.pairing import REJECTED_STARS
from tools.people.decisions import POLICY, consequences, edited_id, reason_of
from tools.people.questions import Action, Decision, HumanAnswer, answer_schema, question
from tools.progress import report_progress

PAGE = 500
"""Items that an unattended run decides at a time."""
EDITABLE = {"completion": "completion", "instruction": "instruction"}
"""The argument of each kind of item that a person may edit."""


class Borderline(Record):
    """An item that waits for a decision, with its records. ``judgement`` is ``None`` for an instruction."""

    sample: Sample
    candidate: Candidate | None = None
    judgement: Judgement | None = None

    @property
    def id(self) -> str:
        """The id of the record that waits."""
        return self.candidate.id if self.candidate else self.sample.id

    @property
    def score(self) -> float:
        """Its score on the scale of ``thresholds``: 0 to 100 for a completion, 0 to 1 for an instruction."""
        return self.judgement.overall if self.judgement else (self.sample.score or 0.0)

    def thresholds(self, request: RunRequest) -> tuple[float, float]:
        """Return the scores between which it waits."""
        settings = request.judge if self.candidate else request.gates
        return settings.review_from, settings.accept


def make_review(store: RecordStore) -> Node:
    """Return the node.

    It asks about one page of items at a time; the edge after it comes back while more wait. Which items a page holds
    follows from the state alone. A review that was killed after its decisions were written shows the same page again,
    and the decisions that were written first count.
    """

    async def review(state: PipelineState) -> PipelineState:
        run_id, request, done = state["run_id"], state["request"], state.get("reviewed", 0)
        total = await store.count_borderline(run_id)
        if request.unattended:
            await review_unattended(store, run_id, request, range(done, total, PAGE))
            return {"reviewed": max(done, total), "waiting": 0}
        page = await borderline_items(store, run_id, done, request.review.page)
        if page:
            report_progress("review", total=len(page))
            actions = review_actions(page, request)
            answer = interrupt(question(actions), response_schema=answer_schema(actions))
            await settle(store, run_id, page, apply_review(page, answer, datetime.now(UTC)))
            report_progress("review", len(page))
        return {"reviewed": done + len(page), "waiting": total - done - len(page)}

    return review


async def review_unattended(store: RecordStore, run_id: str, request: RunRequest, starts: range) -> None:
    """Let the request's policy decide all items that wait, page by page."""
    report_progress("review", total=starts.stop - starts.start)
    for start in starts:
        page = await borderline_items(store, run_id, start, PAGE)
        await settle(store, run_id, page, apply_review(page, unattended_answer(page, request), datetime.now(UTC)))
        report_progress("review", len(page))


async def borderline_items(store: RecordStore, run_id: str, start: int, size: int) -> list[Borderline]:
    """Return a page of all that ever waited for a person in this run, decided or not: instructions, then completions.

    Args:
        store: the record store.
        run_id: the run.
        start: items before the page.
        size: items of the page at most.
    """
    found = await store.borderline(run_id, start, size)
    instructions = [id_ for is_completion, id_ in found if not is_completion]
    candidates = await store.find(run_id, Candidate, ids=[id_ for is_completion, id_ in found if is_completion])
    judged = await store.find(run_id, Judgement, parents=[c.id for c in candidates])
    judgements = {j.candidate_id: j for j in judged if j.outcome == Outcome.WAITING}
    samples = await store.find(run_id, Sample, ids=[*instructions, *(c.sample_id for c in candidates)])
    asked = {s.id: s for s in samples}
    return [Borderline(sample=asked[id_]) for id_ in instructions] + [
        Borderline(sample=asked[c.sample_id], candidate=c, judgement=judgements[c.id]) for c in candidates
    ]


def review_actions(items: Sequence[Borderline], request: RunRequest) -> list[Action]:
    """Return what a person is asked about each item."""
    return [_action(item, request) for item in items]


def _action(item: Borderline, request: RunRequest) -> Action:
    low, high = item.thresholds(request)
    if item.candidate is None or item.judgement is None:
        args = {"instruction": item.sample.instruction, "input": item.sample.input, "output": item.sample.output}
        why = f"The gates gave {item.score:.2f}, between {low:g} and {high:g}: {'; '.join(item.sample.reasons)}"
        return Action(name="review_instruction", args=args | {"comment": ""}, description=why, editable="instruction")
    scores = ", ".join(f"{s.dimension} {s.score:.0f}" for s in item.judgement.scores)
    checks = "; ".join(f"{c.kind}: {c.evidence}" for c in item.judgement.checks if c.passed is not None)
    return Action(
        name="review_completion",
        args={"prompt": item.sample.prompt, "completion": item.candidate.text, "comment": ""},
        editable="completion",
        description=(
            f"The crew gave {item.score:.0f} of 100, between {low:g} and {high:g}, and {item.judgement.stars} stars "
            f"(confidence {item.judgement.confidence:.2f}).\nScores: {scores}\nChecks: {checks or 'none apply'}\n"
            f"{item.judgement.feedback}"
        ),
    )


def unattended_answer(items: Sequence[Borderline], request: RunRequest) -> HumanAnswer:
    """Return what the request's policy decides; the policy's name stands as the reviewer, never a person's.

    No policy approves what the expert gave one or two stars: the crew may find an answer clear that misses the prompt.
    What a policy approves keeps the stars that it has, so that three are not imitated.
    """
    policy = request.review.unattended

    def decide(item: Borderline) -> Decision:
        match policy:
            case "approve":
                good = True
            case "midpoint":
                good = item.score >= sum(item.thresholds(request)) / 2
            case "reject":
                good = False
            case _:
                assert_never(policy)
        stars = item.judgement.stars if item.judgement else None
        good = good and (stars is None or stars > REJECTED_STARS)
        said = f"unattended, score {item.score:g}" + (f", {stars} stars" if stars else "")
        return Decision(type="approve" if good else "reject", message=said)

    return HumanAnswer.model_construct(decisions=[decide(item) for item in items], reviewer=f"{POLICY}{policy}")


def apply_review(items: Sequence[Borderline], answer: HumanAnswer, now: datetime) -> list[Review]:
    """Return a review of each item. An edit without a changed text is an approval."""
    reviews = []
    for item, decision in zip(items, answer.decisions, strict=True):
        kind = "completion" if item.candidate else "instruction"
        before = item.candidate.text if item.candidate else item.sample.instruction
        args = decision.edited_action.args if decision.edited_action else {}
        given = args.get(EDITABLE[kind])
        text = "" if given is None else str(given).strip()
        rewrites = consequences(decision.type).rewrites
        changed = rewrites and text != before and bool(text)
        reviews.append(
            Review(
                id=content_hash("review", item.id),
                item_id=item.id,
                kind=kind,
                decision="approve" if rewrites and not changed else decision.type,
                text=text if changed else "",
                comment=str(args.get("comment") or decision.message),
                reviewer=answer.reviewer,
                decided_at=now,
            )
        )
    return reviews


async def settle(store: RecordStore, run_id: str, items: Sequence[Borderline], reviews: Sequence[Review]) -> None:
    """Write the reviews, then what follows from them; the next call completes a write that was killed.

    Of two decisions on an item the first that was written counts, so that rows and reviews never disagree.
    """
    await store.add(run_id, reviews)
    written = {r.id: r for r in await store.find(run_id, Review, ids=[r.id for r in reviews])}
    samples, rewritten, candidates, edited = [], [], [], []
    for item, review in zip(items, (written[r.id] for r in reviews), strict=True):
        reason = (reason_of(review.decision, review.reviewer, review.comment),)
        follows = consequences(review.decision)
        if item.candidate is None:
            samples.append(item.sample.model_copy(update={"outcome": follows.outcome, "reasons": reason}))
            if follows.rewrites:
                rewritten.append(edited_sample(item.sample, review, reason))
            continue
        candidates.append(item.candidate.model_copy(update={"outcome": follows.outcome, "reasons": reason}))
        if follows.rewrites:
            edited.append(edited_candidate(item.candidate, review, reason))
    await store.add(run_id, rewritten)
    await store.add(run_id, edited)
    await store.settle(run_id, samples)
    await store.settle(run_id, candidates)


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
