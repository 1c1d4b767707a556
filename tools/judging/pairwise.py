"""Two answers to one prompt, judged in two ways: each alone, and against each other in both orders."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from state.records import Judgement, Record
from tools.judging.batch import Judge
from tools.judging.preference import Preference, by_rating
from tools.sources.items import Item


class JudgedPair(Record):
    """What the judge said of two answers."""

    first: Judgement
    second: Judgement
    rated: Preference
    """By the overall scores that each got alone."""
    asked: Preference
    """By the expert who was shown both, once in each order."""

    @property
    def error(self) -> str:
        """Why the pair could not be judged; empty where it was."""
        return self.rated.error or self.asked.error

    @property
    def without_choice(self) -> str:
        """Why the judge made no choice: an error, or that nothing can judge both answers; empty where it made one."""
        undecided = next((one.reason for one in (self.rated, self.asked) if one.unjudged), "")
        return self.error or undecided


async def judge_pairs(judge: Judge, pairs: Sequence[tuple[Item, Item]]) -> list[JudgedPair]:
    """Judge all pairs at once, in their order.

    Raises:
        BudgetExceeded, EndpointUnreachable, EndpointRefused: the first one, after all pairs have ended.
    """
    results = await asyncio.gather(*(_judge_pair(judge, *pair) for pair in pairs), return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return [result for result in results if isinstance(result, JudgedPair)]


async def _judge_pair(judge: Judge, first: Item, second: Item) -> JudgedPair:
    context = first.context or None
    one, other = await asyncio.gather(
        *(judge.judge(item.sample, item.candidate, item.context or None) for item in (first, second))
    )
    rated = by_rating(one, other)
    asked = rated if rated.error else await judge.prefer(first.sample, first.candidate, second.candidate, context)
    return JudgedPair(first=one, second=other, rated=rated, asked=asked)
