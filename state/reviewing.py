"""What waits for people, and what they said of it: the queue's queries, and the one transaction that decides.

A person's words belong to no process that works on a run, so they are written whoever holds its lease; the rows that
follow from them are the run's, and its review step writes those.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import islice
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, case, delete, exists, func, or_, select, tuple_, update
from sqlalchemy.ext.asyncio.engine import AsyncConnection

from state.database import Database
from state.fencing import writing_of
from state.records import Draft, Rating, Record, Review, ReviewTask, TaskStanding, Why
from state.rows import TABLES, row_of
from state.tables import insert_new, insert_or_replace

Order = Literal["oldest", "disagreement"]
Place = tuple[str | float, str, int]
"""Of a task in a queue: when it was opened, or how far its judges are apart; its run; and its position there."""
Decide = Callable[[ReviewTask, Sequence[Rating]], Review | None]

CHUNK = 500
TASKS, DRAFTS, RATINGS, REVIEWS = (TABLES[kind] for kind in (ReviewTask, Draft, Rating, Review))


class ReviewStore:
    """What people are asked in all runs of a database, and what they answered.

    Args:
        database: an open database whose tables exist.
    """

    def __init__(self, database: Database) -> None:
        self.database = database

    async def open_tasks(self, run_id: str, tasks: Iterable[ReviewTask]) -> None:
        """Write what waits for people in a run, all at once. Errors as for ``writing_of``."""
        statement, left = insert_new(self.database.engine, TASKS), iter(tasks)
        async with writing_of(self.database, run_id) as connection:
            while rows := [row_of(run_id, task) for task in islice(left, CHUNK)]:
                await connection.execute(statement, rows)

    async def tasks(self, run_id: str, *, start: int = 0, size: int | None = None) -> list[ReviewTask]:
        """Return what goes to people in a run from a position on, in its order; gold items are not among it."""
        own = (TASKS.c.run_id == run_id) & (TASKS.c.standing != "gold")
        query = select(TASKS.c.body).where(own & (TASKS.c.position >= start))
        return await self._read(ReviewTask, query.order_by(TASKS.c.position).limit(size))

    async def standing(self, run_id: str, standing: TaskStanding, size: int, *, after: int = -1) -> list[ReviewTask]:
        """Return the first tasks of a run that stand so, behind a position."""
        own = (TASKS.c.run_id == run_id) & (TASKS.c.standing == standing) & (TASKS.c.position > after)
        return await self._read(ReviewTask, select(TASKS.c.body).where(own).order_by(TASKS.c.position).limit(size))

    async def audited(self, run_id: str) -> list[ReviewTask]:
        """Return the decided tasks of a run that are a sample of what machines decided alone."""
        own = (TASKS.c.run_id == run_id) & (TASKS.c.standing != "open") & _waits_for("audit")
        return await self._read(ReviewTask, select(TASKS.c.body).where(own))

    async def settle(self, run_id: str, tasks: Sequence[ReviewTask]) -> None:
        """Note that what follows from the decisions on these tasks is written; errors as for ``writing_of``."""
        async with writing_of(self.database, run_id) as connection:
            for task in tasks:
                await _replace(connection, run_id, task.model_copy(update={"standing": "settled"}))

    async def find(self, run_id: str, kind: type[Record], item_ids: Sequence[str]) -> list[Any]:
        """Return the tasks of these items, or the drafts, ratings or reviews of them, in no order."""
        table = TABLES[kind]
        column = table.c.id if kind is ReviewTask else table.c.parent
        found: list[Any] = []
        for start in range(0, len(item_ids), CHUNK):
            wanted = column.in_(item_ids[start : start + CHUNK])
            found += await self._read(kind, select(table.c.body).where((table.c.run_id == run_id) & wanted))
        return found

    async def count(self, run_id: str, standing: TaskStanding | None = None) -> int:
        """Return how many tasks a run has, gold items aside, or how many of them stand so."""
        query = select(func.count()).select_from(TASKS).where(TASKS.c.run_id == run_id)
        return await self._count(query.where(TASKS.c.standing == standing if standing else TASKS.c.standing != "gold"))

    async def gold(self, run_id: str) -> list[ReviewTask]:
        """Return the gold items of a run, in the order of their positions."""
        own = (TASKS.c.run_id == run_id) & (TASKS.c.standing == "gold")
        return await self._read(ReviewTask, select(TASKS.c.body).where(own).order_by(TASKS.c.position))

    async def said(self, run_id: str, rater: str) -> set[str]:
        """Return the items of a run that a person has rated, or drafted a rating of."""
        queries = [select(t.c.parent).where((t.c.tag == rater) & (t.c.run_id == run_id)) for t in (RATINGS, DRAFTS)]
        async with self.database.reading() as connection:
            return {row.parent for query in queries for row in await connection.execute(query)}

    async def queue(
        self, rater: str, order: Order, after: Place | None, size: int, *, run: str | None, why: Why | None
    ) -> list[tuple[str, ReviewTask]]:
        """Return the next tasks that wait for a person and that this one has said nothing of, with their runs.

        Args:
            rater: the person.
            order: the oldest first, or those whose judges are farthest apart.
            after: the last task of the page before.
            size: tasks at most.
            run: only this run's.
            why: only what waits for this reason.
        """
        query = select(TASKS.c.run_id, TASKS.c.body).where(_waiting(run, why), ~_drafted(rater), ~_rated(rater))
        keys = (TASKS.c.run_id, TASKS.c.position)
        match order:
            case "oldest" if run is not None:  # its tasks were all opened at the same time
                query = query.order_by(TASKS.c.position)
                if after:
                    query = query.where(TASKS.c.position > after[2])
            case "oldest":
                query = query.order_by(TASKS.c.opened_at, *keys)
                if after:
                    query = query.where(tuple_(TASKS.c.opened_at, *keys) > tuple_(*after))
            case "disagreement":
                query = query.order_by(TASKS.c.disagreement.desc(), *keys)
                if after:
                    same = and_(TASKS.c.disagreement == after[0], tuple_(*keys) > tuple_(*after[1:]))
                    # The first bound lets the index be used.
                    query = query.where(TASKS.c.disagreement <= after[0], or_(TASKS.c.disagreement < after[0], same))
        async with self.database.reading() as connection:
            rows = await connection.execute(query.limit(size))
            return [(row.run_id, ReviewTask.model_validate(row.body)) for row in rows]

    async def count_waiting(self, rater: str, *, run: str | None, why: Why | None) -> tuple[int, int]:
        """Return how many tasks wait for a person, and how many of these have a draft of this one's."""
        waiting = _waiting(run, why)
        drafted = select(func.count()).select_from(TASKS).join(DRAFTS, _same_item(DRAFTS)).where(waiting)
        drafted = drafted.where(DRAFTS.c.tag == rater)
        # Who has rated is looked up only where somebody has: with one rater an item, nowhere.
        rated = select(func.count()).select_from(TASKS).where(waiting, TASKS.c.rated > 0, _rated(rater))
        every = await self._count(select(func.count()).select_from(TASKS).where(waiting))
        return every - await self._count(rated), await self._count(drafted)

    async def drafts(
        self, rater: str, *, run: str | None = None, after: str = "", size: int
    ) -> list[tuple[str, Draft]]:
        """Return what a person has decided and not sent, with the runs, ordered by run and item.

        Args:
            rater: the person.
            run: only this run's.
            after: only behind this run and item, joined by a space.
            size: drafts at most.
        """
        keys = (DRAFTS.c.run_id, DRAFTS.c.parent)
        query = select(DRAFTS.c.run_id, DRAFTS.c.body).where(DRAFTS.c.tag == rater).order_by(*keys).limit(size)
        if run is not None:
            query = query.where(DRAFTS.c.run_id == run)
        if after:
            query = query.where(tuple_(*keys) > tuple_(*after.rsplit(" ", 1)))
        async with self.database.reading() as connection:
            return [(row.run_id, Draft.model_validate(row.body)) for row in await connection.execute(query)]

    async def save(self, run_id: str, draft: Draft) -> None:
        """Write a draft in the place of the one before."""
        statement = insert_or_replace(self.database.engine, DRAFTS, DRAFTS.c.tag == draft.rater)
        async with self.database.writing() as connection:
            await connection.execute(statement, [row_of(run_id, draft)])

    async def withdraw(self, run_id: str, item_id: str, rater: str) -> None:
        """Forget a draft, if there is one."""
        async with self.database.writing() as connection:
            await connection.execute(delete(DRAFTS).where(_draft_of(run_id, item_id, rater)))

    async def rate(self, run_id: str, ratings: Sequence[Rating], decide: Decide) -> list[tuple[ReviewTask, ReviewTask]]:
        """Write what people sent, drop the drafts that it was, and write the reviews that now follow, all at once.

        A rating or a review that is there stays, so that of two people the first counts.

        Args:
            run_id: the run.
            ratings: of its items.
            decide: returns the review of an item with these ratings, if they decide on it.

        Returns:
            The items' tasks, as they were when these ratings came, and as they are now.
        """
        async with self.database.writing() as connection:
            found: list[tuple[ReviewTask, ReviewTask]] = []
            for start in range(0, len(ratings), CHUNK):
                found += await self._rate(connection, run_id, ratings[start : start + CHUNK], decide)
            return found

    async def _rate(
        self, connection: AsyncConnection, run_id: str, ratings: Sequence[Rating], decide: Decide
    ) -> list[tuple[ReviewTask, ReviewTask]]:
        ids = sorted({rating.item_id for rating in ratings})
        items = (TASKS.c.run_id == run_id) & TASKS.c.id.in_(ids)
        # Locks the items until the end: of two people who send at once, the second sees what the first has sent.
        await connection.execute(update(TASKS).where(items).values(rated=TASKS.c.rated))
        await connection.execute(
            insert_new(self.database.engine, RATINGS), [row_of(run_id, rating) for rating in ratings]
        )
        sent = {rating.id: rating.decided_at for rating in ratings}
        drafts = (DRAFTS.c.run_id == run_id) & DRAFTS.c.id.in_(sent)
        kept = [Draft.model_validate(row.body) for row in await connection.execute(select(DRAFTS.c.body).where(drafts))]
        # A draft that was changed after it was read for sending stays: that change was called kept.
        gone = [draft.id for draft in kept if draft.decided_at <= sent[draft.id]]
        await connection.execute(delete(DRAFTS).where((DRAFTS.c.run_id == run_id) & DRAFTS.c.id.in_(gone)))
        of_items = (RATINGS.c.run_id == run_id) & RATINGS.c.parent.in_(ids)
        by_item: dict[str, list[Rating]] = {}
        for row in await connection.execute(select(RATINGS.c.body).where(of_items)):
            rating = Rating.model_validate(row.body)
            by_item.setdefault(rating.item_id, []).append(rating)
        tasks, reviews = [], []
        for row in await connection.execute(select(TASKS.c.body).where(items).order_by(TASKS.c.position)):
            task = ReviewTask.model_validate(row.body)
            review = decide(task, by_item.get(task.id, [])) if task.standing == "open" else None
            changes = {"rated": len(by_item.get(task.id, [])), "standing": "decided" if review else task.standing}
            tasks.append((task, task.model_copy(update=changes)))
            reviews += [review] if review else []
        if reviews:
            await connection.execute(
                insert_new(self.database.engine, REVIEWS), [row_of(run_id, review) for review in reviews]
            )
        for _, task in tasks:
            await _replace(connection, run_id, task)
        return tasks

    async def _read(self, kind: type[Any], query: Select[Any]) -> list[Any]:
        async with self.database.reading() as connection:
            return [kind.model_validate(row.body) for row in await connection.execute(query)]

    async def _count(self, query: Select[Any]) -> int:
        async with self.database.reading() as connection:
            return int((await connection.execute(query)).scalar_one())


