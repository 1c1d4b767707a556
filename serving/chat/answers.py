"""Answers in OpenAI's form: whole, or as the chunks of a stream."""

from __future__ import annotations

import json
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from tools.engine.asked import Likely, Piece, Token

DONE = b"data: [DONE]\n\n"


@dataclass(frozen=True)
class Head:
    """What all parts of one answer have in common."""

    version: str
    id: str = field(default_factory=lambda: f"chatcmpl-{secrets.token_hex(12)}")
    created: int = field(default_factory=lambda: int(time.time()))

    def body(self, kind: str, choices: list[dict[str, Any]], **more: Any) -> dict[str, Any]:
        """Return a part."""
        head = {"id": self.id, "object": kind, "created": self.created, "model": self.version}
        return head | {"system_fingerprint": None, "choices": choices} | more


@dataclass
class Collected:
    """The pieces of an answer so far."""

    texts: dict[int, str] = field(default_factory=dict)
    """By choice."""
    logprobs: dict[int, list[Token]] = field(default_factory=dict)
    finishes: dict[int, str] = field(default_factory=dict)
    prompt_tokens: int = 0
    completion_tokens: int = 0

    def add(self, piece: Piece) -> None:
        """Add a piece."""
        self.texts[piece.choice] = self.texts.get(piece.choice, "") + piece.text
        self.logprobs.setdefault(piece.choice, []).extend(piece.logprobs)
        if piece.finish is not None:
            self.finishes[piece.choice] = piece.finish
        self.prompt_tokens = max(self.prompt_tokens, piece.prompt_tokens)
        self.completion_tokens += piece.completion_tokens

    def usage(self) -> dict[str, int]:
        """Return the tokens as OpenAI counts them: the prompt once, whatever the number of answers."""
        whole = self.prompt_tokens + self.completion_tokens
        counts = {"prompt_tokens": self.prompt_tokens, "completion_tokens": self.completion_tokens}
        return counts | {"total_tokens": whole}


def completion(head: Head, found: Collected, *, logprobs: bool) -> dict[str, Any]:
    """Return a whole answer."""
    choices = [
        {
            "index": choice,
            "message": {"role": "assistant", "content": found.texts[choice], "refusal": None},
            "logprobs": _logprobs(found.logprobs[choice]) if logprobs else None,
            "finish_reason": found.finishes.get(choice, "stop"),
        }
        for choice in sorted(found.texts)
    ]
    return head.body("chat.completion", choices, usage=found.usage())


def first_chunks(head: Head, choices: int, *, usage: bool) -> Iterator[bytes]:
    """Yield what a stream begins with: whose turn it is."""
    for choice in range(choices):
        yield _chunk(head, choice, {"role": "assistant", "content": ""}, None, None, usage)


def chunks(head: Head, piece: Piece, *, usage: bool) -> Iterator[bytes]:
    """Yield the chunks of a piece: its text, and why the answer ended where it does."""
    if piece.text or piece.logprobs:
        found = _logprobs(piece.logprobs) if piece.logprobs else None
        yield _chunk(head, piece.choice, {"content": piece.text}, found, None, usage)
    if piece.finish is not None:
        yield _chunk(head, piece.choice, {}, None, piece.finish, usage)


def usage_chunk(head: Head, found: Collected) -> bytes:
    """Return the chunk with what the answer has used."""
    return event(head.body("chat.completion.chunk", [], usage=found.usage()))


def event(body: dict[str, Any]) -> bytes:
    """Return an event of a stream."""
    return b"data: " + json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def _chunk(head: Head, choice: int, delta: dict[str, Any], logprobs: Any, finish: str | None, usage: bool) -> bytes:
    one = {"index": choice, "delta": delta, "logprobs": logprobs, "finish_reason": finish}
    # OpenAI's own: where the usage is asked for, each chunk but the last says that it has none.
    return event(head.body("chat.completion.chunk", [one], **({"usage": None} if usage else {})))


def _logprobs(tokens: Sequence[Token]) -> dict[str, Any]:
    return {"content": [_told(token) | {"top_logprobs": _all(token.top)} for token in tokens], "refusal": None}


def _all(tokens: Iterable[Likely]) -> list[dict[str, Any]]:
    return [_told(token) for token in tokens]


def _told(token: Likely) -> dict[str, Any]:
    return {
        "token": token.text,
        "logprob": token.logprob,
        "bytes": list(token.bytes) if token.bytes is not None else None,
    }
