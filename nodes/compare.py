"""compare: the new adapter against the one that is deployed, on the same held-out prompts."""

from __future__ import annotations

import asyncio
from pathlib import Path

from state.pipeline import Node, PipelineState
from state.store import RecordStore
from tools.endpoint.chat import OpenEndpoint
from tools.evaluation.measuring import Measuring, heldout_samples
from tools.evaluation.scoreboard import score_answers
from tools.files import write_file
from tools.progress import report_progress


def make_compare(store: RecordStore, runs_folder: Path, open_endpoint: OpenEndpoint) -> Node:
    """Return the node.

    Args:
        store: the record store.
        runs_folder: each run has a folder of its name in it.
        open_endpoint: opens the weights that are measured.
    """
    measuring = Measuring(store, open_endpoint)

    async def compare(state: PipelineState) -> PipelineState:
        run_id, request, adapter = state["run_id"], state["request"], state["adapter"]
        deployed = state["improvement"]
        samples = await heldout_samples(store, run_id, request)
        report_progress("compare", total=len(samples) * (1 + request.evaluate.sampled_draws))
        before, _ = await measuring.measure(state, samples, [], deployed.version, deployed.adapter)
        after, _ = await measuring.measure(state, samples, [], adapter.id, adapter.folder)
        board = await asyncio.to_thread(
            score_answers, samples, before, after, request.evaluate, request.seed, against=deployed.version
        )
        place = runs_folder / run_id / "evaluation" / f"scoreboard-{adapter.id[:8]}-{deployed.version}.json"
        await asyncio.to_thread(write_file, place, (board.model_dump_json(indent=1) + "\n").encode())
        return {"against": board.record(str(place))}

    return compare
