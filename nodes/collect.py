"""collect: what people said of the deployed version becomes rows of the run."""

from __future__ import annotations

import asyncio
from pathlib import Path

from state.feedback import FeedbackStore
from state.pipeline import Improvement, Node, PipelineState
from state.store import RecordStore
from state.wording import number_of
from tools.improvement.canary import deployed_version
from tools.improvement.rows import feedback_rows
from tools.progress import report_progress
from tools.sources.prompts import heldout_prompts


def make_collect(store: RecordStore, feedback: FeedbackStore, default_registry: Path) -> Node:
    """Return the node.

    Args:
        store: the record store.
        feedback: what was served, and what people said of it.
        default_registry: where the deployed version is unless the request names another folder.
    """

    async def collect(state: PipelineState) -> PipelineState:
        run_id, request = state["run_id"], state["request"]
        registry = Path(request.deploy.registry or default_registry)
        version = await asyncio.to_thread(deployed_version, registry, request.models.base)
        said = await feedback.feedback(version)
        report_progress("collect", total=len(said))
        answers = await feedback.answers(one.answer_id for one in said)
        heldout = await asyncio.to_thread(heldout_prompts, request)
        in_order = [answers[id_] for id_ in sorted(answers)]
        rows = await asyncio.to_thread(feedback_rows, in_order, said, heldout, request.gates.rouge_threshold)
        await store.add(run_id, rows.samples)
        await store.add(run_id, rows.candidates)
        await store.add(run_id, rows.reviews)
        report_progress("collect", len(said), note=number_of(len(rows.samples), "prompt"))
        counts = {name: getattr(rows, name) for name in ("corrected", "rejected", "chosen", "left_out")}
        return {"improvement": Improvement(version=version, adapter=str(registry / version), **counts)}

    return collect
