"""LangGraph's checkpointers as Corral uses them: errors are ours, and no cancelled task leaves a write half done.

A checkpoint that is damaged is told from a database that cannot be used: the others can still be read.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Sequence
from typing import Any, TypeVar

from langchain_core.runnables import RunnableConfig
from langgraph.checkpoint.base import (
    BaseCheckpointSaver,
    ChannelVersions,
    Checkpoint,
    CheckpointMetadata,
    CheckpointTuple,
)

from state.database import Database
from state.errors import CorralError
from state.fenced_savers import FencedSqliteSaver
from state.snapshots import damaged

T = TypeVar("T")
PARTS = ("channel_values", "channel_versions", "versions_seen")
"""What a checkpoint of LangGraph always has; each is a mapping."""


class Checkpoints(BaseCheckpointSaver[Any]):
    """What both do. The methods are LangGraph's own; their errors are ``StorageError`` and ``DamagedCheckpoint``."""

    database: Database

    async def aput(
        self,
        config: RunnableConfig,
        checkpoint: Checkpoint,
        metadata: CheckpointMetadata,
        new_versions: ChannelVersions,
    ) -> RunnableConfig:
        """Save a checkpoint."""
        return await self._write(super().aput(config, checkpoint, metadata, new_versions))

    async def aput_writes(
        self, config: RunnableConfig, writes: Sequence[tuple[str, Any]], task_id: str, task_path: str = ""
    ) -> None:
        """Save what a task wrote."""
        await self._write(super().aput_writes(config, writes, task_id, task_path))

    async def adelete_thread(self, thread_id: str) -> None:
        """Delete all checkpoints of a thread."""
        await self._write(super().adelete_thread(thread_id))

    async def aget_tuple(self, config: RunnableConfig) -> CheckpointTuple | None:
        """Return a checkpoint, the last one where none is named."""
        return await self._read(_whole(super().aget_tuple(config)), str(config["configurable"]["thread_id"]))

    async def alist(
        self,
        config: RunnableConfig | None,
        *,
        filter: dict[str, Any] | None = None,
        before: RunnableConfig | None = None,
        limit: int | None = None,
    ) -> AsyncIterator[CheckpointTuple]:
        """Yield checkpoints, the last one first."""
        found = super().alist(config, filter=filter, before=before, limit=limit)
        thread = str(config["configurable"]["thread_id"]) if config else ""
        while (item := await self._read(_whole(_next(found)), thread)) is not None:
            yield item

    async def _write(self, work: Coroutine[Any, Any, T]) -> T:
        async def saved() -> T:
            try:
                await self.database.demand_writable()
                return await work
            except self.database.failures as error:
                raise self.database.write_failed(error) from error
            finally:
                work.close()

        return await undisturbed(saved())

    async def _read(self, work: Coroutine[Any, Any, T], thread: str) -> T:
        async def read() -> T:
            try:
                return await work
            except CorralError:
                raise
            except self.database.failures as error:
                raise self.database.storage_error(error) from error
            except Exception as error:
                # Whatever the decoders of msgpack and JSON make of bytes that nobody wrote.
                raise damaged(thread, error) from error

        return await undisturbed(read())


class SqliteCheckpoints(Checkpoints, FencedSqliteSaver):
    """SQLite's; see ``FencedSqliteSaver``."""


async def undisturbed(work: Coroutine[Any, Any, T]) -> T:
    """Await work that must not end half done: a task that is cancelled meanwhile ends behind it."""
    task = asyncio.create_task(work)
    cancelled: asyncio.CancelledError | None = None
    while not task.done():
        try:
            await asyncio.wait({task})
        except asyncio.CancelledError as error:
            cancelled = error
    if cancelled is not None:
        task.cancelled() or task.exception()
        raise cancelled
    return task.result()


async def _next(found: AsyncIterator[T]) -> T | None:
    return await anext(found, None)


async def _whole(reading: Coroutine[Any, Any, CheckpointTuple | None]) -> CheckpointTuple | None:
    """Return what was read, if it is a checkpoint; bytes that can be decoded may still be something else.

    Raises:
        ValueError: it is none.
    """
    found = await reading
    if found is not None:
        parts: dict[str, Any] = {**found.checkpoint, "metadata": found.metadata}
        if not all(isinstance(parts.get(name), dict) for name in (*PARTS, "metadata")):
            raise ValueError("what is stored is no checkpoint")
    return found
