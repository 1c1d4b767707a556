"""What is checked before a run may spend anything."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from pathlib import Path

from state.errors import BadInput
from state.request import EMBEDDED, RunRequest
from tools.endpoint import capabilities, probe
from tools.machine.disk import demand_room
from tools.settings import Settings
from tools.sources.prompts import load_prompts
from tools.sources.seeds import load_seed_tasks
from tools.training.configs import config_file
from tools.training.quantise import demand_quantisation
from tools.training.recipe import phases_of
from tools.weights.folders import HUB_NAME, base_folder


async def preflight(request: RunRequest, settings: Settings, plugged: Collection[str] = ()) -> None:
    """Check all that can be checked for nothing: sources, disk, what the training needs, endpoints.

    Args:
        request: the run's request.
        settings: the environment's settings.
        plugged: names of the models that the program brought itself; they have no server to ask.

    Raises:
        BadInput: a source is missing or broken, or leaves nothing to train on or to evaluate with.
        StorageError: the disk is full, or its folder cannot be written.
        EndpointError: an endpoint is out of reach or refuses the key.
    """
    await asyncio.to_thread(check_request, request)
    await asyncio.to_thread(check_sources, request)
    await asyncio.to_thread(demand_room, settings.home)
    await asyncio.to_thread(check_training, request, settings.cache)
    endpoints = {request.models.generator, request.models.policy, request.models.judge}
    for spec in sorted(endpoints, key=lambda e: e.base_url):
        if spec.model not in plugged:
            await probe(spec, settings)


def check_request(request: RunRequest) -> None:
    """Check what the request says by itself: kinds of endpoints, phases of training. Nothing is read or asked.

    Raises:
        BadInput: an unknown word for an endpoint, a judge that gives plain text alone, or an unknown phase.
    """
    phases_of(request.train.recipe)
    models = request.models
    for name, spec in (("generator", models.generator), ("policy", models.policy), ("judge", models.judge)):
        try:
            can = capabilities(spec)
        except BadInput as error:
            raise BadInput(f"models.{name}: {error}") from error
        if name == "judge" and not can.json_schema:
            raise BadInput(
                f"models.judge: base_url {spec.base_url!r} gives plain text alone; judge by 'embedded' or a URL"
            )


def check_sources(request: RunRequest) -> None:
    """Read the seeds and prompts, and check that there is something to train on and something to evaluate with.

    Raises:
        BadInput: a file is missing or broken, or nothing is left of it for the one or the other.
    """
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
    """Check that weights, accelerate's config and what QLoRA needs are on this machine.

    Weights that are not here yet are no fault where training brings them: it unpacks the embedded model, and fetches a
    model from the hub.

    Raises:
        BadInput: one of them is missing.
    """
    base = request.models.base
    if base != EMBEDDED and (Path(base).exists() or not HUB_NAME.fullmatch(base)):
        base_folder(base, cache)
    demand_quantisation(request.train.quantise, config_file(request.train.accelerate_config))
