"""Register a run: what can be checked for nothing is checked first. No graph is built for it."""

from __future__ import annotations

import logging
from typing import assert_never

from graph.inputs import begin, demand_name, forget_inputs, new_name
from graph.preflight import preflight, unused_models
from graph.services import Services
from graph.standing import how_to_answer, status_of
from state.errors import BadInput, RunBusy, RunWaiting
from state.request import RunRequest
from tools.endpoint import capabilities
from tools.endpoint.environment import with_environment
from tools.judging.process import begin_crews
from tools.logs import logged_run

logger = logging.getLogger(__name__)


async def create_run(services: Services, request: RunRequest, run_id: str | None = None, *, probe: bool = True) -> str:
    """Check a request and register the run; nothing is spent yet.

    Args:
        services: the process's.
        request: what the run shall do.
        run_id: its name; ``None`` makes one from the request's name and the time.
        probe: whether to ask the servers first whether they are up and have the models.

    Returns:
        The run's name.

    Raises:
        RunWaiting: a run of that name waits for a person; a new input would drop its question.
        BadInput: the request cannot work, or there is a run of that name.
        EndpointError: an endpoint is out of reach or refuses the key.
        StorageError: there is no room or no right to write.
    """
    if run_id is not None:
        demand_name(run_id)
        await _refuse_known(services, run_id)
    request = await checked_request(services, request, probe=probe)
    run_id = run_id or new_name(request)
    await forget_inputs(services, run_id)
    await begin(services, run_id, request)
    with logged_run(run_id, services.runs_folder / run_id):
        logger.info("run created")
    if not capabilities(request.models.judge).likelihoods:
        begin_crews()
    return run_id


async def checked_request(services: Services, request: RunRequest, *, probe: bool = True) -> RunRequest:
    """Check a request as ``create_run`` does, and return it with what the environment names; nothing is written.

    Raises:
        BadInput: the request cannot work.
        EndpointError: an endpoint is out of reach or refuses the key.
        StorageError: there is no room or no right to write.
    """
    request = with_environment(request, services.settings)
    for line in unused_models(request, services.plugged):
        logger.warning("%s", line)
    await preflight(request, services.settings, services.plugged, servers=probe)
    return request


async def _refuse_known(services: Services, run_id: str) -> None:
    if run_id not in dict(await services.store.run_ids()):
        return
    status = await status_of(services, run_id)
    match status.standing:
        case "running":
            raise RunBusy(f"run {run_id} is being worked on; 'corral show {run_id}' shows how far it is")
        case "waiting":
            raise RunWaiting(
                f"run {run_id} waits for a person, and a new input would drop its question: {how_to_answer(status)}"
            )
        case "new" | "batched" | "stopped" | "failed" | "done" | "damaged":
            raise BadInput(f"there is a run {run_id} already ({status.standing}); resume it, or choose another name")
        case "unreadable":
            raise BadInput(f"there is a run {run_id} already, of another version of Corral; choose another name")
        case _:
            assert_never(status.standing)
