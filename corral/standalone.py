"""Endpoints and judges for commands and programs that are no run; their calls go through the settings' ledger."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator

from state.calls import CallStore
from state.database import Database
from state.request import Endpoint, Judging
from tools.endpoint import LedgeredEndpoint, open_endpoint
from tools.endpoint.observing import flush_traces, observe
from tools.judging import CrewJudge
from tools.settings import Settings

JUDGING, EVALUATION = "judging", "evaluation"
"""What the ledger books such calls under, in place of a run."""

_open: dict[tuple[asyncio.AbstractEventLoop, str], tuple[CallStore, AsyncGenerator[CallStore]]] = {}


async def open_ledger(settings: Settings) -> CallStore:
    """Return the ledger of the settings' database, which is closed with the running loop.

    Raises:
        StorageError: the database cannot be used.
    """
    slot = (asyncio.get_running_loop(), settings.database_url)
    if slot not in _open:
        observe(settings)
        ledger = _ledger(slot)
        _open[slot] = (await anext(ledger), ledger)
    return _open[slot][0]


async def open_standalone(spec: Endpoint, settings: Settings, name: str) -> LedgeredEndpoint:
    """Return an endpoint over the ledger of the settings' database.

    Args:
        spec: the endpoint.
        settings: the environment's.
        name: what the ledger books its calls under.

    Raises:
        BadInput: the endpoint is wrong.
        StorageError: the database cannot be used.
    """
    return await open_endpoint(spec, await open_ledger(settings), name, settings)


async def _ledger(slot: tuple[asyncio.AbstractEventLoop, str]) -> AsyncGenerator[CallStore]:
    # A generator, since a loop that ends closes those it started: nobody has to remember to close the database.
    database = Database(slot[1])
    await database.create()
    calls = CallStore(database)
    try:
        yield calls
    finally:
        _open.pop(slot, None)
        await calls.write_last()
        await database.close()
        await asyncio.to_thread(flush_traces)


async def open_judge(spec: Endpoint, judging: Judging, settings: Settings, *, seed: int = 0) -> CrewJudge:
    """Return a judge that belongs to no run; errors as for ``open_standalone``."""
    return CrewJudge(await open_standalone(spec, settings, JUDGING), judging, seed=seed)
