"""The one way to a model: OpenAI-compatible endpoints behind the ledger."""

from __future__ import annotations

import asyncio
import difflib
import threading
import time
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar, TypeVarTuple

from pydantic import Field

from state.errors import BadInput, EndpointFailing, EndpointRefused, EndpointUnreachable
from state.records import Record
from state.request import EMBEDDED, WEIGHTS, Endpoint
from tools.endpoint.client import LedgeredEndpoint
from tools.endpoint.embedded import MODEL, EmbeddedTransport, embedded_urls
from tools.endpoint.failures import TryAgain
from tools.endpoint.http_transport import HttpTransport
from tools.endpoint.ledger import CallLedger
from tools.endpoint.weights import WeightsTransport
from tools.settings import Settings
from tools.weights.adapters import CONFIG, find_base
from tools.weights.embedded import embedded_model
from tools.weights.folders import HUB_NAME, base_folder, folder_fingerprint

__all__ = ["LedgeredEndpoint", "ProbeResult", "open_endpoint", "probe"]

Places = TypeVarTuple("Places")
T = TypeVar("T")


class ProbeResult(Record):
    """An endpoint that is up, takes the key and has the model."""

    url: str
    """Where it was found; the embedded server's own URL on loopback."""
    models: tuple[str, ...]
    """What it lists; empty where it has no list."""
    seconds: float = Field(ge=0)
    """How long the answer took."""

    @property
    def detail(self) -> str:
        """One line for a person."""
        names = f"{len(self.models)} models" if len(self.models) > 1 else "".join(self.models) or "no list of models"
        return f"{names}, answered in {self.seconds * 1000:.0f} ms"


async def open_endpoint(spec: Endpoint, ledger: CallLedger, run_id: str, settings: Settings) -> LedgeredEndpoint:
    """Return a request's endpoint for one run; ``embedded`` starts this process's own server.

    Raises:
        BadInput: the embedded model is not installed, or is asked by another name.
    """
    transport = await _transport(spec, settings)
    if isinstance(transport, WeightsTransport):
        spec = spec.model_copy(update={"model": await asyncio.to_thread(_marked, spec.model)})
    return LedgeredEndpoint(transport, ledger, spec, run_id)


async def probe(spec: Endpoint, settings: Settings, *, any_model: bool = False) -> ProbeResult:
    """Ask an endpoint for its models; nothing is spent.

    Args:
        spec: the endpoint.
        settings: for its keys.
        any_model: whether the server alone is meant, whatever models it has.

    Raises:
        BadInput: as for ``open_endpoint``.
        EndpointUnreachable: nothing answers there, or not well.
        EndpointRefused: it refuses the key, is no OpenAI-compatible server, or has no such model.
        RateLimited: it limits us already.
    """
    if spec.base_url == WEIGHTS:
        await asyncio.to_thread(_look_at_weights, spec.model, settings.cache)
        return ProbeResult(url=WEIGHTS, models=(spec.model,), seconds=0.0)
    transport = await _transport(spec, settings)
    assert not isinstance(transport, WeightsTransport)
    server = transport.servers[0] if isinstance(transport, EmbeddedTransport) else transport
    started = time.monotonic()
    try:
        listed = await server.models()
    except TryAgain as again:
        if isinstance(again.error, EndpointFailing):
            raise EndpointUnreachable(str(again.error)) from again
        raise again.error from again
    models = tuple(sorted(listed or ()))
    if models and not any_model and not _has(models, spec.model, server.host):
        near = difflib.get_close_matches(spec.model, models, n=3, cutoff=0.0)
        raise EndpointRefused(f"{spec.base_url} has no model {spec.model!r}; the nearest it has: {', '.join(near)}")
    return ProbeResult(url=server.base_url, models=models, seconds=time.monotonic() - started)


def _has(models: tuple[str, ...], model: str, host: str) -> bool:
    # Ollama lists NAME:latest for NAME, Gemini models/NAME; Azure lists what can be deployed rather than what is.
    return bool({model, f"{model}:latest", f"models/{model}"} & set(models)) or host.endswith(".azure.com")


async def _transport(spec: Endpoint, settings: Settings) -> HttpTransport | EmbeddedTransport | WeightsTransport:
    tracing = settings.langsmith_tracing
    if spec.base_url == WEIGHTS:
        return await asyncio.to_thread(lambda: _weights(spec.model, settings.cache, _marked(spec.model)))
    if spec.base_url != EMBEDDED:
        # In a thread: the first one reads the trusted certificates from disk.
        return await asyncio.to_thread(_http, spec.base_url, settings.api_keys, tracing)
    if spec.model != MODEL:
        raise BadInput(f"the embedded endpoint has the one model {MODEL!r}, not {spec.model!r}; set base_url too")
    return await asyncio.to_thread(_embedded, await embedded_urls(), tracing)


def _one(make: Callable[[*Places], T]) -> Callable[[*Places], T]:
    """Return the maker of one transport for each place, whoever asks at the same time.

    A transport knows whose turn it is among keys and servers, and those of weights have processes of gigabytes.
    """
    made: dict[Any, T] = {}
    making = threading.Lock()

    @wraps(make)
    def one(*place: *Places) -> T:
        with making:
            if place not in made:
                made[place] = make(*place)
            return made[place]

    return one


@_one
def _http(base_url: str, keys: tuple[str, ...], tracing: bool) -> HttpTransport:
    return HttpTransport(base_url, keys, tracing=tracing)


def _look_at_weights(model: str, cache: Path) -> None:
    """Demand weights where they should lie; what takes long, unpacking and fetching, waits for the first call."""
    if model == EMBEDDED:
        embedded_model()
    elif Path(model).expanduser().exists() or not HUB_NAME.fullmatch(model):
        _weights(model, cache, _marked(model))


def _marked(model: str) -> str:
    """Return the name of weights in the ledger; a folder's tells which files it holds, for others may come there."""
    folder = Path(model).expanduser()
    return f"{model}@{folder_fingerprint(folder)[:8]}" if folder.is_dir() else model


@_one
def _weights(model: str, cache: Path, marked: str) -> WeightsTransport:
    folder = Path(model).expanduser()
    if (folder / CONFIG).is_file():
        return WeightsTransport(find_base(folder, None, cache), folder.resolve())
    return WeightsTransport(base_folder(model, cache), None)


@_one
def _embedded(urls: tuple[str, ...], tracing: bool) -> EmbeddedTransport:
    return EmbeddedTransport([_http(url, (), tracing) for url in urls])
