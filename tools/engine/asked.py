"""What is asked of an engine, what comes back piece by piece, and what an engine is."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Literal, Protocol

from pydantic import Field

from state.records import Record

BASE, CURRENT = "base", "current"
"""The names of what is served beside the registry's versions: the base alone, and what the registry points at."""
Finish = Literal["stop", "length"]
"""Why an answer ended: by itself or at a stop text, or at its number of tokens."""


class Asked(Record):
    """Answers that are wanted to one chat."""

    turns: tuple[dict[str, str], ...] = Field(min_length=1)
    """``role``, ``content``, and for a user ``input`` where the content ends with an input of its own."""
    choices: int = Field(1, ge=1)
    """How many answers."""
    max_tokens: int | None = Field(None, ge=1)
    """Of each answer; ``None`` for as many as fit."""
    temperature: float = Field(1.0, ge=0, le=2)
    """0 always takes the likeliest token."""
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int | None = None
    stop: tuple[str, ...] = ()
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    logprobs: int | None = Field(None, ge=0)
    """How many of the likeliest tokens are told beside the chosen one; ``None`` for no log-probabilities at all."""
    json_schema: dict[str, Any] | None = None
    """The answer is JSON of this schema; an empty one allows any object."""
    remember: bool = True
    """Whether the engine may use what it has read of the same prompt before, which may round in another way."""


class Likely(Record):
    """A token and how likely it was."""

    text: str
    bytes: tuple[int, ...] | None = None
    logprob: float


class Token(Likely):
    """A token of an answer."""

    top: tuple[Likely, ...] = ()
    """The likeliest at its place."""


class Piece(Record):
    """A part of an answer; the last one says why it ended."""

    choice: int = 0
    text: str = ""
    tokens: tuple[int, ...] = ()
    """Their ids, where the engine tells them."""
    logprobs: tuple[Token, ...] = ()
    finish: Finish | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    """Of the whole answer; both are set in its last piece."""


class Entry(Record):
    """What a client may name as its model."""

    name: str
    created: int = 0
    """Seconds since 1970."""
    parent: str | None = None
    """What the adapter was put on, or the version that ``current`` means."""


class TokenIdsUntold(Exception):
    """An engine elsewhere does not tell how it reads a prompt."""


class Served(Protocol):
    """A version that a request holds: it stays as it is until the request ends."""

    @property
    def version(self) -> str:
        """The version's name; never ``current``."""
        ...

    async def tokens(self, asked: Asked) -> list[int]:
        """Return the prompt as the token ids that the engine reads.

        Raises:
            PromptTooLong: prompt and answer do not fit into the context.
            BadInput: the chat template refuses the turns.
            TokenIdsUntold: the engine does not tell.
            EndpointError: the engine fails.
        """
        ...

    async def text_of(self, tokens: Sequence[int]) -> str:
        """Return what token ids mean to the engine; errors as for ``tokens``."""
        ...

    async def begin(self, asked: Asked) -> AsyncGenerator[Piece]:
        """Return the answers, which are written as they are taken; leaving them early frees their place.

        Raises:
            PromptTooLong: prompt and answer do not fit into the context.
            BadInput, CallRefused: it cannot be asked so.
            EndpointError: the engine fails.
        """
        ...


class Engine(Protocol):
    """What answers."""

    async def start(self) -> None:
        """Load what is served; until then nothing is in memory. A second call does nothing.

        Raises:
            BadInput: what the registry points at cannot be served.
            EndpointError: the engine does not start.
        """
        ...

    async def close(self) -> None:
        """Free all of it."""
        ...

    async def entries(self) -> list[Entry]:
        """Return what a client may name."""
        ...

    def open(self, model: str) -> AbstractAsyncContextManager[Served]:
        """Hold a version for a request.

        Args:
            model: ``base``, ``current``, or a version's name.

        Raises:
            UnknownModel: there is none of that name.
            BadInput: there is one, and it cannot be served.
            EndpointError: the engine fails.
        """
        ...
