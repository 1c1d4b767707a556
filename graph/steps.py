"""What every step has around it: the run's id, its row in the store, and its lease."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import wraps
from typing import Any, TypeVar, cast

from langgraph.config import get_config

from graph.services import Services
from state.pipeline import PipelineState

N = TypeVar("N", bound=Callable[..., Awaitable[Any]])


def step(node: N, services: Services) -> N:
    """Return the node as the graph runs it.

    It holds the run's lease while it works, so that a server and a command line never work on one run at once. It
    finds in its state ``run_id``, the id of the thread, and the request that the run started with, whatever a client
    sent since.

    Raises:
        RunBusy: another process works on the run.
    """

    @wraps(node)
    async def leased(state: PipelineState) -> Any:
        run_id = str(get_config()["configurable"]["thread_id"])
        request = await services.store.open_run(run_id, state["request"])
        async with services.leases.hold(run_id):
            return await node({**state, "run_id": run_id, "request": request})

    return cast(N, leased)
