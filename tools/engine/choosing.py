"""The engine that the settings name."""

from __future__ import annotations

from typing import assert_never

from state.errors import BadInput
from tools.engine.asked import Engine
from tools.settings import Settings


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

            if not settings.serve_url:
                raise BadInput("CORRAL_SERVE_ENGINE is vllm: set CORRAL_SERVE_URL to its server's, up to /v1")
            return VllmEngine(registry, settings.serve_url)
        case _:
            assert_never(settings.serve_engine)
