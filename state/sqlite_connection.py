"""SQLite's connection for asyncio: a statement is one trip to the connection's thread, and is never left half done."""

from __future__ import annotations

import asyncio
import sqlite3
from collections import deque
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import partial
from typing import Any

import aiosqlite
from aiosqlite.context import contextmanager

FIRST_ROWS = 100
"""Rows that come back with the statement itself: a trip to the thread costs 0.2 ms of CPU, and most have few."""


class UninterruptedConnection(aiosqlite.Connection):
    """A connection whose transactions run to their end: a task that is cancelled meanwhile ends behind them.

    A statement that a cancelled task leaves behind runs on in the connection's thread, with a transaction open that
    locks the database for everyone; and aiosqlite 0.21, the version that crewai demands, cannot end such a thread.
    """

    _under_way = 0
    """Trips to the thread that have not come back."""

    @contextmanager
    async def cursor(self) -> aiosqlite.Cursor:
        """Return a cursor; there is nothing to wait for before its first statement."""
        return _Cursor(self, self._conn.cursor())

    async def commit(self) -> None:
        """Commit what was written since the last commit, if anything was, or a statement under way may still write."""
        if self.in_transaction or self._under_way:
            await super().commit()

    async def rollback(self) -> None:
        """Undo what was written since the last commit, if anything was, or a statement under way may still write."""
        if self.in_transaction or self._under_way:
            await super().rollback()

    async def _execute(self, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
        if not self._running or not self._connection:
            raise ValueError("Connection closed")
        done = asyncio.get_running_loop().create_future()
        self._tx.put_nowait((done, partial(_or_roll_back, self._connection, fn, *args, **kwargs)))
        self._under_way += 1
        cancelled = False
        while not done.done():
            try:
                # Not the future itself: a cancelled task would cancel it, and never learn when the thread is done.
                await asyncio.wait({done})
            except asyncio.CancelledError:
                cancelled = True
        self._under_way -= 1
        if cancelled and (task := asyncio.current_task()):
            # Put off to where the task next waits for anything but this connection. The count of requests, by which
            # timeouts know their own, stays as it was.
            task.uncancel()
            task.cancel()
        return done.result()

    def stop(self) -> None:
        """Close the connection in its thread and end that, without waiting for either; SQLAlchemy calls it."""
        if self._running and self._connection:
            self._tx.put_nowait((_nobody(), self._connection.close))
            self._stop_running()  # type: ignore[no-untyped-call]  # aiosqlite's own
            self._connection = None


class _Cursor(aiosqlite.Cursor):
    """A cursor whose statements bring their first rows with them; only further ones are fetched by another trip."""

    def __init__(self, connection: aiosqlite.Connection, cursor: sqlite3.Cursor) -> None:
        super().__init__(connection, cursor)
        self._first: deque[Any] = deque()
        """Rows that have come and were not asked for yet."""
        self._whole = True
        """Whether there are no others."""

    async def execute(self, sql: str, parameters: Iterable[Any] | None = None) -> aiosqlite.Cursor:
        """Execute a statement."""
        self._forget()
        given = () if parameters is None else parameters
        self._first, self._whole = await self._execute(_executed, self._cursor, sql, given)  # type: ignore[no-untyped-call]  # aiosqlite's own
        return self

    async def executemany(self, sql: str, parameters: Iterable[Iterable[Any]]) -> aiosqlite.Cursor:
        """Execute a statement with each of several parameters."""
        self._forget()
        return await super().executemany(sql, parameters)

    async def fetchone(self) -> Any:
        """Return the next row, or ``None``."""
        rows = await self._fetched(1)
        return rows[0] if rows else None

    async def fetchmany(self, size: int | None = None) -> list[Any]:
        """Return the next rows, at most ``size`` of them, or ``arraysize``."""
        return await self._fetched(self.arraysize if size is None else size)

    async def fetchall(self) -> list[Any]:
        """Return all rows that are left."""
        rows = [*self._first]
        self._first.clear()
        return rows if self._whole else [*rows, *await super().fetchall()]

    async def close(self) -> None:
        """Close the cursor, here: its statement is not running, since whoever closes it has waited for that."""
        self._forget()
        self._whole = False  # so that whoever asks for rows is told by SQLite that it is closed
        if self._conn._connection:
            self._cursor.close()

    def _forget(self) -> None:
        """Drop what an earlier statement brought, also where the next one fails."""
        self._first, self._whole = deque(), True

    async def _fetched(self, size: int) -> list[Any]:
        rows = [self._first.popleft() for _ in range(min(size, len(self._first)))]
        missing = 0 if self._whole else size - len(rows)
        return [*rows, *await super().fetchmany(missing)] if missing else rows


def _executed(cursor: sqlite3.Cursor, sql: str, parameters: Iterable[Any]) -> tuple[deque[Any], bool]:
    """Execute a statement, and return its first rows and whether these are all."""
    cursor.execute(sql, parameters)  # type: ignore[arg-type]  # aiosqlite's wider type
    rows = deque(cursor.fetchmany(FIRST_ROWS) if cursor.description else ())
    return rows, len(rows) < FIRST_ROWS


def _or_roll_back(connection: sqlite3.Connection, fn: Callable[..., Any], *args: Any, **kwargs: Any) -> Any:
    """Call ``fn``; where it fails, end the transaction that it was a part of, as PostgreSQL does by itself."""
    try:
        return fn(*args, **kwargs)
    except sqlite3.Error:
        with suppress(sqlite3.Error):
            connection.rollback()
        raise


def _nobody() -> asyncio.Future[Any]:
    """Return a future that nobody waits for."""
    try:
        loop = asyncio.get_running_loop()
    except RuntimeError:
        loop = asyncio.new_event_loop()
    return loop.create_future()
