"""What people's decisions teach about a judge: read from the store, where every review is a label already."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from graph.services import Services
from state.errors import UnreadableRun
from state.records import Judgement, Outcome, Record, Review, ReviewTask
from state.request import RunRequest
from state.store import RecordStore
from tools.files import write_file

if TYPE_CHECKING:  # numpy and the judges, which a run with fixed thresholds does not need for this
    from tools.judging.decisions import AgainstPeople, Decided

BAND = "band.json"
"""In a run's folder: the scores between which people decide, where the run measures them."""


class MeasuredBand(Record):
    """The scores between which a person decides in one run, as its earlier decisions showed them when it began."""

    review_from: float
    accept: float
    note: str
    """What it keeps, or why the fixed thresholds stay."""


async def decisions_on(store: RecordStore, judge: str, runs: Iterable[str]) -> list[Decided]:
    """Return the completions of one judge that people decided on in these runs.

    Args:
        store: the record store.
        judge: the judge's identity.
        runs: names of runs.
    """
    from tools.judging.decisions import decided_by_people

    found: list[Decided] = []
    for run_id in runs:
        try:
            share = (await store.request_of(run_id)).review.audit_share
        except UnreadableRun:
            continue  # of another version, whose decisions it keeps to itself
        async for reviews in store.pages(run_id, Review):
            ids = [one.item_id for one in reviews]
            tasks = await store.find(run_id, ReviewTask, ids=ids)
            audited = {task.id: 1 / share for task in tasks if task.why == ("audit",) and share}
            judgements = await store.find(run_id, Judgement, parents=ids, tag=judge)
            found += decided_by_people(reviews, judgements, audited)
    return found


async def pairs_on(store: RecordStore, judge: str, runs: Iterable[str]) -> list[float]:
    """Return for each pair that people decided on in these runs whether the judge scores the preferred one higher."""
    from tools.judging.decisions import preferred_by_people

    found: list[float] = []
    for run_id in runs:
        async for reviews in store.pages(run_id, Review):
            tasks = await store.find(run_id, ReviewTask, ids=[one.item_id for one in reviews if one.kind == "pair"])
            answers = [id_ for task in tasks for id_ in task.candidates]
            judgements = await store.find(run_id, Judgement, parents=answers, tag=judge)
            found += preferred_by_people(tasks, reviews, judgements)
    return found


async def overalls_of(store: RecordStore, judge: str, runs: Iterable[str]) -> Counter[float]:
    """Return how many texts of one judge have each overall score in these runs, decided by people or not."""
    found: Counter[float] = Counter()
    for run_id in runs:
        async for overall, outcome in store.scan(run_id, Judgement, "overall", "outcome", tag=judge):
            if outcome != Outcome.FAILED and overall is not None:
                found[overall] += 1
    return found


async def judge_of(services: Services, run_id: str) -> str:
    """Return the identity of the judge of a run.

    Raises:
        UnknownRun: there is no such run.
    """
    from tools.judging.judge import identity_of

    request = await services.store.request_of(run_id)
    return await asyncio.to_thread(identity_of, request.models.judge, request.judge, services.cache)


async def against_people_in(services: Services, run_id: str) -> AgainstPeople | None:
    """Return how the judge of a run compares with people there; ``None`` where too few decided.

    Raises:
        UnknownRun: there is no such run.
    """
    from tools.judging.decisions import against_people

    judge, settings = await judge_of(services, run_id), (await services.store.request_of(run_id)).judge
    decided = await decisions_on(services.store, judge, [run_id])
    overalls = await overalls_of(services.store, judge, [run_id])
    pairs = await pairs_on(services.store, judge, [run_id])
    return await asyncio.to_thread(against_people, decided, overalls, settings, pairs)


async def more_decisions(store: RecordStore, run_id: str) -> tuple[int, str]:
    """Return how many more decisions of people on a run's completions its next figure needs, and which that is.

    Args:
        store: the record store.
        run_id: the run.

    Returns:
        0 and nothing where all figures are there, as far as their number goes.
    """
    from tools.judging.decisions import LEAST_DECISIONS, decided_by_people
    from tools.statistics.risk_control import LEAST_LABELS

    count = 0
    async for reviews in store.pages(run_id, Review):
        judgements = await store.find(run_id, Judgement, parents=[one.item_id for one in reviews])
        count += len(decided_by_people(reviews, judgements))
        if count >= LEAST_LABELS:
            return 0, ""
    if count < LEAST_DECISIONS:
        return LEAST_DECISIONS - count, "the judge can be compared with people"
    return LEAST_LABELS - count, "the judge's scores can be recalibrated, and the band between its thresholds measured"


async def with_band(services: Services, run_id: str, request: RunRequest) -> RunRequest:
    """Return the request with the band that the run measures when it begins, where it asks for one.

    Raises:
        StorageError: the run's folder cannot be written.
    """
    place = services.runs_folder / run_id / BAND
    if request.judge.band == "measured" and not await asyncio.to_thread(place.exists):
        band = await _measured(services, request)
        await asyncio.to_thread(write_file, place, (band.model_dump_json(indent=1) + "\n").encode())
    return await with_kept_band(services, run_id, request)


async def with_kept_band(services: Services, run_id: str, request: RunRequest) -> RunRequest:
    """Return the request with the band that the run has measured, for those who only look."""
    band = None
    if request.judge.band == "measured":
        band = await asyncio.to_thread(read_band, services.runs_folder / run_id)
    if band is None:
        return request
    limits = {"review_from": band.review_from, "accept": band.accept}
    return request.model_copy(update={"judge": request.judge.model_copy(update=limits)})


def read_band(folder: Path) -> MeasuredBand | None:
    """Return the band that a run measured, from its folder; ``None`` where it has none; blocks."""
    try:
        return MeasuredBand.model_validate(json.loads((folder / BAND).read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None


async def _measured(services: Services, request: RunRequest) -> MeasuredBand:
    from tools.judging.decisions import measured_band
    from tools.judging.judge import identity_of

    judge = await asyncio.to_thread(identity_of, request.models.judge, request.judge, services.cache)
    runs = [run_id for run_id, _ in await services.store.run_ids()]
    decided = await decisions_on(services.store, judge, runs)
    band, note = await asyncio.to_thread(measured_band, decided, request.judge)
    low, high = band or (request.judge.review_from, request.judge.accept)
    return MeasuredBand(review_from=low, accept=high, note=note)
