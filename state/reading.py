"""Reading the record store: pages, streams and sums, so that no reader holds a run's rows at once."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator, Iterable
from typing import Any, TypedDict, TypeVar

from sqlalchemy import Select, distinct, func, literal, select, union, union_all
from typing_extensions import Unpack

from state.database import Database
from state.records import Judgement, Outcome, Record, Review, Sample
from state.rows import TABLES

R = TypeVar("R", bound=Record)

CHUNK = 500
"""Keys in one ``IN (...)``: SQLite allows 32,766 variables in a statement, and small statements keep locks short."""
PAGE = 200
"""Records of a page. Who reads the children of each, too, holds some thousand records: 20 MB."""


class Match(TypedDict, total=False):
    """Which records of a type are meant; all that is given must hold."""

    tag: str
    """The split (samples), model (answers) or judge (judgements)."""
    outcome: str
    origin: str
    """Of samples."""
    round: int
    """Of samples: the generation round."""
    fewer_than: tuple[int, type[Record]]
    """Records with fewer children than this number, of this type."""


class RecordReader:
    """Rows of all runs in one database, for those who read.

    Args:
        database: an open database whose tables exist.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    async def find(
        self,
        run_id: str,
        kind: type[R],
        *,
        ids: Iterable[str] | None = None,
        parents: Iterable[str] | None = None,
        **match: Unpack[Match],
    ) -> list[R]:
        """Return the records that match, ordered by id; all are held at once, so a run's rows are read by ``pages``.

        Args:
            run_id: the run.
            kind: the record type.
            ids: only these ids.
            parents: only children of these samples or candidates.
            **match: only records of which this holds.
        """
        table = TABLES[kind]
        queries = [_matching(select(table.c.body), run_id, kind, match)]
        for column, wanted in ((table.c.id, ids), (table.c.parent, parents)):
            if wanted is not None:
                queries = [q.where(column.in_(chunk)) for q in queries for chunk in _chunks(sorted(set(wanted)))]
        async with self.database.reading() as connection:
            bodies = [row.body for q in queries for row in await connection.execute(q)]
        return sorted((kind.model_validate(body) for body in bodies), key=lambda record: record.id)  # type: ignore[attr-defined]  # every stored record has an id

    async def pages(self, run_id: str, kind: type[R], **match: Unpack[Match]) -> AsyncIterator[list[R]]:
        """Yield the records that match in pages of ``PAGE``, ordered by id.

        Rows may be written between two pages: those after the last id that was yielded are read as they are then.

        Args:
            run_id: the run.
            kind: the record type.
            **match: only records of which this holds.
        """
        table = TABLES[kind]
        query = _matching(select(table.c.id, table.c.body), run_id, kind, match).order_by(table.c.id).limit(PAGE)
        after = ""
        while True:
            async with self.database.reading() as connection:
                rows = list(await connection.execute(query.where(table.c.id > after)))
            if rows:
                yield [kind.model_validate(row.body) for row in rows]
            if len(rows) < PAGE:
                return
            after = rows[-1].id

    async def ids(
        self, run_id: str, kind: type[Record], *, after: str = "", limit: int | None = None, **match: Unpack[Match]
    ) -> list[str]:
        """Return the ids of the records that match, ordered.

        Args:
            run_id: the run.
            kind: the record type.
            after: only ids greater than this one.
            limit: ids at most, the smallest ones.
            **match: only records of which this holds.
        """
        table = TABLES[kind]
        query = _matching(select(table.c.id), run_id, kind, match).where(table.c.id > after)
        async with self.database.reading() as connection:
            return [row.id for row in await connection.execute(query.order_by(table.c.id).limit(limit))]

    async def count(self, run_id: str, kind: type[Record], **match: Unpack[Match]) -> int:
        """Return how many records of a type match."""
        return await self._scalar(_matching(select(func.count()).select_from(TABLES[kind]), run_id, kind, match))

    async def count_parents(self, run_id: str, kind: type[Record]) -> int:
        """Return how many different parents the records of a type have."""
        table = TABLES[kind]
        parents = select(func.count(distinct(table.c.parent)))
        return await self._scalar(parents.where((table.c.run_id == run_id) & (table.c.parent != "")))

    async def tally(self, run_id: str, kind: type[Record]) -> Counter[tuple[str, str]]:
        """Return how many records there are by (tag, outcome)."""
        table = TABLES[kind]
        query = (
            select(table.c.tag, table.c.outcome, func.count().label("n"))
            .where(table.c.run_id == run_id)
            .group_by(table.c.outcome, table.c.tag)
        )
        async with self.database.reading() as connection:
            return Counter({(row.tag, row.outcome): row.n for row in await connection.execute(query)})

    async def reasons(self, run_id: str, kind: type[Record]) -> AsyncIterator[tuple[str, str, str, str, int]]:
        """Yield (tag, origin, outcome, kind of the first reason, records); the records add up to all of the type.

        Args:
            run_id: the run.
            kind: samples; or candidates, whose origin is empty.
        """
        table = TABLES[kind]
        origin = [table.c.origin] if "origin" in table.c else []
        columns = [table.c.tag, *origin, table.c.outcome, table.c.reason]
        query = select(*columns, func.count()).where(table.c.run_id == run_id).group_by(*columns)
        async for tag, *origin_, outcome, reason, count in self.database.stream(query):
            yield tag, "".join(origin_), outcome, reason, count

    async def scan(
        self, run_id: str, kind: type[Record], *fields: str, **match: Unpack[Match]
    ) -> AsyncIterator[tuple[Any, ...]]:
        """Yield these fields of the records that match, as JSON values, in no order; they are never held at once.

        Args:
            run_id: the run.
            kind: the record type.
            *fields: names of the record's fields, two or more.
            **match: only records of which this holds.
        """
        table = TABLES[kind]
        query = _matching(select(*(table.c.body[name] for name in fields)), run_id, kind, match)
        async for row in self.database.stream(query):
            yield row

    async def childless(self, run_id: str, kind: type[Record], child: type[Record]) -> Counter[str]:
        """Return how many records there are, by outcome, that no record of the type ``child`` belongs to."""
        table, below = TABLES[kind], TABLES[child]
        belongs = select(literal(1)).where((below.c.run_id == run_id) & (below.c.parent == table.c.id)).exists()
        query = select(table.c.outcome, func.count().label("n")).where((table.c.run_id == run_id) & ~belongs)
        async with self.database.reading() as connection:
            return Counter({row.outcome: row.n for row in await connection.execute(query.group_by(table.c.outcome))})

    async def borderline(self, run_id: str, start: int, size: int) -> list[tuple[bool, str]]:
        """Return a page of what ever waited for a person, decided or not: instructions, then completions, by their ids.

        Args:
            run_id: the run.
            start: items before the page.
            size: items of the page at most.

        Returns:
            Whether the item is a completion, and the id of its sample or candidate.
        """
        items = _borderline(run_id).subquery()
        query = select(items).order_by(items.c.is_completion, items.c.id).offset(start).limit(size)
        async with self.database.reading() as connection:
            return [(bool(row.is_completion), row.id) for row in await connection.execute(query)]

    async def count_borderline(self, run_id: str) -> int:
        """Return how many items ever waited for a person."""
        return await self._scalar(select(func.count()).select_from(_borderline(run_id).subquery()))

    async def _scalar(self, query: Select[Any]) -> int:
        async with self.database.reading() as connection:
            return int((await connection.execute(query)).scalar_one())


