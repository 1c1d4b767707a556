"""Services: what steps need and no checkpoint can hold. Opened once for each process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from state.calls import CallStore
from state.database import Database
from state.lease import Leases
from state.request import Endpoint
from state.store import RecordStore
from tools.endpoint import open_endpoint
from tools.endpoint.chat import ChatEndpoint, OpenEndpoint
from tools.settings import Settings


@dataclass(frozen=True)
class Services:
    """The process's connections and folders."""

    settings: Settings
    database: Database
    store: RecordStore
    calls: CallStore
    leases: Leases
    open_endpoint: OpenEndpoint

    @property
    def runs_folder(self) -> Path:
        """Each run has a folder of its name in it."""
        return self.settings.home / "runs"

    @property
    def registry(self) -> Path:
        """Where adapters are deployed unless the request names another folder."""
        return self.settings.home / "registry"

    @property
    def cache(self) -> Path:
        """What can be made again at any time."""
        return self.settings.cache


def make_services(settings: Settings) -> Services:
    """Return services over the settings' database; nothing is opened before it is used."""
    database = Database(settings.database_url)
    calls = CallStore(database)

    async def open_for_run(spec: Endpoint, run_id: str) -> ChatEndpoint:
        return await open_endpoint(spec, calls, run_id, settings)

    return Services(
        settings=settings,
        database=database,
        store=RecordStore(database),
        calls=calls,
        leases=Leases(database),
        open_endpoint=open_for_run,
    )


@asynccontextmanager
async def open_services(settings: Settings) -> AsyncIterator[Services]:
    """Yield services whose tables exist, and close them at the end."""
    services = make_services(settings)
    await services.database.create()
    try:
        yield services
    finally:
        await services.database.close()
