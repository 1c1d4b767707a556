"""The call ledger's table: what was asked, what came back, what it cost. Written through, in grouped commits."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, case, except_, false, func, select, true, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from state.batches import DeferredCall, at_least_0, defer
from state.call_rows import KEYS, empty_calls, find_bodies, with_requests, write_calls
from state.database import STREAMED, Database
from state.errors import CorralError, StorageError
from state.fencing import demand_own, read_lease, writing_of
from state.grouped import Grouped
from state.records import Call, Record
from state.tables import call_uses, calls, insert_new, runs

logger = logging.getLogger(__name__)

SAMPLED = 20_000
"""Calls from which the tokens of a call are learned, about: reading all of a large ledger takes seconds."""
TIMED = 500
"""Calls from which the time of a call is learned."""


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


@dataclass(frozen=True)
class Answered:
    """A call to record, and what was reserved for it."""

    call: Call
    reserved: float

    @property
    def run_id(self) -> str:
        """The run that made the call."""
        return self.call.run_id


@dataclass(frozen=True)
class Used:
    """That a run used a recorded call."""

    run_id: str
    key: str
    purpose: str


@dataclass(frozen=True)
class Reserve:
    """Dollars to reserve for a call before it is made, or to give back (less than 0) for one that was not made."""

    run_id: str
    dollars: float


@dataclass(frozen=True)
class Deferral(Reserve):
    """Dollars to reserve for a call that waits for a batch, and the call."""

    call: DeferredCall


@dataclass(frozen=True)
class OverCap:
    """Why dollars were not reserved: they would pass the cap."""

    spent: float
    cap: float


@dataclass(frozen=True)
class Unusable:
    """That the answer of a recorded call could not be used, and why."""

    run_id: str
    call: Call


@dataclass(frozen=True)
class Lookup:
    """A key whose call is wanted, whoever made it."""

    key: str
    run_id: str = ""


Entry = Answered | Used | Reserve | Unusable


class TokenUse(Record):
    """What the calls of one run, for one purpose and to one model, used."""

    purpose: str
    model: str
    calls: int
    prompt_tokens: int
    completion_tokens: int


class CallStore:
    """The ledger of one database.

    An answer is on disk when ``put`` returns. Answers that arrive together share one commit, so that a hundred calls
    a second do not wait for a hundred syncs of the disk.

    What a run writes here is committed only while the run is this process's: see ``state.fencing``, whose errors every
    method that writes can raise.

    Args:
        database: an open database whose tables exist.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self._lookups: Grouped[Lookup, Call | None] = Grouped(self._look_up)
        self._writes: Grouped[Entry, OverCap | None] = Grouped(lambda entries: self._commit(entries))
        self._unwritten: dict[str, Answered] = {}
        """Answers whose write failed, by the call's key: they are written with the next one that works."""

    @property
    def failed_writes(self) -> int:
        """How many writes to the database have failed."""
        return self.database.failed_writes

    def demand_kept(self, failed_before: int) -> None:
        """Refuse to go on paying for answers that could not be kept.

        Args:
            failed_before: ``failed_writes`` as it was when the work began.

        Raises:
            StorageError: a write has failed since.
        """
        if self.failed_writes != failed_before:
            raise StorageError(str(self.database.last_failure))

    async def write_last(self) -> None:
        """Try once more to write the answers whose write failed; they are lost if it fails again, and asked again."""
        for run_id in {entry.run_id for entry in self._unwritten.values()}:
            try:
                await self._commit([Used(run_id, entry.call.key, entry.call.purpose) for entry in self._kept(run_id)])
            except CorralError as error:
                lost, told = len(self._kept(run_id)), {"of": run_id, "error": str(error)}
                logger.warning("%d answers that had arrived could not be kept: they are asked again", lost, extra=told)

    def _kept(self, run_id: str) -> list[Answered]:
        return [entry for entry in self._unwritten.values() if entry.run_id == run_id]

    async def get(self, key: str) -> Call | None:
        """Return the recorded call, or ``None``."""
        if key in self._unwritten:
            return self._unwritten[key].call
        return await self._lookups.do(Lookup(key))

    async def _look_up(self, wanted: Sequence[Lookup]) -> list[Call | None]:
        """Return the recorded calls of some keys, or ``None``."""
        keys = [one.key for one in wanted]
        async with self.database.reading() as connection:
            found = await find_bodies(connection, keys)
        return [Call.model_validate(found[key]) if key in found else None for key in keys]

    async def put(self, call: Call, reserved: float = 0.0) -> None:
        """Record a call, in the place of the dollars reserved for it.

        An answer replaces a recorded failure; nothing replaces an answer.
        """
        await self._writes.do(Answered(call, reserved))

    async def use(self, run_id: str, key: str, purpose: str) -> None:
        """Note that a run used a recorded call."""
        await self._writes.do(Used(run_id, key, purpose))

    async def note_unusable(self, run_id: str, call: Call, why: str) -> None:
        """Note in an answered call's ``error`` why its answer could not be used; the answer stays as it is."""
        await self._writes.do(Unusable(run_id, call.model_copy(update={"error": why})))

    async def reserve(self, run_id: str, dollars: float) -> OverCap | None:
        """Reserve dollars of a run's cap for a call that is about to be made.

        The cap holds for all processes together, since the database reserves. With 0 dollars this only shows that a run
        that this process took is still its own.

        Returns:
            ``None`` if the call may be made; else what is spent of the cap.
        """
        if not dollars and run_id not in self.database.epochs:
            return None  # calls that belong to no run have no lease
        return await self._writes.do(Reserve(run_id, dollars))

    async def defer(self, call: DeferredCall, dollars: float) -> OverCap | None:
        """Note that a call waits for a batch, and reserve dollars for it.

        Returns:
            ``None`` if it is noted; else what is spent of the cap.
        """
        return await self._writes.do(Deferral(call.run_id, dollars, call))

    async def release(self, run_id: str, dollars: float) -> None:
        """Give back what was reserved for a call that was never sent."""
        await self._writes.do(Reserve(run_id, -dollars))

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
        async with writing_of(self.database, run_id) as connection:
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

    async def token_uses(self, without: str = "") -> list[TokenUse]:
        """Return the tokens of answered calls by run, purpose and model, over some ``SAMPLED`` of all calls.

        Args:
            without: a run whose own calls do not count.
        """
        async with self.database.reading() as connection:
            purpose, model = calls.c.body["purpose"].as_string(), calls.c.body["model"].as_string()
            sums = (func.count(), func.sum(calls.c.prompt_tokens), func.sum(calls.c.completion_tokens))
            query = select(purpose, model, *sums).where((calls.c.status == "answered") & (calls.c.run_id != without))
            query = query.where(await _sampled(connection))
            rows = list(await connection.execute(query.group_by(calls.c.run_id, purpose, model)))
        names = ("purpose", "model", "calls", "prompt_tokens", "completion_tokens")
        return [TokenUse.model_validate(dict(zip(names, row, strict=True))) for row in rows]

    async def mean_seconds(self, purpose: str, model: str, *, parts: bool = True) -> float | None:
        """Return the mean time of an answered call, over some ``TIMED`` of them; ``None`` where there are none.

        Args:
            purpose: such as ``judge``.
            model: as the server knows it; a folder of weights counts whatever lies in it.
            parts: whether the purpose's parts count, too, such as ``judge.clarity``.
        """
        named, asked = calls.c.body["purpose"].as_string(), calls.c.body["model"].as_string()
        same = (named == purpose) | (named.startswith(f"{purpose}.", autoescape=True) if parts else false())
        same &= (asked == model) | asked.startswith(f"{model}@", autoescape=True)
        times = calls.c.body["started_at"].as_string(), calls.c.body["finished_at"].as_string()
        query = select(*times).where((calls.c.status == "answered") & same).limit(TIMED)
        async with self.database.reading() as connection:
            rows = list(await connection.execute(query.where(await _sampled(connection))))
        took = [(datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds() for begin, end in rows]
        return sum(took) / len(took) if took else None

    async def times(self, run_id: str) -> AsyncIterator[tuple[str, datetime, datetime]]:
        """Yield purpose, start and end of every call that the run itself made, in no order."""
        query = (
            select(call_uses.c.purpose, calls.c.body["started_at"], calls.c.body["finished_at"])
            .join(calls, calls.c.key == call_uses.c.key)
            .where((call_uses.c.run_id == run_id) & (calls.c.run_id == run_id))
        )
        async for purpose, started, finished in self.database.stream(query):
            yield purpose, datetime.fromisoformat(started), datetime.fromisoformat(finished)

    async def facts_of(self, keys: Sequence[str]) -> dict[str, dict[str, Any]]:
        """Return what calls were and took, by key, without their texts: purpose, model, tokens, dollars, seconds.

        Args:
            keys: of any number of calls; those that are not there are left out.
        """
        body = calls.c.body
        fields = [body[name] for name in ("purpose", "model", "attempts", "started_at", "finished_at")]
        query = select(calls.c.key, calls.c.prompt_tokens + calls.c.completion_tokens, calls.c.cost, *fields)
        found: dict[str, dict[str, Any]] = {}
        for start in range(0, len(keys), KEYS):
            wanted = query.where(calls.c.key.in_(keys[start : start + KEYS]))
            async for key, tokens, cost, purpose, model, attempts, began, ended in self.database.stream(wanted):
                seconds = (datetime.fromisoformat(ended) - datetime.fromisoformat(began)).total_seconds()
                facts = {"purpose": purpose, "model": model, "tokens": tokens, "cost": cost, "attempts": attempts}
                found[key] = {"key": key, "seconds": seconds, **facts}
        return found

    async def used_by(self, run_id: str) -> AsyncIterator[tuple[str, dict[str, Any]]]:
        """Yield the key of each call that a run used, and the call as JSON, in no order."""
        query = select(calls.c.key, calls.c.body).join(call_uses, call_uses.c.key == calls.c.key)
        async with self.database.reading() as connection, self.database.reading() as beside:
            async with connection.stream(query.where(call_uses.c.run_id == run_id)) as rows:
                async for page in rows.partitions(STREAMED):
                    whole = await with_requests(beside, [body for _, body in page])
                    for (key, _), body in zip(page, whole, strict=True):
                        yield key, body

    async def forget(self, keys: Sequence[str]) -> None:
        """Remove what calls asked and answered; what they cost stays, since it is spent."""
        if keys:
            async with self.database.writing() as connection:
                await empty_calls(connection, self.database.engine, keys)

    async def _commit(self, entries: Sequence[Entry]) -> list[OverCap | None]:
        """Write entries of one run; return what each of them waits for."""
        run_id = entries[0].run_id
        if all(type(entry) is Reserve and not entry.dollars for entry in entries):
            demand_own(self.database, run_id, await read_lease(self.database, run_id))
            return [None] * len(entries)
        answers = [*self._kept(run_id), *(entry for entry in entries if isinstance(entry, Answered))]
        noted = [entry.call for entry in entries if isinstance(entry, Unusable)]
        uses = [vars(entry) for entry in entries if isinstance(entry, Used)]
        try:
            async with writing_of(self.database, run_id) as connection:
                if answers or noted:
                    made = [entry.call for entry in answers]
                    await write_calls(connection, self.database.engine, made, noted)
                    await _settle_reserved(connection, run_id, answers)
                if uses:
                    await connection.execute(insert_new(self.database.engine, call_uses), uses)
                results = await _reserve_all(connection, entries)
                fitting = [entry for entry, over in zip(entries, results, strict=True) if over is None]
                if wanted := [(entry.call, entry.dollars) for entry in fitting if isinstance(entry, Deferral)]:
                    await defer(connection, self.database.engine, wanted)
        except StorageError:
            self._unwritten |= {entry.call.key: entry for entry in answers}
            raise
        for entry in answers:
            self._unwritten.pop(entry.call.key, None)
        return results


async def _settle_reserved(connection: AsyncConnection, run_id: str, answers: Sequence[Answered]) -> None:
    """Book what calls cost in the place of what was reserved for them."""
    reserved, cost = sum(entry.reserved for entry in answers), sum(entry.call.cost for entry in answers)
    if reserved or cost:
        values = {"spent": runs.c.spent + cost, "reserved": at_least_0(runs.c.reserved - reserved)}
        await connection.execute(update(runs).where(runs.c.run_id == run_id).values(values))


async def _reserve_all(connection: AsyncConnection, entries: Sequence[Entry]) -> list[OverCap | None]:
    """Reserve for all calls at once where they fit together, else for one after the other."""
    wanted = [entry for entry in entries if isinstance(entry, Reserve)]
    if not wanted or await _reserve(connection, Reserve(wanted[0].run_id, sum(e.dollars for e in wanted))) is None:
        return [None] * len(entries)
    return [await _reserve(connection, entry) if isinstance(entry, Reserve) else None for entry in entries]


async def _reserve(connection: AsyncConnection, entry: Reserve) -> OverCap | None:
    """Reserve dollars if they fit under the cap; a run without a cap, or calls of no run, need no reservation."""
    if not entry.dollars:
        return None
    row = runs.c.run_id == entry.run_id
    booked = runs.c.spent + runs.c.in_doubt + runs.c.reserved
    fits = row & ((booked + entry.dollars <= runs.c.budget) | (entry.dollars < 0))
    query = update(runs).where(fits).values(reserved=at_least_0(runs.c.reserved + entry.dollars))
    if (await connection.execute(query)).rowcount:
        return None
    found = (await connection.execute(select(runs.c.spent + runs.c.in_doubt, runs.c.budget).where(row))).first()
    return OverCap(*found) if found is not None and found[1] is not None else None


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


async def _sampled(connection: AsyncConnection) -> ColumnElement[bool]:
    """Return what holds for about ``SAMPLED`` of all calls."""
    # Keys are hashes, so those below a bound are a random sample.
    count = (await connection.execute(select(func.count()).select_from(calls))).scalar_one()
    return calls.c.key < f"{int(SAMPLED / count * 16**8):08x}" if count > SAMPLED else true()


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
