"""The engine that the settings name."""

from __future__ import annotations

from contextlib import AbstractAsyncContextManager
from pathlib import Path
from typing import assert_never

from state.errors import BadInput
from tools.engine.asked import Engine, Served
from tools.settings import Settings

COMPARED_CONTEXT = 2048
"""Tokens of prompt and answer together where what is served is compared; a longer prompt is left out."""


def make_engine(settings: Settings) -> Engine:
    """Return the engine over the settings' registry; nothing is started yet.

    Raises:
        BadInput: an engine elsewhere is named without its URL.
    """
    registry = settings.home / "registry"
    match settings.serve_engine:
        case "llama.cpp":
            from tools.engine.embedded import EmbeddedEngine

            return EmbeddedEngine(
                registry, settings.cache, parallel=settings.serve_parallel, context=settings.serve_context
            )
        case "vllm":
            from tools.engine.vllm import VllmEngine

            return VllmEngine(registry, _vllm_url(settings))
        case _:
            assert_never(settings.serve_engine)


def serve_alone(settings: Settings, version: Path) -> AbstractAsyncContextManager[Served]:
    """Serve one version by the engine that the settings name, as a request holds it, to compare it with the training.

    Args:
        settings: the environment's.
        version: its folder, in a registry.

    Raises:
        BadInput: it cannot be served, or an engine elsewhere is named without its URL.
        EndpointError: the engine fails.
    """
    match settings.serve_engine:
        case "llama.cpp":
            from tools.engine.embedded import served_alone

            return served_alone(version, settings.cache, COMPARED_CONTEXT)
        case "vllm":
            from tools.engine.vllm import served_there

            return served_there(version, _vllm_url(settings))
        case _:
            assert_never(settings.serve_engine)


def _vllm_url(settings: Settings) -> str:
    if not settings.serve_url:
        raise BadInput("CORRAL_SERVE_ENGINE is vllm: set CORRAL_SERVE_URL to its server's, up to /v1")
    return settings.serve_url
