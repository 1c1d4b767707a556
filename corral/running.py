"""The synchronous forms: a coroutine run to its end anywhere, and a whole run in one line."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Coroutine, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from state.errors import BadInput
from state.pipeline import PipelineState
from state.records import Record
from state.request import RunRequest
from tools.endpoint.loop import with_last_answers
from tools.settings import Settings, load_settings

if TYPE_CHECKING:
    from graph.runs import Runs
    from graph.standing import Standing
    from tools.endpoint.plugged import Brought

T = TypeVar("T")


class FinishedRun(Record):
    """Where a run stands after it was worked on, and what it made."""

    run_id: str
    """Its name, for ``open_runs`` and for the command line."""
    standing: str
    """``done``, or ``waiting`` for a person."""
    step: str
    """The step that waits; empty where the run is done."""
    detail: str
    """What it asks; empty where the run is done."""
    verdict: str
    """``better``, ``worse`` or ``not shown``, of the adapter against its base; empty before the evaluation."""
    dataset: str
    """The folder of its dataset; empty before there is one."""
    adapter: str
    """The folder of its adapter; empty before there is one."""
    deployed: str
    """The registry's version; empty where none was deployed."""
    spent: float
    """Dollars of all its calls."""
    warnings: tuple[str, ...]
    """What a person should know before trusting it."""


def in_sync(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, in a thread of its own where an event loop runs in this one.

    Ctrl-C ends it once the answers to what it has sent are kept.
    """
    coroutine = with_last_answers(coroutine)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    here = contextvars.copy_context()  # so that what is traced here is the parent of what is traced there
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(here.run, asyncio.run, coroutine).result()


def run(
    request: RunRequest | Mapping[str, Any] | Path | str | None = None,
    *,
    run_id: str | None = None,
    answer: Any = None,
    chat_models: Mapping[str, Brought] | None = None,
    settings: Settings | None = None,
) -> FinishedRun:
    """Work on a run until it is done or waits for a person; see ``arun``."""
    return in_sync(arun(request, run_id=run_id, answer=answer, chat_models=chat_models, settings=settings))


async def arun(
    request: RunRequest | Mapping[str, Any] | Path | str | None = None,
    *,
    run_id: str | None = None,
    answer: Any = None,
    chat_models: Mapping[str, Brought] | None = None,
    settings: Settings | None = None,
) -> FinishedRun:
    """Work on a run until it is done or waits for a person.

    A run of that name that is there already goes on where it was, with the request that it began with.

    Args:
        request: what it shall do: a request, its sections in a mapping, or a YAML file; ``None`` for the defaults.
        run_id: its name; ``None`` makes one.
        answer: a person's answer to what it asks, such as ``"approve"``.
        chat_models: as for ``open_runs``.
        settings: the environment's, which are read where none are given.

    Raises:
        BadInput: the request cannot work, or the answer does not fit the question.
        RunWaiting: it waits for an answer, and none was given.
        CorralError: a step failed; the same call goes on.
    """
    from graph.runs import open_runs

    settings = settings or await asyncio.to_thread(load_settings)
    async with open_runs(settings, chat_models) as runs:
        known = {status.run_id: status for status in await runs.statuses()}
        if run_id is None or run_id not in known:
            run_id = await runs.create(await asyncio.to_thread(read, request), run_id)
        async for _ in runs.advance(run_id, answer):
            pass
        return await finished(runs, run_id)


def read(request: RunRequest | Mapping[str, Any] | Path | str | None) -> RunRequest:
    """Return what is given as a request.

    Raises:
        BadInput: the file is missing, or a section or value is wrong.
    """
    from tools.config import load_request, read_request

    if isinstance(request, RunRequest):
        return request
    if isinstance(request, Mapping):
        return read_request(dict(request), "the request", load_settings().openai_base_url)
    if request is not None and not isinstance(request, str | Path):
        raise BadInput(f"a RunRequest, a mapping or a YAML file is asked for, not {type(request).__name__}")
    return load_request(None if request is None else Path(request))


async def finished(runs: Runs, run_id: str) -> FinishedRun:
    """Return where a run stands, and what it has made so far."""
    status, state = await runs.status(run_id), await runs.state(run_id)
    spent = await runs.services.calls.spent(run_id)
    return _finished(run_id, (status.standing, status.step, status.detail), state, spent)


def _finished(run_id: str, place: tuple[Standing, str, str], state: PipelineState, spent: float) -> FinishedRun:
    dataset, adapter, verdict = state.get("dataset"), state.get("adapter"), state.get("verdict")
    return FinishedRun(
        run_id=run_id,
        standing=place[0],
        step=place[1],
        detail=place[2],
        verdict=verdict.verdict if verdict else "",
        dataset=dataset.folder if dataset else "",
        adapter=adapter.folder if adapter else "",
        deployed=state.get("deployed", ""),
        spent=spent,
        warnings=tuple(state.get("warnings", ())),
    )
