"""gate: content, diversity, safety and coherence of what was generated; and whether to generate again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from pathlib import Path

from state.calls import CallStore
from state.pipeline import NextRound, Node, PipelineState, RateLimits
from state.records import GenerationRound, Outcome, Sample, content_hash
from state.request import RunRequest
from state.store import RecordStore
from tools.endpoint.chat import OpenEndpoint
from tools.gates import GateDecision, GatePipeline, round_diversity
from tools.gates.opinion import ask_opinions
from tools.generation.deciding import GenerationFacts, decide_next_round
from tools.generation.planning import left_of, round_needs
from tools.progress import report_progress
from tools.sources.seeds import load_seed_tasks


def make_gate(store: RecordStore, calls: CallStore, open_endpoint: OpenEndpoint) -> Node:
    """Return the node.

    Its index of kept instructions is rebuilt from the store in every round, so that a resumed run decides as one that
    was never killed.
    """

    async def gate(state: PipelineState) -> PipelineState:
        run_id, request, round_ = state["run_id"], state["request"], state["round"]
        generated = [s for s in await store.find(run_id, Sample, tag="train") if s.origin == "generated"]
        offered = [s for s in generated if s.round == round_ and s.outcome != Outcome.FAILED]
        earlier = [s for s in generated if s.round < round_ and s.outcome in (Outcome.ACCEPTED, Outcome.WAITING)]
        report_progress("gate", total=len(offered))
        opinions: dict[str, tuple[float, str]] = {}
        if request.gates.opinion and offered:
            opinions = await ask_opinions(await open_endpoint(request.models.judge, run_id), offered)
        decisions = await asyncio.to_thread(judge_samples, request, earlier, offered, opinions)
        await store.settle(run_id, [judged(s, d) for s, d in zip(offered, decisions, strict=True)])
        report_progress("gate", len(offered))
        accepted = await store.ids(run_id, Sample, tag="train", outcome=Outcome.ACCEPTED)
        kept = sum(s.outcome == Outcome.ACCEPTED for s in earlier) + sum(
            d.outcome == Outcome.ACCEPTED for d in decisions
        )
        novelty = round_diversity(decisions)
        spent, cap = await calls.spent(run_id), await calls.cap(run_id)
        answered = len({s.call for s in generated})
        gained = sum(d.outcome in (Outcome.ACCEPTED, Outcome.WAITING) for d in decisions)
        facts = generation_facts(
            await asyncio.to_thread(round_needs, request),
            state,
            offered=len(offered),
            accepted=kept,
            gained=gained,
            answered=answered,
            novelty=novelty,
            budget_left=None if cap is None else cap - spent,
        )
        choice = decide_next_round(facts)
        if round_:
            await store.add(run_id, [round_record(round_, decisions, novelty, choice)])
        ended = choice.action == "stop"
        return {
            "accepted": len(accepted),
            "waiting": len(await store.ids(run_id, Sample, tag="train", outcome=Outcome.WAITING)),
            "novelty": novelty,
            "next_round": choice,
            "warnings": shortfall(request, kept, choice) if ended else [],
        }

    return gate


def judge_samples(
    request: RunRequest,
    earlier: Sequence[Sample],
    offered: Sequence[Sample],
    opinions: Mapping[str, tuple[float, str]],
) -> list[GateDecision]:
    """Judge one round against the seeds and what earlier rounds kept, in the order of the samples' ids."""
    if not offered:
        return []
    seeds = [task.instruction for task in load_seed_tasks(Path(request.sources.seeds))]
    kept = [*seeds, *(s.instruction for s in earlier)]
    return GatePipeline(request.gates, kept, opinion=lambda sample: opinions.get(sample.id)).judge(offered)


def judged(sample: Sample, decision: GateDecision) -> Sample:
    """Return the sample with the gates' decision on it."""
    return sample.model_copy(
        update={"outcome": decision.outcome, "score": decision.score, "reasons": tuple(decision.reasons)}
    )


def round_record(round_: int, decisions: Sequence[GateDecision], novelty: float, choice: NextRound) -> GenerationRound:
    """Return what is kept of the round."""
    return GenerationRound(
        id=content_hash("round", round_),
        round=round_,
        offered=len(decisions),
        accepted=sum(d.outcome == Outcome.ACCEPTED for d in decisions),
        novelty=novelty,
        decision=choice.action,
        reason=choice.reason,
    )


def generation_facts(
    needs: GenerationFacts,
    state: PipelineState,
    *,
    offered: int,
    accepted: int,
    gained: int,
    answered: int,
    novelty: float,
    budget_left: float | None,
) -> GenerationFacts:
    """Return what the decision about the next round depends on: what a round needs, and what the last one brought."""
    limits = state.get("limits", RateLimits())
    return needs.model_copy(
        update={
            "accepted": accepted,
            "rounds_done": state["round"],
            "calls": state.get("round_calls", 0),
            "gained": gained,
            "accepted_per_call": accepted / answered if answered else None,
            "offered": offered,
            "novelty": novelty if offered else None,
            "failed_rounds": state.get("failed_rounds", 0),
            "budget_left": budget_left,
            **left_of(limits),
        }
    )


def shortfall(request: RunRequest, kept: int, choice: NextRound) -> list[str]:
    """Return a warning if fewer instructions were accepted than the request asked for."""
    if kept >= request.generation.target:
        return []
    return [f"{kept} of {request.generation.target} generated instructions were accepted: {choice.reason}"]
