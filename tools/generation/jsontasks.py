"""Tasks in JSON: a list, an object around one, JSON lines, or any of these cut short."""

from __future__ import annotations

import json
import re
from typing import Any

from tools.generation.parts import ParsedTask, ParseFailure, failure, finish

INSTRUCTION_KEY = re.compile(r'"(?:instruction|task)"\s{0,20}:', re.IGNORECASE)
DECODER = json.JSONDecoder(strict=False)


def holds_json_tasks(text: str) -> bool:
    """Return whether the text holds an object that looks like a task."""
    return "{" in text and INSTRUCTION_KEY.search(text) is not None


def json_tasks(text: str, *, truncated: bool) -> list[ParsedTask | ParseFailure]:
    """Read each object of the text as one task; one that does not parse is a failure, and reading goes on behind it."""
    results: list[ParsedTask | ParseFailure] = []
    start = text.find("{")
    while start >= 0:
        try:
            value, end = DECODER.raw_decode(text, start)
            results.extend(_from_value(value))
        except (ValueError, RecursionError):
            end = text.find("{", start + 1)
            stretch = text[start : end if end >= 0 else len(text)]
            if INSTRUCTION_KEY.search(stretch):
                results.append(failure("cut_off" if truncated and end < 0 else "broken_json", stretch))
            end = end if end >= 0 else len(text)
        start = text.find("{", end)
    return results


def _from_value(value: dict[str, Any]) -> list[ParsedTask | ParseFailure]:
    """Read one object: a task, or a wrapper around lists of them."""
    fields = {key.lower(): item for key, item in value.items()}
    instruction = fields.get("instruction", fields.get("task"))
    if isinstance(instruction, dict):
        return _from_value(instruction)
    if instruction is not None:
        raw = json.dumps(value, ensure_ascii=False)
        return [finish(_text(instruction), _text(fields.get("input")), _text(fields.get("output")), raw=raw)]
    inner = [item for item in fields.values() if isinstance(item, dict)]
    inner += [item for items in fields.values() if isinstance(items, list) for item in items if isinstance(item, dict)]
    if not inner:
        return [failure("no_task", json.dumps(value, ensure_ascii=False))]
    return [result for item in inner for result in _from_value(item)]


def _text(value: Any) -> str:
    """Return a field as text: lists of strings as lines, other values as JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "\n".join(value)
    return json.dumps(value, ensure_ascii=False)
