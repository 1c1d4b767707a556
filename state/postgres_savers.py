"""PostgreSQL's checkpointer, fenced, with errors of ours; imported only where such a database is opened.

The lease is looked at the end of the transaction that saves a checkpoint.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.base import SerializerProtocol
from psycopg import AsyncConnection
from psycopg.rows import DictRow, dict_row

from state.database import IDLE_LIMIT, Database, postgres_conninfo, postgres_options
from state.fencing import Lease, demand_own, lease_query
from state.savers import Checkpoints


class FencedPostgresSaver(AsyncPostgresSaver):
    """PostgreSQL's checkpointer over one connection, which looks at the lease before each commit.

    Args:
        connection: open, and used by this alone.
        database: the same database, with the epochs of the leases that this process took.
        serde: reads and writes what a checkpoint holds.
    """

    def __init__(self, connection: AsyncConnection[DictRow], database: Database, serde: SerializerProtocol) -> None:
        super().__init__(connection, serde=serde)
        self.database = database
        self.supports_pipeline = False  # it then uses a transaction, whose end can be refused
        self._thread: ContextVar[str | None] = ContextVar("thread", default=None)

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save a checkpoint; errors as for ``state.fencing.writing_of``."""
        with self._writing(config):
            return await super().aput(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Save what a task wrote; errors as for ``state.fencing.writing_of``."""
        with self._writing(config):
            await super().aput_writes(config, writes, task_id, task_path)

    @contextmanager
    def _writing(self, config: RunnableConfig) -> Iterator[None]:
        token = self._thread.set(str(config["configurable"]["thread_id"]))
        try:
            yield
        finally:
            self._thread.reset(token)

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[Any]:
        run_id = self._thread.get()
        async with super()._cursor(pipeline=pipeline) as cursor:
            yield cursor
            if run_id is not None:
                query = lease_query("postgresql", locked=True).compile(self.database.engine)
                await cursor.execute(str(query), {"run_id": run_id})
                row = await cursor.fetchone()
                demand_own(self.database, run_id, Lease(*row.values()) if row else None)


class PostgresCheckpoints(Checkpoints, FencedPostgresSaver):
    """PostgreSQL's; see ``FencedPostgresSaver``. A connection that was lost is made anew."""

    @asynccontextmanager
    async def _cursor(self, *, pipeline: bool = False) -> AsyncIterator[Any]:
        async with self.lock:
            if isinstance(self.conn, AsyncConnection) and self.conn.closed:
                self.conn = await connect_postgres(self.database)
        async with super()._cursor(pipeline=pipeline) as cursor:
            yield cursor


async def connect_postgres(database: Database) -> AsyncConnection[DictRow]:
    """Return a connection for a checkpointer."""
    connection = await AsyncConnection.connect(
        postgres_conninfo(database.url),
        autocommit=True,
        prepare_threshold=0,
        row_factory=dict_row,
        **postgres_options(database.url),
    )
    await connection.execute(IDLE_LIMIT)
    return connection
