"""The figures of a whole home, for a monitor: runs, rows, calls, dollars, judges, what waits for people, feedback."""

from __future__ import annotations

import asyncio
import json
from collections import Counter

from sqlalchemy import func, select

from graph.services import Services
from graph.standing import statuses_of
from state.records import Candidate, Outcome, Record, Sample
from state.rows import TABLES
from state.tables import calls, runs
from tools.judging.trust import FOLDER
from tools.statistics.bootstrap import Estimate

ENDED = ("done", "unreadable")
ROWS: dict[type[Record], str] = {Sample: "sample", Candidate: "candidate"}


class CallFigures(Record):
    """The calls of one status."""

    status: str
    calls: int
    prompt_tokens: int
    completion_tokens: int
    dollars: float


class Figures(Record):
    """What a home holds now."""

    runs: dict[str, int]
    """By standing."""
    rows: dict[tuple[str, str], int]
    """By kind, ``sample`` or ``candidate``, and outcome."""
    calls: tuple[CallFigures, ...]
    left: dict[str, float]
    """Dollars that a run may still spend, by run: those with a cap that are not done."""
    kappa: dict[str, Estimate]
    """Each judge's agreement with people beyond chance, by the judge's identity."""
    feedback: dict[tuple[str, str], int]
    """By version, and stars or ``none``."""

    @property
    def waiting(self) -> dict[str, int]:
        """Rows that wait for a person, by kind."""
        return {kind: self.rows.get((kind, Outcome.WAITING.value), 0) for kind in ROWS.values()}


async def figures_of(services: Services) -> Figures:
    """Return the figures; the database counts, and no row is read.

    Raises:
        StorageError: the database cannot be read.
    """
    statuses = await statuses_of(services)
    unfinished = {status.run_id for status in statuses if status.standing not in ENDED}
    rows: dict[tuple[str, str], int] = {}
    async with services.database.reading() as connection:
        for kind, name in ROWS.items():
            outcome = TABLES[kind].c.outcome
            for row in await connection.execute(select(outcome, func.count()).group_by(outcome)):
                rows[name, row[0]] = row[1]
        sums = (calls.c.prompt_tokens, calls.c.completion_tokens, calls.c.cost)
        query = select(calls.c.status, func.count(), *(func.coalesce(func.sum(one), 0) for one in sums))
        asked = [tuple(row) for row in await connection.execute(query.group_by(calls.c.status))]
        capped = select(runs.c.run_id, runs.c.budget, runs.c.spent).where(runs.c.budget.is_not(None))
        left = {row.run_id: max(0.0, row.budget - row.spent) for row in await connection.execute(capped)}
    given = await services.feedback.stars_by_version()
    return Figures(
        runs=dict(Counter(status.standing for status in statuses)),
        rows=rows,
        calls=tuple(
            CallFigures(status=s, calls=n, prompt_tokens=p, completion_tokens=c, dollars=d) for s, n, p, c, d in asked
        ),
        left={run: dollars for run, dollars in left.items() if run in unfinished},
        kappa=await asyncio.to_thread(_kappas, services),
        feedback={(version, str(stars or "none")): count for version, stars, count in given},
    )


def _kappas(services: Services) -> dict[str, Estimate]:
    found = {}
    folder = services.settings.home / FOLDER
    # A judge's files are named by their time, so that the newest is read last; earlier versions kept one file a judge.
    for path in (*sorted(folder.glob("*.json")), *sorted(folder.glob("*/*.json"))):
        try:
            kept = json.loads(path.read_text(encoding="utf-8"))
            if kept.get("split") == "tune":
                continue
            found[str(kept["judge"])] = Estimate.model_validate(kept["kappa"])
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            continue  # 'corral doctor' and the runs that need it say so
    return found
