"""A checkpointer from a URL, and the pruning of what it keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiosqlite
from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from state import pipeline, request
from state.database import BUSY_SECONDS, Database
from state.errors import StorageError

CHECKPOINTED = (
    request.RunRequest,
    pipeline.DatasetRef,
    pipeline.AdapterRef,
    pipeline.Verdict,
    pipeline.Approval,
    pipeline.NextRound,
    pipeline.Overspend,
)
"""Every type of ours that a checkpoint holds; nothing else of ours is revived from one."""

Saver = BaseCheckpointSaver[Any]


def serializer() -> JsonPlusSerializer:
    """Return the msgpack serializer of checkpoints: no pickle, and only the types in ``CHECKPOINTED``."""
    return JsonPlusSerializer(pickle_fallback=False, allowed_msgpack_modules=CHECKPOINTED)


@asynccontextmanager
async def open_checkpointer(database: Database) -> AsyncIterator[Saver]:
    """Yield the async checkpointer that keeps its tables in the same database as the records.

    One is opened for each process, whatever the number of runs.

    Raises:
        StorageError: the database cannot be opened.
    """
    if database.url.get_backend_name() == "sqlite":
        async with _open_sqlite(database) as saver:
            yield saver
    else:
        url = database.url.set(drivername="postgresql").render_as_string(hide_password=False)
        async with AsyncPostgresSaver.from_conn_string(url, serde=serializer()) as postgres:
            await postgres.setup()
            yield postgres


@asynccontextmanager
async def _open_sqlite(database: Database) -> AsyncIterator[Saver]:
    try:
        connection = await aiosqlite.connect(database.place, timeout=BUSY_SECONDS)
    except aiosqlite.Error as error:
        raise StorageError(f"the checkpoints in {database.place} cannot be opened: {error}") from error
    try:
        saver = AsyncSqliteSaver(connection, serde=serializer())
        await saver.setup()
        yield saver
    except aiosqlite.Error as error:
        raise StorageError(f"the checkpoints in {database.place} cannot be used: {error}") from error
    finally:
        await connection.close()


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
            await cursor.execute("DELETE FROM checkpoint_blobs WHERE thread_id = %s AND checkpoint_ns <> ''", keep[:1])
