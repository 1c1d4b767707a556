"""Who is answered now, who waits, and who is sent away: a bounded queue before a bounded number of answers."""

from __future__ import annotations

import asyncio
import math
import time
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


class Admission:
    """Lets so many work at a time, and so many wait, in the order in which they came.

    Args:
        places: how many work at a time.
        queue: how many wait.

    Attributes:
        working: how many work now.
        waiting: how many wait now.
    """

    def __init__(self, places: int, queue: int) -> None:
        self.places, self.queue = places, queue
        self.working = self.waiting = 0
        self._free = asyncio.Semaphore(places)
        self._seconds = FIRST_GUESS

    @asynccontextmanager
    async def place(self) -> AsyncIterator[None]:
        """Hold a place for as long as the block lasts.

        Raises:
            Full: as many wait as may.
        """
        if self._free.locked() and self.waiting >= self.queue:
            raise Full(self.retry_after)
        self.waiting += 1
        try:
            await self._free.acquire()
        finally:
            self.waiting -= 1
        self.working += 1
        begun = time.monotonic()
        try:
            yield
        finally:
            self.working -= 1
            self._seconds += WEIGHT * (time.monotonic() - begun - self._seconds)
            self._free.release()

    @property
    def retry_after(self) -> int:
        """Seconds after which those who wait now should be served, at least 1."""
        wait = self._seconds * (self.waiting + 1) / self.places
        return max(1, min(LONGEST_ADVICE, math.ceil(wait)))
