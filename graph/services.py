"""Services: what steps need and a checkpoint cannot hold. They are opened once in each process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from state.batches import BatchStore
from state.calls import CallStore
from state.database import Database
from state.errors import BadInput
from state.feedback import FeedbackStore
from state.lease import Leases
from state.request import Endpoint
from state.store import RecordStore
from tools.endpoint.observing import flush_traces, observe
from tools.logs import configure_logs, flush_logs
from tools.settings import Settings
from tools.spans import configure_spans, flush_spans

if TYPE_CHECKING:  # who only looks at runs loads neither LangChain nor a transport
    from tools.endpoint.chat import ChatEndpoint, OpenEndpoint
    from tools.endpoint.deferring import Deferring
    from tools.endpoint.plugged import Brought
    from tools.endpoint.transport import Transport


@dataclass(frozen=True)
class Services:
    """The process's connections and folders."""

    settings: Settings
    database: Database
    store: RecordStore
    calls: CallStore
    batches: BatchStore
    feedback: FeedbackStore
    leases: Leases
    open_endpoint: OpenEndpoint
    open_deferring: OpenEndpoint
    """The same, for a step whose calls may wait for a batch where the endpoint says so."""
    plugged: frozenset[str] = frozenset()
    """Names of the models that the program brought itself."""

    @property
    def runs_folder(self) -> Path:
        """Holds a folder for each run, of the run's name."""
        return self.settings.home / "runs"

    @property
    def registry(self) -> Path:
        """Where adapters are deployed unless the request names another folder."""
        return self.settings.home / "registry"

    @property
    def cache(self) -> Path:
        """Holds what can be made again at any time."""
        return self.settings.cache


def make_services(settings: Settings, chat_models: Mapping[str, Brought] | None = None) -> Services:
    """Return services over the settings' database, and log as the settings say; nothing is opened before it is used.

    Args:
        settings: the environment's.
        chat_models: chat models, Runnables or functions that answer in place of a server, by the name that a request's
            ``models.*.model`` gives them. They go through ledger, budget, limits and retries as a server does.

    Raises:
        BadInput: one of them is nothing that can be asked.
    """
    configure_logs(settings)
    observe(settings)
    configure_spans(settings)
    plugged = _transports(chat_models or {})
    database = Database(settings.database_url)
    calls, batches = CallStore(database), BatchStore(database)

    async def open_for_run(spec: Endpoint, run_id: str, deferring: Deferring | None = None) -> ChatEndpoint:
        from tools.endpoint import open_endpoint
        from tools.endpoint.client import LedgeredEndpoint

        if spec.model in plugged:
            return LedgeredEndpoint(plugged[spec.model], calls, spec, run_id, tracing=settings.langsmith_tracing)
        return await open_endpoint(spec, calls, run_id, settings, deferring=deferring)

    async def open_deferring(spec: Endpoint, run_id: str) -> ChatEndpoint:
        from tools.endpoint.deferring import Deferring

        return await open_for_run(spec, run_id, Deferring(calls, batches) if spec.batch else None)

    return Services(
        settings=settings,
        database=database,
        store=RecordStore(database),
        calls=calls,
        batches=batches,
        feedback=FeedbackStore(database),
        leases=Leases(database),
        open_endpoint=open_for_run,
        open_deferring=open_deferring,
        plugged=frozenset(plugged),
    )


def _transports(brought: Mapping[str, Brought]) -> dict[str, Transport]:
    if not brought:
        return {}
    from tools.endpoint.plugged import brought_transport

    if not isinstance(brought, Mapping):
        raise BadInput(f"chat_models must be a mapping of names to models, not {type(brought).__name__}")
    return {name: brought_transport(model) for name, model in brought.items()}


@asynccontextmanager
async def open_services(
    settings: Settings, chat_models: Mapping[str, Brought] | None = None
) -> AsyncIterator[Services]:
    """Yield services whose tables exist, and close them at the end; the arguments are ``make_services``'s."""
    services = make_services(settings, chat_models)
    await services.database.create()
    try:
        yield services
    finally:
        from tools.endpoint.loop import await_sent

        # What was sent is paid for, even if the step that asked has failed meanwhile.
        await await_sent(services.calls)
        await services.calls.write_last()
        await services.database.close()
        await asyncio.to_thread(flush_traces)
        await asyncio.to_thread(flush_spans)
        await asyncio.to_thread(flush_logs)
