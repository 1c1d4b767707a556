"""Calls that wait for a batch, and the batches of a run: noted before they are sent, so that none is sent twice.

A call waits from when it is first asked until its answer is in the ledger. Meanwhile it has a place: ``WANTED`` until
the step has asked all it can, then the id of a batch, or ``AT_ONCE`` where too few wait for a batch to pay. A call that
came back from a batch without an answer is ``FREE``: it waits again when the step asks for it again.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import uuid4

from pydantic import Field
from sqlalchemy import Update, case, delete, func, select, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection, AsyncEngine

from state.call_rows import write_calls
from state.database import Database
from state.fencing import writing_of
from state.records import Call, Record
from state.tables import batch_calls, batches, insert_or_replace, runs
from state.wording import number_of

FREE, WANTED, AT_ONCE = "free", "wanted", "at once"
WAIT = "wait_for_batch"
"""The name of what a run waits for at its interrupt, where no person is asked."""
TRIES = 2
"""Batches in which a call may come back without an answer; then it is asked at once."""
KEYS = 500
"""In one ``IN (...)``, and rows of one transaction."""
LARGEST_COUNT, LARGEST_BYTES = 50_000, 200_000_000
"""What one batch may hold, by OpenAI's rules: requests, and bytes of its file."""
Status = Literal["noted", "sending", "sent", "ended"]
"""``noted``: its calls are chosen; ``sending``: its file is with the server, and it may have been made there; ``sent``:
the server has told its id; ``ended``: its answers are in the ledger, or there are none."""


class DeferredCall(Record):
    """A call that waits for a batch, with all that is needed to read its answer."""

    key: str
    run_id: str
    purpose: str
    endpoint: str
    model: str
    request: dict[str, Any]
    """As it is sent."""
    stop: tuple[str, ...] = ()
    """Words that end the answer, also where the server does not take them."""
    input_price: float = Field(0.0, ge=0)
    """Dollars for a million prompt tokens, in a batch, as known when the call was noted."""
    output_price: float = Field(0.0, ge=0)
    """The same for completion tokens."""


class CallBatch(Record):
    """Calls that are sent together."""

    id: str
    """Ours: it stands in the server's metadata, by which the batch is found again."""
    run_id: str
    endpoint: str
    model: str
    purposes: tuple[str, ...]
    calls: int
    within: str
    """The server's ``completion_window``."""
    status: Status = "noted"
    file_id: str = ""
    """The server's id of the file of requests; empty before it is uploaded."""
    server_id: str = ""
    """The server's id of the batch; empty before it is known."""
    made_at: datetime
    tried_at: datetime | None = None
    """When the server was last asked to make it."""
    until: datetime | None = None
    """When the server gives up what it has not answered."""
    done: int = 0
    """Requests that the server has done, as it last said."""
    answered: int = 0
    """Calls whose answers were taken."""
    said: str = ""
    """How it ended, in the server's word."""

    @property
    def in_words(self) -> str:
        """What waits until when, or what came of it."""
        what = f"{number_of(self.calls, 'call')} of {', '.join(self.purposes)} to {self.model} in a batch"
        if self.status == "ended":
            left = self.calls - self.answered
            return f"{what}: {self.said}, {self.answered:,} answered" + (f", {left:,} asked again" if left else "")
        until = f", until {self.until:%Y-%m-%d %H:%M} UTC at the latest" if self.until else ""
        done = f"{self.done:,} done" if self.status == "sent" else "being sent"
        return f"{what}, {done}{until}"


class Waiting(Record):
    """The wanted calls to one model."""

    endpoint: str
    model: str
    calls: int


