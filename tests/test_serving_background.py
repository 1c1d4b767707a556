"""Runs in the background of the application: one task a run, who answers hears of a refusal, and an end in order."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from types import SimpleNamespace
from typing import Any, cast

import pytest

from graph.runs import Runs
from serving.background import Worker
from state.errors import BadInput, LeaseLost, RunBusy, TrainingError
from tools.progress import Progress


class Paced:
    """Runs of which each does what the test says."""

    def __init__(self, standing: str = "waiting", error: Exception | None = None) -> None:
        self.standing, self.error = standing, error
        self.answers: list[Any] = []
        self.go, self.stopped = asyncio.Event(), False

    async def advance(self, run_id: str, answer: Any) -> AsyncIterator[Progress]:
        self.answers.append(answer)
        yield Progress(step="review", total=2)
        if self.error:
            raise self.error
        yield Progress(step="review", advance=1)
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.stopped = True
            raise

    async def status(self, run_id: str) -> Any:
        return SimpleNamespace(standing=self.standing)


def worker(runs: Paced) -> Worker:
    return Worker(cast(Runs, runs))


async def test_a_run_is_worked_on_once_and_its_steps_are_counted() -> None:
    runs = Paced()
    busy = worker(runs)
    await asyncio.wait_for(busy.go_on("first", {"decisions": []}), 1)  # as soon as the answer was taken
    assert busy.works_on("first") and not busy.works_on("other") and busy.counts("other") == {}
    assert (busy.counts("first")["review"].done, busy.counts("first")["review"].total) == (1, 2)
    with pytest.raises(RunBusy):
        await busy.go_on("first")
    runs.go.set()
    await asyncio.sleep(0.01)
    assert not busy.works_on("first") and runs.answers == [{"decisions": []}]
    await busy.go_on("first")


@pytest.mark.parametrize(
    ("standing", "error", "told"),
    [
        ("waiting", BadInput("it does not fit"), True),
        ("running", LeaseLost("another has it"), True),
        ("failed", TrainingError("the step failed"), False),
        ("failed", ValueError("a fault of ours"), False),
    ],
)
async def test_who_answers_hears_of_a_refusal_and_not_of_a_step_that_fails(
    standing: str, error: Exception, told: bool
) -> None:
    busy = worker(Paced(standing, error))
    if told:
        with pytest.raises(type(error), match=str(error)):
            await busy.go_on("first", "approve")
    else:
        await busy.go_on("first", "approve")
    assert not busy.works_on("first")


async def test_at_the_end_work_is_stopped_in_order() -> None:
    runs = Paced()
    busy = worker(runs)
    await busy.go_on("first")
    await busy.close()
    assert runs.stopped and not busy.works_on("first")
