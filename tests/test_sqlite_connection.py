"""SQLite's connection for asyncio: rows are those of the standard library, whoever asks for how many; trips are few."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from state.database import Database
from state.sqlite_connection import FIRST_ROWS, UninterruptedConnection

NUMBERS = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n LIMIT ?) SELECT i FROM n WHERE i <= ?"
SIZES = st.lists(st.one_of(st.none(), st.integers(1, 2 * FIRST_ROWS), st.just("one"), st.just("all")), max_size=6)


def opened() -> UninterruptedConnection:
    return UninterruptedConnection(lambda: sqlite3.connect(":memory:", check_same_thread=False), iter_chunk_size=64)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 3 * FIRST_ROWS), SIZES)
async def test_rows_are_those_that_the_standard_library_gives(rows: int, sizes: list[Any]) -> None:
    with sqlite3.connect(":memory:") as plain:
        expected = plain.execute(NUMBERS, (1000, rows))
        async with opened() as connection, connection.cursor() as cursor:
            await cursor.execute(NUMBERS, (1000, rows))
            for size in sizes:
                if size == "one":
                    assert await cursor.fetchone() == expected.fetchone()
                elif size == "all":
                    assert await cursor.fetchall() == expected.fetchall()
                elif size is None:
                    assert await cursor.fetchmany() == expected.fetchmany()
                else:
                    assert await cursor.fetchmany(size) == expected.fetchmany(size)
            assert [row async for row in cursor] == list(expected)


async def trips(monkeypatch: pytest.MonkeyPatch, work: Callable[[], Any]) -> int:
    taken = 0
    real = UninterruptedConnection._execute

    async def counted(self: UninterruptedConnection, *arguments: Any, **named: Any) -> Any:
        nonlocal taken
        taken += 1
        return await real(self, *arguments, **named)

    with monkeypatch.context() as patched:
        patched.setattr(UninterruptedConnection, "_execute", counted)
        await work()
    return taken


async def test_a_query_is_one_trip_and_a_write_two(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    database = Database(f"sqlite:///{tmp_path / 'corral.db'}")
    await database.create()

    async def read() -> None:
        async with database.reading() as connection:
            assert (await connection.execute(text("SELECT count(*) FROM kept"))).scalar_one() >= 0

    async def write() -> None:
        async with database.writing() as connection:
            await connection.execute(text("INSERT INTO kept VALUES ('x')"))

    async with database.writing() as connection:
        await connection.execute(text("CREATE TABLE kept (name TEXT)"))
    assert await trips(monkeypatch, read) == 1
    assert await trips(monkeypatch, write) == 2
    with sqlite3.connect(tmp_path / "corral.db") as other:
        assert other.execute("SELECT name FROM kept").fetchall() == [("x",)]
    await database.close()


async def test_what_was_not_committed_is_undone(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'corral.db'}")
    await database.create()
    async with database.writing() as connection:
        await connection.execute(text("CREATE TABLE kept (name TEXT)"))
    with pytest.raises(ZeroDivisionError):
        async with database.writing() as connection:
            await connection.execute(text("INSERT INTO kept VALUES ('x')"))
            raise ZeroDivisionError
    async with database.reading() as connection:
        assert (await connection.execute(text("SELECT count(*) FROM kept"))).scalar_one() == 0
    await database.close()


async def test_a_closed_connection_takes_no_statement_and_its_cursors_can_be_closed() -> None:
    connection = await opened()
    cursor = await connection.cursor()
    await connection.close()
    await cursor.close()
    with pytest.raises(ValueError, match="Connection closed"):
        await cursor.execute("SELECT 1")


async def test_a_cursor_has_no_rows_of_an_earlier_statement() -> None:
    async with opened() as connection, connection.cursor() as cursor:
        await cursor.execute("CREATE TABLE t (i INTEGER)")
        for again in (cursor.executemany("INSERT INTO t VALUES (?)", [(1,), (2,)]), cursor.execute("SELECT nothing")):
            await cursor.execute(NUMBERS, (1000, 9))
            await cursor.fetchone()
            with suppress(sqlite3.OperationalError):
                await again
            assert await cursor.fetchall() == []
        await cursor.execute(NUMBERS, (1000, 9))
    with pytest.raises((sqlite3.ProgrammingError, ValueError)):
        await cursor.fetchall()


async def test_a_commit_beside_a_statement_waits_for_it() -> None:
    async with opened() as connection:
        await connection.execute("CREATE TABLE t (i INTEGER)")
        await asyncio.gather(connection.execute("INSERT INTO t VALUES (1)"), connection.commit())
        assert not connection.in_transaction
