"""What the agent performance validator looks at, from a run's own records."""

from __future__ import annotations

import asyncio

from graph.accounts import audited
from graph.crews.result import CrewResult, read_result
from graph.services import Services
from graph.step_times import read_step_times
from state.records import Outcome, Sample
from tools.crews.performance import Performance, PerformanceFacts, validate_performance

GENERATION = ("generate", "gate")
"""Steps and purposes that make the rows."""


async def performance_of(services: Services, run_id: str) -> Performance:
    """Return the validator's report on a run, whether a crew made it or not.

    Raises:
        UnknownRun: there is no such run.
    """
    request = await services.store.request_of(run_id)
    folder = services.runs_folder / run_id
    crew = await asyncio.to_thread(read_result, folder)
    calls = await services.calls.tally(run_id)
    checked = await audited(services, run_id)
    times = await asyncio.to_thread(lambda: list(read_step_times(folder)))
    paid = sum(row.cost for row in calls if row.purpose.partition(".")[0] in GENERATION)
    accepted = {"tag": "train", "origin": "generated", "outcome": Outcome.ACCEPTED}
    failed, recovered = _recovered(crew)
    return validate_performance(
        PerformanceFacts(
            uses=len(crew.uses) if crew else 0,
            uses_failed=failed,
            uses_recovered=recovered,
            calls=sum(row.answered + row.failed for row in calls),
            calls_failed=sum(row.failed for row in calls),
            filter_checked=sum(one.checked for one in checked),
            filter_wrong=sum(one.wrong for one in checked),
            generates=request.generation.target > 0,
            rows=await services.store.count(run_id, Sample, **accepted),  # type: ignore[arg-type]  # a plain dict
            seconds=sum(ended - began for step, began, ended in times if step in GENERATION),
            dollars=paid + (crew.spent if crew else 0.0),
        )
    )


def _recovered(crew: CrewResult | None) -> tuple[int, int]:
    """Return uses of tools that failed, and those after which the crew used a tool well."""
    if crew is None:
        return 0, 0
    failed = [place for place, use in enumerate(crew.uses) if use.outcome != "done"]
    later = [place for place in failed if any(use.outcome == "done" for use in crew.uses[place + 1 :])]
    return len(failed), len(later)
