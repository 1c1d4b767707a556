"""An answer on its way to a client that may be slow, may never read, and may hang up."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine
from contextlib import aclosing
from typing import Any, TypeVar

from fastapi import Request, Response
from starlette.types import Receive, Scope, Send

T = TypeVar("T")

WRITE_SECONDS = 60.0
"""How long a client may take to read one chunk, before it counts as gone."""
HUNG_UP = 499
"""nginx's status for a client that hung up; nobody sees it but the log."""


class HungUp(Exception):
    """The client is gone."""


async def unless_gone(request: Request, work: Coroutine[Any, Any, T]) -> T:
    """Return what ``work`` returns; where the client hangs up before, cancel it.

    Raises:
        HungUp: the client hung up.
    """
    working, gone = asyncio.ensure_future(work), asyncio.ensure_future(_gone(request.receive))
    try:
        await asyncio.wait((working, gone), return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise HungUp
        return working.result()
    finally:
        await _end(working, gone)


class EventStream(Response):
    """Events that are sent as they come.

    What is still to be sent is kept, however slowly the client reads: the engine is not held up by it, and an answer
    has no more tokens than the context.

    Args:
        events: the bytes of one or several events each; they are taken to the end or closed.
        headers: of the answer.
    """

    media_type = "text/event-stream"

    def __init__(self, events: AsyncGenerator[bytes], headers: dict[str, str]) -> None:
        super().__init__(None, 200, headers | {"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._events = events

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer; see ``Response``."""
        waiting: asyncio.Queue[bytes | None] = asyncio.Queue()
        taking = asyncio.ensure_future(self._take(waiting))
        sending, gone = asyncio.ensure_future(self._send(waiting, send)), asyncio.ensure_future(_gone(receive))
        try:
            await asyncio.wait((sending, gone), return_when=asyncio.FIRST_COMPLETED)
            if sending.done():
                sending.result()
        except TimeoutError:
            return  # the server closes a connection whose answer has no end
        finally:
            await _end(taking, sending, gone)

    async def _take(self, waiting: asyncio.Queue[bytes | None]) -> None:
        try:
            async with aclosing(self._events):
                async for event in self._events:
                    waiting.put_nowait(event)
        finally:
            waiting.put_nowait(None)

    async def _send(self, waiting: asyncio.Queue[bytes | None], send: Send) -> None:
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        more = True
        while more:
            events = [await waiting.get()]
            while not waiting.empty():
                events.append(waiting.get_nowait())
            more = None not in events
            body = b"".join(event for event in events if event is not None)
            async with asyncio.timeout(WRITE_SECONDS):
                await send({"type": "http.response.body", "body": body, "more_body": more})


async def _gone(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _end(*tasks: asyncio.Future[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
