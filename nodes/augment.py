"""augment: prompts that are similar to those whose answers were rated low, through all gates."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from functools import partial

from state.errors import CallFailed
from state.pipeline import Node, Overspend, PipelineState
from state.records import Candidate, Outcome, Sample
from state.request import RunRequest
from state.store import RecordStore
from tools.batch import for_each
from tools.endpoint.chat import ChatCall, OpenEndpoint
from tools.gates import GatePipeline
from tools.gates.held_out import HeldOut
from tools.gates.opinion import ask_opinions
from tools.gates.results import judged
from tools.generation.prompting import generation_call
from tools.generation.rows import no_task, samples_of
from tools.progress import report_progress
from tools.sources.prompts import heldout_prompts
from tools.sources.seeds import SeedInstance, SeedTask

ROUNDS = 3
"""Rounds of calls at most, until enough prompts have passed."""


def make_augment(store: RecordStore, open_endpoint: OpenEndpoint) -> Node:
    """Return the node.

    The prompts rated low are the demonstrations of the generator. What it writes must not repeat one of them, another
    one of its own, or a held-out prompt.

    Args:
        store: the record store.
        open_endpoint: opens the generator, and the judge where the gates ask for its opinion.
    """

    async def augment(state: PipelineState) -> PipelineState:
        run_id, request, improvement = state["run_id"], state["request"], state["improvement"]
        asked = await store.find(run_id, Sample, origin="feedback")
        tasks = demonstrations(asked, await store.find(run_id, Candidate, parents=[s.id for s in asked]))
        report_progress("augment", total=request.improve.similar if tasks else 0)
        passed, number, overspend = 0, 0, None
        while tasks and passed < request.improve.similar and number < ROUNDS and not overspend:
            number += 1
            written, overspend = await write(open_endpoint, state, tasks, number, request.improve.similar - passed)
            if overspend and not state.get("capped"):
                # It begins anew once the budget is decided: what it paid for is in the ledger.
                return {"overspend": overspend}
            await store.add(run_id, await gated(store, open_endpoint, state, written))
            passed = await store.count(run_id, Sample, origin="similar", outcome=Outcome.ACCEPTED)
        report_progress("augment", passed, note=f"{passed} similar prompts")
        return {"improvement": improvement.model_copy(update={"similar": passed}), "overspend": overspend}

    return augment


def demonstrations(asked: Sequence[Sample], candidates: Sequence[Candidate]) -> list[SeedTask]:
    """Return the prompts of which an answer was rejected, as tasks: with a corrected answer where there is one."""
    by_sample: dict[str, list[Candidate]] = {}
    for candidate in candidates:
        by_sample.setdefault(candidate.sample_id, []).append(candidate)
    found = []
    for sample in asked:
        answers = sorted(by_sample.get(sample.id, []), key=lambda one: (one.provenance != "edited", one.draw, one.id))
        if any(one.outcome == Outcome.REJECTED for one in answers) or any(a.provenance == "edited" for a in answers):
            shown = SeedInstance(input=sample.input, output=answers[0].text)
            found.append(
                SeedTask(
                    id=sample.id,
                    name=sample.id,
                    instruction=sample.instruction,
                    instances=(shown,),
                    category=sample.category,
                )
            )
    return found


async def write(
    open_endpoint: OpenEndpoint, state: PipelineState, tasks: Sequence[SeedTask], number: int, missing: int
) -> tuple[list[Sample], Overspend | None]:
    """Return what the generator writes in one round, and the overspend where the budget ended first.

    Args:
        open_endpoint: opens the generator.
        state: the run's.
        tasks: what it is shown.
        number: of the round, from 1.
        missing: prompts that are still wanted.
    """
    request = state["request"]
    endpoint = await open_endpoint(request.models.generator, state["run_id"])
    each = max(1, request.generation.tasks_per_call - request.generation.demonstrations)
    calls = [
        generation_call(
            tasks,
            request.generation,
            round=number,
            index=index,
            seed=request.seed,
            accepted_by_category={},
            prefill=endpoint.can.prefill,
        )
        for index in range(-(-missing // each))
    ]
    written: list[Sample] = []

    async def ask(call: ChatCall) -> None:
        try:
            completion = await endpoint.complete(call, partial(no_task, call))
        except CallFailed:
            return  # the ledger keeps the failed call, and the next round makes up for it
        written.extend(await asyncio.to_thread(samples_of, call, completion, 0))

    overspend = await for_each(calls, ask)
    rows = [row.model_copy(update={"origin": "similar"}) for row in written]
    return sorted(rows, key=lambda row: row.id), overspend


async def gated(
    store: RecordStore, open_endpoint: OpenEndpoint, state: PipelineState, written: Sequence[Sample]
) -> list[Sample]:
    """Return the rows as the gates decide; one that repeats a held-out prompt is rejected, whatever rule is off."""
    run_id, request = state["run_id"], state["request"]
    offered = [row for row in written if row.outcome != Outcome.FAILED]
    heldout = [row.instruction for row in await asyncio.to_thread(heldout_prompts, request)]
    kept = [row.instruction for row in await store.find(run_id, Sample, tag="train") if row.outcome != Outcome.REJECTED]
    opinions: Mapping[str, tuple[float, str]] = {}
    if request.gates.opinion and offered:
        opinions = await ask_opinions(await open_endpoint(request.models.judge, run_id), offered)
    return await asyncio.to_thread(_judge, request, offered, heldout, kept, opinions) + [
        row for row in written if row.outcome == Outcome.FAILED
    ]


def _judge(
    request: RunRequest,
    offered: Sequence[Sample],
    heldout: Sequence[str],
    kept: Sequence[str],
    opinions: Mapping[str, tuple[float, str]],
) -> list[Sample]:
    gates = GatePipeline(request.gates, [*heldout, *kept], opinion=lambda sample: opinions.get(sample.id))
    held = HeldOut(heldout, request.gates.rouge_threshold)
    # The policy writes the answers; what the generator wrote was to be read by the gates alone.
    return [
        judged(row, held.decide(row, decision)).model_copy(update={"output": ""})
        for row, decision in zip(offered, gates.judge(offered), strict=True)
    ]
