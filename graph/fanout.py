"""A step that is fanned out over batches of items: a small graph of its own, drawn as one node.

``next_wave`` reads what is pending and sends it out in batches; when all batches of the wave have ended it looks again,
and ends when nothing is pending. Waves follow each other in the order of ids, so that one reads no more than it sends.
A killed wave repeats only what its items had not finished. Items whose calls wait for a batch stay pending: when all
have been looked at, the calls are sent, and the items are done again once the answers are in the ledger.
"""

from __future__ import annotations

from functools import wraps
from typing import Any, Literal

from langgraph.graph import START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, Send

from graph.batching import add_waiting, may_batch
from graph.budget import ask_for_budget
from graph.services import Services
from graph.steps import step
from state.errors import CallDeferred
from state.pipeline import BatchNode, BatchState, Pending, PipelineState
from tools.generation.pacing import expected_seconds
from tools.progress import report_progress

BATCH = "batch"
BATCHES = 50
"""Sends in one wave: each is a row of the checkpoint."""
SMALLEST_BATCH, LARGEST_BATCH = 10, 50
"""Ids in one Send."""


class WaveState(PipelineState, total=False):
    """The state of the small graph: the run's, and how far its waves are."""

    after: str
    """The greatest id that was sent out; empty before the first wave."""


def batches_of(ids: list[str]) -> list[list[str]]:
    """Return the batches of the next wave: at most ``BATCHES`` of equal size but for the last, in order."""
    size = min(LARGEST_BATCH, max(SMALLEST_BATCH, -(-len(ids) // BATCHES)))
    return [ids[start : start + size] for start in range(0, min(len(ids), size * BATCHES), size)]


def fan_out(name: str, pending: Pending, work: BatchNode, services: Services) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Return the step as a graph.

    Args:
        name: the step's name, for its progress.
        pending: returns the items that are left.
        work: does the work for one batch.
        services: the process's services.
    """

    async def next_wave(state: WaveState) -> Command[Literal["send", "__end__"]]:
        update: WaveState = {}
        after = state.get("after", "")
        if (overspend := state.get("overspend")) and not state.get("capped"):
            update = {"overspend": None, "capped": await ask_for_budget(services, state["run_id"], overspend)}
            after = ""
        ids = await pending.ids(state, after, BATCHES * LARGEST_BATCH)
        batched = not ids and may_batch(state["request"])
        if batched and await services.batches.any_waits(state["run_id"]):
            return Command(update={**update, "after": ""}, goto="send")
        if after and not ids:
            # Once more from the first: a batch may have left some behind.
            after, ids = "", await pending.ids(state, "", BATCHES * LARGEST_BATCH)
        if not after:
            count = await pending.count(state)
            expected = await expected_seconds(services.calls, name, state["request"], count)
            report_progress(name, total=count, expected=expected)
        task: PipelineState = {"request": state["request"], "capped": update.get("capped", state.get("capped", False))}
        if batched and not ids:
            await services.batches.clear(state["run_id"])
        sends = [Send(BATCH, {**task, "ids": batch}) for batch in batches_of(ids)]
        return Command(update={**update, "after": ids[-1] if ids else ""}, goto=sends or "__end__")

    @wraps(work)
    async def work_or_wait(state: BatchState) -> PipelineState:
        try:
            return await work(state)
        except CallDeferred:
            return {}

    wave = StateGraph(WaveState, output_schema=PipelineState)
    wave.add_node("next_wave", step(next_wave, services), destinations=(BATCH, "send", "__end__"))
    wave.add_node(BATCH, step(work_or_wait, services), input_schema=BatchState)
    add_waiting(wave, "next_wave", services)
    wave.add_edge(START, "next_wave")
    wave.add_edge(BATCH, "next_wave")
    return wave.compile(name=f"{name} in batches")  # what a trace calls it
