"""An answer that came as a stream of events, put together as if it had come at once. Pure."""

from __future__ import annotations

import json
from typing import Any


def is_stream(text: str) -> bool:
    """Return whether a body is a stream of server-sent events."""
    return text.lstrip("\ufeff\r\n ").startswith(("data:", "event:", ": ", "id:", "retry:"))


def joined(text: str) -> dict[str, Any]:
    """Return the chat completion in a stream of chunks; a line that is no JSON is passed over.

    An error in the stream is the answer, as is a whole completion that came as one event.
    """
    content: list[str] = []
    reasoning: list[str] = []
    arguments: list[str] = []
    answer: dict[str, Any] = {"usage": None}
    ended: Any = None
    for chunk in _events(text):
        if chunk.get("error"):
            return chunk
        answer["usage"] = chunk.get("usage") or answer["usage"]
        choices = chunk.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices and isinstance(choices[0], dict) else {}
        if isinstance(choice.get("message"), dict):
            return chunk
        delta = choice["delta"] if isinstance(choice.get("delta"), dict) else {}
        ended = choice.get("finish_reason") or ended
        content.append(_text(delta.get("content") or choice.get("text")))
        reasoning.append(_text(delta.get("reasoning_content") or delta.get("reasoning")))
        arguments.append(_arguments(delta.get("tool_calls")))
    message: dict[str, Any] = {"content": "".join(content), "reasoning_content": "".join(reasoning)}
    if called := "".join(arguments):
        message["tool_calls"] = [{"function": {"arguments": called}}]
    return answer | {"choices": [{"message": message, "finish_reason": ended}]}


def _events(text: str) -> list[dict[str, Any]]:
    found = []
    for line in text.splitlines():
        if line.startswith("data:"):
            try:
                event = json.loads(line[5:])
            except (ValueError, RecursionError):
                continue
            if isinstance(event, dict):
                found.append(event)
    return found


def _text(value: Any) -> str:
    return value if isinstance(value, str) else ""


def _arguments(calls: Any) -> str:
    call = calls[0] if isinstance(calls, list) and calls and isinstance(calls[0], dict) else {}
    function = call.get("function")
    return _text(function.get("arguments")) if isinstance(function, dict) else ""
