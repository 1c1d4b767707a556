"""What is checked before a run may spend anything."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import Collection
from pathlib import Path

from state.errors import BadInput, StorageError
from state.request import EMBEDDED, RunRequest
from tools.endpoint import capabilities, probe
from tools.files import storage_errors
from tools.settings import Settings
from tools.sources.prompts import load_prompts
from tools.sources.seeds import load_seed_tasks
from tools.training.configs import config_file
from tools.training.quantise import demand_quantisation
from tools.training.recipe import phases_of
from tools.weights.folders import HUB_NAME, base_folder

FREE_BYTES = 1_000_000_000
"""A run of the embedded model leaves about 100 MB; its trainer's checkpoints need several times that for a while."""


async def preflight(request: RunRequest, settings: Settings, plugged: Collection[str] = ()) -> None:
    """Check what costs nothing to check: sources, disk, weights, endpoints.

    Args:
        request: the run's.
        settings: the environment's.
        plugged: names of models that the program brought itself, which have no server.

    Raises:
        BadInput: a source is missing or broken, or would leave nothing to train on or to evaluate with.
        StorageError: there is no room or no right to write.
        EndpointError: an endpoint is out of reach or refuses the key.
    """
    await asyncio.to_thread(check_sources, request)
    await asyncio.to_thread(check_disk, settings.home)
    await asyncio.to_thread(check_training, request, settings.cache)
    if not capabilities(request.models.judge).json_schema:
        where = request.models.judge.base_url
        raise BadInput(f"models.judge: base_url {where!r} gives plain text alone; judge by 'embedded' or a URL")
    endpoints = {request.models.generator, request.models.policy, request.models.judge}
    for spec in sorted(endpoints, key=lambda e: e.base_url):
        if spec.model not in plugged:
            await probe(spec, settings)


def check_sources(request: RunRequest) -> None:
    """Read the seeds and prompts; there must be something to train on and something to evaluate with."""
    load_seed_tasks(Path(request.sources.seeds))
    prompts = []
    if request.sources.prompts:
        prompts = load_prompts(Path(request.sources.prompts), request.evaluate.heldout_share)
    if not prompts and request.generation.target == 0:
        raise BadInput("there is nothing to train on: set sources.prompts, or generation.target above 0")
    if not any(p.split == "heldout" for p in prompts):
        raise BadInput(
            'there is nothing to evaluate with: sources.prompts needs prompts with "split": "heldout", '
            "or evaluate.heldout_share above 0"
        )


def check_training(request: RunRequest, cache: Path) -> None:
    """Demand known phases, the base's weights where it is a folder, a config for accelerate, and what QLoRA needs.

    The embedded model is unpacked, and a model on the hub is fetched, when training begins.

    Raises:
        BadInput: one of these is missing.
    """
    phases_of(request.train.recipe)
    base = request.models.base
    if base != EMBEDDED and (Path(base).exists() or not HUB_NAME.fullmatch(base)):
        base_folder(base, cache)
    demand_quantisation(request.train.quantise, config_file(request.train.accelerate_config))


def check_disk(home: Path) -> None:
    """Check that the folder can be written to and has room."""
    with storage_errors(home):
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home) as file:
            file.write(b"corral")
        free = shutil.disk_usage(home).free
    if free < FREE_BYTES:
        raise StorageError(
            f"{home} has {free / 1e9:.1f} GB left and a run needs {FREE_BYTES / 1e9:.0f}; "
            "make room, or set CORRAL_HOME to another disk"
        )
