"""The objects that ``langgraph.json`` names: the graphs, and the checkpointer that keeps its state."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from graph.improvement import build_improvement
from graph.pipeline import build_pipeline
from graph.services import make_services
from state.checkpoints import Saver, open_checkpointer
from tools.endpoint.loop import GRACE_SECONDS, await_sent
from tools.endpoint.observing import flush_traces
from tools.settings import load_settings

services = make_services(load_settings())
pipeline = build_pipeline(services)
improvement = build_improvement(services)


@asynccontextmanager
async def checkpointer() -> AsyncIterator[Saver]:
    """Yield the server's checkpointer: ours, since the server's own files do not survive a kill."""
    await services.database.create()
    async with open_checkpointer(services.database) as saver:
        try:
            yield saver
        finally:
            # The steps were cancelled, and have given back their leases; what they had sent is paid for.
            await await_sent(services.calls, GRACE_SECONDS)
            await asyncio.to_thread(flush_traces)
