"""One async database by URL: SQLite in WAL mode, or PostgreSQL. Tables, engine, and the mapping of its errors."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    AsyncAdaptedQueuePool,
    Column,
    ColumnElement,
    Float,
    Index,
    Integer,
    MetaData,
    NullPool,
    String,
    Table,
    create_engine,
    event,
    make_url,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from state.errors import BadInput, StorageError
from state.migrations import migrate

BUSY_SECONDS = 30
"""How long a SQLite writer waits for another before it gives up."""
POOL_SECONDS = 600
"""How long to wait for a free connection: hundreds of calls may end at once while the machine is overloaded."""

metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("request", JSON, nullable=False),
    Column("format", Integer, nullable=False),
    Column("created_at", String, nullable=False),
    Column("budget", Float),
    Column("lease_owner", String),
    Column("lease_until", Float, nullable=False, default=0.0),
)

calls = Table(
    "calls",
    metadata,
    Column("key", String, primary_key=True),
    Column("run_id", String, nullable=False),
    Column("status", String, nullable=False),
    Column("prompt_tokens", Integer, nullable=False),
    Column("completion_tokens", Integer, nullable=False),
    Column("cost", Float, nullable=False),
    Column("body", JSON, nullable=False),
    # It holds all that a sum needs, so that a million long rows are added up without being read.
    Index("calls_run", "run_id", "key", "status", "prompt_tokens", "completion_tokens", "cost"),
)

call_uses = Table(
    "call_uses",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("purpose", String, nullable=False),
)


def record_table(name: str, *own: Column[Any], **indexes: tuple[str, ...]) -> Table:
    """Return the table of one record type: what queries need as columns, the whole record as JSON.

    Args:
        name: the table's.
        *own: columns beside those that all types have.
        **indexes: the columns of further indexes, or of another ``outcome``, by which pages are read in order.
    """
    indexes = {"parent": ("run_id", "parent"), "outcome": ("run_id", "outcome", "tag", "id"), **indexes}
    return Table(
        name,
        metadata,
        Column("run_id", String, primary_key=True),
        Column("id", String, primary_key=True),
        Column("parent", String, nullable=False, default=""),
        Column("tag", String, nullable=False, default=""),
        Column("outcome", String, nullable=False, default=""),
        Column("reason", String, nullable=False, server_default=""),
        Column("body", JSON, nullable=False),
        *own,
        *(Index(f"{name}_{purpose}", *columns) for purpose, columns in indexes.items()),
    )


def insert_new(engine: AsyncEngine, table: Table) -> Any:
    """Return an insert that skips the rows whose key exists."""
    return _insert(engine, table).on_conflict_do_nothing()


def insert_or_replace(engine: AsyncEngine, table: Table, where: ColumnElement[bool]) -> Any:
    """Return an insert that replaces the row with the same key if that row fits ``where``."""
    insert = _insert(engine, table)
    values = {column.name: insert.excluded[column.name] for column in table.columns if not column.primary_key}
    return insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=values, where=where)


def _insert(engine: AsyncEngine, table: Table) -> Any:
    return (postgresql if engine.dialect.name == "postgresql" else sqlite).insert(table)


class Database:
    """An open database.

    Args:
        url: ``sqlite:///PATH`` or ``postgresql://...``; the async driver is chosen here.
    """

    def __init__(self, url: str) -> None:
        try:
            parsed = make_url(url)
        except (ArgumentError, ValueError) as error:
            raise BadInput(f"database url {url.split('@')[-1]!r} is not a URL; use sqlite:///FILE") from error
        drivers = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
        backend = parsed.get_backend_name()
        if backend not in drivers:
            raise BadInput(f"database {backend!r} is not supported; use sqlite:///FILE or postgresql://HOST/NAME")
        self.url = parsed.set(drivername=drivers[backend])
        self.place = str(parsed.database) if backend == "sqlite" else parsed.render_as_string(hide_password=True)
        self.engine = create_async_engine(
            self.url, pool_pre_ping=backend != "sqlite", poolclass=AsyncAdaptedQueuePool, pool_timeout=POOL_SECONDS
        )
        if backend == "sqlite":
            event.listen(self.engine.sync_engine, "connect", _sqlite_pragmas)

    async def create(self) -> None:
        """Create the folder and the tables that are missing, and bring those of an earlier version up to date.

        Raises:
            StorageError: the folder or the database cannot be written, or a newer version has used the database.
        """
        if self.url.get_backend_name() == "sqlite" and self.url.database:
            await _make_folder(Path(self.url.database).parent)
        try:
            await asyncio.to_thread(self._create)
        except (SQLAlchemyError, OSError) as error:
            raise self._storage_error(error) from error

    def _create(self) -> None:
        """Migrate in this thread: alembic reads files, which must not be done inside an event loop."""
        driver = "sqlite" if self.url.get_backend_name() == "sqlite" else "postgresql+psycopg"
        engine = create_engine(self.url.set(drivername=driver), poolclass=NullPool)
        if driver == "sqlite":
            event.listen(engine, "connect", _sqlite_pragmas)
        with engine.connect() as connection:
            migrate(connection, metadata, self.place)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection in a transaction that is committed at the end."""
        try:
            async with self.engine.begin() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise self._storage_error(error) from error

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection for reading."""
        try:
            async with self.engine.connect() as connection:
                yield connection
        except (SQLAlchemyError, OSError) as error:
            raise self._storage_error(error) from error

    async def close(self) -> None:
        """Close all connections."""
        await self.engine.dispose()

    def _storage_error(self, error: Exception) -> StorageError:
        cause = str(getattr(error, "orig", None) or error).strip().split("\n")[0]
        return StorageError(
            f"the database {self.place} cannot be used: {cause}. Check the disk's space and rights "
            "(corral doctor); everything written before is safe, and the run can be resumed."
        )


def _sqlite_pragmas(connection: Any, _record: Any) -> None:
    cursor = connection.cursor()
    cursor.execute("PRAGMA journal_mode=WAL")
    # FULL: an answer that was paid for survives a power cut too, not only a killed process.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
    cursor.close()


async def _make_folder(folder: Path) -> None:

    try:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(
            f"the folder {folder} cannot be made: {error.strerror}. Set CORRAL_HOME elsewhere."
        ) from error
