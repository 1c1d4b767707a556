"""Waking: a run that waits for a batch, and that nobody works on, goes on once the batch is over."""

from __future__ import annotations

import asyncio
import logging

from graph.batching import any_over
from graph.runs import Runs
from serving.background import Worker
from state.errors import CorralError

logger = logging.getLogger(__name__)

WAKE_SECONDS = 60.0
"""Between two looks at the batches of all runs."""


async def wake_forever(runs: Runs, worker: Worker) -> None:
    """Wake runs until this is cancelled."""
    while True:
        await asyncio.sleep(WAKE_SECONDS)
        await wake(runs, worker)


async def wake(runs: Runs, worker: Worker) -> None:
    """Go on, in the background, with each run whose batch is over; what one run meets hides no other."""
    try:
        waiting = await runs.services.batches.waiting_runs()
    except CorralError as error:
        logger.warning("no run could be woken: %s", error)
        return
    for run_id in waiting:
        try:
            if worker.works_on(run_id) or (await runs.status(run_id)).standing != "batched":
                continue
            if await any_over(runs.services, run_id, await runs.services.store.request_of(run_id)):
                await worker.go_on(run_id)
        except CorralError as error:
            logger.warning("run %s could not be woken: %s", run_id, error)
