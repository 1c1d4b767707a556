"""One async database by URL: SQLite in WAL mode, or PostgreSQL. Its engine, and the mapping of its errors."""

from __future__ import annotations

import asyncio
import sqlite3
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, AsyncAdaptedQueuePool, NullPool, Select, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio.engine import AsyncConnection, create_async_engine

from state.errors import BadInput, StorageError
from state.extras import demand_extra
from state.masking import masked, masked_query
from state.migrations import migrate
from state.sqlite import BUSY_SECONDS, POLL_SECONDS, SqliteFile
from state.tables import metadata

if TYPE_CHECKING:
    import psycopg

STREAMED = 1000
"""Rows of a stream that are held at a time."""
POOL_SECONDS = 600
"""How long to wait for a free connection: hundreds of calls may end at once while the machine is overloaded."""

MAKER_LOCK = 0x636F7272616C
"""The key of PostgreSQL's advisory lock for making tables; any number that others do not use ("corral" in ASCII)."""
NOTICE_LOSS = {
    "connect_timeout": 10,
    "keepalives_idle": 20,
    "keepalives_interval": 5,
    "keepalives_count": 4,
    "tcp_user_timeout": 40_000,
}
"""libpq's parameters: seconds, and milliseconds for the last."""
IDLE_LIMIT = "SET idle_in_transaction_session_timeout = 30000"
"""Milliseconds. A process that was stopped within a transaction keeps its locks only so long from those who go on with
its run."""


