"""Work on every item of a batch, whatever happens to one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

from state.errors import BudgetExceeded
from state.pipeline import Overspend

T = TypeVar("T")


async def for_each(items: Iterable[T], work: Callable[[T], Awaitable[None]]) -> Overspend | None:
    """Run ``work`` for all items at once, and wait for all of them even when one fails.

    The endpoint limits how many calls are in flight.

    Returns:
        The overspend, where the budget ended before the items did; ``None`` where all were done.

    Raises:
        Exception: the first error of another kind, after all items have ended.
    """
    results = await asyncio.gather(*(work(item) for item in items), return_exceptions=True)
    errors = [result for result in results if isinstance(result, BaseException)]
    for error in errors:
        if not isinstance(error, BudgetExceeded):
            raise error
    return Overspend(spent=errors[0].spent, cap=errors[0].cap) if errors else None  # type: ignore[attr-defined]  # all are BudgetExceeded here
