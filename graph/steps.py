"""What surrounds every step: the run's id, its row in the store, its lease, and a note of its time."""

from __future__ import annotations

import asyncio
import json
import logging
import time
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, cast

from langgraph.config import get_config
from langgraph.errors import GraphBubbleUp, is_invalid_resume
from pydantic import ValidationError

from graph.inputs import note, other_request, own_request, same_request
from graph.services import Services
from graph.step_times import STEP_TIMES
from state.errors import BadInput, LeaseLost
from state.pipeline import PipelineState, relocated
from state.snapshots import PIPELINE
from tools.logs import logged_run
from tools.spans import span

logger = logging.getLogger(__name__)


N = TypeVar("N", bound=Callable[..., Awaitable[Any]])


def step(node: N, services: Services) -> N:
    """Return the node as the graph runs it.

    It holds the run's lease while it works, so that a server and a command line never work on one run at once. It
    finds in its state ``run_id``, the id of the thread, and the request that the run started with; the files that this
    names are the run's own copies. When it began and ended is noted in the run's folder, for its report, and in the
    run's log.

    Raises:
        RunBusy: another process works on the run.
        LeaseLost: another process has taken the run over from this one.
        BadInput: the state's request is not the run's, the thread is a copy of a run's, one of the run's files cannot
            be read, or its copy was changed.
    """
    name = node.__name__

    @wraps(node)
    async def leased(state: PipelineState) -> Any:
        task = get_config()["configurable"]
        run_id = str(task["thread_id"])
        folder = services.runs_folder / run_id
        given = relocated(state, folder)
        kept = await note(services, run_id, given)
        async with services.leases.hold(run_id):
            request = await own_request(services, run_id, kept)
            # A batch is sent the request with the run's own copies in it.
            if given["request"] != request and not same_request(given["request"], kept):
                raise BadInput(other_request(run_id))
            began = time.time()
            try:
                at = _step_of(task)
                traced = span(f"step {name}", corral__run=run_id, corral__step=at)
                with services.leases.step(run_id), logged_run(run_id, folder, at), _logged_task(name), traced:
                    update = await node({**given, "run_id": run_id, "request": request})
                    _log_warnings(state, update)
                return update
            except LeaseLost:
                began = 0.0
                raise
            finally:
                if began:  # not where another process has the run now: its folder is no longer ours
                    line = {"step": name, "began": round(began, 3), "ended": round(time.time(), 3)}
                    await asyncio.to_thread(_note, folder / STEP_TIMES, line)
                await services.database.shorten_log()

    return cast(N, leased)


def answer_refusal(error: Exception) -> BadInput | None:
    """Return what to say of a person's answer that does not fit its question, where that is the error."""
    if not isinstance(error, ValidationError) or not is_invalid_resume(error):
        return None
    fault = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(map(str, fault["loc"]))
    said = fault["msg"].removeprefix("Value error, ")
    return BadInput(f"the answer does not fit: {place + ': ' if place else ''}{said}; the run still waits for it")


def _step_of(task: Mapping[str, Any]) -> str:
    """Return the step of a task: ``respond`` in ``respond:1f2e|batch:3d4c``, also within an improvement."""
    names = [part.split(":")[0] for part in str(task["checkpoint_ns"]).split("|")]
    return names[1] if names[0] == PIPELINE and len(names) > 1 else names[0]


@contextmanager
def _logged_task(name: str) -> Iterator[None]:
    began = time.monotonic()
    logger.info("step began", extra={"task": name})
    level, event, fault = logging.INFO, "step ended", {}
    try:
        yield
    except GraphBubbleUp:
        event = "step waits for a person"
        raise
    except asyncio.CancelledError:
        level, event = logging.WARNING, "step cancelled"
        raise
    except Exception as error:
        refusal = answer_refusal(error)
        level, event = (logging.ERROR, "step failed") if refusal is None else (logging.WARNING, "answer refused")
        fault = {"error": str(refusal or f"{type(error).__name__}: {error}")}
        raise
    finally:
        logger.log(level, event, extra={"task": name, "seconds": round(time.monotonic() - began, 3), **fault})


def _log_warnings(before: PipelineState, update: Any) -> None:
    """Log the warnings that a step added; a batch of a step returns no state."""
    after = update.get("warnings", []) if isinstance(update, dict) else []
    for warning in after[len(before.get("warnings", [])) :]:
        logger.warning("%s", warning)


def _note(path: Path, line: dict[str, Any]) -> None:
    # No step fails for its note, and none hides by it what it failed for.
    with suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(line) + "\n")
