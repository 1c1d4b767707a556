"""The history of ratings in a home: what judges said in runs, what people said of served answers, what was tracked."""

from __future__ import annotations

from collections import Counter, defaultdict
from datetime import UTC, date, datetime
from pathlib import PurePath

from sqlalchemy import func, select

from graph.services import Services
from state.records import Judgement, Outcome
from state.rows import TABLES
from state.tables import runs
from tools.improvement.quality import PEOPLE, DayQuality, merged


async def quality_history(services: Services) -> list[DayQuality]:
    """Return the ratings by day, judge and version, the oldest first; the database counts.

    A judge's ratings in a run are those of the day on which the run was created, on the model that the run tunes. A
    preview's do not count: its few rows are looked at to see whether the settings are right.

    Raises:
        StorageError: the database cannot be read.
    """
    found = [*await _of_runs(services), *await _of_people(services)]
    tracked = [DayQuality.model_validate(kept) for kept in await services.feedback.tracked()]
    return merged([*found, *tracked])


async def _of_runs(services: Services) -> list[DayQuality]:
    table = TABLES[Judgement]
    stars, policy = table.c.body["stars"].as_integer(), runs.c.request["models", "policy", "model"].as_string()
    query = (
        select(runs.c.created_at, policy, table.c.tag, stars, func.count())
        .join(runs, runs.c.run_id == table.c.run_id)
        .where(table.c.outcome != Outcome.FAILED, stars.is_not(None))
        .where(func.coalesce(runs.c.request["preview"].as_boolean(), False).is_(False))
        .group_by(runs.c.run_id, runs.c.created_at, policy, table.c.tag, stars)
    )
    async with services.database.reading() as connection:
        rows = [tuple(row) for row in await connection.execute(query)]
    return [
        DayQuality(day=_day(created), judge=judge, version=PurePath(model).name, ratings={given: count})
        for created, model, judge, given, count in rows
    ]


async def _of_people(services: Services) -> list[DayQuality]:
    counts: defaultdict[tuple[date, str], Counter[int]] = defaultdict(Counter)
    for one in await services.feedback.feedback():
        if one.stars is not None:
            counts[one.given_at.astimezone(UTC).date(), one.version][one.stars] += 1
    return [
        DayQuality(day=day, judge=PEOPLE, version=version, ratings=dict(found))
        for (day, version), found in counts.items()
    ]


def _day(created: str) -> date:
    return datetime.fromisoformat(created).astimezone(UTC).date()
