"""A checkpointer from a URL, and the pruning of what it keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
import psycopg
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from state.database import BUSY_SECONDS, Database
from state.errors import StorageError
from state.snapshots import CHECKPOINTED

Saver = BaseCheckpointSaver[Any]


class ClosedSerializer(JsonPlusSerializer):
    """Msgpack without pickle, for LangGraph's own types and those in ``CHECKPOINTED``; no more can be added.

    LangGraph would add every type that a state's annotations mention, on a copy of the checkpointer; the server's
    wrapper around a checkpointer cannot be copied.
    """

    def __init__(self) -> None:
        super().__init__(pickle_fallback=False, allowed_msgpack_modules=CHECKPOINTED)

    def with_msgpack_allowlist(self, extra_allowlist: Iterable[tuple[str, ...] | type]) -> JsonPlusSerializer:
        """Return this serializer, as it is."""
        return self


@asynccontextmanager
async def open_checkpointer(database: Database) -> AsyncIterator[Saver]:
    """Yield the async checkpointer that keeps its tables in the same database as the records.

    One is opened for each process, whatever the number of runs.

    Raises:
        StorageError: the database cannot be opened.
    """
    opened = _open_sqlite(database) if database.url.get_backend_name() == "sqlite" else _open_postgres(database)
    try:
        async with opened as saver:
            yield saver
    except (aiosqlite.Error, psycopg.Error) as error:
        cause = str(error).strip().split("\n")[0]
        raise StorageError(
            f"the checkpoints in {database.place} cannot be used: {cause} (see 'corral doctor')"
        ) from error


@asynccontextmanager
async def _open_sqlite(database: Database) -> AsyncIterator[Saver]:
    connection = await aiosqlite.connect(database.place, timeout=BUSY_SECONDS)
    try:
        saver = AsyncSqliteSaver(connection, serde=ClosedSerializer())
        await saver.setup()
        yield saver
    finally:
        await connection.close()


@asynccontextmanager
async def _open_postgres(database: Database) -> AsyncIterator[Saver]:
    url = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
    async with AsyncPostgresSaver.from_conn_string(url, serde=ClosedSerializer()) as saver:
        await saver.setup()
        yield saver


async def prune(saver: Saver, run_id: str) -> None:
    """Delete all checkpoints of a finished run but its last: resuming needs no other, and they grow with every step.

    Args:
        saver: a checkpointer of ``open_checkpointer``.
        run_id: the thread; no process may be working on it.
    """
    last = await saver.aget_tuple({"configurable": {"thread_id": run_id}})
    if last is None:
        return
    keep = (run_id, last.config["configurable"]["checkpoint_id"])
    if isinstance(saver, AsyncSqliteSaver):
        for table in ("checkpoints", "writes"):
            where = "thread_id = ? AND NOT (checkpoint_ns = '' AND checkpoint_id = ?)"
            await saver.conn.execute(f"DELETE FROM {table} WHERE {where}", keep)
        await saver.conn.commit()
    elif isinstance(saver, AsyncPostgresSaver):
        async with saver._cursor() as cursor:
            for table in ("checkpoints", "checkpoint_writes"):
                where = "thread_id = %s AND NOT (checkpoint_ns = '' AND checkpoint_id = %s)"
                await cursor.execute(f"DELETE FROM {table} WHERE {where}", keep)
            await cursor.execute(UNUSED_BLOBS, keep[:1])


UNUSED_BLOBS = """
DELETE FROM checkpoint_blobs AS blob WHERE thread_id = %s AND NOT EXISTS (
    SELECT FROM checkpoints AS kept, jsonb_each_text(kept.checkpoint -> 'channel_versions') AS used
    WHERE kept.thread_id = blob.thread_id AND kept.checkpoint_ns = blob.checkpoint_ns
    AND used.key = blob.channel AND used.value = blob.version
)
"""
"""PostgreSQL keeps each value of a channel once, beside the checkpoints that refer to it by version."""
