"""Work on every item of a batch, whatever happens to one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from state.errors import BudgetExceeded, CallDeferred
from state.pipeline import Overspend

T = TypeVar("T")


async def for_each(items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> Overspend | None:
    """Run ``work`` for all items at once, and wait for all of them even when one fails.

    The endpoint limits how many calls are in flight.

    Returns:
        The overspend, where the budget ended before the items did; ``None`` where all were done.

    Raises:
        Exception: the first error of another kind, after all items have ended.
        CallDeferred: nothing else went wrong, but some items wait for a batch.
    """
    results = await asyncio.gather(*(work(item) for item in items), return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    _raise_first(error for error in errors if not isinstance(error, BudgetExceeded | CallDeferred))
    for error in errors:
        if isinstance(error, BudgetExceeded):
            return Overspend(spent=error.spent, cap=error.cap)
    _raise_first(errors)
    return None


async def all_of(parts: Iterable[Awaitable[T]]) -> list[T]:
    """Return the results of all parts of one item, which are worked on at once.

    Raises:
        Exception: the first error, after all parts have ended, so that a batch gets all calls that wait for one.
        CallDeferred: nothing else went wrong, but some parts wait for a batch.
    """
    results = await asyncio.gather(*parts, return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    _raise_first(sorted(errors, key=lambda error: isinstance(error, CallDeferred)))
    return [result for result in results if not isinstance(result, BaseException)]


def _raise_first(errors: Iterable[BaseException]) -> None:
    for error in errors:
        raise error
