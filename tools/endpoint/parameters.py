"""Which parameters a server takes: what a refusal names is left out or renamed, and remembered. Pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, assert_never

from tools.endpoint.failures import TOO_LONG

JsonForm = Literal["schema", "object", "prompt"]
"""How an answer is held to a schema: the server enforces it, the server enforces JSON, or the prompt alone asks."""
LIMITS = ("max_tokens", "max_completion_tokens")
"""The two names of the one limit. It is renamed and never left out: what a call can cost depends on it."""
OPTIONAL = ("temperature", "top_p", "seed", "stop", "response_format", *LIMITS)
_REFUSING = re.compile(
    r"(?i)un(?:supported|recogni[sz]ed|known|expected|available)|\bnot (?:\w+ ){0,2}(?:support|permit|allow|avail)"
    r"|\bnot (?:recogni|one of)|n't support|does not (?:support|accept|have)|extra (?:inputs|fields?|input)|forbidden"
    r"|deprecated|invalid|only (?:the default|1 is)|cannot (?:both )?be|must be|no such|use 'max"
)
_STREAM = re.compile(
    r"(?i)\bstream(?:ing)?\b.{0,24}\b(?:true|required|only|enabled|mandatory)\b|\bonly\b.{0,16}\bstream(?:ing|ed|s)?\b"
)
_JSON_WORDS = re.compile(
    r"(?i)response[ _]?format|json[_ ](?:schema|object|mode)|structured output|guided[ _]decoding|grammar"
)


@dataclass(frozen=True)
class Accepted:
    """What an endpoint's model takes, as far as it was set or has turned out.

    Attributes:
        names: parameters that have another name there; ``None`` for those that are not sent.
        fixed: parameters that are sent with this value, whatever the call asks.
        json: how an answer is held to a schema.
        stream: whether it answers in a stream alone.
    """

    names: Mapping[str, str | None] = field(default_factory=dict)
    fixed: Mapping[str, Any] = field(default_factory=dict)
    json: JsonForm = "schema"
    stream: bool = False

    def shaped(self, body: Mapping[str, Any]) -> dict[str, Any]:
        """Return a request in OpenAI's form as this server takes it."""
        sent = _in_form(body, self.json)
        sent |= {name: value for name, value in self.fixed.items() if name in OPTIONAL or name not in sent}
        named = {self.names.get(name, name): value for name, value in sent.items()}
        shaped = {name: value for name, value in named.items() if name is not None}
        return shaped | {"stream": True, "stream_options": {"include_usage": True}} if self.stream else shaped


def accepted(parameters: Mapping[str, Any], form: JsonForm) -> Accepted:
    """Return what a request's settings say of a server.

    Args:
        parameters: by OpenAI's name of a parameter: the server's name for it, ``None`` where it has none, or a value
            that is always sent.
        form: how answers are held to a schema.
    """
    names = {name: value for name, value in parameters.items() if _is_name(name, value)}
    return Accepted(names, {name: value for name, value in parameters.items() if name not in names}, form)


def _is_name(name: str, value: Any) -> bool:
    return value is None or (isinstance(value, str) and name in OPTIONAL)


def learned(known: Accepted, sent: Mapping[str, Any], said: str) -> tuple[Accepted, str] | None:
    """Return what a server takes after it refused a request, and what that changes in words.

    Args:
        known: what was known before.
        sent: the refused request.
        said: the body of the refusal (400, 422).

    Returns:
        ``None`` where the refusal names no parameter that can do without: the request itself is at fault.
    """
    named, words = _named(said)
    if not known.stream and _STREAM.search(words) and not TOO_LONG.search(words):
        return replace(known, stream=True), "it is asked for a stream, since it gives no other answer"
    if (TOO_LONG.search(words) and not named) or not (named or _REFUSING.search(words)):
        return None
    found = _mentioned(named, words, sent)
    if "response_format" in found and known.json != "prompt":
        form: JsonForm = "object" if known.json == "schema" and "json_object" not in words else "prompt"
        return replace(known, json=form), _JSON_CHANGES[form]
    for limit, other in (LIMITS, LIMITS[::-1]):
        if limit in sent and limit in found and known.names.get(other) != limit:
            return _renamed(known, limit, other), f"{limit} is sent as {other}"
    dropped = [name for name in found if name not in (*LIMITS, "response_format")]
    if re.search(r"(?i)\b(?:both|only one)\b", words):
        dropped = dropped[-1:]  # "temperature and top_p cannot both be specified": one of them may stay
    if not dropped:
        return None
    names = {**known.names, **dict.fromkeys(dropped)}
    return replace(known, names=names), f"{' and '.join(dropped)} {'is' if len(dropped) == 1 else 'are'} left out"


