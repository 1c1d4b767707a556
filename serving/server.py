"""The application on a port of its own: it starts whole, and ends without dropping an answer."""

from __future__ import annotations

import asyncio
import logging
import os
import selectors
import socket
from types import FrameType

import uvicorn
from fastapi import FastAPI

from serving.chat.service import Chat
from state.errors import BadInput, CorralError

CUT_SECONDS = 1
"""How long connections that are still open then may take to close."""
PASSES, PASS_SECONDS = 3, 0.02
"""So many times in a row nothing has come, with so long between: a connection is taken in one pass of the event loop,
its request read in the next, and answered in a third."""


class Server(uvicorn.Server):
    """uvicorn, but that the engine is loaded before the first request, and that a signal lets answers end.

    After SIGTERM or SIGINT new requests get 503, and answers in flight are sent to their end, for ``drain``
    seconds at most. A second signal ends at once.

    Args:
        app: the application; its state has ``chat`` once it has started.
        log_level: of uvicorn's own log.
        load: whether the engine is loaded at once.
        drain: how long answers in flight may take after a signal, in seconds.

    Attributes:
        failed: why it could not start.
        received: the signals that came.
    """

    def __init__(self, app: FastAPI, log_level: str, *, load: bool, drain: float) -> None:
        config = uvicorn.Config(
            app,
            log_level=log_level.lower(),
            log_config=None,  # the logs of this process are set up already; dictConfig would close all their handlers
            access_log=False,
            timeout_graceful_shutdown=CUT_SECONDS,
            server_header=False,
            # Whoever is behind a proxy is told by the token, not by a header that anyone can send.
            proxy_headers=False,
        )
        super().__init__(config)
        logging.getLogger("uvicorn.error").addFilter(_no_cut_answer)
        self.app, self._load, self._drain_seconds = app, load, drain
        self.failed: CorralError | None = None
        self.received: list[int] = []
        self._loop: asyncio.AbstractEventLoop | None = None
        self._draining: asyncio.Task[None] | None = None
        self._listening: list[socket.socket] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Start the application, then its engine."""
        self._loop, self._listening = asyncio.get_running_loop(), sockets or []
        await super().startup(sockets=sockets)
        if self.should_exit or not self._load:
            return
        try:
            await self.chat.engine.start()
        except CorralError as error:
            self.failed, self.should_exit = error, True

    @property
    def chat(self) -> Chat:
        """The application's chat."""
        found: Chat = self.app.state.chat
        return found

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Let answers end; a second signal does not wait for them."""
        self.received.append(sig)
        if len(self.received) > 1:
            os._exit(128 + sig)  # as a kill: uvicorn would log each answer that it cuts with its traceback
        if self._loop is None:
            self.should_exit = self.force_exit = True
            return
        self._loop.call_soon_threadsafe(self._drain)

    def _drain(self) -> None:
        if not hasattr(self.app.state, "chat"):
            # The application is being made: there is no answer to wait for.
            self.should_exit = True
            return

        async def drained() -> None:
            try:
                async with asyncio.timeout(self._drain_seconds):
                    await self.chat.drain()
                    await self._answer_what_came()
            except TimeoutError:
                pass  # what takes longer is cut
            finally:
                self.should_exit = True

        self._draining = asyncio.create_task(drained())

    async def _answer_what_came(self) -> None:
        """Wait until who has connected by now is answered: closing the port would reset those still in its queue."""
        passes, known = 0, set(self.server_state.tasks)
        with selectors.DefaultSelector() as queue:
            for one in self._listening:
                queue.register(one, selectors.EVENT_READ)
            while passes < PASSES:
                await asyncio.sleep(PASS_SECONDS)
                came = self.server_state.tasks - known
                known |= came
                passes = 0 if came or queue.select(0) else passes + 1


def _no_cut_answer(record: logging.LogRecord) -> bool:
    """Return whether a record is about anything but an answer that was cut at the end, of which another line tells."""
    return record.exc_info is None or not isinstance(record.exc_info[1], asyncio.CancelledError)


def bound(host: str, port: int) -> socket.socket:
    """Return a socket that listens there.

    Raises:
        BadInput: the port is in use, or the address is not this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        listening = socket.socket(family, socket.SOCK_STREAM)
        listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listening.bind((host, port))
            # Queued by the system while the engine starts, and under load.
            listening.listen(2048)
        except OSError:
            listening.close()
            raise
    except OSError as error:
        raise BadInput(f"{host}:{port} cannot be served: {error.strerror or error}; name another --port") from error
    return listening