def _matching(query: Select[Any], run_id: str, kind: type[Record], match: Match) -> Select[Any]:
    table = TABLES[kind]
    query = query.where(table.c.run_id == run_id)
    for name in ("tag", "outcome", "origin", "round"):
        if name in match:
            query = query.where(table.c[name] == match[name])
    if "fewer_than" in match:
        number, child = match["fewer_than"]
        below = TABLES[child]
        belongs = (below.c.run_id == run_id) & (below.c.parent == table.c.id)
        query = query.where(select(func.count()).select_from(below).where(belongs).scalar_subquery() < number)
    return query


def _borderline(run_id: str) -> Any:
    """Return the query of all that ever waited.

    A decided instruction is known by its review; a completion by its judgement, which goes on to say that it waits.
    """
    samples, reviews, judgements = TABLES[Sample], TABLES[Review], TABLES[Judgement]
    waiting = select(samples.c.id).where((samples.c.run_id == run_id) & (samples.c.outcome == Outcome.WAITING))
    reviewed = (
        select(samples.c.id)
        .join(reviews, (reviews.c.run_id == samples.c.run_id) & (reviews.c.parent == samples.c.id))
        .where(reviews.c.run_id == run_id)
    )
    asked = union(waiting, reviewed).subquery()
    unsure = (judgements.c.run_id == run_id) & (judgements.c.outcome == Outcome.WAITING)
    return union_all(
        select(literal(0).label("is_completion"), asked.c.id),
        select(literal(1), judgements.c.parent).where(unsure).distinct(),
    )


def _chunks(values: list[str]) -> list[list[str]]:
    return [values[start : start + CHUNK] for start in range(0, len(values), CHUNK)]
