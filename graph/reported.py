"""A step that ends with a report of the run."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from functools import wraps
from pathlib import Path

from graph.checklists import keep_checklists
from graph.services import Services
from state.pipeline import Node, PipelineState
from tools.checklists.items import Checklist
from tools.checklists.kept import Stage
from tools.progress import report_progress
from tools.report import REPORT, rows_beside

Writer = Callable[..., Awaitable[Path]]
"""Writes something of a run, and returns its place."""


def reported(node: Node, services: Services) -> Node:
    """Return a node that does the same, and then writes a report of the run.

    A report that fails gives the run a warning and nothing else: what was trained and measured stays.
    """

    @wraps(node)
    async def with_report(state: PipelineState) -> PipelineState:
        update = await node(state)
        try:
            now: PipelineState = {**state, **update}
            # The rows are those that were trained on, from the first report on.
            place = services.runs_folder / state["run_id"] / REPORT
            write_rows, write_report = await asyncio.to_thread(_writers)
            if not await asyncio.to_thread(rows_beside(place).exists):
                await write_rows(services, state["run_id"], now, place)
            lists = await keep_checklists(services, state["run_id"], now)
            if "verdict" in update:
                update = _with_failures(update, now, lists)
            path = await write_report(services, state["run_id"], {**state, **update})
        except Exception as error:
            line = f"the report was not written ({type(error).__name__}: {error}); corral report {state['run_id']}"
            return {**update, "warnings": [*update.get("warnings", []), line]}
        report_progress(node.__name__, note=str(path.name))  # type: ignore[attr-defined]  # a node is a function
        return update

    return with_report


def _writers() -> tuple[Writer, Writer]:
    """Import what writes rows and report: it takes a fifth of a second, which a run's start does without."""
    from graph.reporting import write_report
    from graph.row_browser import write_rows

    return write_rows, write_report


def _with_failures(update: PipelineState, state: PipelineState, lists: Mapping[Stage, Checklist]) -> PipelineState:
    """Return what the evaluation found, with the critical items of its checklists that failed.

    They are warnings to who signs the adapter, and flags of it: an unattended run deploys no adapter that has any. What
    speaks against the adapter itself is not repeated here: the policy looks at it by itself.
    """
    stops = [f"checklist of the {stage}: {lists[stage].stop}" for stage in ("data", "training") if _stops(lists, stage)]
    if not stops:
        return update
    adapter = state["adapter"]
    flags = (*adapter.flags, *(line for line in stops if line not in adapter.flags))
    return {
        **update,
        "adapter": adapter.model_copy(update={"flags": flags}),
        "warnings": [*update.get("warnings", []), *stops],
    }


def _stops(lists: Mapping[Stage, Checklist], stage: Stage) -> bool:
    return stage in lists and bool(lists[stage].stop)
