"""What goes to people: all that the machines could not decide, and some of what they did. Pure but for the reading."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import datetime

from state.reading import Match, RecordReader
from state.records import Candidate, Judgement, Outcome, ReviewTask, Sample, Why, content_hash
from state.request import Gates, RunRequest

HEAD = 120
"""Characters of a prompt in a list."""
DISAGREE = 0.75
"""A check and the judge disagree where the judge's own score, from 0 to 1, is so far from what the check found: it gave
75 of 100 or more on the dimension of a check that failed, or 25 or less though all that the prompt demands is there."""
PAGE = 500
"""Rows that are looked at together."""


def drawn(seed: int, purpose: str, id: str, share: float) -> bool:
    """Return whether a random sample of this share, which follows from the seed, has this row."""
    return int(content_hash("drawn", purpose, seed, id)[:13], 16) < share * 16**13


def check_distance(sample: Sample, judgement: Judgement) -> float:
    """Return how far the judge's own scores are from what checks found, from 0 to 1.

    A check that failed is held against the score of its dimension before the cap. Checks that pass say little alone:
    only where all that the prompt demands in writing is there, it is held against the score for compliance.
    """
    given = {s.dimension: s.score if s.capped_from is None else s.capped_from for s in judgement.scores}
    own = {name: score / 100 for name, score in given.items() if score is not None}
    apart = [own[c.dimension] for c in judgement.checks if c.passed is False and c.dimension in own]
    demanded = {check.kind for check in sample.checks}
    written = [c.passed for c in judgement.checks if c.kind in demanded and c.passed is not None]
    if written and all(written) and "compliance" in own:
        apart.append(1 - own["compliance"])
    return max(apart, default=0.0)


def why_completion(sample: Sample, judgement: Judgement, request: RunRequest) -> tuple[Why, ...]:
    """Return why a completion goes to people; nothing where it does not."""
    if judgement.outcome not in (Outcome.ACCEPTED, Outcome.REJECTED, Outcome.WAITING):
        return ()
    why: list[Why] = []
    if judgement.outcome == Outcome.WAITING:
        why.append("not_judged" if judgement.overall is None else "between_thresholds")
    if check_distance(sample, judgement) >= DISAGREE:
        why.append("checks_disagree")
    if not why and drawn(request.seed, "audit", judgement.candidate_id, request.review.audit_share):
        why.append("audit")
    return tuple(why)


def is_audited(sample: Sample, request: RunRequest) -> bool:
    """Return whether a generated instruction that the gates decided alone goes to people, too."""
    alone = sample.outcome in (Outcome.ACCEPTED, Outcome.REJECTED) and sample.score is not None
    return alone and bool(sample.instruction) and drawn(request.seed, "audit", sample.id, request.review.audit_share)


def instruction_task(sample: Sample, why: tuple[Why, ...], now: datetime, gates: Gates) -> ReviewTask:
    """Return the task of an instruction; its gates are the less sure, the nearer its score is to the middle."""
    half = (gates.accept - gates.review_from) / 2
    off = abs((sample.score or 0.0) - gates.review_from - half)
    return ReviewTask(
        id=sample.id,
        kind="instruction",
        sample_id=sample.id,
        why=why,
        disagreement=round(max(0.0, 1 - off / half), 3) if half else 0.0,
        machine=Outcome.WAITING if "between_thresholds" in why else sample.outcome,
        head=sample.instruction[:HEAD],
        opened_at=now,
    )


def completion_task(sample: Sample, judgement: Judgement, why: tuple[Why, ...], now: datetime) -> ReviewTask:
    """Return the task of a completion; checks and judge may be apart, or the judges among themselves."""
    apart = max(check_distance(sample, judgement), 1 - judgement.confidence)
    return ReviewTask(
        id=judgement.candidate_id,
        kind="completion",
        sample_id=sample.id,
        why=why,
        disagreement=round(apart, 3),
        machine=judgement.outcome,
        head=sample.instruction[:HEAD],
        opened_at=now,
    )


def pair_task(
    sample: Sample, candidates: Sequence[Candidate], judgements: Sequence[Judgement], seed: int, now: datetime
) -> ReviewTask | None:
    """Return the task of comparing a prompt's best answer with its worst, in an order that says nothing of either.

    Returns:
        ``None`` where there are no two scored answers of different texts.
    """
    scored = [j for j in judgements if j.outcome != Outcome.FAILED]
    overall = {j.candidate_id: j.overall for j in scored if j.overall is not None}
    ordered = sorted((c for c in candidates if c.id in overall), key=lambda c: (overall[c.id], c.id))
    if not ordered or (worst := ordered[0]).text == (best := ordered[-1]).text:
        return None
    pair = (best.id, worst.id) if drawn(seed, "order", sample.id, 0.5) else (worst.id, best.id)
    return ReviewTask(
        id=content_hash("pair", *pair),
        kind="pair",
        sample_id=sample.id,
        candidates=pair,
        why=("human_share",),
        disagreement=round(1 - (overall[best.id] - overall[worst.id]) / 100, 3),
        machine=Outcome.WAITING,
        head=sample.instruction[:HEAD],
        opened_at=now,
    )


async def chosen_tasks(
    store: RecordReader, run_id: str, request: RunRequest, now: datetime
) -> AsyncIterator[ReviewTask]:
    """Yield what goes to people beside what the machines could not decide: instructions, completions, then pairs."""
    async for page in store.pages(run_id, Sample, tag="train", origin="generated"):
        for sample in page:
            if is_audited(sample, request):
                yield instruction_task(sample, ("audit",), now, request.gates)
    async for judged in store.pages(run_id, Judgement):
        decided = [j for j in judged if j.outcome in (Outcome.ACCEPTED, Outcome.REJECTED)]
        of = {c.id: c.sample_id for c in await store.find(run_id, Candidate, ids=[j.candidate_id for j in decided])}
        samples = {s.id: s for s in await store.find(run_id, Sample, ids=of.values())}
        for judgement in decided:
            sample = samples[of[judgement.candidate_id]]
            if why := why_completion(sample, judgement, request):
                yield completion_task(sample, judgement, why, now)
    async for task in _pairs(store, run_id, request, now):
        yield task


async def _pairs(store: RecordReader, run_id: str, request: RunRequest, now: datetime) -> AsyncIterator[ReviewTask]:
    share = request.review.human_share
    async for page in store.pages(run_id, Sample, **Match(tag="train", outcome=Outcome.ACCEPTED)):
        compared = [sample for sample in page if drawn(request.seed, "human", sample.id, share)]
        candidates = await store.find(run_id, Candidate, parents=[sample.id for sample in compared])
        judgements = await store.find(run_id, Judgement, parents=[candidate.id for candidate in candidates])
        for sample in compared:
            own = [candidate for candidate in candidates if candidate.sample_id == sample.id]
            if task := pair_task(sample, own, judgements, request.seed, now):
                yield task