_JSON_CHANGES: Mapping[JsonForm, str] = {
    "schema": "JSON is held to a schema by the server",
    "object": "JSON is asked for by json_object and by the prompt, without a schema that the server enforces",
    "prompt": "JSON is asked for by the prompt alone",
}


def _renamed(known: Accepted, sent: str, other: str) -> Accepted:
    # Under what name the call itself has it: it may have been renamed before.
    own = next((name for name, there in known.names.items() if there == sent), sent)
    return replace(known, names={**known.names, own: other})


def _named(said: str) -> tuple[list[str], str]:
    """Return the parameters that a refusal names in a field of its own, and its words."""
    try:
        parsed = json.loads(said)
    except (ValueError, RecursionError):
        return [], said
    error = parsed.get("error", parsed) if isinstance(parsed, dict) else parsed
    if isinstance(error, str):
        return [], error
    details = error.get("detail", error) if isinstance(error, dict) else error
    entries = [entry for entry in (details if isinstance(details, list) else [error]) if isinstance(entry, dict)]
    names = [part for entry in entries for part in _places(entry)]
    words = [str(entry.get("message") or entry.get("msg") or "") for entry in entries]
    return names, " ".join(filter(None, words)) or (details if isinstance(details, str) else said)


def _places(entry: Mapping[str, Any]) -> list[str]:
    """Return the parameter in OpenAI's ``param``, or at pydantic's ``loc``."""
    place = entry.get("loc") if isinstance(entry.get("loc"), list) else [entry.get("param")]
    return [part.split(".")[0] for part in place or () if isinstance(part, str)]


def _mentioned(named: Sequence[str], words: str, sent: Mapping[str, Any]) -> list[str]:
    if own := [name for name in OPTIONAL if name in named and name in sent]:
        return own
    found = [name for name in OPTIONAL if name in sent and re.search(rf"\b{name}\b", words)]
    advised = re.search(r"(?i)\buse\W+(?:the )?\W*(max_\w+)", words)
    found = [name for name in found if not (advised and name == advised.group(1))]
    if "response_format" in sent and "response_format" not in found and not found and _JSON_WORDS.search(words):
        found.append("response_format")
    return found


def _in_form(body: Mapping[str, Any], form: JsonForm) -> dict[str, Any]:
    """Return a request whose answer is held to its schema in another way."""
    wanted = body.get("response_format")
    if wanted is None:
        return dict(body)
    match form:
        case "schema":
            return dict(body)
        case "object":
            plain = {"response_format": {"type": "json_object"}}
        case "prompt":
            plain = {}
        case _:
            assert_never(form)
    rest = {name: value for name, value in body.items() if name != "response_format"}
    return rest | {"messages": _asking(body["messages"], wanted["json_schema"]["schema"])} | plain


def _asking(messages: Iterable[Mapping[str, str]], schema: Mapping[str, Any]) -> list[dict[str, str]]:
    turns = [dict(turn) for turn in messages]
    shown = json.dumps(schema, ensure_ascii=False)
    turns[-1]["content"] += f"\n\nAnswer with one JSON object alone, without a fence, that fits this schema:\n{shown}"
    return turns
