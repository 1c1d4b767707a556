"""The one JSON object in what a model says, however it is wrapped or written."""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Iterator
from typing import Any

from tools.endpoint.spoken import spoken

_CURLY = str.maketrans({"\u201c": '"', "\u201d": '"', "\u201e": '"', "\ufeff": None, "\u200b": None})
LONGEST = 100_000
"""Characters of an answer in which an object is looked for."""


class _TwoValues(ValueError):
    """A key stands twice in an object, with two values."""


def one_object(text: str, wanted: Collection[str]) -> dict[str, Any] | None:
    """Return the object that an answer holds, with its keys in lower case.

    It may stand in a fence, among sentences, in a list or behind thinking, and may have small faults: other quotes, a
    comma too many, a comment, a raw line break. Nothing is guessed: of two different objects nobody knows which one is
    meant, nor of two values of one key; an object that is not closed may be cut off in its last value.

    Args:
        text: what the model answered.
        wanted: keys of the object, in lower case; one without any of them is not it.
    """
    said = spoken(text[:LONGEST]).text.strip().lstrip("\ufeff")
    for spans in (_balanced(said, quotes=True), _balanced(said, quotes=False)):
        try:
            found = [lowered for span in spans if wanted & (lowered := _lowered(_parsed(span))).keys()]
        except _TwoValues:
            return None
        if found:
            return found[0] if all(other == found[0] for other in found) else None
    return None


def _parsed(span: str) -> dict[str, Any]:
    """Return a text from brace to brace as an object; empty where it is none.

    Raises:
        _TwoValues: a key stands twice in it, with two values.
    """
    try:
        return json.loads(span, object_pairs_hook=_without_two_values, strict=False)  # type: ignore[no-any-return]  # an object
    except _TwoValues:
        raise
    except (ValueError, RecursionError):
        return _repaired(span)


def _repaired(span: str) -> dict[str, Any]:
    from json_repair import loads

    plain = span.translate(_CURLY)
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


def _lowered(found: dict[str, Any]) -> dict[str, Any]:
    return {str(key).strip().lower(): value for key, value in found.items()}


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
