"""Fencing: what a process writes for a run is committed only if no other process has taken that run over.

Each time a run changes hands its lease gets a higher epoch. A write looks at the epoch in its own transaction, after
its rows and before the commit: by then SQLite's one writer is this one, and PostgreSQL has locked the run's row.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cache
from typing import Any

from sqlalchemy import ColumnElement, Float, Select, bindparam, cast, func, select
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from state.database import Database
from state.errors import LeaseLost, RunBusy
from state.owners import shown
from state.tables import runs


@dataclass(frozen=True)
class Lease:
    """A run's lease as the database has it, with the database's own time."""

    owner: str | None
    until: float
    """Seconds since 1970; 0 once it was given back."""
    epoch: int
    now: float

    @property
    def unexpired(self) -> bool:
        """Whether its time has not run out."""
        return self.owner is not None and self.until >= self.now

    def __str__(self) -> str:
        until = datetime.fromtimestamp(self.until, UTC).strftime("%H:%M:%S")
        return f"{shown(self.owner or '')} (host:process), lease until {until} UTC"


def clock(dialect: str) -> ColumnElement[float]:
    """Return the database's clock as SQL, in seconds since 1970: one clock, whatever the hosts' clocks say."""
    if dialect == "postgresql":
        return cast(func.extract("epoch", func.clock_timestamp()), Float(53))
    # 2440587.5 is the Julian day of 1970-01-01; SQLite before 3.42 has no unixepoch('subsec').
    return (func.julianday("now") - 2440587.5) * 86400.0


@cache
def lease_query(dialect: str, *, locked: bool = False) -> Select[Any]:
    """Return the query for the lease of the run ``run_id``, made once, since each write asks it.

    Args:
        dialect: the database's.
        locked: whether PostgreSQL keeps the run from changing hands until the transaction ends.
    """
    columns = (runs.c.lease_owner, runs.c.lease_until, runs.c.lease_epoch, clock(dialect))
    query = select(*columns).where(runs.c.run_id == bindparam("run_id"))
    return query.with_for_update(read=True) if locked else query


def demand_own(database: Database, run_id: str, lease: Lease | None) -> None:
    """Refuse to go on with a run that is another's.

    Args:
        database: of this process; it knows the epochs of the leases that this process took. Of a run whose lease the
            process does not hold, as a server between two steps, it knows none.
        run_id: the run, or what calls are booked under that belong to none.
        lease: as the database has it now; ``None`` if it knows no such run.

    Raises:
        LeaseLost: another process has taken the run since.
        RunBusy: this process never took it, and another works on it.
    """
    epoch = database.epochs.get(run_id)
    if lease is None or lease.epoch == epoch or (lease.owner and lease.owner == database.taking.get(run_id)):
        return
    if epoch is not None:
        raise LeaseLost(lost_to(run_id, lease))
    if lease.unexpired:
        raise RunBusy(f"run {run_id} is being worked on by {lease}")


def lost_to(run_id: str, lease: Lease | None) -> str:
    """Return what to say when another process has taken a run over."""
    owner = shown(lease.owner) if lease and lease.owner else "another process"
    by = f"by {lease if lease and lease.unexpired else owner}"
    return (
        f"run {run_id} was taken over {by}; this process has stopped, and has written nothing since. "
        f"'corral show {run_id}' shows how far the run is."
    )


@asynccontextmanager
async def writing_of(database: Database, run_id: str) -> AsyncIterator[AsyncConnection]:
    """Yield a connection in a transaction for a run's rows; it is committed only if the run is still this process's.

    Raises:
        LeaseLost: another process has taken the run over; nothing was written.
        RunBusy: another process works on the run; nothing was written.
        StorageError: the database cannot be written.
    """
    async with database.writing() as connection:
        yield connection
        await demand_lease(connection, database, run_id)


async def demand_lease(connection: AsyncConnection, database: Database, run_id: str) -> None:
    """Refuse what a transaction has written for a run that is another's; errors as for ``writing_of``."""
    row = (await connection.execute(lease_query(database.engine.dialect.name, locked=True), {"run_id": run_id})).first()
    demand_own(database, run_id, Lease(*row) if row else None)


async def read_lease(database: Database, run_id: str) -> Lease | None:
    """Return a run's lease, or ``None`` for an unknown run."""
    async with database.reading() as connection:
        row = (await connection.execute(lease_query(database.engine.dialect.name), {"run_id": run_id})).first()
    return Lease(*row) if row else None
