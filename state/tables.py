"""The tables that several stores share, and the inserts that both databases have."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from sqlalchemy import JSON, Column, ColumnElement, Float, Index, Integer, MetaData, String, Table
from sqlalchemy.ext.asyncio.engine import AsyncEngine

metadata = MetaData()

runs = Table(
    "runs",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("request", JSON, nullable=False),
    Column("format", Integer, nullable=False),
    Column("created_at", String, nullable=False),
    Column("budget", Float),
    Column("spent", Float, nullable=False, default=0.0, server_default="0"),
    Column("reserved", Float, nullable=False, default=0.0, server_default="0"),
    Column("in_doubt", Float, nullable=False, default=0.0, server_default="0"),
    Column("lease_owner", String),
    Column("lease_until", Float, nullable=False, default=0.0),
    Column("lease_epoch", Integer, nullable=False, default=0, server_default="0"),
)
"""In dollars: ``budget`` is the cap, ``spent`` went to recorded calls, ``reserved`` is for calls in flight, and
``in_doubt`` for those that were in flight when their process lost the run. ``lease_epoch`` grows each time that the run
changes hands."""

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

request_texts = Table(
    "request_texts",
    metadata,
    Column("id", String, primary_key=True),
    Column("text", String, nullable=False),
)
"""What calls asked, in the parts that their rows refer to by ``id``, the hash of ``text``: see ``state.call_rows``."""

call_uses = Table(
    "call_uses",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("purpose", String, nullable=False),
)

batch_calls = Table(
    "batch_calls",
    metadata,
    Column("run_id", String, primary_key=True),
    Column("key", String, primary_key=True),
    Column("endpoint", String, nullable=False),
    Column("model", String, nullable=False),
    Column("place", String, nullable=False),
    Column("tries", Integer, nullable=False),
    Column("reserved", Float, nullable=False),
    Column("size", Integer, nullable=False),
    Column("body", JSON, nullable=False),
    Index("batch_calls_place", "run_id", "place", "key"),
)
"""Calls that wait for a batch; ``place`` is a batch's id or a word of ``state.batches``. One that is answered is in
``calls``, and here no more."""

batches = Table(
    "batches",
    metadata,
    Column("id", String, primary_key=True),
    Column("run_id", String, nullable=False),
    Column("status", String, nullable=False),
    Column("body", JSON, nullable=False),
    Index("batches_run", "run_id", "status"),
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


def insert_or_replace(engine: AsyncEngine, table: Table, where: ColumnElement[bool], kept: Collection[str] = ()) -> Any:
    """Return an insert that replaces the row with the same key, but for the columns ``kept``, if it fits ``where``."""
    insert = _insert(engine, table)
    new = [column.name for column in table.columns if not column.primary_key and column.name not in kept]
    values = {name: insert.excluded[name] for name in new}
    return insert.on_conflict_do_update(index_elements=list(table.primary_key), set_=values, where=where)


def _insert(engine: AsyncEngine, table: Table) -> Any:
    if engine.dialect.name == "postgresql":
        from sqlalchemy.dialects import postgresql  # SQLite's own is loaded; PostgreSQL's costs 0.03 seconds

        return postgresql.insert(table)
    from sqlalchemy.dialects import sqlite

    return sqlite.insert(table)
