"""Runs that the application works on while people look at its pages."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any

from graph.runs import Runs
from state.errors import BadInput, CorralError, RunBusy
from tools.progress import Meter, StepProgress

REFUSAL_SECONDS = 2.0
"""How long an answer's sender waits to hear whether it was refused; an answer that fits is not."""


class Worker:
    """Works on runs in tasks of the application.

    Args:
        runs: the application's.
    """

    def __init__(self, runs: Runs) -> None:
        self._runs = runs
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._meters: dict[str, Meter] = {}
        self._moved: dict[str, asyncio.Event] = {}

    def counts(self, run_id: str) -> dict[str, StepProgress]:
        """Return how far the steps are that this application has worked on, by name."""
        meter = self._meters.get(run_id)
        return {at.step: at for at in meter.steps(time.monotonic())} if meter else {}

    def works_on(self, run_id: str) -> bool:
        """Return whether a task of this application works on the run."""
        task = self._tasks.get(run_id)
        return task is not None and not task.done()

    async def go_on(self, run_id: str, answer: Any = None) -> None:
        """Work on a run in the background; returns when it has begun.

        Args:
            run_id: the run.
            answer: what a person answers to its question; ``None`` where it asks none.

        Raises:
            RunBusy: it is being worked on.
            BadInput: the answer does not fit; the run still waits for it.
            StorageError: nothing can be written.
        """
        if self.works_on(run_id):
            raise RunBusy(f"run {run_id} is being worked on already")
        moved = self._moved[run_id] = asyncio.Event()
        task = asyncio.create_task(self._work(run_id, answer), name=f"run {run_id}")
        self._tasks[run_id] = task
        task.add_done_callback(lambda done: _end(done, moved))
        with suppress(TimeoutError):
            await asyncio.wait_for(moved.wait(), REFUSAL_SECONDS)
        error = task.exception() if task.done() and not task.cancelled() else None
        # A step that failed stands in the run's checkpoint, and so on its page: the answer was taken.
        if error and (isinstance(error, BadInput) or (await self._runs.status(run_id)).standing != "failed"):
            raise error

    async def close(self) -> None:
        """Stop all work; each run can be resumed, and calls in flight are recorded."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)

    async def _work(self, run_id: str, answer: Any) -> None:
        meter = self._meters[run_id] = Meter()
        try:
            async for event in self._runs.advance(run_id, answer):
                meter.add(event, time.monotonic())
                if event.advance:  # the answer was taken, or there was none
                    self._moved[run_id].set()
        except CorralError:
            raise
        except Exception as error:
            raise CorralError(f"run {run_id} failed: {type(error).__name__}: {error}") from error


def _end(task: asyncio.Task[None], moved: asyncio.Event) -> None:
    if not task.cancelled():
        task.exception()  # taken, so that it is not called lost: it stands in the run's checkpoint, which pages read
    moved.set()
