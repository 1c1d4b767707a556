"""Where a run stands, read from its last checkpoint without LangGraph.

Importing LangGraph takes a second of CPU, and ``corral runs`` and ``corral show`` need only what stands in the last
checkpoint. The layout that is read here is private to its savers: a test holds every field to what ``aget_state`` says.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, cast

from pydantic import ValidationError
from sqlalchemy import bindparam, inspect, text
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from state import pipeline, request
from state.database import Database
from state.errors import CorralError, DamagedCheckpoint
from state.pipeline import PipelineState, relocated

CHECKPOINTED = (
    request.RunRequest,
    pipeline.DatasetRef,
    pipeline.AdapterRef,
    pipeline.Verdict,
    pipeline.Approval,
    pipeline.Improvement,
    pipeline.NextRound,
    pipeline.Overspend,
    pipeline.RateLimits,
    pipeline.TrainingDecision,
)
"""Every type of ours that a checkpoint holds; no other class of ours is loaded from one."""

ERROR, INTERRUPT, START = "__error__", "__interrupt__", "__start__"
BRANCH = "branch:to:"
PIPELINE = "pipeline"
"""The step of an improvement that is the pipeline itself, with steps of its own."""
"""LangGraph's names: of what a task wrote, of the channel that a run's input arrives on, and of a step's trigger."""


@dataclass(frozen=True)
class Snapshot:
    """A run's last checkpoint."""

    begun: bool = False
    """Whether there is a checkpoint at all."""
    values: PipelineState = field(default_factory=lambda: PipelineState())
    """The state at the start of the step that comes next; empty before the first step."""
    next: tuple[str, ...] = ()
    """The steps that come next; empty at the end."""
    errors: tuple[str, ...] = ()
    """The errors that they ended with."""
    questions: tuple[dict[str, Any], ...] = ()
    """What they ask a person, in LangChain's human-in-the-loop form."""


async def read_snapshot(database: Database, run_id: str) -> Snapshot:
    """Return a run's last checkpoint; an empty one where it has not begun.

    Raises:
        StorageError: the database cannot be read.
        DamagedCheckpoint: the checkpoint cannot.
    """
    return await _whole(database, run_id, None)


async def last_readable(database: Database, run_id: str) -> Snapshot:
    """Return the last checkpoint of a run that can be read; an empty one where there is none."""
    query = text("SELECT checkpoint_id FROM checkpoints WHERE thread_id = :run AND checkpoint_ns = '' ORDER BY 1 DESC")
    async with database.reading() as connection:
        ids = [str(row[0]) for row in await connection.execute(query, {"run": run_id})]
    for checkpoint_id in ids:
        with suppress(DamagedCheckpoint):
            return await _whole(database, run_id, checkpoint_id)
    return Snapshot()


def damaged(run_id: str, error: Exception) -> DamagedCheckpoint:
    """Return the error for a checkpoint that cannot be read back."""
    why = f"{type(error).__name__}: {' '.join(str(error).split())[:160]}"
    return DamagedCheckpoint(
        f"run {run_id}: its last checkpoint cannot be read; 'corral resume {run_id}' goes on from the one before, or "
        f"from the start, and pays for no answer again: rows and answers are kept elsewhere ({why})"
    )


async def _whole(database: Database, run_id: str, checkpoint_id: str | None) -> Snapshot:
    try:
        snapshot = await _read(database, run_id, checkpoint_id)
        relocated(snapshot.values, Path())
    except CorralError:
        raise
    except Exception as error:
        # Whatever the decoders make of bytes that nobody wrote; what can be read may still be no state.
        raise damaged(run_id, error) from error
    return snapshot


async def _read(database: Database, run_id: str, checkpoint_id: str | None) -> Snapshot:
    sqlite = database.url.get_backend_name() == "sqlite"
    async with database.reading() as connection:
        if not await connection.run_sync(lambda sync: inspect(sync).has_table("checkpoints")):
            return Snapshot()
        kept = await _kept(connection, run_id, checkpoint_id)
        if kept is None:
            return Snapshot()
        checkpoint = _loaded(*kept) if sqlite else await _with_values(connection, run_id, kept[1])
        inner = await _inner(connection, run_id, sqlite)
        table, value = ("writes", "value") if sqlite else ("checkpoint_writes", "blob")
        query = text(
            f"SELECT task_id, idx, channel, type, {value} FROM {table} WHERE thread_id = :run AND checkpoint_ns = '' "
            "AND checkpoint_id = :id AND channel IN :channels"
        ).bindparams(bindparam("channels", expanding=True))
        given = {"run": run_id, "id": checkpoint["id"], "channels": [ERROR, INTERRUPT]}
        writes = sorted(tuple(row) for row in await connection.execute(query, given))
    outer = _snapshot(checkpoint, [(channel, _loaded(kind, blob)) for _, _, channel, kind, blob in writes])
    if PIPELINE not in outer.next or inner is None or checkpoint_id is not None:
        return outer
    within = _snapshot(inner, [])
    values = cast(PipelineState, {**outer.values, **within.values})
    return replace(outer, values=values, next=within.next or outer.next)


