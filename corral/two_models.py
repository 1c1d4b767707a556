"""Two models on this machine by name, and their answers to the same prompts, for ``corral compare``."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from state.errors import BadInput
from state.records import Sample
from state.request import EMBEDDED, Sampling
from tools.endpoint.chat import ChatEndpoint
from tools.evaluation.asking import Wanted, answer_call
from tools.registry import current, demand_version, versions
from tools.shipped import find_file
from tools.sources.items import Item
from tools.sources.prompts import load_prompts
from tools.weights.adapters import ADAPTER_CONFIG, find_base
from tools.weights.folders import base_folder

REGISTRY, BASE, CURRENT = "registry:", "base", "current"
"""Of a model's name: a version of the registry, such as ``registry:v1``; the other model's base."""


def named_models(a: str, b: str, registry: Path, cache: Path) -> tuple[str, str]:
    """Return two models as the endpoint ``weights`` names them.

    Args:
        a: ``registry:VERSION`` (or ``registry:current``), an adapter's or a model's folder, ``embedded``, a name on the
            hub, or ``base`` for the base of the other.
        b: the other.
        registry: the registry's folder.
        cache: where the unpacked embedded model is kept.

    Raises:
        BadInput: there is no such version or model, or both are ``base``.
    """
    if a == b:
        raise BadInput(f"--a and --b both name {a}: there is nothing to compare")
    first, second = (None if name == BASE else _named(name, registry, cache) for name in (a, b))
    return first or _base_of(second, cache), second or _base_of(first, cache)


def _named(name: str, registry: Path, cache: Path) -> str:
    if not name.startswith(REGISTRY):
        folder = Path(name).expanduser()
        if (folder / ADAPTER_CONFIG).is_file():
            find_base(folder, None, cache)
            return str(folder)
        return name if name == EMBEDDED else str(base_folder(name, cache))
    version = name.removeprefix(REGISTRY)
    found = current(registry) if version == CURRENT else version
    if found is None:
        raise BadInput(f"{name}: nothing is deployed in {registry}; its versions are {_listed(registry)}")
    demand_version(registry, found)
    return str(registry / found)


def _base_of(model: str | None, cache: Path) -> str:
    if model is None or not (Path(model) / ADAPTER_CONFIG).is_file():
        raise BadInput(f"{BASE!r} is the base of the other model, which must be an adapter")
    return str(find_base(Path(model), None, cache))


def _listed(registry: Path) -> str:
    return ", ".join(versions(registry)) or "none"


def prompts_to_compare(path: Path, limit: int | None) -> list[Sample]:
    """Return a file's prompts that are not marked for training.

    Raises:
        BadInput: the file is broken, or all its prompts are marked for training.
    """
    path = find_file(path)
    found = [sample for sample in load_prompts(path, 1.0) if sample.split == "heldout"][:limit]
    if not found:
        raise BadInput(f"{path}: all prompts are marked 'train'; there is nothing to compare on")
    return found


async def answers_of(endpoint: ChatEndpoint, samples: Sequence[Sample], max_tokens: int) -> list[Item]:
    """Return a model's greedy answers as items to judge, with the prompts' checks and context.

    Raises:
        EndpointError: the model failed.
        StorageError: the ledger cannot be written.
    """

    async def answer(sample: Sample) -> Item:
        call = answer_call(Wanted(sample=sample, draw=0), max_tokens, Sampling(), 0)
        text = (await endpoint.complete(call)).text.strip()
        return Item(prompt=sample.prompt, output=text, checks=sample.checks, context=sample.context)

    return list(await asyncio.gather(*(answer(sample) for sample in samples)))