class Database:
    """An open database.

    A database that nothing can be written to, such as one on a read-only disk, still opens for reading.

    Args:
        url: ``sqlite:///PATH`` or ``postgresql://...``; the async driver is chosen here.

    Attributes:
        file: the SQLite file; ``None`` for PostgreSQL.
        failed_writes: how many writes have failed since this object was made.
        last_failure: the error of the last of them.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError) as error:
            raise BadInput(f"database url {masked(url.split('@')[-1])!r} is not a URL; use sqlite:///FILE") from error
        drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
        backend = parsed.get_backend_name()
        if backend not in drivers:
            raise BadInput(f"database {backend!r} is not supported; use sqlite:///FILE or postgresql://HOST/NAME")
        if backend != "sqlite":
            demand_extra("postgres", "a PostgreSQL database")
        self.url = parsed.set(drivername=drivers[backend])
        self.file = SqliteFile(Path(parsed.database or "")) if backend == "sqlite" else None
        shown = masked_query(parsed.render_as_string(hide_password=True))
        self.place = str(parsed.database) if self.file else shown
        self.driver_error = _driver_error(backend)
        """What the database's own driver raises where a statement or the connection fails."""
        self.failures = (self.driver_error, SQLAlchemyError, OSError)
        self.epochs: dict[str, int] = {}
        """The lease epochs of the runs that this process has taken, also of those that it has lost."""
        self.taking: dict[str, str] = {}
        """Who takes a run's lease at this moment: its epoch is in the database a little before it is in ``epochs``."""
        self.failed_writes = 0
        self.last_failure: StorageError | None = None
        self._under_way = 0
        self.engine = create_async_engine(
            self.url,
            pool_pre_ping=self.file is None,
            poolclass=AsyncAdaptedQueuePool,
            pool_timeout=POOL_SECONDS,
            connect_args={"async_creator_fn": self.file.connect_async} if self.file else postgres_options(self.url),
        )
        if self.file:
            # UninterruptedConnection has what aiosqlite 0.21 lacks for it.
            self.engine.sync_engine.dialect.has_terminate = True
        else:
            event.listen(self.engine.sync_engine, "connect", _postgres_settings)

    async def create(self) -> None:
        """Create the folder and the tables that are missing, and bring those of an earlier version up to date.

        Any number of processes may do so at once.

        Raises:
            StorageError: the folder or the database cannot be used, or a newer version has used the database.
        """
        if self.file:
            await _make_folder(self.file.path.parent)
        try:
            if self.file:
                await asyncio.to_thread(self.file.open, self._make_tables)
            else:
                async with self.sole_maker():
                    await asyncio.to_thread(self._make_tables)
        except self.failures as error:
            raise self.storage_error(error) from error

    @asynccontextmanager
    async def sole_maker(self) -> AsyncIterator[None]:
        """Keep others from making tables meanwhile. SQLite needs no such lock: it has one writer at a time."""
        if self.file:
            yield
            return
        import psycopg

        async with await psycopg.AsyncConnection.connect(
            postgres_conninfo(self.url), autocommit=True, **postgres_options(self.url)
        ) as connection:
            # Asked for again and again, since a statement that waits would hold up CREATE INDEX CONCURRENTLY.
            while not await _locked(connection):
                await asyncio.sleep(POLL_SECONDS)
            yield

    def _make_tables(self) -> None:
        """Migrate in this thread: alembic reads files, which must not be done inside an event loop."""
        if self.file:
            engine = create_engine("sqlite://", creator=self.file.connect, poolclass=NullPool)
        else:
            engine = create_engine(self.url, poolclass=NullPool, connect_args=postgres_options(self.url))
        with engine.connect() as connection:
            migrate(connection, metadata, self.place, self.unwritable)

    @property
    def unwritable(self) -> str:
        """Why nothing can be written, where that is known from the start; empty where it can."""
        return self.file.unwritable if self.file else ""

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection in a transaction that is committed at the end.

        Raises:
            StorageError: nothing can be written. It is counted, so that who pays for answers stops.
        """
        try:
            await self.demand_writable()
            with self._work():
                async with self.engine.begin() as connection:
                    yield connection
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise self.write_failed(error) from error

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection for reading."""
        try:
            with self._work():
                async with self.engine.connect() as connection:
                    yield connection
        except (SQLAlchemyError, sqlite3.Error, OSError) as error:
            raise self.storage_error(error) from error

    async def demand_writable(self) -> None:
        """Prepare for a write.

        Raises:
            StorageError: nothing can be written.
        """
        if self.unwritable:
            raise StorageError(f"{self.unwritable}, so this command, which must write, cannot be done there")
        if self.file and not self.file.marked:
            await asyncio.to_thread(self.file.mark)

    def write_failed(self, error: Exception) -> StorageError:
        """Count a write that failed, and return its error as one of ours."""
        self.failed_writes += 1
        self.last_failure = self.storage_error(error)
        return self.last_failure

    async def rewrite(self) -> bool:
        """Write SQLite's file anew, without the bytes of removed rows; return whether that could be done.

        PostgreSQL's own autovacuum does so in time.
        """
        if self.file:
            try:
                await asyncio.to_thread(self.file.rewrite)
            except sqlite3.Error:
                return False
        return True

    async def shorten_log(self) -> None:
        """Move what SQLite keeps in its log into the database file, as far as no other connection is in the way."""
        if self.file:
            with suppress(sqlite3.Error):
                await asyncio.to_thread(self.file.shorten_log)

    async def stream(self, query: Select[Any]) -> AsyncIterator[tuple[Any, ...]]:
        """Yield the rows of a query; no more than ``STREAMED`` are held."""
        async with self.reading() as connection, connection.stream(query) as rows:
            # One await for many rows: one for each took most of the time.
            async for some in rows.partitions(STREAMED):
                for row in some:
                    yield tuple(row)

    async def close(self) -> None:
        """Close all connections, once the work that is under way has ended."""
        deadline = time.monotonic() + BUSY_SECONDS
        while self._under_way and time.monotonic() < deadline:
            await asyncio.sleep(POLL_SECONDS)
        await self.engine.dispose()
        if self.file:
            await asyncio.to_thread(self.file.close)

    @contextmanager
    def _work(self) -> Iterator[None]:
        self._under_way += 1
        try:
            yield
        finally:
            self._under_way -= 1

    def storage_error(self, error: Exception) -> StorageError:
        """Return a driver's error as one of ours: one line with the cause and what to do."""
        cause = masked(str(getattr(error, "orig", None) or error).strip().split("\n")[0])
        check = "Check the disk's space and rights" if self.file else "Check that the server is up and lets you in"
        return StorageError(
            f"the database {self.place} cannot be used: {cause}. {check} "
            "(corral doctor); everything written before is safe, and the run can be resumed."
        )


def _driver_error(backend: str) -> type[Exception]:
    if backend == "sqlite":
        return sqlite3.Error
    import psycopg  # an extra, which the base install does not have

    return psycopg.Error


def postgres_conninfo(url: URL) -> str:
    """Return the URL as psycopg and libpq read it, with its password."""
    return url.set(drivername="postgresql").render_as_string(hide_password=False)


def postgres_options(url: URL) -> dict[str, Any]:
    """Return what makes a connection notice within a minute that its server is gone; the URL's own words come first."""
    return {name: value for name, value in NOTICE_LOSS.items() if name not in url.query}


async def _locked(connection: psycopg.AsyncConnection[Any]) -> bool:
    found = await (await connection.execute("SELECT pg_try_advisory_lock(%s)", (MAKER_LOCK,))).fetchone()
    return bool(found and found[0])


def _postgres_settings(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute(IDLE_LIMIT)
    cursor.close()
    connection.commit()


async def _make_folder(folder: Path) -> None:
    try:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"the folder {folder} cannot be made: {error.strerror}. Set CORRAL_HOME elsewhere."
        ) from error
