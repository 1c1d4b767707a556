"""Whether a server is up, takes the key and has the model: by its list of models, else by one small chat."""

from __future__ import annotations

import difflib
import json
import time
from fnmatch import fnmatchcase
from typing import Any, Protocol

from state.errors import EndpointError, EndpointFailing, EndpointRefused, EndpointUnreachable
from tools.endpoint.chat import ChatCall
from tools.endpoint.connection import AZURE, Connection
from tools.endpoint.failures import TryAgain, failure
from tools.endpoint.kind import ProbeResult
from tools.endpoint.transport import Transport

NOT_THERE = (404, 405, 501)
LIST_SECONDS = 10.0
"""How long a server may take for its list of models."""
CHAT_SECONDS = 60.0
"""How long it may take for one small chat: a model may have to be loaded first."""
SMALLEST = ChatCall(purpose="probe", messages=({"role": "user", "content": "Hi"},), max_tokens=16)


class Counting(Transport, Protocol):
    """A transport that counts."""

    answers: int
    """How many requests it was answered."""


class _Doubt(Exception):
    """The list of models says nothing about the server, which may be well all the same.

    Attributes:
        error: what to raise if it is not.
    """

    def __init__(self, error: EndpointError) -> None:
        super().__init__(str(error))
        self.error = error


async def probe_server(connection: Connection, transport: Counting, model: str | None) -> ProbeResult:
    """Ask a server for its models; errors as for ``tools.endpoint.probe``.

    A list that is refused, broken, or lacks the model proves nothing: then one small chat is asked for.

    Args:
        connection: to the server.
        transport: asks it.
        model: the model that it must have; ``None`` if any will do, and then no chat is asked for.
    """
    started = time.monotonic()
    try:
        models, note = await _listed(connection), ""
    except _Doubt as doubt:
        models = ()
        note = await _chat_instead(transport, model, doubt.error)
    if models and model is not None and not _has(models, model, connection.host):
        near = difflib.get_close_matches(model, models, n=3, cutoff=0.0)
        refused = EndpointRefused(
            f"{connection.base_url} has no model {model!r}; the nearest it has: {', '.join(near)}"
        )
        note = await _chat_instead(transport, model, refused, told=f"it does not list {model!r}")
    return ProbeResult(url=connection.base_url, models=models, seconds=time.monotonic() - started, note=note)


async def _chat_instead(transport: Counting, model: str | None, refused: EndpointError, told: str = "") -> str:
    """Ask for one small chat, and return what to tell a person of a server that answers it.

    Raises:
        EndpointError: it does not answer; of a server with a list, that it lacks the model.
    """
    if model is None:
        raise refused
    before, failed = transport.answers, refused
    # A second try, since a server that failed over its list may have closed the connection that is used again.
    for _ in range(2):
        try:
            await transport.send(SMALLEST, model, CHAT_SECONDS)
        except TryAgain as again:
            failed = again.error
        except EndpointError as error:
            failed = error
        # An answer that cannot be used, such as one cut off in its thinking, shows that the server is well.
        if transport.answers > before:
            break
        if isinstance(failed, EndpointRefused):
            raise refused if told else failed
    else:
        if told:
            raise refused
        raise EndpointUnreachable(f"{refused} Nor did it answer one small chat: {failed}")
    return f"{told or f'its list of models says nothing ({refused})'}, but it answered one small chat"


async def _listed(connection: Connection) -> tuple[str, ...]:
    """Return the names that the server lists at ``/models``; none where it has no list but takes chats.

    Raises:
        _Doubt: the list is refused, cannot be had or cannot be read.
        EndpointError: no connection, no such server, or some of several keys are refused.
    """
    refused: list[int] = []
    answer: tuple[int, str, Any] = (0, "", {})
    for number, key in enumerate(connection.keys or ("",), start=1):
        got = await _ask(connection, "GET", "/models", None, key)
        if got[0] in (401, 403):
            refused.append(number)
        answer = got if got[0] not in (401, 403) or not answer[0] else answer
    if refused and len(refused) < len(connection.keys):
        place = f"key {refused[0]} of {len(connection.keys)}"
        raise EndpointRefused(f"{connection.base_url} refuses {place} in OPENAI_API_KEY.")
    status, text, headers = answer
    if status in NOT_THERE:
        # An empty request costs nothing: a server that accepts chats refuses it as invalid.
        status, text, headers = await _ask(connection, "POST", "/chat/completions", {}, key)
        if status in (400, 422):
            return ()
    if status in NOT_THERE:
        raise _no_api(connection.base_url)
    if status != 200:
        meant = failure(
            status, text, headers, url=connection.base_url, model="", keys=len(connection.keys), secrets=connection.keys
        )
        error = meant.error if isinstance(meant, TryAgain) else meant
        if status == 429 or (isinstance(error, EndpointRefused) and status not in (401, 403)):
            raise error
        raise _Doubt(_final(error))
    names = listed_names(text)
    if names is None:
        raise _Doubt(_no_api(connection.base_url))
    return names


async def _ask(
    connection: Connection, method: str, path: str, body: dict[str, Any] | None, key: str
) -> tuple[int, str, Any]:
    try:
        return await connection.exchange(method, path, body, key, LIST_SECONDS)
    except TryAgain as again:
        if isinstance(again.error, EndpointUnreachable):
            raise again.error from again
        raise _Doubt(_final(again.error)) from again


def _final(error: EndpointError) -> EndpointError:
    return EndpointUnreachable(str(error)) if isinstance(error, EndpointFailing) else error


def listed_names(text: str) -> tuple[str, ...] | None:
    """Return the names in a list of models, as servers write it: in ``data``, in ``models``, or bare.

    Returns:
        The names in order of the alphabet; ``None`` where the text is no such list, or names nothing.
    """
    try:
        parsed = json.loads(text.lstrip("\ufeff"))
    except (ValueError, RecursionError):
        return None
    entries = parsed.get("data") or parsed.get("models") if isinstance(parsed, dict) else parsed
    if not isinstance(entries, list):
        return None
    names = [_name(entry) for entry in entries]
    return tuple(sorted(filter(None, names))) or None


def _name(entry: Any) -> str:
    if isinstance(entry, dict):
        entry = entry.get("id") or entry.get("name") or entry.get("model")
    return entry if isinstance(entry, str) else ""


def _has(models: tuple[str, ...], model: str, host: str) -> bool:
    # Ollama lists NAME:latest for NAME, Gemini models/NAME; Azure lists what can be deployed, and not what is. A proxy
    # lists a pattern for all of a provider's models.
    known = {model, f"{model}:latest", f"models/{model}"} & set(models)
    return bool(known) or host.endswith(AZURE) or any(fnmatchcase(model, name) for name in models if "*" in name)


def _no_api(url: str) -> EndpointRefused:
    return EndpointRefused(
        f"{url} answers, but not as an OpenAI-compatible server. Check how base_url must end there (often /v1)."
    )
