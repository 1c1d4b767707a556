"""The objects that ``langgraph.json`` names: the graph, and the checkpointer that keeps its state."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from graph.pipeline import build_pipeline
from graph.services import make_services
from state.checkpoints import Saver, open_checkpointer
from tools.settings import load_settings

services = make_services(load_settings())
pipeline = build_pipeline(services)


@asynccontextmanager
async def checkpointer() -> AsyncIterator[Saver]:
    """Yield the server's checkpointer: ours, since the server's own files do not survive a kill."""
    await services.database.create()
    async with open_checkpointer(services.database) as saver:
        yield saver