class BatchStore:
    """The deferred calls and the batches of one database.

    What it writes for a run is committed only while the run is this process's: see ``state.fencing``.

    Args:
        database: an open database whose tables exist.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    async def place(self, run_id: str, key: str) -> str:
        """Return where a call waits; ``FREE`` if it does not."""
        query = select(batch_calls.c.place).where((batch_calls.c.run_id == run_id) & (batch_calls.c.key == key))
        async with self.database.reading() as connection:
            found = (await connection.execute(query)).scalar()
        return FREE if found is None else str(found)

    async def any_waits(self, run_id: str) -> bool:
        """Return whether a call of a run waits for a batch, or is in one."""
        waits = (batch_calls.c.run_id == run_id) & batch_calls.c.place.not_in((FREE, AT_ONCE))
        async with self.database.reading() as connection:
            return (await connection.execute(select(batch_calls.c.key).where(waits).limit(1))).first() is not None

    async def wanted(self, run_id: str) -> list[Waiting]:
        """Return how many calls of a run wait to be sent, by endpoint and model."""
        by = (batch_calls.c.endpoint, batch_calls.c.model)
        query = select(*by, func.count()).where(_at(run_id, WANTED)).group_by(*by).order_by(*by)
        async with self.database.reading() as connection:
            rows = list(await connection.execute(query))
        return [Waiting(endpoint=endpoint, model=model, calls=count) for endpoint, model, count in rows]

    async def open(self, run_id: str) -> list[CallBatch]:
        """Return the batches of a run that have not ended, oldest first."""
        return [one for one in await self.all(run_id) if one.status != "ended"]

    async def all(self, run_id: str) -> list[CallBatch]:
        """Return all batches of a run, oldest first."""
        query = select(batches.c.body).where(batches.c.run_id == run_id)
        async with self.database.reading() as connection:
            found = [CallBatch.model_validate(row[0]) for row in await connection.execute(query)]
        return sorted(found, key=lambda one: (one.made_at, one.id))

    async def waiting_runs(self) -> list[str]:
        """Return the runs that have a batch which has not ended."""
        query = select(batches.c.run_id).where(batches.c.status != "ended").distinct()
        async with self.database.reading() as connection:
            return [str(row[0]) for row in await connection.execute(query)]

    async def gather(self, run_id: str, of: Waiting, after: int, within: str) -> list[CallBatch]:
        """Give the wanted calls to one model their place: in batches, or at once where too few wait.

        Args:
            run_id: the run.
            of: the model.
            after: calls from which on they are sent as a batch.
            within: the batches' ``completion_window``.

        Returns:
            The batches, noted and not sent.
        """
        own = _at(run_id, WANTED) & (batch_calls.c.endpoint == of.endpoint) & (batch_calls.c.model == of.model)
        purpose = batch_calls.c.body["purpose"].as_string()
        query = (
            select(batch_calls.c.key, batch_calls.c.size, batch_calls.c.tries, purpose)
            .where(own)
            .order_by(batch_calls.c.key)
        )
        async with writing_of(self.database, run_id) as connection:
            rows = [tuple(row) for row in await connection.execute(query)]
            due = [row for row in rows if row[2] < TRIES]
            groups = split([(row[0], row[1]) for row in due]) if len(due) >= after else []
            together = {key for group in groups for key in group}
            await _place(connection, run_id, [row[0] for row in rows if row[0] not in together], AT_ONCE)
            made = []
            purposes = {row[0]: str(row[3]) for row in due}
            for group in groups:
                batch = CallBatch(
                    id=uuid4().hex,
                    run_id=run_id,
                    endpoint=of.endpoint,
                    model=of.model,
                    purposes=tuple(sorted({purposes[key].partition(".")[0] for key in group})),
                    calls=len(group),
                    within=within,
                    made_at=datetime.now(UTC),
                )
                await _place(connection, run_id, group, batch.id)
                await connection.execute(self._keeping(), [_batch_row(batch)])
                made.append(batch)
        return made

    async def keep(self, batch: CallBatch) -> CallBatch:
        """Write a batch as it is now, and return it."""
        async with writing_of(self.database, batch.run_id) as connection:
            await connection.execute(self._keeping(), [_batch_row(batch)])
        return batch

    async def calls_of(self, batch: CallBatch) -> AsyncIterator[DeferredCall]:
        """Yield the calls of a batch that have no answer yet, in the order of their keys."""
        query = select(batch_calls.c.body).where(_at(batch.run_id, batch.id)).order_by(batch_calls.c.key)
        async for row in self.database.stream(query):
            yield DeferredCall.model_validate(row[0])

    async def find(self, batch: CallBatch, keys: Sequence[str]) -> dict[str, DeferredCall]:
        """Return calls of a batch that have no answer yet, by key; at most ``KEYS`` at a time."""
        query = select(batch_calls.c.body).where(_at(batch.run_id, batch.id) & batch_calls.c.key.in_(keys))
        async with self.database.reading() as connection:
            found = [DeferredCall.model_validate(row[0]) for row in await connection.execute(query)]
        return {call.key: call for call in found}

    async def take(self, batch: CallBatch, answers: Sequence[Call]) -> None:
        """Record answers in the ledger, in the place of what was reserved for them; at most ``KEYS`` at a time."""
        if not answers:
            return
        keys = [answer.key for answer in answers]
        mine = _at(batch.run_id, batch.id) & batch_calls.c.key.in_(keys)
        async with writing_of(self.database, batch.run_id) as connection:
            held = await _reserved(connection, mine)
            await write_calls(connection, self.database.engine, answers)
            cost = sum(answer.cost for answer in answers)
            values = {"spent": runs.c.spent + cost, "reserved": at_least_0(runs.c.reserved - held)}
            await connection.execute(update(runs).where(runs.c.run_id == batch.run_id).values(values))
            await connection.execute(delete(batch_calls).where(mine))

    async def end(self, batch: CallBatch, *, tried: bool = True) -> CallBatch:
        """End a batch: its calls without an answer are free again.

        Args:
            batch: as it is to be kept.
            tried: whether the server has tried them.
        """
        mine = _at(batch.run_id, batch.id)
        async with writing_of(self.database, batch.run_id) as connection:
            left = (await connection.execute(select(func.count()).select_from(batch_calls).where(mine))).scalar_one()
            ended = batch.model_copy(update={"status": "ended", "answered": batch.calls - left})
            await _give_back(connection, batch.run_id, await _reserved(connection, mine))
            values: dict[str, Any] = {"place": FREE, "reserved": 0.0, "tries": batch_calls.c.tries + tried}
            await connection.execute(update(batch_calls).where(mine).values(values))
            await connection.execute(self._keeping(), [_batch_row(ended)])
        return ended

    async def clear(self, run_id: str) -> None:
        """Remove a step's calls that wait for nothing any more, at its end; their texts are in the ledger."""
        own = (batch_calls.c.run_id == run_id) & batch_calls.c.place.in_((FREE, AT_ONCE))
        async with writing_of(self.database, run_id) as connection:
            await connection.execute(delete(batch_calls).where(own))

    async def forget(self, run_id: str, keys: Sequence[str]) -> None:
        """Remove calls with their texts, wherever they wait; an answer that still comes is not taken."""
        async with self.database.writing() as connection:
            for start in range(0, len(keys), KEYS):
                own = (batch_calls.c.run_id == run_id) & batch_calls.c.key.in_(keys[start : start + KEYS])
                await _give_back(connection, run_id, await _reserved(connection, own))
                await connection.execute(delete(batch_calls).where(own))

    def _keeping(self) -> Any:
        return insert_or_replace(self.database.engine, batches, batches.c.status != "ended")


