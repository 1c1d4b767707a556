"""How a step waits for batches: it asks all it can, sends what waits, and goes on when answers are there.

A batch may take a day, so no process has to live as long: the run waits at an interrupt, and whoever resumes it looks
at the server. ``Runs.advance`` does so while it waits, and the server's application wakes a run that nobody works on.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from langgraph.graph import StateGraph
from langgraph.types import Command, interrupt

from graph.services import Services
from graph.steps import step
from state.batches import WAIT, CallBatch
from state.errors import EndpointError, EndpointRefused
from state.pipeline import PipelineState
from state.request import Endpoint, RunRequest
from tools.people.questions import Action, answer_schema, question
from tools.progress import Progress

if TYPE_CHECKING:  # it loads aiohttp, which runs without batches may not need
    from tools.endpoint.batch_api import ServerBatch
    from tools.endpoint.batching import Batches

logger = logging.getLogger(__name__)

SOONEST, LATEST = 1.0, 60.0
"""Seconds between two looks at a batch: a tenth of its age, within these."""
LOOK = "approve"
"""The answer that the wait takes: look at the server now."""


def may_batch(request: RunRequest) -> bool:
    """Return whether any calls of a run may wait for a batch."""
    return bool(_models(request))


def add_waiting(graph: StateGraph[Any, Any, Any, Any], back: str, services: Services) -> None:
    """Add the nodes that send what waits for a batch, and wait for it, to a step's own graph.

    Args:
        graph: the step's; some node of it goes to ``send``.
        back: the node that does the step's work again.
        services: the process's.
    """

    async def send(state: PipelineState) -> Command[Any]:
        run_id, request = state["run_id"], state["request"]
        waiting = await send_wanted(services, run_id, request)
        return Command(update={"deferred": False}, goto="wait" if waiting else back)

    async def wait(state: PipelineState) -> Command[Any]:
        run_id, request = state["run_id"], state["request"]
        if not (waiting := await services.batches.open(run_id)):
            return Command(goto=back)  # they were taken by an attempt that was killed before its checkpoint
        # First of all: an answer that it does not read would be read by the next question.
        action = wait_action(waiting)
        interrupt(question([action]), response_schema=answer_schema([action]))
        return Command(goto=back if await take_ended(services, run_id, request) else "wait")

    graph.add_node("send", step(send, services), destinations=("wait", back))
    graph.add_node("wait", step(wait, services), destinations=("wait", back))


def wait_action(waiting: Sequence[CallBatch]) -> Action:
    """Return what Studio shows of a run that waits for batches; to approve it is to look at once."""
    until = max((one.until for one in waiting if one.until), default=None)
    return Action(
        name=WAIT,
        args={"calls": sum(one.calls for one in waiting), "until": until.isoformat() if until else ""},
        allowed=(LOOK,),
        description=f"{told(waiting)}. Nothing has to be done; approve to look at the server now.",
    )


async def send_wanted(services: Services, run_id: str, request: RunRequest) -> bool:
    """Send a run's wanted calls, and what an earlier attempt began to send; return whether any batch is under way.

    Raises:
        EndpointError: a server does not take a batch; it is noted, and sent when this is done again.
        LeaseLost: another process has taken the run over; nothing more was sent.
    """
    for group in await services.batches.wanted(run_id):
        spec = _spec(request, group.endpoint, group.model)
        assert spec.batch is not None  # only such calls are deferred
        await services.batches.gather(run_id, group, spec.batch.after, spec.batch.within)
    for batch in await services.batches.open(run_id):
        if batch.status != "sent":
            await _batches(services, run_id, _spec(request, batch.endpoint, batch.model)).send(batch)
    return bool(await services.batches.open(run_id))


async def take_ended(services: Services, run_id: str, request: RunRequest) -> bool:
    """Take the answers of the batches that are over into the ledger; return whether there were any.

    Raises:
        EndpointRefused: a server refused a batch as a whole, and none is under way whose end may change that.
        EndpointError: a server does not tell, or does not give a file; nothing is lost.
        LeaseLost: another process has taken the run over.
    """
    any_ended, refused = False, None
    for batch in await services.batches.open(run_id):
        server = _batches(services, run_id, _spec(request, batch.endpoint, batch.model))
        if batch.status != "sent":
            batch = await server.send(batch)
        found = await server.look(batch)
        if not found.over:
            continue
        try:
            await server.take(batch, found)
            any_ended = True
        except EndpointRefused as error:
            refused = error  # perhaps for too many tokens under way: it is sent again when another batch has ended
    if refused is not None and not await services.batches.open(run_id):
        raise refused
    return any_ended


async def any_over(services: Services, run_id: str, request: RunRequest) -> bool:
    """Return whether a batch of a run is over, or has still to be sent; nothing is changed."""
    return any([found is None or found.over async for _, found in _looks(services, run_id, request)])


async def until_over(services: Services, run_id: str, request: RunRequest, at: str) -> AsyncIterator[Progress]:
    """Wait until a batch of a run is over, and tell what it waits for; a server that is down meanwhile is no fault.

    Args:
        services: the process's, which holds the run's lease.
        run_id: the run.
        request: its own.
        at: the step that waits.
    """
    began, over = datetime.now(UTC), False
    while not over and (waiting := await services.batches.open(run_id)):
        yield Progress(step=at, note=told(waiting))
        try:
            async for batch, found in _looks(services, run_id, request):
                over |= found is None or found.over
                if found is not None and found.done != batch.done:
                    await services.batches.keep(batch.model_copy(update={"done": found.done}))
        except EndpointRefused:
            raise
        except EndpointError as error:
            logger.warning("run %s waits for a batch, and its server does not tell of it: %s", run_id, error)
        if not over:
            age = (datetime.now(UTC) - began).total_seconds()
            await asyncio.sleep(min(LATEST, max(SOONEST, age / 10)))


def told(waiting: Sequence[CallBatch]) -> str:
    """Return in one line what a run waits for."""
    return "; ".join(batch.in_words for batch in waiting)


async def _looks(
    services: Services, run_id: str, request: RunRequest
) -> AsyncIterator[tuple[CallBatch, ServerBatch | None]]:
    """Yield a run's batches, each as the server tells of it; ``None`` for one that has still to be sent."""
    for batch in await services.batches.open(run_id):
        server = _batches(services, run_id, _spec(request, batch.endpoint, batch.model))
        yield batch, await server.look(batch) if batch.status == "sent" else None


def _batches(services: Services, run_id: str, spec: Endpoint) -> Batches:
    from tools.endpoint.batching import Batches

    return Batches(services.batches, spec, run_id, services.settings, lambda: services.leases.demand(run_id))


def _models(request: RunRequest) -> list[Endpoint]:
    models = request.models
    return [spec for spec in (models.generator, models.policy, models.judge) if spec.batch is not None]


def _spec(request: RunRequest, endpoint: str, model: str) -> Endpoint:
    return {(spec.base_url, spec.model): spec for spec in reversed(_models(request))}[endpoint, model]
