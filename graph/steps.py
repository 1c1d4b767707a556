"""What surrounds every step: the run's id, its row in the store, its lease, and a note of its time."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable, Iterator
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from langgraph.config import get_config

from graph.inputs import note, own_request
from graph.services import Services
from state.pipeline import PipelineState, relocated
from tools.files import storage_errors

STEP_TIMES = "steps.jsonl"
"""In a run's folder: a line for each time that a step, or one batch of it, worked."""

N = TypeVar("N", bound=Callable[..., Awaitable[Any]])


def step(node: N, services: Services) -> N:
    """Return the node as the graph runs it.

    It holds the run's lease while it works, so that a server and a command line never work on one run at once. It
    finds in its state ``run_id``, the id of the thread, and the request that the run started with, whatever a client
    sent since; the files that this names are the run's own copies. When it began and ended is noted in the run's
    folder, for its report.

    Raises:
        RunBusy: another process works on the run.
        BadInput: one of the run's files cannot be read, or its copy was changed.
    """

    @wraps(node)
    async def leased(state: PipelineState) -> Any:
        run_id = str(get_config()["configurable"]["thread_id"])
        kept = await note(services, run_id, state["request"])
        async with services.leases.hold(run_id):
            given = relocated(state, services.runs_folder / run_id)
            request = await own_request(services, run_id, kept)
            began = time.time()
            try:
                return await node({**given, "run_id": run_id, "request": request})
            finally:
                line = {"step": node.__name__, "began": round(began, 3), "ended": round(time.time(), 3)}
                await asyncio.to_thread(_note, services.runs_folder / run_id / STEP_TIMES, line)

    return cast(N, leased)


def read_step_times(folder: Path) -> Iterator[tuple[str, float, float]]:
    """Yield (step, began, ended) of a run's folder, in seconds since 1970; a torn line is skipped."""
    try:
        with (folder / STEP_TIMES).open(encoding="utf-8") as file:
            for line in file:
                try:
                    row = json.loads(line)
                    yield str(row["step"]), float(row["began"]), float(row["ended"])
                except (ValueError, KeyError, TypeError):
                    continue
    except OSError:
        return


def _note(path: Path, line: dict[str, Any]) -> None:
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