def split(sizes: Sequence[tuple[str, int]]) -> list[list[str]]:
    """Return keys in groups, in their order, each within the limits of one batch.

    Args:
        sizes: keys, and the bytes of their lines.
    """
    groups: list[list[str]] = []
    room = 0
    for key, size in sizes:
        if not groups or size > room or len(groups[-1]) == LARGEST_COUNT:
            groups.append([])
            room = LARGEST_BYTES
        groups[-1].append(key)
        room -= size
    return groups


async def defer(connection: AsyncConnection, engine: AsyncEngine, wanted: Sequence[tuple[DeferredCall, float]]) -> None:
    """Note calls as wanted, each with the dollars that are reserved for it.

    Args:
        connection: in a transaction of the run.
        engine: the database's.
        wanted: calls, and dollars.
    """
    insert = insert_or_replace(engine, batch_calls, batch_calls.c.place == FREE, kept=("tries",))
    await connection.execute(insert, [_call_row(call, dollars) for call, dollars in wanted])


def at_least_0(dollars: Any) -> Any:
    """Return dollars as SQL, but never less than 0: sums of floats leave a trace of what was subtracted again."""
    return case((dollars > 1e-12, dollars), else_=0.0)


def request_line(call: DeferredCall) -> bytes:
    """Return a call as a line of a batch's file."""
    line = {"custom_id": call.key, "method": "POST", "url": "/v1/chat/completions", "body": call.request}
    return json.dumps(line).encode() + b"\n"


def _at(run_id: str, place: str) -> Any:
    return (batch_calls.c.run_id == run_id) & (batch_calls.c.place == place)


async def _place(connection: AsyncConnection, run_id: str, keys: Sequence[str], place: str) -> None:
    """Give calls their place; what is asked at once is reserved for when it is asked."""
    for start in range(0, len(keys), KEYS):
        mine = (batch_calls.c.run_id == run_id) & batch_calls.c.key.in_(keys[start : start + KEYS])
        if place == AT_ONCE:
            await _give_back(connection, run_id, await _reserved(connection, mine))
        values = {"place": place} | ({"reserved": 0.0} if place == AT_ONCE else {})
        await connection.execute(update(batch_calls).where(mine).values(values))


async def _reserved(connection: AsyncConnection, mine: Any) -> float:
    query = select(func.coalesce(func.sum(batch_calls.c.reserved), 0.0)).where(mine)
    return float((await connection.execute(query)).scalar_one())


async def _give_back(connection: AsyncConnection, run_id: str, dollars: float) -> None:
    if dollars:
        query: Update = update(runs).where(runs.c.run_id == run_id)
        await connection.execute(query.values(reserved=at_least_0(runs.c.reserved - dollars)))


def _call_row(call: DeferredCall, dollars: float) -> dict[str, Any]:
    own = {"run_id": call.run_id, "key": call.key, "endpoint": call.endpoint, "model": call.model}
    size = len(request_line(call))
    return own | {"place": WANTED, "tries": 0, "reserved": dollars, "size": size, "body": call.model_dump(mode="json")}


def _batch_row(batch: CallBatch) -> dict[str, Any]:
    body = batch.model_dump(mode="json")
    return {name: body[name] for name in ("id", "run_id", "status")} | {"body": body}
