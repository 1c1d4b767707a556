"""HttpTransport: any OpenAI-compatible server by its URL, with several keys in turn.

It uses aiohttp and not the openai package: a call costs a sixteenth of the processor time, and is only one small JSON
object each way.
"""

from __future__ import annotations

import asyncio
import difflib
import itertools
import json
import ssl
import time
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

import certifi

from state.errors import BadInput, EndpointError, EndpointFailing, EndpointRefused, EndpointUnreachable
from state.masking import MASK, SHORTEST_SECRET
from state.pipeline import RateLimits
from state.request import Endpoint
from tools.endpoint.chat import Capabilities, ChatCall
from tools.endpoint.completions import no_completion, read_completion
from tools.endpoint.failures import TryAgain, broken_off, failure, unreachable
from tools.endpoint.kind import Kind, ProbeResult, one_for_each
from tools.endpoint.limits import read_limits
from tools.endpoint.loop import shared
from tools.endpoint.prices import price_at_url
from tools.endpoint.transport import NoLikelihoods, Reply, chat_body
from tools.settings import Settings

if TYPE_CHECKING:
    import aiohttp

NOT_THERE = (404, 405, 501)
LONGEST_ANSWER = 8 * 2**20
"""Bytes read of one answer, unpacked. The longest that a request may ask for is 32,768 tokens, some 200 KB, or 1 MB
where each character is escaped; the longest lists of models have 1 MB, too."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")


CAN = Capabilities(remote=True, json_schema=True, prefill=False, likelihoods=False)


class HttpTransport(NoLikelihoods):
    """A server with OpenAI's chat completions API.

    Args:
        base_url: up to, and without, ``/chat/completions``.
        keys: API keys, used in turn; if one is rate-limited or refused, the next is tried at once.

    Attributes:
        limits: what is left of the rate limits, as the last answer reported.

    Raises:
        BadInput: the URL contains a password, which would end up in records and logs.
    """

    can = CAN

    def __init__(self, base_url: str, keys: Sequence[str] = ()) -> None:
        self.base_url = base_url.rstrip("/")
        parts = urlsplit(self.base_url)
        if parts.username or parts.password:
            raise BadInput(f"base_url of {parts.hostname}: a URL must not carry a key; set OPENAI_API_KEY instead")
        self.host = parts.hostname or ""
        self.keys = tuple(keys)
        self.proxy = _proxy(parts.scheme, self.host)
        self._tls = trusted() if parts.scheme == "https" else True
        self.limits = RateLimits()
        self._turn = itertools.count()

    def body(self, call: ChatCall, model: str) -> dict[str, Any]:
        """Return the request as it is sent."""
        body = chat_body(call, model)
        if self.host == "api.openai.com":
            # OpenAI's reasoning models refuse the older name; every other server knows only that one, or both.
            body["max_completion_tokens"] = body.pop("max_tokens")
        return body

    async def send(self, call: ChatCall, model: str, timeout: float) -> Reply:
        """Try once; see ``Transport.send``."""
        body = self.body(call, model)
        return read_completion(await self._post_with_keys(body, timeout), body, self.base_url)

    async def models(self, timeout: float = 10.0) -> list[str] | None:
        """Return the names that the server lists at ``/models``, or ``None`` if it has no list but accepts chats.

        Raises:
            TryAgain: the server fails, or its rate limit is reached.
            EndpointError: no connection, or a key that is refused.
        """
        for number, key in enumerate(self.keys or ("",), start=1):
            status, text, headers = await self._exchange("GET", "/models", None, key, timeout)
            if status in (401, 403) and len(self.keys) > 1:
                raise EndpointRefused(f"{self.base_url} refuses key {number} of {len(self.keys)} in OPENAI_API_KEY.")
        if status in NOT_THERE:
            # An empty request costs nothing: a server that accepts chats refuses it as invalid.
            status, text, headers = await self._exchange("POST", "/chat/completions", {}, key, timeout)
            if status in (400, 422):
                return None
        if status in NOT_THERE:
            raise _no_api(self.base_url)
        if status != 200:
            raise failure(status, text, headers, url=self.base_url, model="", keys=len(self.keys), secrets=self.keys)
        try:
            return [str(entry["id"]) for entry in json.loads(text)["data"]]
        except (ValueError, KeyError, TypeError):
            raise _no_api(self.base_url) from None

    async def _post_with_keys(self, body: dict[str, Any], timeout: float) -> dict[str, Any]:
        first = next(self._turn)
        keys = [self.keys[(first + i) % len(self.keys)] for i in range(len(self.keys))] or [""]
        failures: list[TryAgain | EndpointError] = []
        for key in keys:
            status, text, headers = await self._exchange("POST", "/chat/completions", body, key, timeout)
            if status == 200:
                return _parsed(text, self.base_url)
            failures.append(
                failure(
                    status,
                    text,
                    headers,
                    url=self.base_url,
                    model=body["model"],
                    keys=len(self.keys),
                    secrets=self.keys,
                )
            )
            if status not in (401, 403, 429):
                break
        raise _best_hope(failures)

    async def _exchange(
        self, method: str, path: str, body: dict[str, Any] | None, key: str, timeout: float
    ) -> tuple[int, str, Any]:
        import aiohttp  # a sixth of a second, for those who call a server alone

        session = (await shared()).session
        headers = {"Authorization": f"Bearer {key}"} if key else {}
        try:
            async with (
                asyncio.timeout(timeout),
                session.request(
                    method,
                    self.base_url + path,
                    json=body,
                    headers=headers,
                    proxy=self.proxy,
                    ssl=self._tls,
                    allow_redirects=False,
                ) as response,
            ):
                if method == "POST":
                    self.limits = read_limits(response.headers)
                return response.status, await self._text(response), response.headers
        except aiohttp.ConnectionTimeoutError as error:
            raise TryAgain(unreachable(self.base_url, error)) from error
        except TimeoutError:
            raise TryAgain(
                EndpointFailing(f"{self.base_url} gave no answer in {timeout:g} s. Raise the endpoint's timeout?")
            ) from None
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise EndpointRefused(f"{self.base_url} is no URL that can be asked: {error}") from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise EndpointRefused(f"{self.base_url} shows a certificate that cannot be trusted: {error}") from error
        except aiohttp.ClientConnectorError as error:
            raise TryAgain(unreachable(self.base_url, error)) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise TryAgain(broken_off(self.base_url, error)) from error

    async def _text(self, response: aiohttp.ClientResponse) -> str:
        """Return the body, unpacked piece by piece and counted; a server that echoes our key gets it nowhere."""
        body = bytearray()
        async for piece in response.content.iter_chunked(65_536):
            body += piece
            if len(body) > LONGEST_ANSWER:
                response.close()
                raise EndpointFailing(
                    f"{self.base_url} sent more than {LONGEST_ANSWER // 2**20} MiB for one answer; the rest was not "
                    "read. Is it the right server?"
                )
        try:
            text = body.decode(response.get_encoding(), "replace")
        except (LookupError, RuntimeError):
            text = body.decode("utf-8", "replace")
        for key in self.keys:
            text = text.replace(key, MASK) if len(key) >= SHORTEST_SECRET else text
        return text


@lru_cache(maxsize=1)
def trusted() -> ssl.SSLContext:
    """Return a context that trusts the system's certificates and, for systems that have none, certifi's."""
    context = ssl.create_default_context()
    context.load_verify_locations(certifi.where())
    return context


def _parsed(text: str, url: str) -> dict[str, Any]:
    try:
        answer = json.loads(text)
    except ValueError:
        raise no_completion(url, text) from None
    if not isinstance(answer, dict):
        raise no_completion(url, text)
    return answer


def _no_api(url: str) -> EndpointRefused:
    return EndpointRefused(
        f"{url} answers, but not as an OpenAI-compatible server. Check how base_url must end there (often /v1)."
    )


def _best_hope(failures: list[TryAgain | EndpointError]) -> TryAgain | EndpointError:
    """Return which key's failure counts: that of the limited key which is free first, else the last one."""
    limited = [failed for failed in failures if isinstance(failed, TryAgain) and failed.limited]
    return min(limited, key=lambda failed: failed.after or 0.0) if limited else failures[-1]


