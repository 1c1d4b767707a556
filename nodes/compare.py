"""compare: the new adapter against the one that is deployed, on the same held-out prompts."""

from __future__ import annotations

import asyncio
from pathlib import Path

from state.calls import CallStore
from state.pipeline import Node, PipelineState
from state.store import RecordStore
from tools.endpoint.chat import OpenEndpoint
from tools.evaluation.asking import ANSWERS
from tools.evaluation.measuring import Measuring, heldout_samples
from tools.evaluation.scoreboard import score_answers
from tools.files import write_file
from tools.generation.pacing import expected_measuring
from tools.progress import report_progress


def make_compare(store: RecordStore, calls: CallStore, runs_folder: Path, open_endpoint: OpenEndpoint) -> Node:
    """Return the node.

    Args:
        store: the record store.
        calls: the ledger, which tells how long earlier evaluations took.
        runs_folder: each run has a folder of its name in it.
        open_endpoint: opens the weights that are measured.
    """
    measuring = Measuring(store, open_endpoint, "compare")

    async def compare(state: PipelineState) -> PipelineState:
        run_id, request, adapter = state["run_id"], state["request"], state["adapter"]
        deployed = state["improvement"]
        samples = await heldout_samples(store, run_id, request)
        answers = len(samples) * (1 + request.evaluate.sampled_draws)
        # The new adapter's are in the store: the evaluation asked for them.
        expected = await expected_measuring(calls, request.models.base, {ANSWERS: answers}, models=1)
        report_progress("compare", total=2 * answers, expected=expected)
        before, _ = await measuring.measure(state, samples, [], deployed.version, deployed.adapter)
        after, _ = await measuring.measure(state, samples, [], adapter.id, adapter.folder)
        board = await asyncio.to_thread(
            score_answers, samples, before, after, request.evaluate, request.seed, against=deployed.version
        )
        place = runs_folder / run_id / "evaluation" / f"scoreboard-{adapter.id[:8]}-{deployed.version}.json"
        await asyncio.to_thread(write_file, place, (board.model_dump_json(indent=1) + "\n").encode())
        return {"against": board.record(str(place))}

    return compare
