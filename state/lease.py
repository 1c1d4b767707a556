"""Leases: one process works on a run at a time. When it dies, others on the same machine may take its lease at once."""

from __future__ import annotations

import asyncio
import os
import socket
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import psutil
from sqlalchemy import select, update

from state.database import Database, runs
from state.errors import RunBusy, StorageError

LEASE_SECONDS = 60.0
"""A lease expires when it was not renewed for so long. It is renewed three times in that time."""
CLOCK_SECONDS = 2.0
"""How far the reported start time of one process may move: Linux derives it from the clock, which may be set."""


def process_owner() -> str:
    """Return this process's name as a lease owner: host, process id and the process's start time."""
    return f"{socket.gethostname()}:{os.getpid()}:{psutil.Process().create_time():.2f}"


def is_dead(owner: str) -> bool:
    """Tell whether ``owner`` was a process of this machine that has ended."""
    host, pid, started = owner.rsplit(":", 2)
    if host != socket.gethostname():
        return False
    try:
        process = psutil.Process(int(pid))
        # A killed process stays a zombie until its parent waits for it, which in a container may never happen.
        ended = process.status() == psutil.STATUS_ZOMBIE
        return ended or abs(process.create_time() - float(started)) > CLOCK_SECONDS
    except psutil.NoSuchProcess:
        return True


class Leases:
    """The leases that this process holds; re-entrant, so that a run's steps nest in the run.

    Args:
        database: an open database whose tables exist.
        owner: who takes the leases; this process unless a test says otherwise.
    """

    def __init__(self, database: Database, owner: str | None = None) -> None:
        self.database = database
        self.owner = owner or process_owner()
        self._depth: Counter[str] = Counter()
        self._renewals: dict[str, asyncio.Task[None]] = {}
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def hold(self, run_id: str) -> AsyncIterator[None]:
        """Hold the lease of a run that is in the store.

        Raises:
            RunBusy: another live process holds it.
        """
        async with self._lock:
            if self._depth[run_id] == 0:
                await self._take(run_id)
                self._renewals[run_id] = asyncio.create_task(self._renew(run_id))
            self._depth[run_id] += 1
        try:
            yield
        finally:
            self._depth[run_id] -= 1
            if self._depth[run_id] == 0:
                await asyncio.shield(self._release(run_id))

    async def holder(self, run_id: str) -> str | None:
        """Return the live owner of a run's lease, or ``None``."""
        owner, until = await self._row(run_id)
        return owner if _is_live(owner, until) else None

    async def _row(self, run_id: str) -> tuple[str | None, float]:
        query = select(runs.c.lease_owner, runs.c.lease_until).where(runs.c.run_id == run_id)
        async with self.database.reading() as connection:
            row = (await connection.execute(query)).first()
        return (row.lease_owner, row.lease_until) if row else (None, 0.0)

    async def _take(self, run_id: str) -> None:
        owner, until = await self._row(run_id)
        taken = False
        if owner == self.owner or not _is_live(owner, until):
            # Compare and set on the row that was looked at: of two processes that see it free, one wins.
            seen = runs.c.lease_owner.is_not_distinct_from(owner) & (runs.c.lease_until == until)
            values = {"lease_owner": self.owner, "lease_until": time.time() + LEASE_SECONDS}
            async with self.database.writing() as connection:
                query = update(runs).where((runs.c.run_id == run_id) & seen).values(**values)
                taken = (await connection.execute(query)).rowcount == 1
        if not taken:
            raise RunBusy(
                f"run {run_id} is being worked on by {await self.holder(run_id) or 'another process'} "
                "(host:process); wait for it, or end that process and run 'corral resume' again"
            )

    async def _renew(self, run_id: str) -> None:
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            mine = (runs.c.run_id == run_id) & (runs.c.lease_owner == self.owner)
            # The lease outlives two renewals that a busy database refused.
            with suppress(StorageError):
                async with self.database.writing() as connection:
                    await connection.execute(update(runs).where(mine).values(lease_until=time.time() + LEASE_SECONDS))

    async def _release(self, run_id: str) -> None:
        async with self._lock:
            if self._depth[run_id]:  # taken again meanwhile
                return
            renewal = self._renewals.pop(run_id)
            renewal.cancel()
            with suppress(asyncio.CancelledError):
                await renewal
            mine = (runs.c.run_id == run_id) & (runs.c.lease_owner == self.owner)
            async with self.database.writing() as connection:
                await connection.execute(update(runs).where(mine).values(lease_owner=None, lease_until=0.0))


def _is_live(owner: str | None, until: float) -> bool:
    return owner is not None and until >= time.time() and not is_dead(owner)
