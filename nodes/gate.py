"""gate: content, diversity, safety and coherence of what was generated; and whether to generate again."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

from state.calls import CallStore
from state.pipeline import NextRound, Node, PipelineState, RateLimits
from state.reading import Match
from state.records import GenerationRound, Outcome, Sample, content_hash
from state.request import RunRequest
from state.store import RecordStore
from tools.endpoint.chat import OpenEndpoint
from tools.gates import GatePipeline, RoundCounts
from tools.gates.held_out import held_out
from tools.gates.opinion import ask_opinions
from tools.gates.results import judged
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
        counts = await judge_round(store, open_endpoint, run_id, request, round_) if round_ else RoundCounts()
        kept = await store.count(run_id, Sample, tag="train", origin="generated", outcome=Outcome.ACCEPTED)
        spent, cap = await calls.spent(run_id), await calls.cap(run_id)
        facts = generation_facts(
            await asyncio.to_thread(round_needs, request),
            state,
            offered=counts.offered,
            accepted=kept,
            gained=counts.gained,
            answered=await store.count_parents(run_id, Sample),
            novelty=counts.diversity,
            budget_left=None if cap is None else cap - spent,
        )
        choice = decide_next_round(facts)
        if round_:
            await store.add(run_id, [round_record(round_, counts, choice)])
        ended = choice.action == "stop"
        return {
            "accepted": await store.count(run_id, Sample, tag="train", outcome=Outcome.ACCEPTED),
            "waiting": await store.count(run_id, Sample, tag="train", outcome=Outcome.WAITING),
            "novelty": counts.diversity,
            "next_round": choice,
            "warnings": shortfall(request, kept, choice) if ended else [],
        }

    return gate


async def judge_round(
    store: RecordStore, open_endpoint: OpenEndpoint, run_id: str, request: RunRequest, round_: int
) -> RoundCounts:
    """Judge the rows of a round page by page, in the order of their ids, and return how they fared.

    They are held against the seeds, what earlier rounds kept, each other, and the prompts of the evaluation. Rows that
    failed stay as they are.
    """
    counts = RoundCounts()
    report_progress("gate", total=await store.count(run_id, Sample, origin="generated", round=round_))
    opinions: dict[str, tuple[float, str]] = {}
    earlier = await kept_instructions(store, run_id, round_)
    pipeline = await asyncio.to_thread(gate_pipeline, request, earlier, opinions)
    held = await asyncio.to_thread(held_out, request)
    async for page in store.pages(run_id, Sample, tag="train", origin="generated", round=round_):
        offered = [sample for sample in page if sample.outcome != Outcome.FAILED]
        if request.gates.opinion and offered:
            endpoint = await open_endpoint(request.models.judge, run_id)
            opinions.update(await ask_opinions(endpoint, offered))
        found = await asyncio.to_thread(pipeline.judge, offered)
        decisions = [held.decide(sample, one) for sample, one in zip(offered, found, strict=True)]
        await store.settle(run_id, [judged(s, d) for s, d in zip(offered, decisions, strict=True)])
        counts.add(decisions)
        opinions.clear()
        report_progress("gate", len(page))
    return counts


async def kept_instructions(store: RecordStore, run_id: str, round_: int) -> list[str]:
    """Return what the rounds before this one kept, accepted or waiting, in the order of ids: the texts alone."""
    found: list[tuple[str, str]] = []
    for origin, outcome in product(("generated", "similar"), (Outcome.ACCEPTED, Outcome.WAITING)):
        kept = Match(tag="train", origin=origin, outcome=outcome)
        rows = store.scan(run_id, Sample, "id", "instruction", "round", **kept)
        found += [(id_, instruction) async for id_, instruction, of_round in rows if of_round < round_]
    return [instruction for _, instruction in sorted(found)]


def gate_pipeline(
    request: RunRequest, earlier: Sequence[str], opinions: Mapping[str, tuple[float, str]]
) -> GatePipeline:
    """Return the gates, that know the seeds and what earlier rounds kept.

    Args:
        request: the run's.
        earlier: the instructions that were kept.
        opinions: by the samples' ids; looked up when a sample is judged.
    """
    seeds = [task.instruction for task in load_seed_tasks(Path(request.sources.seeds))]
    return GatePipeline(request.gates, [*seeds, *earlier], opinion=lambda sample: opinions.get(sample.id))


def round_record(round_: int, counts: RoundCounts, choice: NextRound) -> GenerationRound:
    """Return what is kept of the round."""
    return GenerationRound(
        id=content_hash("round", round_),
        round=round_,
        offered=counts.offered,
        accepted=counts.accepted,
        novelty=counts.diversity,
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
