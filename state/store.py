"""The record store: every row of every run. Each write is idempotent, so a step may run again from its top."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar

from pydantic import ValidationError
from sqlalchemy import Table, func, select, update

from state.compatibility import REQUEST_FORMAT
from state.database import Database, insert_new, record_table, runs
from state.errors import UnknownRun, UnreadableRun
from state.faults import first_fault
from state.fencing import writing_of
from state.records import Answer, Candidate, GenerationRound, Judgement, Record, Review, Sample
from state.request import RunRequest

R = TypeVar("R", bound=Record)

TABLES: dict[type[Record], Table] = {
    Sample: record_table("samples"),
    Candidate: record_table("candidates"),
    Judgement: record_table("judgements"),
    Review: record_table("reviews"),
    Answer: record_table("answers"),
    GenerationRound: record_table("rounds"),
}
PARENTS = ("sample_id", "candidate_id", "item_id")
TAGS = ("split", "model")
CHUNK = 500
"""Keys in one ``IN (...)``: SQLite allows 32,766 variables in a statement, and small statements keep locks short."""


class RecordStore:
    """Rows of all runs in one database.

    Args:
        database: an open database whose tables exist.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    async def open_run(self, run_id: str, request: RunRequest) -> RunRequest:
        """Add a run with its request, and return the request; a run that exists keeps its first one."""
        row = {
            "run_id": run_id,
            "request": request.model_dump(mode="json"),
            "format": REQUEST_FORMAT,
            "created_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "budget": request.budget.dollars,
            "lease_until": 0.0,
        }
        async with self.database.writing() as connection:
            await connection.execute(insert_new(self.database.engine, runs), [row])
        return await self.request_of(run_id)

    async def request_of(self, run_id: str) -> RunRequest:
        """Return the request that a run started with.

        Raises:
            UnknownRun: there is no such run.
            UnreadableRun: another version wrote the request, and this one cannot read it.
        """
        if not run_id.isprintable():
            # No run's name; and one with a lone surrogate or a NUL is no text that a database takes.
            raise UnknownRun(_unknown(run_id, []))
        query = select(runs.c.request, runs.c.format).where(runs.c.run_id == run_id)
        async with self.database.reading() as connection:
            row = (await connection.execute(query)).first()
            names = [] if row else [r[0] for r in await connection.execute(select(runs.c.run_id))]
        if row is None:
            raise UnknownRun(_unknown(run_id, names))
        return _read_request(run_id, row.request, row.format)

    async def run_ids(self) -> list[tuple[str, str]]:
        """Return (run id, time of creation) of all runs, newest first."""
        query = select(runs.c.run_id, runs.c.created_at).order_by(runs.c.created_at.desc(), runs.c.run_id)
        async with self.database.reading() as connection:
            return [(row.run_id, row.created_at) for row in await connection.execute(query)]

    async def add(self, run_id: str, records: Sequence[Record]) -> None:
        """Insert records of one type; those that exist stay as they are. Errors as for ``writing_of``."""
        if not records:
            return
        statement = insert_new(self.database.engine, TABLES[type(records[0])])
        async with writing_of(self.database, run_id) as connection:
            await connection.execute(statement, [_row(run_id, record) for record in records])

    async def settle(self, run_id: str, records: Sequence[Record]) -> None:
        """Replace records of one type that were added before, such as a sample that the gate has judged.

        Errors as for ``writing_of``.
        """
        if not records:
            return
        table = TABLES[type(records[0])]
        async with writing_of(self.database, run_id) as connection:
            for record in records:
                row = _row(run_id, record)
                where = (table.c.run_id == run_id) & (table.c.id == row["id"])
                await connection.execute(update(table).where(where).values(**row))

    async def find(
        self,
        run_id: str,
        kind: type[R],
        *,
        ids: Iterable[str] | None = None,
        parents: Iterable[str] | None = None,
        tag: str | None = None,
        outcome: str | None = None,
    ) -> list[R]:
        """Return the records that match, ordered by id.

        Args:
            run_id: the run.
            kind: the record type.
            ids: only these ids.
            parents: only children of these samples or candidates.
            tag: only this split (samples) or model (answers).
            outcome: only this outcome.
        """
        table = TABLES[kind]
        query = select(table.c.body).where(table.c.run_id == run_id)
        if tag is not None:
            query = query.where(table.c.tag == tag)
        if outcome is not None:
            query = query.where(table.c.outcome == outcome)
        queries = [query]
        for column, wanted in ((table.c.id, ids), (table.c.parent, parents)):
            if wanted is not None:
                queries = [q.where(column.in_(chunk)) for q in queries for chunk in _chunks(sorted(set(wanted)))]
        async with self.database.reading() as connection:
            bodies = [row.body for q in queries for row in await connection.execute(q)]
        return sorted((kind.model_validate(body) for body in bodies), key=lambda record: record.id)  # type: ignore[attr-defined]  # every stored record has an id

    async def ids(self, run_id: str, kind: type[Record], *, tag: str | None = None, outcome: str = "") -> list[str]:
        """Return the ids of the records that match, ordered; cheaper than ``find`` where ids suffice."""
        table = TABLES[kind]
        query = select(table.c.id).where(table.c.run_id == run_id)
        if tag is not None:
            query = query.where(table.c.tag == tag)
        if outcome:
            query = query.where(table.c.outcome == outcome)
        async with self.database.reading() as connection:
            return [row.id for row in await connection.execute(query.order_by(table.c.id))]

    async def tally(self, run_id: str, kind: type[Record]) -> Counter[tuple[str, str]]:
        """Return how many records there are by (tag, outcome)."""
        table = TABLES[kind]
        query = (
            select(table.c.tag, table.c.outcome, func.count().label("n"))
            .where(table.c.run_id == run_id)
            .group_by(table.c.tag, table.c.outcome)
        )
        async with self.database.reading() as connection:
            return Counter({(row.tag, row.outcome): row.n for row in await connection.execute(query)})

    async def scan(
        self, run_id: str, kind: type[Record], *fields: str, tag: str | None = None
    ) -> AsyncIterator[tuple[Any, ...]]:
        """Yield these fields of all records, as JSON values, in no order; a million rows are never held at once.

        Args:
            run_id: the run.
            kind: the record type.
            *fields: names of the record's fields, two or more.
            tag: only this split (samples) or model (answers).
        """
        table = TABLES[kind]
        query = select(*(table.c.body[name] for name in fields)).where(table.c.run_id == run_id)
        if tag is not None:
            query = query.where(table.c.tag == tag)
        async with self.database.reading() as connection, connection.stream(query) as rows:
            async for row in rows:
                yield tuple(row)

    async def childless(self, run_id: str, kind: type[Record], child: type[Record]) -> Counter[str]:
        """Return how many records there are, by outcome, that no record of the type ``child`` belongs to."""
        table, below = TABLES[kind], TABLES[child]
        belongs = select(below.c.id).where((below.c.run_id == run_id) & (below.c.parent == table.c.id)).exists()
        query = select(table.c.outcome, func.count().label("n")).where((table.c.run_id == run_id) & ~belongs)
        async with self.database.reading() as connection:
            return Counter({row.outcome: row.n for row in await connection.execute(query.group_by(table.c.outcome))})

    async def children(self, run_id: str, kind: type[Record]) -> Counter[str]:
        """Return how many records of ``kind`` each parent has."""
        table = TABLES[kind]
        query = select(table.c.parent, func.count().label("n")).where(table.c.run_id == run_id)
        async with self.database.reading() as connection:
            return Counter({row.parent: row.n for row in await connection.execute(query.group_by(table.c.parent))})


