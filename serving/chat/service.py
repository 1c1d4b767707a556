"""The engine of an application, who may use it now, and who is told what it answered."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Annotated, Literal

from fastapi import Depends, FastAPI, Request

from state.records import Record
from tools.engine.admission import Admission, Closed
from tools.engine.asked import Asked, Engine
from tools.engine.choosing import make_engine
from tools.settings import Settings

Arm = Literal["current", "canary", ""]
"""What a version was to a user who asked for ``current`` while another one was being tried; else empty."""


class Answered(Record):
    """An answer that was served to its end."""

    id: str
    who: str
    model: str
    """As the client named it."""
    version: str
    asked: Asked
    texts: tuple[str, ...]
    finishes: tuple[str, ...]
    """Why each of them ended: ``stop`` or ``length``."""
    user: str
    """Whom the client asks for; who the client is where it names nobody."""
    arm: Arm = ""
    prompt_tokens: int
    completion_tokens: int
    seconds: float
    first_token_seconds: float


async def as_named(model: str, user: str) -> tuple[str, Arm]:
    """Serve everybody what was named."""
    return model, ""


@dataclass
class Chat:
    """What the chat routes of an application share.

    Attributes:
        engine: answers.
        admission: who is answered now, and who waits.
        listeners: each is told of every answer, after it was sent.
        choose: what a user is served who asks for a model, and what that is to the user.
        draining: the process is about to end: answers in flight end, and new requests are sent away.
        requests: how many are in flight.
    """

    engine: Engine
    admission: Admission
    listeners: list[Callable[[Answered], Awaitable[None]]] = field(default_factory=list)
    choose: Callable[[str, str], Awaitable[tuple[str, Arm]]] = field(default=as_named)
    draining: bool = False
    requests: int = 0
    _idle: asyncio.Event = field(default_factory=asyncio.Event)

    @asynccontextmanager
    async def request(self) -> AsyncIterator[None]:
        """Count a request for as long as the block lasts.

        Raises:
            Closed: the process is about to end.
        """
        if self.draining:
            raise Closed
        self.requests += 1
        try:
            yield
        finally:
            self.requests -= 1
            if not self.requests:
                self._idle.set()

    async def drain(self) -> None:
        """Send new requests and those that wait away, and await the answers in flight."""
        self.draining = True
        self.admission.close()
        self._idle.clear()
        if self.requests:
            await self._idle.wait()

    async def tell(self, answered: Answered) -> None:
        """Tell all listeners of an answer."""
        for listener in self.listeners:
            await listener(answered)


@asynccontextmanager
async def chatting(app: FastAPI, settings: Settings) -> AsyncIterator[Chat]:
    """Give an application its engine, which starts with the first request, and free it at the end."""
    engine = make_engine(settings)
    app.state.chat = Chat(engine, Admission(settings.serve_parallel, settings.serve_queue))
    try:
        yield app.state.chat
    finally:
        await engine.close()


def chat_of(request: Request) -> Chat:
    """Return the application's chat."""
    found: Chat = request.app.state.chat
    return found


OpenChat = Annotated[Chat, Depends(chat_of)]
"""A handler's argument of this type is the application's chat."""