async def _inner(connection: AsyncConnection, run_id: str, sqlite: bool) -> dict[str, Any] | None:
    """Return the last checkpoint of the pipeline within an improvement; ``None`` where there is none."""
    query = text(
        "SELECT checkpoint_ns FROM checkpoints WHERE thread_id = :run AND checkpoint_ns LIKE :inner "
        "AND checkpoint_ns NOT LIKE '%|%' ORDER BY checkpoint_id DESC LIMIT 1"
    )
    row = (await connection.execute(query, {"run": run_id, "inner": f"{PIPELINE}:%"})).first()
    kept = None if row is None else await _kept(connection, run_id, None, row[0])
    if row is None or kept is None:
        return None
    loaded = _loaded(*kept) if sqlite else await _with_values(connection, run_id, kept[1], row[0])
    return cast(dict[str, Any], loaded)


async def _kept(
    connection: AsyncConnection, run_id: str, checkpoint_id: str | None, namespace: str = ""
) -> tuple[Any, Any] | None:
    """Return a checkpoint's type and content as they are stored, the last one's where none is named."""
    named = "" if checkpoint_id is None else "AND checkpoint_id = :id "
    query = text(
        f"SELECT type, checkpoint FROM checkpoints WHERE thread_id = :run AND checkpoint_ns = :ns {named}"
        "ORDER BY checkpoint_id DESC LIMIT 1"
    )
    given = {"run": run_id, "ns": namespace} | ({} if checkpoint_id is None else {"id": checkpoint_id})
    row = (await connection.execute(query, given)).first()
    return None if row is None else (row[0], row[1])


async def _with_values(
    connection: AsyncConnection, run_id: str, kept: dict[str, Any], namespace: str = ""
) -> dict[str, Any]:
    """Return a checkpoint of PostgreSQL, which keeps values that are not plain in rows of their own, by version."""
    blobs = text(
        "SELECT channel, version, type, blob FROM checkpoint_blobs WHERE thread_id = :run AND checkpoint_ns = :ns"
    )
    versions: Mapping[str, Any] = kept["channel_versions"]
    values = {
        channel: _loaded(kind, blob)
        for channel, version, kind, blob in await connection.execute(blobs, {"run": run_id, "ns": namespace})
        if kind != "empty" and str(versions.get(channel)) == version
    }
    return kept | {"channel_values": (kept.get("channel_values") or {}) | values}


def _snapshot(checkpoint: Mapping[str, Any], writes: Iterable[tuple[str, Any]]) -> Snapshot:
    channels, versions, seen = (checkpoint[name] for name in ("channel_values", "channel_versions", "versions_seen"))
    triggers = {name: name.removeprefix(BRANCH) for name in channels if name.startswith(BRANCH) or name == START}
    following = tuple(
        step
        for channel, step in triggers.items()
        if step not in seen or channel not in seen[step] or versions[channel] > seen[step][channel]
    )
    found = [(channel, value) for channel, value in writes if following]
    values = {name: value for name, value in channels.items() if name not in triggers and not name.startswith("__")}
    # A channel that gathers lines begins empty, and is not kept before its first one.
    values = {"warnings": []} | values if values else values
    return Snapshot(
        begun=True,
        values=cast(PipelineState, values),
        next=following,
        errors=tuple(str(value) for channel, value in found if channel == ERROR),
        questions=tuple(
            one["value"]
            for channel, value in found
            if channel == INTERRUPT
            for one in (value if isinstance(value, list | tuple) else [value])
        ),
    )


def _loaded(kind: str, data: Any) -> Any:
    """Return what a saver has written: msgpack, where an object is an extension with its module, name and fields."""
    import ormsgpack

    if kind == "null":
        return None
    return ormsgpack.unpackb(bytes(data), ext_hook=_object, option=ormsgpack.OPT_NON_STR_KEYS)


def _object(_code: int, data: bytes) -> Any:
    """Return an object of ours, and of every other one its fields: no class is loaded that is not in the list."""
    import ormsgpack

    module, name, fields, *_ = ormsgpack.unpackb(data, ext_hook=_object, option=ormsgpack.OPT_NON_STR_KEYS)
    kind = OURS.get((module, name))
    if kind is None:
        return fields
    try:
        return kind.model_validate(fields)
    except ValidationError:  # another version's; LangGraph, too, takes it as it is
        return kind.model_construct(**fields)


OURS: dict[tuple[str, str], Any] = {(kind.__module__, kind.__name__): kind for kind in CHECKPOINTED}