def _proxy(scheme: str, host: str) -> str | None:
    return None if host in LOOPBACK or proxy_bypass(host) else getproxies().get(scheme)


async def probe_server(server: HttpTransport, model: str | None) -> ProbeResult:
    """Ask a server for its models; arguments and errors as for ``tools.endpoint.probe``.

    Args:
        server: the server.
        model: the model that it must have; ``None`` if any will do.
    """
    started = time.monotonic()
    try:
        listed = await server.models()
    except TryAgain as again:
        if isinstance(again.error, EndpointFailing):
            raise EndpointUnreachable(str(again.error)) from again
        raise again.error from again
    models = tuple(sorted(listed or ()))
    if models and model is not None and not _has(models, model, server.host):
        near = difflib.get_close_matches(model, models, n=3, cutoff=0.0)
        raise EndpointRefused(f"{server.base_url} has no model {model!r}; the nearest it has: {', '.join(near)}")
    return ProbeResult(url=server.base_url, models=models, seconds=time.monotonic() - started)


def _has(models: tuple[str, ...], model: str, host: str) -> bool:
    # Ollama lists NAME:latest for NAME, Gemini models/NAME; Azure lists what can be deployed, and not what is.
    return bool({model, f"{model}:latest", f"models/{model}"} & set(models)) or host.endswith(".azure.com")


@one_for_each
def _transport(base_url: str, keys: tuple[str, ...]) -> HttpTransport:
    return HttpTransport(base_url, keys)


async def _open(spec: Endpoint, settings: Settings) -> HttpTransport:
    # In a thread: the first one reads the trusted certificates from disk.
    return await asyncio.to_thread(_transport, spec.base_url, settings.api_keys)


async def _probe(spec: Endpoint, settings: Settings, any_model: bool) -> ProbeResult:
    return await probe_server(await _open(spec, settings), None if any_model else spec.model)


KIND = Kind(can=CAN, open=_open, probe=_probe, listed_price=price_at_url)
