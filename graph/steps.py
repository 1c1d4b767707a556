"""What every step has around it: the run's id, its row in the store, and its lease."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar

from langgraph.config import get_config

from graph.services import Services

S = TypeVar("S", bound=Any)
R = TypeVar("R")


def step(node: Callable[[S], Awaitable[R]], services: Services) -> Callable[[S], Awaitable[R]]:
    """Return the node as the graph runs it.

    It holds the run's lease while it works, so that a server and a command line never work on one run at once, and
    it finds ``run_id`` in its state: the id of the thread.

    Raises:
        RunBusy: another process works on the run.
    """

    @wraps(node)
    async def leased(state: S) -> R:
        run_id = str(get_config()["configurable"]["thread_id"])
        await services.store.open_run(run_id, state["request"])
        async with services.leases.hold(run_id):
            return await node({**state, "run_id": run_id})

    leased.__annotations__ = {**node.__annotations__}
    return leased