def _row(run_id: str, record: Record) -> dict[str, Any]:
    body = record.model_dump(mode="json")
    return {
        "run_id": run_id,
        "id": body["id"],
        "parent": next((body[name] for name in PARENTS if name in body), ""),
        "tag": next((body[name] for name in TAGS if name in body), ""),
        "outcome": body.get("outcome", ""),
        "body": body,
    }


def _read_request(run_id: str, request: Any, format_: int) -> RunRequest:
    advice = "go on with it in the version of Corral that began it, or start it anew"
    if format_ > REQUEST_FORMAT:
        formats = f"its request has format {format_}, and this version reads up to {REQUEST_FORMAT}"
        raise UnreadableRun(f"run {run_id} was begun by a newer version ({formats}): {advice}")
    try:
        return RunRequest.model_validate(request)
    except ValidationError as error:
        raise UnreadableRun(f"the request of run {run_id} cannot be read ({first_fault(error)}): {advice}") from error


def _chunks(values: list[str]) -> list[list[str]]:
    return [values[start : start + CHUNK] for start in range(0, len(values), CHUNK)]


def _unknown(run_id: str, names: list[str]) -> str:
    import difflib

    near = difflib.get_close_matches(run_id, names, n=1)
    hint = f"did you mean {near[0]}?" if near else "'corral runs' lists them."
    return f"there is no run {run_id!r}; {hint}"
