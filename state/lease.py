"""Leases: one process works on a run at a time. Who loses a run's lease stops, and can write nothing more for it."""

from __future__ import annotations

import asyncio
import logging
import time
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from contextvars import ContextVar
from typing import Any

from sqlalchemy import case, func, select, update

from state.database import Database
from state.errors import CorralError, LeaseLost, RunBusy, StorageError
from state.fencing import Lease, clock, demand_own, lost_to, read_lease
from state.owners import is_dead, process_owner
from state.tables import batch_calls, calls, runs

logger = logging.getLogger(__name__)

LEASE_SECONDS = 60.0
"""A lease expires when it was not renewed for so long, by the database's clock. It is renewed three times in it."""
CLOCK = getattr(time, "CLOCK_BOOTTIME", time.CLOCK_MONOTONIC)
"""A clock that nobody sets, and that goes on while the machine sleeps."""

_step: ContextVar[tuple[Leases, str, asyncio.AbstractEventLoop] | None] = ContextVar("step", default=None)


def demand_here() -> None:
    """Show that the run whose step calls this is still this process's; outside of a step, do nothing.

    For threads, before a file is put in its place: it waits for the database.

    Raises:
        LeaseLost: another process has taken the run over.
        StorageError: the database is out of reach.
    """
    if (step := _step.get()) is not None:
        leases, run_id, loop = step
        asyncio.run_coroutine_threadsafe(leases.demand(run_id), loop).result()


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
        self._holders: dict[str, list[asyncio.Task[Any]]] = {}
        self._lost: dict[str, str] = {}
        """The runs that were lost while they were held, and what there is to say of each."""
        self._lock = asyncio.Lock()

    @asynccontextmanager
    async def hold(self, run_id: str, *, take_over: bool = False) -> AsyncIterator[None]:
        """Hold the lease of a run that is in the store.

        The work inside is cancelled when the lease is lost.

        Args:
            run_id: the run.
            take_over: break the lease that a live process holds.

        Raises:
            RunBusy: another live process holds it.
            LeaseLost: it was lost meanwhile: another process took it, or it could not be renewed in its time.
        """
        async with self._lock:
            if self._depth[run_id] == 0:
                await self._take(run_id, take_over)
                self._renewals[run_id] = asyncio.create_task(self._renew(run_id))
            self._depth[run_id] += 1
        task = asyncio.current_task()
        assert task is not None
        holders = self._holders.setdefault(run_id, [])
        holders.append(task)
        try:
            yield
        except asyncio.CancelledError:
            if run_id not in self._lost:
                raise
            task.uncancel()
            raise LeaseLost(self._lost[run_id]) from None
        except LeaseLost:
            raise
        except Exception as error:
            # The next owner clears away what the last one left half written, so a loss may first be seen as a file
            # that is gone: what is told is the loss.
            if loss := await self._loss(run_id):
                raise LeaseLost(loss) from error
            raise
        finally:
            holders.remove(task)
            self._depth[run_id] -= 1
            if self._depth[run_id] == 0:
                await asyncio.shield(self._release(run_id))

    @contextmanager
    def step(self, run_id: str) -> Iterator[None]:
        """Let ``demand_here`` speak of this run, in the threads that are started inside."""
        token = _step.set((self, run_id, asyncio.get_running_loop()))
        try:
            yield
        finally:
            _step.reset(token)

    async def demand(self, run_id: str) -> None:
        """Show that a run is this process's, by the database.

        Raises:
            LeaseLost: another process has taken it over.
            RunBusy: this process does not hold it, and another does.
            StorageError: the database is out of reach.
        """
        demand_own(self.database, run_id, await read_lease(self.database, run_id))

    async def _loss(self, run_id: str) -> str:
        """Return what there is to say where another process has taken a run over; an empty text where none has."""
        try:
            await self.demand(run_id)
        except LeaseLost as lost:
            return str(lost)
        except CorralError:  # the database is out of reach, say: the error that led here is the true one
            pass
        return self._lost.get(run_id, "")

    def has_lost(self, run_id: str) -> bool:
        """Return whether this process has noticed that another took the run over."""
        return run_id in self._lost

    async def held(self, run_id: str) -> Lease | None:
        """Return a run's lease if a live process holds it."""
        lease = await read_lease(self.database, run_id)
        return lease if lease and await _is_live(lease) else None

    async def holder(self, run_id: str) -> str | None:
        """Return the live owner of a run's lease, or ``None``."""
        lease = await self.held(run_id)
        return lease.owner if lease else None

    async def demand_free(self, run_id: str) -> None:
        """Refuse a run that another live process works on; one that nobody has begun is free.

        Raises:
            RunBusy: whose it is, until when, and what to do.
        """
        if (await self.holder(run_id)) not in (None, self.owner):
            raise RunBusy(await self._busy(run_id))

    async def _take(self, run_id: str, take_over: bool = False) -> None:
        """Take a lease; who takes it from another gets a new epoch, so that the other can write nothing more."""
        lease = await read_lease(self.database, run_id)
        if lease is None or not (lease.owner == self.owner or take_over or not await _is_live(lease)):
            raise RunBusy(await self._busy(run_id))
        changes: dict[str, Any] = {}
        if lease.owner != self.owner:
            recorded = select(func.coalesce(func.sum(calls.c.cost), 0.0)).where(calls.c.run_id == run_id)
            # What the one before had in flight may have been answered, and paid for: it counts, as it was reserved.
            # What waits for a batch is in no doubt: its answers can still be taken.
            waits = select(func.coalesce(func.sum(batch_calls.c.reserved), 0.0)).where(batch_calls.c.run_id == run_id)
            batched = waits.scalar_subquery()
            lost = case((runs.c.reserved - batched > 1e-12, runs.c.reserved - batched), else_=0.0)
            accounts = {"spent": recorded.scalar_subquery(), "in_doubt": runs.c.in_doubt + lost}
            changes = {"lease_epoch": lease.epoch + 1, "reserved": batched, **accounts}
        # Compare and set on the row that was looked at: of two processes that see it free, one wins.
        seen = runs.c.lease_epoch == lease.epoch
        if not take_over:  # one that was renewed meanwhile is not free
            seen &= runs.c.lease_until == lease.until
        until = clock(self.database.engine.dialect.name) + LEASE_SECONDS
        query = update(runs).where((runs.c.run_id == run_id) & seen)
        self.database.taking[run_id] = self.owner
        try:
            async with self.database.writing() as connection:
                taken = await connection.execute(query.values(lease_owner=self.owner, lease_until=until, **changes))
            if taken.rowcount != 1:
                raise RunBusy(await self._busy(run_id))
            self.database.epochs[run_id] = lease.epoch + bool(changes)
        finally:
            self.database.taking.pop(run_id, None)
        self._lost.pop(run_id, None)

    async def _busy(self, run_id: str) -> str:
        return (
            f"run {run_id} is being worked on by {await self.held(run_id) or 'another process'}; wait for it, end that "
            f"process and run 'corral resume' again, or take the run from it: corral resume {run_id} --take-over"
        )

    async def _renew(self, run_id: str) -> None:
        renewed = time.clock_gettime(CLOCK)
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            asked = time.clock_gettime(CLOCK)
            try:
                if not await self._renew_once(run_id):
                    return self._lose(run_id, lost_to(run_id, await read_lease(self.database, run_id)))
                renewed = asked
            except StorageError as error:
                # The lease outlives two renewals that a busy database refused.
                if asked - renewed >= LEASE_SECONDS:
                    return self._lose(run_id, f"run {run_id} was stopped: its lease could not be renewed: {error}")

    async def _renew_once(self, run_id: str) -> bool:
        """Renew a lease, also one that has run out if nobody took it; return whether it was still this process's."""
        until = clock(self.database.engine.dialect.name) + LEASE_SECONDS
        async with self.database.writing() as connection:
            query = update(runs).where(self._mine(run_id)).values(lease_until=until)
            return (await connection.execute(query)).rowcount == 1

    def _mine(self, run_id: str) -> Any:
        return (runs.c.run_id == run_id) & (runs.c.lease_epoch == self.database.epochs.get(run_id))

    def _lose(self, run_id: str, message: str) -> None:
        self._lost[run_id] = message
        for task in set(self._holders.get(run_id, ())):
            task.cancel()

    async def _release(self, run_id: str) -> None:
        async with self._lock:
            if self._depth[run_id]:  # taken again meanwhile
                return
            renewal = self._renewals.pop(run_id)
            renewal.cancel()
            with suppress(asyncio.CancelledError):
                await renewal
            try:
                async with self.database.writing() as connection:
                    # Whose it was stays: taken again by the same process, it has not changed hands.
                    # Its epoch stays known, too: a checkpoint of this process may still be on its way.
                    await connection.execute(update(runs).where(self._mine(run_id)).values(lease_until=0.0))
            except StorageError as error:
                # It runs out by itself; what the work inside ended with is what there is to say.
                logger.info("lease not given back", extra={"lost": run_id, "error": str(error)})


async def _is_live(lease: Lease) -> bool:
    return lease.unexpired and not await asyncio.to_thread(is_dead, lease.owner or "")
