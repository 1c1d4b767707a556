"""LangGraph's checkpointer of SQLite, fenced: a checkpoint is committed only while the thread's run is this process's.

LangGraph's own methods write and commit; a trigger of this connection looks at the lease, within the same statement.
"""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import ChannelVersions, Checkpoint, CheckpointMetadata
from langgraph.checkpoint.serde.base import SerializerProtocol
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from state.database import Database
from state.errors import LeaseLost, RunBusy
from state.fencing import Lease, clock, demand_own, read_lease

NOT_OWN = "the run is worked on elsewhere"


class FencedSqliteSaver(AsyncSqliteSaver):
    """SQLite's checkpointer over one connection, whose triggers look at the lease.

    Args:
        connection: open, and used by this alone.
        database: the same database, with the epochs of the leases that this process took.
        serde: reads and writes what a checkpoint holds.
    """

    def __init__(self, connection: aiosqlite.Connection, database: Database, serde: SerializerProtocol) -> None:
        super().__init__(connection, serde=serde)
        self.database = database

    async def setup(self) -> None:
        """Make the tables where they are missing, and this connection's triggers."""
        if self.is_setup:
            return
        await super().setup()
        await self.conn.create_function("is_own", 5, self._is_own)
        now = clock("sqlite").compile(compile_kwargs={"literal_binds": True})
        foreign = (
            "EXISTS (SELECT 1 FROM runs WHERE run_id = NEW.thread_id AND NOT "
            f"is_own(run_id, lease_owner, lease_until, lease_epoch, {now}))"
        )
        for table in ("checkpoints", "writes"):
            await self.conn.execute(
                f"CREATE TEMP TRIGGER fence_{table} BEFORE INSERT ON {table} WHEN {foreign} "
                f"BEGIN SELECT RAISE(ROLLBACK, '{NOT_OWN}'); END"
            )

    def _is_own(self, run_id: str, *lease: Any) -> bool:
        """Tell SQLite whether this process may write for a run; called in the connection's thread."""
        try:
            demand_own(self.database, run_id, Lease(*lease))
        except (LeaseLost, RunBusy):
            return False
        return True

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save a checkpoint; errors as for ``state.fencing.writing_of``."""
        async with self._fenced(config):
            return await super().aput(config, checkpoint, metadata, new_versions)

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Save what a task wrote; errors as for ``state.fencing.writing_of``."""
        async with self._fenced(config):
            await super().aput_writes(config, writes, task_id, task_path)

    @asynccontextmanager
    async def _fenced(self, config: RunnableConfig) -> AsyncIterator[None]:
        try:
            yield
        except sqlite3.IntegrityError as error:
            if str(error) == NOT_OWN:
                run_id = config["configurable"]["thread_id"]
                demand_own(self.database, run_id, await read_lease(self.database, run_id))
            raise
