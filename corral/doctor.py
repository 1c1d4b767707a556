"""``corral doctor``: what a run needs from this machine, and what to do where it is missing."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

from graph.preflight import by_endpoint, check_request, check_sources, check_training
from state.database import Database
from state.errors import CorralError
from state.extras import install_command, missing_modules
from state.records import Record
from state.request import Endpoint, RunRequest
from tools.endpoint import demand_batches, probe
from tools.machine.disk import demand_room
from tools.settings import Settings
from tools.weights.embedded import embedded_model


class Finding(Record):
    """One thing that was checked."""

    what: str
    ok: bool
    found: str
    advice: str = ""
    """What to do; empty where all is well."""


async def examine(settings: Settings, request: RunRequest | None = None) -> list[Finding]:
    """Look at the endpoints, the model file, the database, the GPU, the disk and the tracing. Nothing is spent.

    Args:
        settings: the environment's.
        request: the run to look at the servers, files and weights of; ``None`` for what every run may need.

    Raises:
        BadInput: the request itself is wrong.
    """
    missing, server = missing_modules("train"), list[Endpoint]()
    if request is None:
        server = [Endpoint(base_url=settings.openai_base_url)] if settings.openai_api_key is not None else []
        endpoints = ([] if missing else [Endpoint()]) + server
        found = [await _endpoint("endpoint", spec, settings, any_model=True) for spec in endpoints]
    else:
        found = await _of_request(request, settings)
    return [
        *found,
        # A request's own models are looked at one by one, so that one that needs weights has failed above.
        _without_weights(missing[0], bool(server) or request is not None)
        if missing
        else await asyncio.to_thread(_model_file),
        await _database(settings),
        await asyncio.to_thread(_gpu),
        await asyncio.to_thread(_disk, settings.home),
        *([_tracing(settings)] if settings.langsmith_tracing else []),
    ]


async def _of_request(request: RunRequest, settings: Settings) -> list[Finding]:
    """Look at what a run would use: each server once, with all that it is for."""
    check_request(request)
    return [
        *[await _endpoint(names.replace("models.", ""), spec, settings) for names, spec in by_endpoint(request)],
        await asyncio.to_thread(_checked, "sources", _sources(request), lambda: check_sources(request)),
        await asyncio.to_thread(
            _checked, "base", f"{request.models.base}, to train", lambda: check_training(request, settings.cache)
        ),
    ]


def _sources(request: RunRequest) -> str:
    return ", ".join(filter(None, (request.sources.prompts, request.sources.seeds, request.evaluate.ifeval)))


def _checked(what: str, found: str, check: Callable[[], None]) -> Finding:
    try:
        check()
    except CorralError as error:
        return Finding(what=what, ok=False, found=found, advice=str(error))
    return Finding(what=what, ok=True, found=found)


async def _endpoint(what: str, spec: Endpoint, settings: Settings, *, any_model: bool = False) -> Finding:
    place = spec.base_url if any_model else f"{spec.model} at {spec.base_url}"
    try:
        result = await probe(spec, settings, any_model=any_model)
        if spec.batch is not None:
            await demand_batches(spec, settings)
    except CorralError as error:
        return Finding(what=what, ok=False, found=place, advice=str(error))
    batches = "; it has batches" if spec.batch is not None else ""
    return Finding(what=what, ok=True, found=f"{place}: {result.detail}{batches}")


def _without_weights(missing: str, has_server: bool) -> Finding:
    """Return what the base install lacks: enough for all but the training, where a server answers."""
    return Finding(
        what="training and embedded model",
        ok=has_server,
        found=f"not in this installation: there is no {missing}",
        advice=f"to train, or to answer without a server: {install_command('train')}",
    )


def _model_file() -> Finding:
    try:
        path = embedded_model()
    except CorralError as error:
        return Finding(what="model file", ok=False, found="none", advice=str(error))
    return Finding(what="model file", ok=True, found=f"{path.name}, {path.stat().st_size / 1e6:.0f} MB")


async def _database(settings: Settings) -> Finding:
    database = None
    try:
        database = Database(settings.database_url)
        await database.create()
    except CorralError as error:
        return Finding(what="database", ok=False, found="not usable", advice=str(error))
    finally:
        if database is not None:
            await database.close()
    return Finding(what="database", ok=True, found=database.place)


def _gpu() -> Finding:
    advice = "training and the embedded model run on the CPU; for a large model, use a machine with a GPU"
    tool = shutil.which("nvidia-smi")
    if tool is None:
        return Finding(what="GPU", ok=True, found="none", advice=advice)
    query = [tool, "--query-gpu=name,memory.total", "--format=csv,noheader"]
    answer = subprocess.run(query, capture_output=True, text=True, check=False, timeout=30)
    if answer.returncode:
        advice = "nvidia-smi fails: check the driver, or go on with the CPU"
        return Finding(what="GPU", ok=False, found="not usable", advice=advice)
    return Finding(what="GPU", ok=True, found="; ".join(answer.stdout.strip().split("\n")))


def _disk(home: Path) -> Finding:
    try:
        free = demand_room(home)
    except CorralError as error:
        return Finding(what="disk", ok=False, found=str(home), advice=str(error))
    return Finding(what="disk", ok=True, found=f"{free / 1e9:.0f} GB free in {home}")


def _tracing(settings: Settings) -> Finding:
    place = f"LangSmith project {settings.langsmith_project!r} at {settings.langsmith_endpoint}"
    if settings.langsmith_api_key is None:
        advice = "set LANGSMITH_API_KEY, or LANGSMITH_TRACING=false"
        return Finding(what="tracing", ok=False, found=f"{place}, without a key", advice=advice)
    return Finding(what="tracing", ok=True, found=place)
