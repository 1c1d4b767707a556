"""What a judge is, and how it judges many items at once."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from state.records import Candidate, Judgement, Sample
from tools.judging.preference import Preference
from tools.sources.items import Item


class Judge(Protocol):
    """What judges answers, such as ``CrewJudge``."""

    identity: str
    """What it is known by, in records and calibrations."""

    async def judge(self, sample: Sample, candidate: Candidate, context: Mapping[str, Any] | None = None) -> Judgement:
        """Judge one candidate; see ``CrewJudge.judge``."""
        ...

    async def prefer(
        self, sample: Sample, first: Candidate, second: Candidate, context: Mapping[str, Any] | None = None
    ) -> Preference:
        """Choose between two answers, shown in both orders; see ``CrewJudge.prefer``."""
        ...


async def judge_items(judge: Judge, items: Sequence[Item]) -> list[Judgement]:
    """Judge all items at once, in their order; the endpoint limits how many calls are in flight.

    Raises:
        BudgetExceeded, EndpointUnreachable, EndpointRefused: as for ``CrewJudge.judge``; the first one, after all
            items have ended.
    """
    results = await asyncio.gather(
        *(judge.judge(item.sample, item.candidate, item.context or None) for item in items), return_exceptions=True
    )
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if isinstance(result, Judgement)]
