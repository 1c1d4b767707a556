"""judge: a CrewAI crew, or checks and the likelihood filter, score each candidate on five dimensions and give stars."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

from state.errors import BadInput, BudgetExceeded
from state.pipeline import BatchNode, BatchState, PipelineState
from state.records import Candidate, Judgement, Outcome, Sample, content_hash
from state.request import RunRequest
from state.store import RecordStore
from tools.batch import for_each
from tools.dataset.pairing import NOT_JUDGED, faults_of
from tools.endpoint.chat import OpenEndpoint
from tools.judging import CrewJudge
from tools.progress import ItemProgress, report_progress
from tools.training.recipe import phases_of


@dataclass(frozen=True)
class CandidatesToJudge:
    """The candidates without a judgement."""

    store: RecordStore

    async def ids(self, state: PipelineState, after: str, limit: int) -> list[str]:
        """Return the ids of the next ones; the arguments are those of ``Pending``."""
        run_id = state["run_id"]
        return await self.store.ids(run_id, Candidate, outcome=Outcome.PENDING, tag="", after=after, limit=limit)

    async def count(self, state: PipelineState) -> int:
        """Return how many there are."""
        return await self.store.count(state["run_id"], Candidate, outcome=Outcome.PENDING)


def make_judge(store: RecordStore, open_endpoint: OpenEndpoint) -> BatchNode:
    """Return the node; it judges the candidates of one batch."""

    async def judge(state: BatchState) -> PipelineState:
        run_id, request = state["run_id"], state["request"]
        endpoint = await open_endpoint(request.models.judge, run_id)
        crew = CrewJudge(endpoint, request.judge, seed=request.seed, attended=not request.unattended)
        candidates = await store.find(run_id, Candidate, ids=state["ids"])
        samples = {s.id: s for s in await store.find(run_id, Sample, ids=[c.sample_id for c in candidates])}
        if crew.is_asked and nothing_but_imitates(request):
            spared = await asyncio.to_thread(not_worth_judging, candidates, samples)
            await store.settle(run_id, spared)
            done = {one.id for one in spared}
            candidates = [one for one in candidates if one.id not in done]
            report_progress("judge", len(spared))

        items = ItemProgress("judge", crew.calls_each)

        async def judge_one(candidate: Candidate) -> None:
            item = items.begin()
            try:
                judgement = await crew.judge(samples[candidate.sample_id], candidate, answered=item.answered)
            except BudgetExceeded as error:
                if not state.get("capped", False):
                    raise
                judgement = unpaid_judgement(candidate, crew.identity, error)
            await store.write(run_id, added=[judgement], settled=[judged_candidate(candidate, judgement)])
            item.end()

        overspend = await for_each(candidates, judge_one)
        return {"overspend": overspend} if overspend else {}

    return judge


def nothing_but_imitates(request: RunRequest) -> bool:
    """Return whether a run can use no answer that it cannot imitate: as the worse of a pair, or edited by a person."""
    return request.unattended and all(phase.sequences == 1 for phase in phases_of(request.train.recipe))


def not_worth_judging(candidates: Sequence[Candidate], samples: Mapping[str, Sample]) -> list[Candidate]:
    """Return the candidates that training never imitates, whatever their judges say; they are rejected, with why.

    One whose checks cannot be decided is left to its judgement, which says so.
    """
    found = []
    for candidate in candidates:
        with suppress(BadInput):
            if faults := faults_of(samples[candidate.sample_id], candidate):
                reasons = (f"{NOT_JUDGED}: training cannot imitate it: {'; '.join(faults)}",)
                found.append(candidate.model_copy(update={"outcome": Outcome.REJECTED, "reasons": reasons}))
    return found


def judged_candidate(candidate: Candidate, judgement: Judgement) -> Candidate:
    """Return the candidate with the outcome of its judgement."""
    return candidate.model_copy(update={"outcome": judgement.outcome, "reasons": judgement.reasons})


def unpaid_judgement(candidate: Candidate, judge: str, error: BudgetExceeded) -> Judgement:
    """Return the record of a judgement that the budget does not allow."""
    return Judgement(
        id=content_hash(candidate.id, judge),
        candidate_id=candidate.id,
        judge=judge,
        outcome=Outcome.FAILED,
        reasons=(f"not made: {error.spent:.4f} of {error.cap:.4f} dollars are spent",),
    )
