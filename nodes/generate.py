"""generate: new instructions in Alpaca's way, several requests in flight; and the given prompts, once."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path

from state.calls import CallStore
from state.errors import CallDeferred, CallFailed
from state.pipeline import NextRound, Node, Overspend, PipelineState, RateLimits
from state.reading import Match
from state.records import Outcome, Sample
from state.request import RunRequest
from state.store import RecordStore
from tools.batch import for_each
from tools.endpoint.chat import ChatCall, OpenEndpoint
from tools.gates.held_out import demand_ifeval_unseen
from tools.generation.deciding import GenerationFacts, decide_next_round, pays_for_a_batch
from tools.generation.pacing import expected_seconds
from tools.generation.planning import left_of, round_needs
from tools.generation.prompting import generation_call
from tools.generation.rows import no_task, samples_of
from tools.progress import report_progress
from tools.sources.prompts import load_prompts
from tools.sources.seeds import load_seed_tasks


def make_generate(store: RecordStore, calls: CallStore, open_endpoint: OpenEndpoint) -> Node:
    """Return the node; each visit is one round.

    A round that the budget cuts short goes on where the budget is raised; where it is not, it ends with the calls that
    were paid for.
    """

    async def generate(state: PipelineState) -> PipelineState:
        run_id, request = state["run_id"], state["request"]
        await store.add(run_id, await asyncio.to_thread(given_prompts, request))
        if not request.generation.target:
            return {"round": state.get("round", 0)}
        endpoint = await open_endpoint(request.models.generator, run_id)
        plan = state.get("next_round") or await first_plan(calls, state, endpoint.limits)
        if isinstance(plan, Overspend):
            return {"overspend": plan}
        await asyncio.sleep(plan.wait_seconds)
        if not plan.calls:
            return {"round": state.get("round", 0)}
        round_ = state.get("round", 0) + 1
        batch = await round_calls(store, run_id, request, round_, plan, prefill=endpoint.can.prefill)
        expected = await expected_seconds(calls, "generate", request, len(batch))
        report_progress("generate", total=len(batch), expected=expected)
        answered: list[str] = []
        previewed: dict[int, list[Sample]] = {}

        async def ask(call: ChatCall) -> None:
            try:
                completion = await endpoint.complete(call, partial(no_task, call))
            except CallFailed:
                pass  # the ledger keeps the failed call, and the next round makes up for it
            else:
                rows = await asyncio.to_thread(samples_of, call, completion, round_)
                previewed[call.draw] = await keep(store, run_id, request, rows)
                answered.append(completion.key)
            report_progress("generate", 1)

        try:
            overspend = await for_each(batch, ask)
        except CallDeferred:
            return {"next_round": plan, "deferred": True}
        if overspend and not state.get("capped"):
            # The same round goes on once the budget is decided: what it paid for is in the ledger.
            return {"overspend": overspend, "next_round": plan}
        await store.add(run_id, first_rows(previewed, request.generation.target))
        return {
            "round": round_,
            "round_calls": len(batch),
            "failed_rounds": 0 if answered else state.get("failed_rounds", 0) + 1,
            "limits": endpoint.limits,
            "overspend": overspend,
        }

    return generate


async def keep(store: RecordStore, run_id: str, request: RunRequest, rows: list[Sample]) -> list[Sample]:
    """Write what a call wrote; of a preview it is returned instead, since that takes no more than it was asked for."""
    if request.preview:
        return rows
    await store.add(run_id, rows)
    return []


def first_rows(written: Mapping[int, Sequence[Sample]], count: int) -> list[Sample]:
    """Return the rows that a preview takes: the first so many, whichever call was answered first.

    Args:
        written: the rows of each call, by its number; a call writes a whole list.
        count: rows at most.
    """
    return [row for number in sorted(written) for row in written[number]][:count]


async def first_plan(calls: CallStore, state: PipelineState, limits: RateLimits) -> NextRound | Overspend:
    """Return what the first round does; the overspend where the cap pays for no call of it, and may be raised."""
    run_id, request = state["run_id"], state["request"]
    cap = await calls.cap(run_id)
    facts = await asyncio.to_thread(first_facts, request, cap, limits)
    plan = decide_next_round(facts)
    if cap is not None and not plan.calls and not pays_for_a_batch(facts) and not state.get("capped"):
        return Overspend(spent=await calls.spent(run_id), cap=cap)
    return plan


def given_prompts(request: RunRequest) -> list[Sample]:
    """Return the prompts of the request's file, accepted as they are: the owner chose them."""
    if request.sources.prompts is None:
        return []
    prompts = load_prompts(Path(request.sources.prompts), request.evaluate.heldout_share)
    demand_ifeval_unseen(request, prompts)
    training = [p for p in prompts if p.split == "train"][: request.sources.prompt_limit]
    # A preview ends before they are answered.
    heldout = [p for p in prompts if p.split == "heldout" and not request.preview]
    return [p.model_copy(update={"outcome": Outcome.ACCEPTED}) for p in training + heldout]


def first_facts(request: RunRequest, cap: float | None, limits: RateLimits) -> GenerationFacts:
    """Return what is known before the first round, when nothing but this round can have been spent.

    Raises:
        BadInput: the seed tasks cannot be read.
    """
    return round_needs(request).model_copy(update={"budget_left": cap, **left_of(limits)})


async def round_calls(
    store: RecordStore, run_id: str, request: RunRequest, round_: int, plan: NextRound, *, prefill: bool
) -> list[ChatCall]:
    """Return the calls of one round, steered to categories that lack rows.

    Args:
        store: the record store.
        run_id: the run.
        request: the run's.
        round_: the round's number, from 1.
        plan: how many calls, and of what size.
        prefill: whether the model can go on with an answer that is begun for it.
    """
    seeds = await asyncio.to_thread(load_seed_tasks, Path(request.sources.seeds))
    accepted = Match(tag="train", origin="generated", outcome=Outcome.ACCEPTED)
    rows = store.scan(run_id, Sample, "category", "round", **accepted)
    by_category = Counter([category async for category, of_round in rows if of_round < round_])
    return [
        generation_call(
            seeds,
            request.generation,
            round=round_,
            index=index,
            seed=request.seed,
            accepted_by_category=by_category,
            batch_size=plan.batch_size,
            prefill=prefill,
        )
        for index in range(plan.calls)
    ]
