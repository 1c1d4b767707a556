"""What a failed try means: whether another may succeed. Statuses and foreign errors become Corral's own errors."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import isfinite
from typing import Any

from state.errors import CallRefused, EndpointError, EndpointFailing, EndpointRefused, EndpointUnreachable, RateLimited
from state.masking import MASK, masked
from tools.endpoint.limits import read_duration

AGAIN = frozenset({408, 409, 425, 429})
"""Client errors after which another try may succeed, as after every status from 500."""
DETAIL = 240
"""Characters kept of what a server says about its error."""
OUT_OF_CREDIT = frozenset({"insufficient_quota", "billing_hard_limit_reached", "billing_not_active"})
"""Codes of a 429 that does not pass by waiting: OpenAI's, and those of servers that follow it."""
_NOTHING_ALLOWED = re.compile(r"(?i)\blimit: 0\b")
"""Google's words for a quota that was never given; an ordinary limit has another number."""
TOO_LONG = re.compile(
    r"(?i)context[ _](?:length|window|size)|maximum context|available context|too many tokens|reduce the length"
    r"|(?:prompt|input|request) is too (?:long|large)"
)
_JUDGED = re.compile(r"(?i)moderat|flagged|content[ _]?(?:polic|filter|manage)|safety|harmful|prohibited|usage polic")
"""Words of a refusal that is about the prompt."""
_ABOUT_KEY = re.compile(r"(?i)\b(?:key|token|auth\w*|unauthori[sz]ed|credential|permission|forbidden|bearer|account)")
_HINT = re.compile(
    r"(?i)(?:try(?:ing)? again|retry(?:ing)?|wait|available)\b[^.\d]{0,40}?((?:\d+(?:\.\d+)?\s*"
    r"(?:m(?:illi)?s(?:ec\w*)?|s(?:ec\w*)?|m(?:in\w*)?|h(?:ours?)?|d(?:ays?)?)(?![a-z])[ ,]*)+)"
)
"""Such as "try again in 6m0s" or "retry after 20 seconds"."""
_DELAY = re.compile(
    r"(?i)[\"']retry[_-]?(?:delay|after)(_ms|-ms)?(?:_seconds|_s)?[\"']\s*:\s*[\"']?(\d+(?:\.\d+)?)(ms|s|m)?"
)
"""Such as Google's ``"retryDelay": "34s"``."""
_SECONDS = {"ms": 0.001, "mil": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
_TITLE = re.compile(r"(?is)<title[^>]*>(.*?)</title>")
NOT_REACHED = ("ConnectError", "ConnectTimeout", "ConnectorError", "ConnectionTimeout", "ConnectionRefused", "gaierror")
"""Parts of the names of exceptions that mean that no connection was made."""


class TryAgain(Exception):
    """A try failed, and another one may succeed.

    Attributes:
        error: what to raise when no try is left.
        after: seconds the server asks to wait, or ``None``.
        limited: whether the key is rate-limited (429), so that another key may succeed at once.
        late: whether no answer came in time. The server, or one behind it, may go on working on it.
    """

    def __init__(
        self, error: EndpointError, after: float | None = None, *, limited: bool = False, late: bool = False
    ) -> None:
        super().__init__(str(error))
        self.error = error
        self.after = after
        self.limited = limited
        self.late = late


def retry_after(headers: Mapping[str, str], now: datetime | None = None) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for, as a number or an HTTP date (RFC 9110, 10.2.3).

    Servers also write a unit behind the number, or give ``retry-after-ms``, which is finer.

    Args:
        headers: the answer's headers, with case-insensitive names.
        now: the time a date is measured against.

    Returns:
        At least 0, or ``None`` where there is no such header or it can be read in none of these ways.
    """
    fine = _number(headers.get("retry-after-ms", ""))
    if fine is not None:
        return max(0.0, fine / 1000)
    value = headers.get("Retry-After", "").strip()
    if (seconds := _number(value)) is not None:
        return max(0.0, seconds)
    if (seconds := read_duration(value.replace(" ", ""))) is not None:
        return seconds
    try:
        date = parsedate_to_datetime(value)
    except (ValueError, OverflowError):
        return None
    date = date if date.tzinfo else date.replace(tzinfo=UTC)
    return max(0.0, (date - (now or datetime.now(UTC))).total_seconds())


def _number(text: str) -> float | None:
    try:
        number = float(text)
    except ValueError:
        return None
    return number if isfinite(number) else None


def wait_asked(headers: Mapping[str, str], body: str) -> float | None:
    """Return the seconds that a server asks to wait, in its headers, else in its words; ``None`` if it does not say.

    A negative number says nothing.
    """
    if headers.get("Retry-After", "").strip().startswith("-"):
        return None
    asked = retry_after(headers)
    if asked is not None:
        return asked
    if found := _DELAY.search(body):
        unit = "ms" if found.group(1) else (found.group(3) or "s").lower()
        return float(found.group(2)) * _SECONDS[unit]
    if found := _HINT.search(said_by_server(body)):
        parts = re.findall(r"(\d+(?:\.\d+)?)\s*([a-z]+)", found.group(1).lower())
        return sum(float(number) * _seconds_of(unit) for number, unit in parts)
    return None


def _seconds_of(unit: str) -> float:
    return next(_SECONDS[unit[:size]] for size in (3, 2, 1) if unit[:size] in _SECONDS)


def failure(
    status: int,
    body: str,
    headers: Mapping[str, str],
    *,
    url: str,
    model: str,
    keys: int,
    secrets: Sequence[str] = (),
    answered: bool = False,
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
        answered: whether the server has answered with this key before, so that the key is right.
    """
    tail = in_its_words(body, secrets)
    if status == 402 or (status == 429 and _out_of_credit(body)):
        return EndpointRefused(f"the account at {url} has no credit left ({status}). Add credit, or another key.{tail}")
    if status == 429:
        after = wait_asked(headers, body)
        asks = f" It asks to wait {after:,.0f} s." if after is not None and after >= 1 else ""
        limited = RateLimited(
            f"{url} still limits the rate (429). Lower the endpoint's concurrency, or resume later.{asks}{tail}"
        )
        return TryAgain(limited, after, limited=True)
    if status in AGAIN or status >= 500:
        if TOO_LONG.search(tail):
            return CallRefused(f"{url} will not take this request to {model!r} ({status}).{tail}")
        failing = EndpointFailing(f"{url} failed with status {status}, each time it was asked.{tail}")
        return TryAgain(failing, wait_asked(headers, body))
    if status in (401, 403):
        return _no_entry(status, tail, url, keys, answered)
    if status in (404, 405):
        return EndpointRefused(
            f"{url} knows no model {model!r}, or has no chat completions at this path ({status}). "
            f"Check the model's name, and that base_url ends as the server says (often /v1).{tail}"
        )
    if 300 <= status < 400:
        place = _shown(headers.get("Location", "another place"), secrets)
        return EndpointRefused(f"{url} has moved to {place}. Set base_url to it.")
    return CallRefused(f"{url} will not take this request to {model!r} ({status}).{tail}")


def _no_entry(status: int, tail: str, url: str, keys: int, answered: bool) -> EndpointError:
    """Return what a 401 or 403 means: for the key that was never answered with, or for this one request."""
    if answered or (status == 403 and _JUDGED.search(tail)):
        return CallRefused(f"{url} refuses this request ({status}).{tail}")
    if status == 403 and tail and not _ABOUT_KEY.search(tail):
        return EndpointRefused(f"{url} refuses what it is asked (403).{tail}")
    hint = "Check OPENAI_API_KEY." if keys else "It wants a key: set OPENAI_API_KEY."
    return EndpointRefused(f"{url} refuses the key ({status}). {hint}{tail}")


def _out_of_credit(body: str) -> bool:
    """Return whether a 429 does not pass by waiting: by its code, since its words may speak of others."""
    try:
        parsed = json.loads(body)
    except (ValueError, RecursionError):
        return False
    parsed = parsed[0] if isinstance(parsed, list) and parsed else parsed
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else {}
    if not isinstance(error, dict):
        return False
    codes = {str(error.get("code")), str(error.get("type"))}
    return bool(codes & OUT_OF_CREDIT) or bool(_NOTHING_ALLOWED.search(str(error.get("message"))))


def in_its_words(body: str, secrets: Sequence[str] = ()) -> str:
    """Return a sentence, with a space before it, on what a server says; empty where it says nothing."""
    said = said_by_server(body, secrets)
    if said:
        return f" It says: {said}"
    if not re.match(r"(?is)\s*(?:<!doctype html|<html|<head|<body)", body[:DETAIL]):
        return ""
    title = _TITLE.search(body)
    shown = _shown(title.group(1), secrets) if title else ""
    return f" It sent an HTML page{f', {shown!r}' if shown else ''}: something before the server answered."


def said_by_server(body: str, secrets: Sequence[str] = ()) -> str:
    """Return the error message in a server's answer: one line, shortened, and free of anything like a key."""
    try:
        parsed: Any = json.loads(body)
    except (ValueError, RecursionError):
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
