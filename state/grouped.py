"""Work for the database that arrives while other such work is under way is done together, in one transaction."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Generic, Protocol, TypeVar


class Entry(Protocol):
    """What is grouped: by the run that it belongs to, since one that is lost must not take another's with it."""

    @property
    def run_id(self) -> str:
        """The run; empty where it does not matter."""
        ...


E = TypeVar("E", bound=Entry)
R = TypeVar("R")


class Grouped(Generic[E, R]):
    """A queue of which everything that waits is done at once.

    So a hundred answers a second do not wait for a hundred syncs of the disk.

    Args:
        work: does entries of one run, and returns what each of them waits for. What it raises is raised for each.
    """

    def __init__(self, work: Callable[[Sequence[E]], Awaitable[Sequence[R]]]) -> None:
        self._work = work
        self._queue: list[tuple[E, asyncio.Future[R]]] = []
        self._drained: asyncio.Task[None] | None = None

    async def do(self, entry: E) -> R:
        """Return what the work gives for an entry; it is done even if who asked is cancelled meanwhile."""
        done: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._queue.append((entry, done))
        if self._drained is None or self._drained.done():
            self._drained = asyncio.create_task(self._drain())
        return await asyncio.shield(done)

    async def _drain(self) -> None:
        while self._queue:
            batch, self._queue = self._queue, []
            try:
                for run_id in dict.fromkeys(entry.run_id for entry, _ in batch):
                    await self._settle([pair for pair in batch if pair[0].run_id == run_id])
            except asyncio.CancelledError:
                for _, done in batch:
                    done.cancel()
                raise

    async def _settle(self, batch: Sequence[tuple[E, asyncio.Future[R]]]) -> None:
        try:
            results = await self._work([entry for entry, _ in batch])
        except Exception as error:
            for _, done in batch:
                if not done.done():
                    done.set_exception(error)
                    done.exception()  # read: who waits may be gone, and asyncio would print it
        else:
            for (_, done), result in zip(batch, results, strict=True):
                if not done.done():
                    done.set_result(result)
