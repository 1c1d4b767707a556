"""Who is answered now, who waits, and who is sent away: a bounded queue before a bounded number of answers."""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

FIRST_GUESS = 2.0
"""Seconds that an answer takes, before one was measured."""
WEIGHT = 0.2
"""Of the last answer, in the running mean of how long one takes."""
LONGEST_ADVICE = 600


class Full(Exception):
    """The queue is full.

    Attributes:
        retry_after: seconds after which there should be room.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__(f"too many requests wait already; try again in {retry_after} s")
        self.retry_after = retry_after


class Closed(Exception):
    """Nobody is let in any more."""

    def __init__(self) -> None:
        super().__init__("this server is ending; try again in a moment")


class Admission:
    """Lets so many work at a time, and so many wait, in the order in which they came, until it is closed.

    Args:
        places: how many work at a time.
        queue: how many wait.

    Attributes:
        working: how many work now.
        closed: whether it is closed.
    """

    def __init__(self, places: int, queue: int) -> None:
        self.places, self.queue = places, queue
        self.working, self.closed = 0, False
        self._turns: deque[asyncio.Future[None]] = deque()
        self._seconds = FIRST_GUESS

    @property
    def waiting(self) -> int:
        """How many wait now."""
        return len(self._turns)

    def close(self) -> None:
        """Send away who waits, and who comes; those at work go on."""
        self.closed = True
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_exception(Closed())

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place for as long as the block lasts.

        Raises:
            Full: as many wait as may.
            Closed: it is closed, before there was a place.
        """
        await self._take()
        begun = time.monotonic()
        try:
            yield
        finally:
            self._seconds += WEIGHT * (time.monotonic() - begun - self._seconds)
            self._give_on()

    async def _take(self) -> None:
        if self.closed:
            raise Closed
        if self.working < self.places:
            self.working += 1
            return
        if self.waiting >= self.queue:
            raise Full(self.retry_after)
        turn = asyncio.get_running_loop().create_future()
        self._turns.append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if turn in self._turns:
                self._turns.remove(turn)
            elif not turn.cancelled() and turn.exception() is None:
                self._give_on()  # its turn had just come
            raise

    def _give_on(self) -> None:
        """Hand a place on to who waits longest."""
        while self._turns:
            turn = self._turns.popleft()
            if not turn.done():
                turn.set_result(None)
                return
        self.working -= 1

    @property
    def retry_after(self) -> int:
        """Seconds after which those who wait now should be served, at least 1."""
        wait = self._seconds * (self.waiting + 1) / self.places
        return max(1, min(LONGEST_ADVICE, math.ceil(wait)))
