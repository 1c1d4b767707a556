"""What is checked before a run may spend anything."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Collection
from importlib.util import find_spec
from pathlib import Path

from state.errors import BadInput
from state.extras import missing_modules
from state.request import EMBEDDED, Endpoint, RunRequest
from tools.checks.style import demand_context
from tools.endpoint import Price, capabilities, demand_batches, demand_price, has_batches, price_of, probe
from tools.endpoint.prices import stated
from tools.gates.held_out import demand_ifeval_unseen
from tools.gates.pipeline import demand_known_rules
from tools.machine.disk import demand_room
from tools.people.gold import read_gold
from tools.settings import Settings
from tools.sources.prompts import load_prompts
from tools.sources.seeds import load_seed_tasks
from tools.training.configs import config_file
from tools.training.quantise import demand_quantisation
from tools.training.recipe import phases_of
from tools.training.trainable import demand_positions, demand_trainable
from tools.weights.embedded import POSITIONS
from tools.weights.folders import folder_here

logger = logging.getLogger(__name__)


async def preflight(
    request: RunRequest, settings: Settings, plugged: Collection[str] = (), *, servers: bool = True
) -> None:
    """Check all that can be checked for nothing: sources, disk, what the training needs, endpoints.

    A server whose list of models says nothing is asked for one small chat; one that is to answer batches, for its list
    of those.

    Args:
        request: the run's request.
        settings: the environment's settings.
        plugged: names of the models that the program brought itself; they have no server to ask.
        servers: whether to ask the servers.

    Raises:
        BadInput: a source is missing or broken, or leaves nothing to train on or to evaluate with; or a server that
            is to answer batches has none.
        StorageError: the disk is full, or its folder cannot be written.
        EndpointError: an endpoint is out of reach or refuses the key.
    """
    await asyncio.to_thread(check_request, request, plugged)
    await asyncio.to_thread(check_sources, request)
    await asyncio.to_thread(demand_room, settings.home)
    await asyncio.to_thread(check_training, request, settings.cache)
    for names, spec in by_endpoint(request) if servers else ():
        if spec.model in plugged:
            continue
        try:
            note = (await probe(spec, settings)).note
        except BadInput as error:
            raise BadInput(f"{names}: {error}") from error
        if note:
            logger.warning("%s: %s", spec.base_url, note)
        if spec.batch is not None:
            await demand_batches(spec, settings)


def check_request(request: RunRequest, plugged: Collection[str] = ()) -> None:
    """Check what the request says by itself: kinds of endpoints, prices, phases of training. Nothing is read or asked.

    Args:
        request: the run's request.
        plugged: names of the models that the program brought itself.

    Raises:
        BadInput: an unknown word for an endpoint, a judge that gives plain text alone, batches of what is no server,
            an unknown phase, or a budget over a model whose price is not known.
    """
    phases_of(request.train.recipe)
    demand_reporting(request.train.report_to)
    demand_context(request.judge.context)
    models = request.models
    for name, spec in (("generator", models.generator), ("policy", models.policy), ("judge", models.judge)):
        try:
            can = capabilities(spec)
        except BadInput as error:
            raise BadInput(f"models.{name}: {error}") from error
        if spec.batch is not None and (spec.model in plugged or not has_batches(spec)):
            raise BadInput(
                f"models.{name}.batch: {spec.model!r} at {spec.base_url!r} has no batch API: that needs a server's "
                "URL; leave batch out"
            )
        if name == "judge" and not can.json_schema:
            raise BadInput(
                f"models.judge: base_url {spec.base_url!r} gives plain text alone; judge by 'embedded' or a URL"
            )
    if request.budget.dollars is not None:
        for where, spec in asked_models(request):
            demand_price(spec, known_price(spec, plugged), where)


def demand_reporting(service: str) -> None:
    """Demand the package of a service that is to get the trainer's figures.

    Raises:
        BadInput: it is not installed.
    """
    if service != "none" and find_spec(service) is None:
        raise BadInput(f"train.report_to {service} needs the package {service}: pip install {service}")


def by_endpoint(request: RunRequest) -> list[tuple[str, Endpoint]]:
    """Return each endpoint that a run asks once, with the settings that name it, by URL."""
    names: dict[Endpoint, list[str]] = {}
    for name, spec in asked_models(request):
        names.setdefault(spec, []).append(name)
    return [(", ".join(names[spec]), spec) for spec in sorted(names, key=lambda spec: spec.base_url)]


def asked_models(request: RunRequest) -> list[tuple[str, Endpoint]]:
    """Return the models that a run asks, each with the setting that names it."""
    models = request.models
    writes = request.generation.target or (request.improve.from_feedback and request.improve.similar)
    generator = [("models.generator", models.generator)] if writes else []
    return [*generator, ("models.policy", models.policy), ("models.judge", models.judge)]


def unused_models(request: RunRequest, plugged: Collection[str]) -> list[str]:
    """Return a line for each model that the program brought and this request does not use."""
    models = request.models
    names = sorted({models.generator.model, models.policy.model, models.judge.model})
    return [
        f"no part of this request asks the model {name!r} that the program brought; its models are {', '.join(names)}: "
        "name it in models.generator, models.policy or models.judge"
        for name in sorted(set(plugged) - set(names))
    ]


def known_price(spec: Endpoint, plugged: Collection[str]) -> Price | None:
    """Return what an endpoint costs; of a model that the program brought itself only what the request states."""
    return stated(spec, None) if spec.model in plugged else price_of(spec)


def check_sources(request: RunRequest) -> None:
    """Read the seeds and prompts, and check that there is something to train on and something to evaluate with.

    Raises:
        BadInput: a file is missing or broken, nothing is left of it for the one or the other, what would be trained on
            repeats IFEval, or a gate's rule that is to be off is unknown.
    """
    demand_known_rules(request.gates)
    load_seed_tasks(Path(request.sources.seeds))
    if request.sources.gold:
        read_gold(Path(request.sources.gold))
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
    demand_ifeval_unseen(request, prompts)


def check_training(request: RunRequest, cache: Path) -> None:
    """Check that weights, accelerate's config and what QLoRA needs are here, and that the base can be trained.

    Weights that are not here yet are no fault where training brings them: it unpacks the embedded model, and fetches a
    model from the hub, unless it was fetched before. An installation that cannot train looks at the folder alone.

    Raises:
        BadInput: one of them is missing, or the base cannot be trained.
        StorageError: the cache cannot be written.
    """
    base = request.models.base
    if base == EMBEDDED:
        demand_positions(base, POSITIONS, request.train)
    elif (folder := folder_here(base, cache)) is not None and not missing_modules("train"):
        demand_trainable(folder, request.train, cache)
    demand_quantisation(request.train.quantise, config_file(request.train.accelerate_config))
