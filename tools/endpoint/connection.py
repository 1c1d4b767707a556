"""One HTTP exchange with a server: its address, proxy and certificates, what may be read of an answer, what breaks."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from functools import lru_cache
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit, urlunsplit
from urllib.request import getproxies, proxy_bypass

import certifi

from state.errors import BadInput, EndpointFailing, EndpointRefused
from state.masking import MASK, SHORTEST_SECRET
from tools.endpoint.failures import TryAgain, broken_off, unreachable
from tools.endpoint.loop import shared

if TYPE_CHECKING:
    import aiohttp

LONGEST_ANSWER = 8 * 2**20
"""Bytes read of one answer, unpacked. The longest that a request may ask for is 32,768 tokens, some 200 KB, or 1 MB
where each character is escaped; the longest lists of models have 1 MB, too."""
LOOPBACK = ("127.0.0.1", "localhost", "::1")
AZURE = ".azure.com"


class Connection:
    """A server and how it is reached.

    Args:
        base_url: up to, and without, ``/chat/completions``; a query, such as Azure's, follows each path.
        keys: API keys, which are taken out of whatever the server echoes.

    Raises:
        BadInput: the URL contains a password, which would end up in records and logs.
    """

    def __init__(self, base_url: str, keys: Sequence[str] = ()) -> None:
        self.base_url = base_url.rstrip("/")
        parts = urlsplit(self.base_url)
        if parts.username or parts.password:
            raise BadInput(f"base_url of {parts.hostname}: a URL must not carry a key; set OPENAI_API_KEY instead")
        self.host = parts.hostname or ""
        self.keys = tuple(keys)
        self.proxy = _proxy(parts.scheme, self.host)
        self._parts = parts
        # Azure's older API, which has its version in the query, wants its key in a header of its own.
        self.key_header = "api-key" if self.host.endswith(AZURE) and parts.query else ""
        self._tls = trusted() if parts.scheme == "https" else True

    def address(self, path: str) -> str:
        """Return the URL of a path behind the base URL, with the base URL's query."""
        scheme, place, base, query, _ = self._parts
        return urlunsplit((scheme, place, base.rstrip("/") + path, query, ""))

    async def exchange(
        self, method: str, path: str, body: dict[str, Any] | None, key: str, timeout: float, **more: Any
    ) -> tuple[int, str, Any]:
        """Return status, body and headers of an answer. Redirects are not followed: they would take the key along.

        Args:
            method: HTTP's.
            path: behind the base URL.
            body: sent as JSON; ``None`` for none.
            key: the API key; empty for none.
            timeout: seconds for all of it.
            **more: other arguments of aiohttp's ``request``, such as ``params`` or ``data``.

        Raises:
            TryAgain: no connection, no answer in time, or one that broke off.
            EndpointError: it is no URL, its certificate cannot be trusted, or it sends too much.
        """
        async with self.request(method, path, key, timeout, **({"json": body} if body is not None else {}), **more) as (
            response
        ):
            return response.status, await self.text(response), response.headers

    @asynccontextmanager
    async def request(
        self, method: str, path: str, key: str, timeout: float, **more: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """Yield an answer whose body is still to be read; arguments and errors as for ``exchange``."""
        import aiohttp  # a sixth of a second, for those who call a server alone

        session = (await shared()).session
        headers = {self.key_header: key} if self.key_header else {"Authorization": f"Bearer {key}"}
        try:
            async with (
                asyncio.timeout(timeout),
                session.request(
                    method,
                    self.address(path),
                    headers=headers if key else {},
                    proxy=self.proxy,
                    ssl=self._tls,
                    allow_redirects=False,
                    **more,
                ) as response,
            ):
                yield response
        except aiohttp.ConnectionTimeoutError as error:
            raise TryAgain(unreachable(self.base_url, error)) from error
        except TimeoutError:
            raise TryAgain(
                EndpointFailing(
                    f"{self.base_url} gave no answer in {timeout:g} s. Raise the endpoint's timeout, or lower its "
                    "concurrency?"
                ),
                late=True,
            ) from None
        except (aiohttp.InvalidURL, aiohttp.NonHttpUrlClientError) as error:
            raise EndpointRefused(f"{self.base_url} is no URL that can be asked: {error}") from error
        except aiohttp.ClientConnectorCertificateError as error:
            raise EndpointRefused(f"{self.base_url} shows a certificate that cannot be trusted: {error}") from error
        except aiohttp.ClientConnectorError as error:
            raise TryAgain(unreachable(self.base_url, error)) from error
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise TryAgain(broken_off(self.base_url, error)) from error

    async def text(self, response: aiohttp.ClientResponse) -> str:
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


def _proxy(scheme: str, host: str) -> str | None:
    return None if host in LOOPBACK or proxy_bypass(host) else getproxies().get(scheme)
