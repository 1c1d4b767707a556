"""Tries of one request: which failure is worth another, how long to wait for it, and the loop."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from tools.endpoint.failures import TryAgain

T = TypeVar("T")

BACKOFF = wait_exponential_jitter(initial=0.5, max=30, jitter=0.5)
"""Seconds between tries if the server does not say: 0.5, 1, 2, 4... and up to half a second more."""
LONGEST_WAIT = 300.0
"""Seconds; if a server asks for a longer wait, the call fails, and the run can be resumed later."""


async def with_retries(
    send: Callable[[], Awaitable[T]], attempts: int, may_go_on: Callable[[], bool] = lambda: True
) -> T:
    """Send until an answer comes, or another try would be in vain.

    Args:
        send: one try.
        attempts: how many tries there are, at least 1.
        may_go_on: asked after each try that failed: whether another may be made.

    Raises:
        TryAgain: the last try's.
        EndpointError: a try failed so that another will not help.
    """
    try:
        return await send()
    except TryAgain as error:
        first: TryAgain | None = error

    async def send_again() -> T:
        # Tenacity, which costs more than all else of a call, is told of the first try once that has failed.
        nonlocal first
        if first is not None:
            failed, first = first, None
            raise failed
        return await send()

    retrying = AsyncRetrying(
        stop=stop_after_attempt(attempts),
        wait=seconds_to_wait,
        retry=retry_if_exception(lambda error: worth_another_try(error) and may_go_on()),
        reraise=True,
    )
    return await retrying(send_again)


def worth_another_try(error: BaseException) -> bool:
    """Return whether another try may succeed, and soon enough to wait for it."""
    return isinstance(error, TryAgain) and (error.after or 0.0) <= LONGEST_WAIT


def seconds_to_wait(state: RetryCallState) -> float:
    """Return the seconds before the next try: what the server asks for, else exponential backoff with jitter."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.after if isinstance(error, TryAgain) else None
    return BACKOFF(state) if asked is None else asked
