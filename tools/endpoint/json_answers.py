"""The one JSON object in what a model says, however it is wrapped or written."""

from __future__ import annotations

import html
import json
import re
from collections.abc import Iterator, Mapping, Set
from typing import Any

from tools.endpoint.spoken import spoken
from tools.special_tokens import first_turn

_CURLY = str.maketrans({"\u201c": '"', "\u201d": '"', "\u201e": '"', "\ufeff": None, "\u200b": None})
_FULL_WIDTH = str.maketrans({"\uff1a": ":", "\uff0c": ",", "\uff5b": "{", "\uff5d": "}"})
_ASSIGNED = re.compile(r"([\"']\w+[\"'])\s*=>?\s*")
_FIRST_KEY = re.compile(r"\A[\"'](\w+)[\"']\s*:")
LONGEST = 100_000
"""Characters of an answer in which an object is looked for."""
_DEEPEST = 4
"""Levels of wrapping that are opened: ``{"name": ..., "arguments": "{...}"}`` has two."""


class _TwoValues(ValueError):
    """A key stands twice in an object, with two values."""


def one_object(text: str, wanted: Set[str]) -> dict[str, Any] | None:
    """Return the object that an answer holds, with its keys in lower case.

    It may stand in a fence, among sentences, in a list, in another object, as a string, or behind thinking, and may
    have small faults: other quotes, a comma too many, a comment, a raw line break, a brace that is not there. Nothing
    is guessed: of two different objects nobody knows which one is meant, nor of two values of one key; an object that
    is not closed may be cut off in its last value, unless that is a whole text.

    Args:
        text: what the model answered.
        wanted: keys of the object, in lower case; one without any of them is not it.
    """
    said = first_turn(spoken(text[:LONGEST]).text).strip().lstrip("\ufeff")
    try:
        for written in (said, html.unescape(said), _ASSIGNED.sub(r"\1: ", said.translate(_FULL_WIDTH))):
            for spans in (
                _balanced(written, quotes=True),
                _balanced(written, quotes=False),
                _unclosed(written, wanted),
            ):
                found = [one for span in spans for one in _within(_parsed(span), wanted)]
                if found:
                    return found[0] if all(other == found[0] for other in found) else None
    except _TwoValues:
        pass
    return None


def _within(value: Any, wanted: Set[str], depth: int = 0) -> list[dict[str, Any]]:
    """Return the objects with a wanted key in a value, the outermost of them; a schema has keys, and no values."""
    if isinstance(value, str) and depth and value.lstrip().startswith("{"):
        value = _parsed(value)
    if isinstance(value, list):
        return [one for part in value for one in _within(part, wanted, depth)]
    if not isinstance(value, dict):
        return []
    lowered = _lowered(value)
    named = wanted & lowered.keys()
    if any(not isinstance(lowered[key], dict) for key in named):
        return [lowered]
    inner = [one for part in value.values() for one in _within(part, wanted, depth + 1)] if depth < _DEEPEST else []
    return inner or ([lowered] if named and not _is_schema(value) else [])


def _is_schema(value: Mapping[str, Any]) -> bool:
    return all(isinstance(part, dict) and "type" in part for part in value.values())


def _parsed(span: str) -> dict[str, Any]:
    """Return a text from brace to brace as an object; empty where it is none.

    Raises:
        _TwoValues: a key stands twice in it, with two values.
    """
    try:
        found = json.loads(span, object_pairs_hook=_without_two_values, strict=False)
    except _TwoValues:
        raise
    except (ValueError, RecursionError):
        return _repaired(span)
    return found if isinstance(found, dict) else {}


def _repaired(span: str) -> dict[str, Any]:
    from json_repair import loads

    plain = span.translate(_CURLY)
    while plain.startswith("{{") and plain.endswith("}}"):  # as in a template of Python's format
        plain = plain[1:-1]
    keys = re.findall(r"[{,]\s*[\"']?(\w+)[\"']?\s*:", plain)
    if len(keys) != len(set(keys)):
        raise _TwoValues
    try:
        found = loads(plain)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _without_two_values(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if any(repr(found[key]) != repr(value) for key, value in pairs):
        raise _TwoValues
    return found


def _lowered(found: Mapping[str, Any]) -> dict[str, Any]:
    return _without_two_values([(str(key).strip().lower(), value) for key, value in found.items()])


def _balanced(text: str, *, quotes: bool) -> Iterator[str]:
    """Yield the texts from an outermost brace to the one that closes it.

    Args:
        text: any text.
        quotes: whether braces between double quotes do not count. They should not, unless quotes are faulty.
    """
    depth = start = 0
    inside = escaped = False
    for place, character in enumerate(text):
        if inside:
            inside = escaped or character != '"'
            escaped = character == "\\" and not escaped
        elif character == '"' and quotes and depth:
            inside = True
        elif character == "{":
            start, depth = (place, 1) if depth == 0 else (start, depth + 1)
        elif character == "}" and depth:
            depth -= 1
            if depth == 0:
                yield text[start : place + 1]


def _unclosed(text: str, wanted: Set[str]) -> Iterator[str]:
    """Yield the flat object that a text lacks a brace of; none where the value that it ends in may be cut off."""
    first = _FIRST_KEY.match(text)
    if first and first.group(1).lower() in wanted:
        text = "{" + text
    start = text.find("{")
    if start < 0 or "{" in text[start + 1 :]:
        return
    body = text[start:].rstrip()
    if not body.endswith("}"):
        if not body.endswith('"') or len(re.findall(r'(?<!\\)"', body)) % 2:
            return
        body += "}"
    yield body
