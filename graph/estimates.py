"""A run's estimate: made before it starts, from the ledger's past, and kept in its folder: it is no hindsight."""

from __future__ import annotations

import asyncio
from pathlib import Path

from graph.services import Services
from state.extras import missing_modules
from state.request import RunRequest
from tools.evaluation.planning import shown_in_words
from tools.files import write_file
from tools.generation.costing import CostEstimate
from tools.generation.estimating import estimate
from tools.settings import Settings
from tools.sources.prompts import load_prompts
from tools.sources.seeds import load_seed_tasks

ESTIMATE = "estimate.json"
"""In a run's folder."""


async def expected_cost(services: Services, run_id: str, request: RunRequest) -> CostEstimate:
    """Return what a run was expected to cost when it began; of one that an earlier version began, as if it began now.

    Args:
        services: the process's.
        run_id: the run.
        request: its own, so that the files which it names are the run's copies.

    Raises:
        BadInput: the seed tasks or the prompts cannot be read.
    """
    kept = await asyncio.to_thread(_read, services.runs_folder / run_id / ESTIMATE)
    return kept or await estimated(services, request, without=run_id)


async def keep_estimate(services: Services, run_id: str, request: RunRequest) -> None:
    """Estimate a run, and keep that in its folder; what is there stays as it is.

    Raises:
        BadInput: the seed tasks or the prompts cannot be read.
        StorageError: the folder cannot be written.
    """
    place = services.runs_folder / run_id / ESTIMATE
    if not await asyncio.to_thread(place.exists):
        found = await estimated(services, request, without=run_id)
        await asyncio.to_thread(write_file, place, (found.model_dump_json(indent=1) + "\n").encode())


async def estimated(services: Services, request: RunRequest, *, without: str = "") -> CostEstimate:
    """Return what a run would cost that began now.

    Args:
        services: the process's.
        request: the run's.
        without: a run whose calls do not count as the past; empty where all do.

    Raises:
        BadInput: the seed tasks or the prompts cannot be read.
    """
    past = await services.calls.token_uses(without=without)

    def made() -> CostEstimate:
        seeds, path = load_seed_tasks(Path(request.sources.seeds)), request.sources.prompts
        prompts = load_prompts(Path(path), request.evaluate.heldout_share) if path else []
        training, heldout = ([p.prompt for p in prompts if p.split == split] for split in ("train", "heldout"))
        trains = not missing_modules("train")
        heldout = heldout if trains and not request.preview else []
        found = estimate(request, seeds, training, heldout, past, measured=trains)
        count = len(heldout[: request.evaluate.limit])
        shows = shown_in_words(count) if count and request.evaluate.primary == "guarded" else ""
        unlicensed = "" if request.preview else unlicensed_judge(request, services.settings)
        return found.model_copy(update={"shows": shows, "unlicensed": unlicensed})

    return await asyncio.to_thread(made)


def unlicensed_judge(request: RunRequest, settings: Settings) -> str:
    """Return why the run will not train on its judge, as far as it was measured by now; empty where it will."""
    if request.judge.licence is None:
        return ""
    # Who looks at a run reads its estimate, and needs no statistics for that.
    from tools.judging.judge import identity_of
    from tools.judging.licence import licence_of, modes_used
    from tools.judging.trust import all_calibrations

    judge = identity_of(request.models.judge, request.judge, settings.cache)
    found = licence_of(judge, all_calibrations(settings.home), request.judge, modes_used(request))
    return f"judge.licence refuses {judge}: {'; '.join(found.refusals)}" if found.refusals else ""


def _read(path: Path) -> CostEstimate | None:
    try:
        return CostEstimate.model_validate_json(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
