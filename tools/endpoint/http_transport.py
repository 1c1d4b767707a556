"""HttpTransport: any OpenAI-compatible server by its URL, with several keys in turn.

It uses aiohttp and not the openai package: a call costs a sixteenth of the processor time, and is only one small JSON
object each way.
"""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Mapping, Sequence
from typing import Any

from state.errors import CallRefused, EndpointError
from state.pipeline import RateLimits
from state.request import Endpoint
from tools.endpoint.batch_api import BatchApi
from tools.endpoint.chat import Capabilities, ChatCall
from tools.endpoint.completions import no_completion, read_completion, with_stops
from tools.endpoint.connection import LONGEST_ANSWER, Connection
from tools.endpoint.failures import TryAgain, failure
from tools.endpoint.kind import Kind, ProbeResult, one_for_each
from tools.endpoint.limits import read_limits
from tools.endpoint.loop import shared
from tools.endpoint.parameters import Accepted, accepted, learned
from tools.endpoint.prices import price_at_url
from tools.endpoint.probing import probe_server
from tools.endpoint.streams import is_stream, joined
from tools.endpoint.transport import NoLikelihoods, Reply, chat_body
from tools.settings import Settings

__all__ = ["KIND", "LONGEST_ANSWER", "HttpTransport"]

MOST_CHANGES = 8
"""Ways in which one request is changed for its server; there are fewer parameters to leave out."""
REFUSALS = 3
"""Times in a row that a key is refused after it was taken, until it counts as refused for good."""
CAN = Capabilities(remote=True, json_schema=True, prefill=False, likelihoods=False)


class HttpTransport(NoLikelihoods):
    """A server with OpenAI's chat completions API.

    What it refuses of a request's parameters is remembered for each of its models, for the life of the process.

    Args:
        base_url: up to, and without, ``/chat/completions``.
        keys: API keys, used in turn; if one is rate-limited or refused, the next is tried at once.
        known: what the server takes, as far as the settings say.

    Attributes:
        limits: what is left of the rate limits, as the last answer reported.
        answers: how many requests were answered.

    Raises:
        BadInput: the URL contains a password, which would end up in records and logs.
    """

    can = CAN

    def __init__(self, base_url: str, keys: Sequence[str] = (), known: Accepted | None = None) -> None:
        self.connection = Connection(base_url, keys)
        self.base_url, self.host = self.connection.base_url, self.connection.host
        self.keys, self.proxy = self.connection.keys, self.connection.proxy
        self.limits = RateLimits()
        self.answers = 0
        known = known or Accepted()
        if self.host == "api.openai.com":
            # OpenAI's reasoning models refuse the older name; every other server knows only that one, or both.
            known = Accepted({"max_tokens": "max_completion_tokens", **known.names}, known.fixed, known.json)
        self._known = known
        self._learned: dict[str, Accepted] = {}
        self._turn = itertools.count()
        self._answered: set[str] = set()
        self._refusals = 0

    def body(self, call: ChatCall, model: str) -> dict[str, Any]:
        """Return the request as it is sent, as far as is known what the server takes."""
        return self._learned.get(model, self._known).shaped(chat_body(call, model))

    async def send(self, call: ChatCall, model: str, timeout: float) -> Reply:
        """Try once; see ``Transport.send``. What the server refuses of the parameters is changed, and asked at once."""
        for left in reversed(range(MOST_CHANGES)):
            body = self.body(call, model)
            status, text, failed = await self._post_with_keys(body, timeout)
            if failed is None:
                return with_stops(read_completion(_parsed(text, self.base_url), body, self.base_url), call.stop, body)
            refused = status in (400, 422) and left
            if not refused or not await self._learn(model, body, self.body(call, model), text):
                raise failed
        raise AssertionError  # the last round returns or raises

    async def _learn(self, model: str, sent: Mapping[str, Any], now: Mapping[str, Any], said: str) -> bool:
        """Return whether a refused request may now be sent in another form, and say once how it differs."""
        if now != sent:
            return True  # another call has learned it while this one was under way
        found = learned(self._learned.get(model, self._known), sent, said)
        if found is None:
            return False
        self._learned[model], change = found
        setting = "set parameters or json of the endpoint to say so from the start"
        (await shared()).say_once(f"{model!r} at {self.base_url} refuses a request as it is: {change}; {setting}")
        return True

    async def _post_with_keys(
        self, body: dict[str, Any], timeout: float
    ) -> tuple[int, str, TryAgain | EndpointError | None]:
        """Return status and body of an answer, and the error that it means; ``None`` for a completion."""
        first = next(self._turn)
        keys = [self.keys[(first + i) % len(self.keys)] for i in range(len(self.keys))] or [""]
        failures: list[TryAgain | EndpointError] = []
        for key in keys:
            status, text, headers = await self.connection.exchange("POST", "/chat/completions", body, key, timeout)
            self.limits = read_limits(headers)
            if 200 <= status < 300:
                self._answered.add(key)
                self.answers += 1
                self._refusals = 0
                return status, text, None
            failures.append(self._failure(status, text, headers, body["model"], key))
            if status not in (401, 403, 429) or (status == 403 and isinstance(failures[-1], CallRefused)):
                break
        return status, text, _best_hope(failures)

    def _failure(self, status: int, text: str, headers: Any, model: str, key: str) -> TryAgain | EndpointError:
        answered = key in self._answered
        if status == 401 and answered:
            self._refusals += 1
            answered = self._refusals < REFUSALS
        return failure(
            status,
            text,
            headers,
            url=self.base_url,
            model=model,
            keys=len(self.keys),
            secrets=self.keys,
            answered=answered,
        )


def _parsed(text: str, url: str) -> dict[str, Any]:
    if is_stream(text):
        return joined(text)
    try:
        answer = json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        raise no_completion(url, text) from None
    if not isinstance(answer, dict):
        raise no_completion(url, text)
    return answer


def _best_hope(failures: list[TryAgain | EndpointError]) -> TryAgain | EndpointError:
    """Return which key's failure counts: that of the limited key which is free first, else the last one."""
    limited = [failed for failed in failures if isinstance(failed, TryAgain) and failed.limited]
    return min(limited, key=lambda failed: failed.after or 0.0) if limited else failures[-1]


@one_for_each
def _transport(base_url: str, keys: tuple[str, ...], parameters: str, form: Any) -> HttpTransport:
    return HttpTransport(base_url, keys, accepted(json.loads(parameters), form))


async def _open(spec: Endpoint, settings: Settings) -> HttpTransport:
    # In a thread: the first one reads the trusted certificates from disk.
    parameters = json.dumps(spec.parameters, sort_keys=True)
    return await asyncio.to_thread(_transport, spec.base_url, settings.api_keys, parameters, spec.json)


async def _probe(spec: Endpoint, settings: Settings, any_model: bool) -> ProbeResult:
    server = await _open(spec, settings)
    return await probe_server(server.connection, server, None if any_model else spec.model)


async def _batches(spec: Endpoint, settings: Settings) -> BatchApi:
    return BatchApi((await _open(spec, settings)).connection, spec.model)


KIND = Kind(can=CAN, open=_open, probe=_probe, listed_price=price_at_url, batches=_batches)
