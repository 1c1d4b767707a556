"""What a failed try means: whether another may succeed. Statuses and foreign errors become Corral's own errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any

from state.errors import CallRefused, EndpointError, EndpointFailing, EndpointRefused, EndpointUnreachable, RateLimited
from state.masking import MASK, masked

AGAIN = frozenset({408, 409, 425, 429})
"""Client errors after which another try may succeed, as after every status from 500."""
DETAIL = 240
"""Characters kept of what a server says about its error."""
OUT_OF_CREDIT = "insufficient_quota"
"""OpenAI's code on a 429 that does not pass by waiting."""
NOT_REACHED = ("ConnectError", "ConnectTimeout", "ConnectorError", "ConnectionTimeout", "ConnectionRefused", "gaierror")
"""Parts of the names of exceptions that mean that no connection was made."""


class TryAgain(Exception):
    """A try failed, and another one may succeed.

    Attributes:
        error: what to raise when no try is left.
        after: seconds the server asks to wait, or ``None``.
        limited: whether the key is rate-limited (429), so that another key may succeed at once.
    """

    def __init__(self, error: EndpointError, after: float | None = None, *, limited: bool = False) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = after
        self.limited = limited


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for, as a number or an HTTP date (RFC 9110, 10.2.3).

    Args:
        headers: the answer's headers, with case-insensitive names.
        now: the time a date is measured against.

    Returns:
        At least 0, or ``None`` where there is no such header or it is neither form.
    """
    value = headers.get("Retry-After", "").strip()
    try:
        return max(0.0, float(value)) if value.lower() not in ("nan", "inf", "infinity") else None
    except ValueError:
        pass
    try:
        date = parsedate_to_datetime(value)
    except ValueError:
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())


def failure(
    status: int,
    body: str,
    headers: Mapping[str, str],
    *,
    url: str,
    model: str,
    keys: int,
    secrets: Sequence[str] = (),
) -> TryAgain | EndpointError:
    """Return what an HTTP status other than 200 means.

    Args:
        status: the HTTP status.
        body: the answer's body, of which only the error's own message is shown.
        headers: the answer's headers.
        url: the endpoint's base URL, named in the message.
        model: the model that was asked.
        keys: how many API keys there are.
        secrets: the keys, which the server may quote.
    """
    said = said_by_server(body, secrets)
    tail = f" It says: {said}" if said else ""
    if status == 402 or (status == 429 and OUT_OF_CREDIT in body):
        return EndpointRefused(f"the account at {url} has no credit left ({status}). Add credit, or another key.{tail}")
    if status == 429:
        limited = RateLimited(f"{url} still limits the rate (429). Lower the endpoint's concurrency, or resume later.")
        return TryAgain(limited, retry_after(headers), limited=True)
    if status in AGAIN or status >= 500:
        failing = EndpointFailing(f"{url} failed with status {status}, each time it was asked.{tail}")
        return TryAgain(failing, retry_after(headers) if status == 503 else None)
    if status in (401, 403):
        hint = "Check OPENAI_API_KEY." if keys else "It wants a key: set OPENAI_API_KEY."
        return EndpointRefused(f"{url} refuses the key ({status}). {hint}{tail}")
    if status in (404, 405):
        return EndpointRefused(
            f"{url} knows no model {model!r}, or has no chat completions at this path ({status}). "
            f"Check the model's name, and that base_url ends as the server says (often /v1).{tail}"
        )
    if 300 <= status < 400:
        place = _shown(headers.get("Location", "another place"), secrets)
        return EndpointRefused(f"{url} has moved to {place}. Set base_url to it.")
    return CallRefused(f"{url} will not take this request to {model!r} ({status}).{tail}")


def said_by_server(body: str, secrets: Sequence[str] = ()) -> str:
    """Return the error message in a server's answer: one line, shortened, and free of anything like a key."""
    try:
        parsed: Any = json.loads(body)
    except ValueError:
        parsed = body if "<" not in body else ""
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else parsed
    message = error.get("message", error) if isinstance(error, dict) else error
    text = message if isinstance(message, str) else json.dumps(message)
    return _shown(text, secrets)


def _shown(text: str, secrets: Sequence[str] = ()) -> str:
    line = " ".join(text.split())
    for secret in secrets:
        line = line.replace(secret, MASK)
    return masked(re.sub(r"\b(sk|pk|key)[-_][\w*-]{4,}", "[key]", line), secrets)[:DETAIL]


def foreign(error: Exception, *, url: str, model: str) -> TryAgain | EndpointError:
    """Return what an exception of a foreign client library means, by its status or by its name.

    Args:
        error: an exception of any LangChain chat model; the libraries share no base class.
        url: how the message names the endpoint.
        model: the model that was asked.
    """
    response = getattr(error, "response", None)
    status = getattr(error, "status_code", None) or getattr(response, "status_code", None)
    if isinstance(status, int):
        body = getattr(response, "text", "") or str(error)
        return failure(status, body, getattr(response, "headers", {}), url=url, model=model, keys=1)
    names = " ".join(kind.__name__ for cause in _causes(error) for kind in type(cause).__mro__)
    if any(name in names for name in NOT_REACHED):
        return TryAgain(unreachable(url, error))
    if "Timeout" in names:
        return TryAgain(EndpointFailing(f"{url} gave no answer in time, several times."))
    if "Connect" in names or "OSError" in names:
        return TryAgain(broken_off(url, error))
    return EndpointFailing(f"{model!r} failed: {type(error).__name__}: {said_by_server(str(error))}")


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and the chain of its causes: openai's own connection error does not name its cause."""
    told: BaseException | None = error
    while told is not None:
        yield told
        told = told.__cause__


def unreachable(url: str, error: Exception) -> EndpointUnreachable:
    """Return the error for a connection that cannot be made."""
    return EndpointUnreachable(f"no connection to {url}: {_cause(error)}. Is the server up, and the URL right?")


def broken_off(url: str, error: Exception) -> EndpointFailing:
    """Return the error for a connection that broke before the answer had arrived."""
    return EndpointFailing(f"{url} broke the connection before its answer was here: {_cause(error)}.")


def _cause(error: Exception) -> str:
    # aiohttp wraps the system's own words in a description of its connection.
    told = getattr(error, "os_error", error)
    return _shown(getattr(told, "strerror", None) or str(told)) or type(error).__name__
