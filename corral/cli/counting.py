"""A bar with a rate and the time left for commands that judge files."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from corral.cli.shared import errors
from corral.cli.watch import View, open_view, refresh
from state.records import Candidate, Judgement, Sample
from tools.judging.batch import Judge
from tools.judging.preference import Preference
from tools.progress import Meter, Progress, StepProgress

STEP = "judge"
OF_A_PAIR = 3
"""Judgements of a pair: each answer alone, and both side by side."""
QUIET_SECONDS = 2.0
"""What is done sooner needs no bar."""


class LaterView:
    """Shows nothing in the first seconds.

    Args:
        view: what shows it then.
    """

    def __init__(self, view: View) -> None:
        self._view, self._from = view, time.monotonic() + QUIET_SECONDS

    def show(self, at: StepProgress) -> None:
        """Show how far a step is."""
        if time.monotonic() >= self._from:
            self._view.show(at)

    def spent(self, line: str) -> None:
        """Show what was used so far."""
        self._view.spent(line)


class CountedJudge:
    """A judge, each of whose answers is counted when it has ended.

    Args:
        judge: who judges.
        ended: called when one answer was judged, or two were compared.
    """

    def __init__(self, judge: Judge, ended: Callable[[], None]) -> None:
        self.identity = judge.identity
        self._judge, self._ended = judge, ended

    async def judge(self, sample: Sample, candidate: Candidate, context: Mapping[str, Any] | None = None) -> Judgement:
        """Judge one candidate; see ``CrewJudge.judge``."""
        try:
            return await self._judge.judge(sample, candidate, context)
        finally:
            self._ended()

    async def prefer(
        self, sample: Sample, first: Candidate, second: Candidate, context: Mapping[str, Any] | None = None
    ) -> Preference:
        """Choose between two answers; see ``CrewJudge.prefer``."""
        try:
            return await self._judge.prefer(sample, first, second, context)
        finally:
            self._ended()


@contextmanager
def counting(total: int) -> Iterator[Callable[[Judge], CountedJudge]]:
    """Show on standard error how far a judge is; the value makes a judge one that is counted.

    Args:
        total: answers to judge, and pairs of them to compare.
    """
    meter = Meter()
    meter.add(Progress(step=STEP, total=total), time.monotonic())
    with open_view(errors) as opened:
        view = LaterView(opened)
        refreshing = asyncio.create_task(refresh(meter, view))

        def ended() -> None:
            view.show(meter.add(Progress(step=STEP, advance=1), time.monotonic()))

        try:
            yield lambda judge: CountedJudge(judge, ended)
        finally:
            refreshing.cancel()
