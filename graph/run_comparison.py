"""``corral report A B``: two runs are read, their adapters held against each other, and a page is written."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path

from graph.reporting import GREEDY, gather
from graph.services import Services
from graph.standing import state_of
from state.errors import BadInput
from state.records import Answer, Outcome, Sample
from tools.evaluation.scoring import score_answer
from tools.files import write_out
from tools.report.run_comparison import SharedPrompts, render_comparison
from tools.statistics.bootstrap import paired_bootstrap
from tools.statistics.significance import mcnemar

METRIC = "guarded"
RESAMPLES = 10_000


async def write_comparison(services: Services, first: str, second: str, out: Path) -> list[str]:
    """Write the page that compares two runs, and return its findings in words.

    Raises:
        UnknownRun: one of the two does not exist.
        BadInput: the two are one.
        StorageError: the file cannot be written.
    """
    if first == second:
        raise BadInput(f"{first} is compared with itself; name another run")
    states = [await state_of(services, run_id) for run_id in (first, second)]
    facts = await gather(services, first, states[0]), await gather(services, second, states[1])
    adapters = [state["adapter"].id if state.get("adapter") else "" for state in states]
    shared = await _shared(services, (first, adapters[0]), (second, adapters[1])) if all(adapters) else None
    found = [shared] if shared else []
    page = await asyncio.to_thread(render_comparison, *facts, found, datetime.now(UTC))
    await asyncio.to_thread(write_out, out, page.encode())
    if found:
        return [one.in_words for one in found]
    bare = [
        f"run {run_id} has no adapter yet" for run_id, id_ in zip((first, second), adapters, strict=True) if not id_
    ]
    return bare or ["the two adapters have no held-out prompts in common"]


async def _shared(services: Services, first: tuple[str, str], second: tuple[str, str]) -> SharedPrompts | None:
    """Return both adapters on the held-out prompts of both runs; ``None`` where there are none.

    Args:
        services: the process's.
        first: a run and its adapter.
        second: the other ones.
    """
    common: set[str] | None = None
    for run_id, _ in (first, second):
        ids = set(await services.store.ids(run_id, Sample, tag="heldout", outcome=Outcome.ACCEPTED))
        common = ids if common is None else common & ids
    scores = [await _scores(services, *side, sorted(common or ())) for side in (first, second)]
    both = sorted(scores[0].keys() & scores[1].keys())
    if not both:
        return None
    ours, theirs = ([side[id_] for id_ in both] for side in scores)
    passed = [[score == 1 for score in side] for side in (ours, theirs)]
    return SharedPrompts(
        metric=METRIC,
        prompts=len(both),
        first=sum(ours) / len(both),
        second=sum(theirs) / len(both),
        difference=await asyncio.to_thread(paired_bootstrap, ours, theirs, RESAMPLES, 0),
        p=mcnemar(*passed),
    )


async def _scores(services: Services, run_id: str, adapter: str, ids: list[str]) -> dict[str, float]:
    """Return whether an adapter's greedy answers pass, by prompt."""
    answers = await services.store.find(run_id, Answer, parents=ids, tag=adapter)
    greedy = {answer.sample_id: answer for answer in answers if answer.draw == GREEDY}
    samples = await services.store.find(run_id, Sample, ids=list(greedy))

    def scored() -> dict[str, float]:
        return {one.id: score_answer(one, greedy[one.id]).metrics[METRIC] for one in samples}

    return await asyncio.to_thread(scored)
