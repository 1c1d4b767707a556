"""The call ledger's table: what was asked, what came back, what it cost. Written through, in grouped commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, case, func, literal, select, update

from state.database import Database, call_uses, calls, insert_new, insert_or_replace, runs
from state.records import Call, Record


class PurposeTally(Record):
    """The calls that a run used for one purpose."""

    purpose: str
    answered: int
    failed: int
    from_ledger: int
    """Answered calls that an earlier run had paid for."""
    prompt_tokens: int
    completion_tokens: int
    cost: float
    """Dollars that this run paid."""


class CallStore:
    """The ledger of one database.

    An answer is on disk when ``put`` returns. Answers that arrive together share one commit, so that a hundred calls
    a second do not wait for a hundred syncs of the disk.

    Args:
        database: an open database whose tables exist.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._queue: list[tuple[Call | tuple[str, str, str], asyncio.Future[None]]] = []
        self._flush: asyncio.Task[None] | None = None

    async def get(self, key: str) -> Call | None:
        """Return the recorded call, or ``None``."""
        async with self.database.reading() as connection:
            row = (await connection.execute(select(calls.c.body).where(calls.c.key == key))).first()
        return Call.model_validate(row[0]) if row else None

    async def put(self, call: Call) -> None:
        """Record a call. An answer replaces a recorded failure; nothing replaces an answer."""
        await self._write(call)

    async def use(self, run_id: str, key: str, purpose: str) -> None:
        """Note that a run used a recorded call."""
        await self._write((run_id, key, purpose))

    async def spent(self, run_id: str) -> float:
        """Return the dollars that a run has paid."""
        query = select(func.coalesce(func.sum(calls.c.cost), 0.0)).where(calls.c.run_id == run_id)
        async with self.database.reading() as connection:
            return float((await connection.execute(query)).scalar_one())

    async def cap(self, run_id: str) -> float | None:
        """Return the dollars that a run may spend, or ``None`` for no cap."""
        async with self.database.reading() as connection:
            row = (await connection.execute(select(runs.c.budget).where(runs.c.run_id == run_id))).first()
        return None if row is None or row[0] is None else float(row[0])

    async def raise_cap(self, run_id: str, dollars: float) -> None:
        """Set the cap of a run to ``dollars``."""
        async with self.database.writing() as connection:
            await connection.execute(update(runs).where(runs.c.run_id == run_id).values(budget=dollars))

    async def tally(self, run_id: str) -> list[PurposeTally]:
        """Return the calls of a run by purpose; their counts add up to the calls the run used."""
        own, answered = calls.c.run_id == run_id, calls.c.status == "answered"

        def added(column: ColumnElement[Any], when: ColumnElement[bool], name: str) -> ColumnElement[Any]:
            return func.sum(case((when, column), else_=0)).label(name)

        one: ColumnElement[Any] = literal(1)
        query = (
            select(
                call_uses.c.purpose,
                added(one, answered, "answered"),
                added(one, ~answered, "failed"),
                added(one, answered & ~own, "from_ledger"),
                added(calls.c.prompt_tokens, own, "prompt_tokens"),
                added(calls.c.completion_tokens, own, "completion_tokens"),
                added(calls.c.cost, own, "cost"),
            )
            .join(calls, calls.c.key == call_uses.c.key)
            .where(call_uses.c.run_id == run_id)
            .group_by(call_uses.c.purpose)
            .order_by(call_uses.c.purpose)
        )
        async with self.database.reading() as connection:
            return [PurposeTally.model_validate(dict(row._mapping)) for row in await connection.execute(query)]

    async def times(self, run_id: str) -> AsyncIterator[tuple[str, datetime, datetime]]:
        """Yield purpose, start and end of every call that the run itself made, in no order."""
        query = (
            select(call_uses.c.purpose, calls.c.body["started_at"], calls.c.body["finished_at"])
            .join(calls, calls.c.key == call_uses.c.key)
            .where((call_uses.c.run_id == run_id) & (calls.c.run_id == run_id))
        )
        async with self.database.reading() as connection, connection.stream(query) as rows:
            async for purpose, started, finished in rows:
                yield purpose, datetime.fromisoformat(started), datetime.fromisoformat(finished)

    async def _write(self, item: Call | tuple[str, str, str]) -> None:
        written = asyncio.get_running_loop().create_future()
        self._queue.append((item, written))
        if self._flush is None or self._flush.done():
            self._flush = asyncio.create_task(self._drain())
        await asyncio.shield(written)

    async def _drain(self) -> None:
        while self._queue:
            batch, self._queue = self._queue, []
            try:
                await self._commit([item for item, _ in batch])
            except asyncio.CancelledError:
                for _, written in batch:
                    written.cancel()
                raise
            except Exception as error:
                for _, written in batch:
                    if not written.done():
                        written.set_exception(error)
            else:
                for _, written in batch:
                    if not written.done():
                        written.set_result(None)

    async def _commit(self, items: list[Call | tuple[str, str, str]]) -> None:
        answers = [item for item in items if isinstance(item, Call)]
        uses = [dict(zip(("run_id", "key", "purpose"), item, strict=True)) for item in items if isinstance(item, tuple)]
        async with self.database.writing() as connection:
            if answers:
                insert = insert_or_replace(self.database.engine, calls, calls.c.status == "failed")
                await connection.execute(insert, [_row(call) for call in answers])
            if uses:
                await connection.execute(insert_new(self.database.engine, call_uses), uses)


def _row(call: Call) -> dict[str, Any]:
    body = call.model_dump(mode="json")
    columns = ("key", "run_id", "status", "prompt_tokens", "completion_tokens", "cost")
    return {name: body[name] for name in columns} | {"body": body}
