"""Where a run's request and its files come from: the store, and the run's own copies."""

from __future__ import annotations

import asyncio
import re
import secrets
import shutil
from collections.abc import Collection
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from graph.estimates import ESTIMATE, keep_estimate
from graph.services import Services
from graph.teaching import BAND, with_band, with_kept_band
from state.errors import BadInput, UnknownRun
from state.pipeline import PipelineState
from state.records import Sample
from state.request import EMBEDDED, Endpoint, RunRequest
from tools.sources.inputs import FOLDER, MANIFEST, copy_inputs, named_files, read_inputs, with_copies


def demand_name(run_id: str) -> None:
    """Refuse a name that no run may have: a folder has it, too.

    Raises:
        BadInput: the name is longer than 100 characters, or holds others than letters, digits and ``._-``.
    """
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", run_id):
        raise BadInput(
            f"the run name {run_id!r} may only hold letters, digits, '.', '_' and '-', at most 100 of "
            "them, and begins with a letter or a digit"
        )


def new_name(request: RunRequest) -> str:
    """Return a name that no run has: the request's, the time, and a random end."""
    return f"{request.name}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


async def begin(services: Services, run_id: str, request: RunRequest) -> RunRequest:
    """Note a new run with its inputs, and return its own request; one that is noted already keeps what it has.

    Raises:
        BadInput: a file of the request cannot be read.
        StorageError: the store or the run's folder cannot be written.
    """
    kept = await services.store.open_run(run_id, await asyncio.to_thread(with_absolute_folders, request))
    return await own_request(services, run_id, kept)


async def note(services: Services, run_id: str, state: PipelineState) -> RunRequest:
    """Note a run that begins, so that its lease can be taken, and return the request that the store keeps of it.

    Raises:
        BadInput: the state is of a run, but not of this one: its thread was copied.
    """
    if "round" in state:
        # Rows, calls and files are the run's; a copy of its state alone has none of them to go on with.
        try:
            kept = await services.store.request_of(run_id)
        except UnknownRun as error:
            raise BadInput(
                f"thread {run_id} is a copy of a run's state without its rows; go on in the run's own thread, or open "
                "a new thread with a new request"
            ) from error
    else:
        request = await asyncio.to_thread(with_absolute_folders, state["request"])
        kept = await services.store.open_run(run_id, request)
    return kept


def other_request(run_id: str) -> str:
    """Return what to say to who wants another request of a run."""
    return f"this thread is run {run_id}, which keeps the request it started with; open a new thread for another one"


def same_request(given: RunRequest, kept: RunRequest) -> bool:
    """Return whether a request is the one that the store keeps; folders in that were made absolute."""
    return _same(given.model_dump(), kept.model_dump())


def _same(given: Any, kept: Any) -> bool:
    if isinstance(given, dict) and isinstance(kept, dict):
        return given.keys() == kept.keys() and all(_same(given[name], kept[name]) for name in given)
    if given == kept or not isinstance(given, str) or not isinstance(kept, str):
        return bool(given == kept)
    parts = [part for part in Path(given).parts if part != "~"]
    return bool(parts) and Path(kept).is_absolute() and list(Path(kept).parts[-len(parts) :]) == parts


async def own_request(services: Services, run_id: str, kept: RunRequest) -> RunRequest:
    """Return the request of a run that goes on, with its own copies in the place of the files it names.

    A run that has none yet gets them now: it is new, or an earlier version began it, which read the files in place.

    Args:
        services: the process's.
        run_id: the run.
        kept: its request, as the store has it.

    Raises:
        BadInput: a file cannot be read, or a copy was changed.
        StorageError: the run's folder cannot be read or written.
    """
    from graph.preflight import check_training  # only a new run needs it, not those who look at one

    folder = services.runs_folder / run_id / FOLDER
    noted = await asyncio.to_thread((folder / MANIFEST).exists)
    if not noted and not await services.store.ids(run_id, Sample, limit=1):
        # A run of the server has not been checked before; one that an earlier version began has its base where it was.
        await asyncio.to_thread(check_training, kept, services.cache)
    request = await asyncio.to_thread(_with_inputs, kept, folder, services.plugged)
    await keep_estimate(services, run_id, request)
    return await with_band(services, run_id, request)


async def request_to_show(services: Services, run_id: str) -> RunRequest:
    """Return a run's request for those who only look: as ``own_request``, but nothing is copied.

    Raises:
        UnknownRun: there is no such run.
        BadInput: a copy was changed.
    """
    kept = await services.store.request_of(run_id)
    copies = await asyncio.to_thread(read_inputs, services.runs_folder / run_id / FOLDER)
    return await with_kept_band(services, run_id, kept if copies is None else with_copies(kept, copies))


async def forget_inputs(services: Services, run_id: str) -> None:
    """Remove what an earlier run of a name left that the store does not know any more."""
    folder = services.runs_folder / run_id
    await asyncio.to_thread(shutil.rmtree, folder / FOLDER, ignore_errors=True)
    for name in (ESTIMATE, BAND):
        await asyncio.to_thread((folder / name).unlink, missing_ok=True)


def with_absolute_folders(request: RunRequest) -> RunRequest:
    """Return the request with the folders that it names made absolute: weights, which are not copied, and a registry.

    A model that is no folder here is a name on the hub or a server's, and stays as it is.
    """
    from tools.endpoint import weights_here  # only a new run needs it, not those who look at one

    def endpoint(spec: Endpoint) -> Endpoint:
        return spec.model_copy(update={"model": _absolute(spec.model)}) if weights_here(spec) == spec.model else spec

    models, registry = request.models, request.deploy.registry
    changed = {name: endpoint(getattr(models, name)) for name in ("generator", "policy", "judge")}
    deploy = request.deploy.model_copy(update={"registry": registry and str(Path(registry).expanduser().absolute())})
    models = models.model_copy(update={**changed, "base": _absolute(models.base)})
    return request.model_copy(update={"models": models, "deploy": deploy})


def _absolute(model: str) -> str:
    folder = Path(model).expanduser()
    return str(folder.absolute()) if model != EMBEDDED and folder.is_dir() else model


def _with_inputs(request: RunRequest, folder: Path, plugged: Collection[str]) -> RunRequest:
    from graph.preflight import check_request  # only a new run needs them, not those who look at one
    from tools.training.configs import shipped

    copies = read_inputs(folder)
    if copies is None:
        check_request(request, plugged)
        copy_inputs(named_files(request, shipped()), folder)
        copies = read_inputs(folder) or {}
    return with_copies(request, copies)