async def _replace(connection: AsyncConnection, run_id: str, task: ReviewTask) -> None:
    where = (TASKS.c.run_id == run_id) & (TASKS.c.id == task.id)
    await connection.execute(update(TASKS).where(where).values(**row_of(run_id, task)))


def _waiting(run: str | None, why: Why | None) -> ColumnElement[bool]:
    found: ColumnElement[bool] = TASKS.c.standing == "open"
    if run is not None:
        found = and_(found, TASKS.c.run_id == run)
    return and_(found, _waits_for(why)) if why is not None else found


def _waits_for(why: Why) -> ColumnElement[bool]:
    return TASKS.c.why.contains(f",{why},", autoescape=True)


def _same_item(table: Any) -> ColumnElement[bool]:
    return and_(table.c.run_id == TASKS.c.run_id, table.c.parent == TASKS.c.id)


def _drafted(rater: str) -> ColumnElement[bool]:
    return exists().where(_same_item(DRAFTS), DRAFTS.c.tag == rater)


def _rated(rater: str) -> ColumnElement[bool]:
    """Whether a person has rated the item; nothing is looked up of an item that nobody has."""
    found = exists().where(_same_item(RATINGS), RATINGS.c.tag == rater)
    return case((TASKS.c.rated > 0, found), else_=False)


def _draft_of(run_id: str, item_id: str, rater: str) -> ColumnElement[bool]:
    return and_(DRAFTS.c.run_id == run_id, DRAFTS.c.parent == item_id, DRAFTS.c.tag == rater)
