"""The call ledger's table: what was asked, what came back, what it cost. Written through, in grouped commits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, case, except_, func, select, update

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
        async with self.database.reading() as connection:
            own = {row.purpose: row for row in await connection.execute(_own_calls(run_id)) if row.purpose is not None}
            uses = select(func.count()).select_from(call_uses).where(call_uses.c.run_id == run_id)
            used = (await connection.execute(uses)).scalar_one()
            others = {}
            if used > sum(row.answered + row.failed for row in own.values()):
                others = {row.purpose: row for row in await connection.execute(_others_calls(run_id))}
        return [_tally(purpose, own.get(purpose), others.get(purpose)) for purpose in sorted({*own, *others})]

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


def _own_calls(run_id: str) -> Select[Any]:
    """Return the query of the calls that a run itself made, by purpose; what was not used yet has none.

    An outer join, so that SQLite begins with the calls: their index holds the figures, and their rows are long.
    """
    used = (call_uses.c.run_id == calls.c.run_id) & (call_uses.c.key == calls.c.key)
    figures = (calls.c.prompt_tokens, calls.c.completion_tokens, calls.c.cost)
    return (
        select(call_uses.c.purpose, *_by_status(), *(func.sum(figure).label(figure.name) for figure in figures))
        .select_from(calls.outerjoin(call_uses, used))
        .where(calls.c.run_id == run_id)
        .group_by(call_uses.c.purpose)
    )


def _others_calls(run_id: str) -> Select[Any]:
    """Return the query of the calls that a run used and another had made, by purpose."""
    used = select(call_uses.c.key).where(call_uses.c.run_id == run_id)
    foreign = except_(used, select(calls.c.key).where(calls.c.run_id == run_id)).subquery()
    return (
        select(call_uses.c.purpose, *_by_status())
        .select_from(foreign)
        .join(call_uses, (call_uses.c.run_id == run_id) & (call_uses.c.key == foreign.c.key))
        .join(calls, calls.c.key == foreign.c.key)
        .group_by(call_uses.c.purpose)
    )


def _by_status() -> list[ColumnElement[Any]]:
    return [func.sum(case((calls.c.status == one, 1), else_=0)).label(one) for one in ("answered", "failed")]


def _tally(purpose: str, own: Row[Any] | None, others: Row[Any] | None) -> PurposeTally:
    from_ledger = others.answered if others else 0
    return PurposeTally(
        purpose=purpose,
        answered=from_ledger + (own.answered if own else 0),
        failed=(others.failed if others else 0) + (own.failed if own else 0),
        from_ledger=from_ledger,
        prompt_tokens=own.prompt_tokens if own else 0,
        completion_tokens=own.completion_tokens if own else 0,
        cost=own.cost if own else 0.0,
    )
