"""A checkpointer from a URL, and the pruning of what it keeps."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from typing import Any

from langgraph.checkpoint.base import BaseCheckpointSaver
from langgraph.checkpoint.serde.jsonplus import JsonPlusSerializer
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver

from state.database import Database
from state.errors import DamagedCheckpoint, StorageError
from state.masking import masked
from state.savers import SqliteCheckpoints
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
    opened = _open_sqlite(database) if database.file else _open_postgres(database)
    try:
        async with opened as saver:
            yield saver
    except database.driver_error as error:
        cause = masked(str(error).strip().split("\n")[0])
        raise StorageError(
            f"the checkpoints in {database.place} cannot be used: {cause} (see 'corral doctor')"
        ) from error


@asynccontextmanager
async def _open_sqlite(database: Database) -> AsyncIterator[Saver]:
    assert database.file is not None
    connection = await database.file.connect_async()
    try:
        saver = SqliteCheckpoints(connection, database, ClosedSerializer())
        # Nothing can be made in a database that can only be read; what can be read has its tables.
        saver.is_setup = bool(database.unwritable)
        await saver.setup()
        yield saver
    finally:
        await connection.close()


@asynccontextmanager
async def _open_postgres(database: Database) -> AsyncIterator[Saver]:
    from state.postgres_savers import PostgresCheckpoints, connect_postgres  # an extra: the base install has no driver

    saver = PostgresCheckpoints(await connect_postgres(database), database, ClosedSerializer())
    try:
        async with database.sole_maker():
            await saver.setup()
        yield saver
    finally:
        await saver.conn.close()


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
    for table in ("checkpoints", _writes(saver)):
        where = "thread_id = ? AND NOT (checkpoint_ns = '' AND checkpoint_id = ?)"
        await _execute(saver, f"DELETE FROM {table} WHERE {where}", *keep)
    if not isinstance(saver, AsyncSqliteSaver):
        await _execute(saver, UNUSED_BLOBS, run_id)


async def set_aside_damaged(saver: Saver, run_id: str) -> int:
    """Take damaged checkpoints out of a run's way, so that it goes on from the last ones that can be read.

    They are kept, under a thread's name that no run can have.

    Args:
        saver: a checkpointer of ``open_checkpointer``.
        run_id: the thread; no process may be working on it.

    Returns:
        How many there were.
    """
    count = 0
    spaces = await _execute(saver, "SELECT DISTINCT checkpoint_ns FROM checkpoints WHERE thread_id = ?", run_id)
    for (space,) in spaces:
        while not await _reads(saver, run_id, space):
            last = "SELECT max(checkpoint_id) FROM checkpoints WHERE thread_id = ? AND checkpoint_ns = ?"
            ((checkpoint_id,),) = await _execute(saver, last, run_id, space)
            for table in ("checkpoints", _writes(saver)):
                where = "thread_id = ? AND checkpoint_ns = ? AND checkpoint_id = ?"
                moved = f"UPDATE {table} SET thread_id = ? WHERE {where}"
                await _execute(saver, moved, f"{run_id} (damaged)", run_id, space, checkpoint_id)
            count += 1
    return count


async def _reads(saver: Saver, run_id: str, space: str) -> bool:
    try:
        await saver.aget_tuple({"configurable": {"thread_id": run_id, "checkpoint_ns": space}})
    except DamagedCheckpoint:
        return False
    return True


def _writes(saver: Saver) -> str:
    return "writes" if isinstance(saver, AsyncSqliteSaver) else "checkpoint_writes"


async def _execute(saver: Saver, sql: str, *values: str) -> list[tuple[Any, ...]]:
    """Execute a statement over the checkpointer's own connection, and return its rows; ``?`` stands for a value."""
    if isinstance(saver, AsyncSqliteSaver):
        async with saver.lock:
            rows = await saver.conn.execute_fetchall(sql, values)
            await saver.conn.commit()
            return [tuple(row) for row in rows]
    from langgraph.checkpoint.postgres.aio import AsyncPostgresSaver

    assert isinstance(saver, AsyncPostgresSaver)
    async with saver._cursor() as cursor:
        await cursor.execute(sql.replace("?", "%s").encode(), values)
        return [tuple(row.values()) for row in await cursor.fetchall()] if cursor.description else []


UNUSED_BLOBS = """
DELETE FROM checkpoint_blobs AS blob WHERE thread_id = %s AND NOT EXISTS (
    SELECT FROM checkpoints AS kept, jsonb_each_text(kept.checkpoint -> 'channel_versions') AS used
    WHERE kept.thread_id = blob.thread_id AND kept.checkpoint_ns = blob.checkpoint_ns
    AND used.key = blob.channel AND used.value = blob.version
)
"""
"""PostgreSQL keeps each value of a channel once, beside the checkpoints that refer to it by version."""
