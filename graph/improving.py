"""One turn of the loop: look at a version that is tried, go on with an improvement, or look at the feedback."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal, assert_never

from graph.runs import Runs
from state.errors import NothingDeployed, RunBusy, UnreadableRun
from state.feedback import look_of
from state.records import Record
from state.request import RunRequest
from tools.improvement.canary import Canary, close_canary, deployed_version, read_canary
from tools.improvement.looking import look_at_feedback
from tools.improvement.promotion import PromotionDecision, decide_promotion
from tools.registry import point

PREFIX = "improve-"
"""Of the names of runs of improvement; the version and a number follow."""


class Turn(Record):
    """What a turn of the loop found, and what is to do."""

    action: Literal["trying", "settled", "waits for a person", "wait", "run"]
    """``trying``: the ratings do not say yet which version is better. ``settled``: they did, and it was followed.
    ``waits for a person``: they did, and a person follows it. ``wait``: the feedback is no reason to retrain, or
    nothing is deployed yet. ``run``: a run of improvement is to be worked on."""
    reason: str
    """One line for a person."""
    run: str = ""
    """The run to work on."""


async def next_turn(runs: Runs, request: RunRequest) -> Turn:
    """Return what is to do next, and note a new run where one begins; what was looked at is recorded.

    Args:
        runs: all runs.
        request: the owner's, for a new run.

    Raises:
        RunBusy: another process works on an improvement.
        BadInput: the deployed version is an adapter of another base.
        CorralError: as for ``Runs.create``.
    """
    if (unfinished := await unfinished_run(runs)) is not None:
        return Turn(action="run", reason=f"run {unfinished} is not done", run=unfinished)
    registry = registry_of(runs, request)
    canary = await asyncio.to_thread(read_canary, registry)
    if canary is not None:
        return await settle_canary(runs, registry, canary, unattended=request.unattended)
    try:
        version = await asyncio.to_thread(deployed_version, registry, request.models.base)
    except NothingDeployed as error:
        return Turn(action="wait", reason=str(error))
    decision = await look_at_feedback(runs.services.feedback, version, request.improve, datetime.now(UTC))
    if decision.action == "wait":
        return Turn(action="wait", reason=f"{version}: {decision.reason}")
    run = await runs.create(improving(request, registry, version), await _free_name(runs, version))
    return Turn(action="run", reason=f"{version}: {decision.reason}", run=run)


async def unfinished_run(runs: Runs) -> str | None:
    """Return the run of improvement that is not done, the newest one where there are several.

    Raises:
        RunBusy: another process works on it.
    """
    for run_id, _ in await runs.services.store.run_ids():
        if not run_id.startswith(PREFIX):
            continue
        try:
            status = await runs.status(run_id)
        except UnreadableRun:
            continue
        match status.standing:
            case "running":
                raise RunBusy(f"run {run_id} improves on the deployed version already: it is worked on {status.detail}")
            case "new" | "waiting" | "batched" | "stopped" | "failed" | "damaged":
                return run_id
            case "done" | "unreadable":
                continue
            case _:
                assert_never(status.standing)
    return None


async def settle_canary(runs: Runs, registry: Path, canary: Canary, *, unattended: bool) -> Turn:
    """Look at a version that is tried, record it, and follow what the ratings say where nobody is to be asked.

    Args:
        runs: all runs.
        registry: where the version is.
        canary: the version.
        unattended: whether a decision is followed without a person.
    """
    decision = await look_at_canary(runs, canary)
    if decision.action == "wait":
        return Turn(action="trying", reason=f"{canary.version} is being tried: {decision.reason}")
    if not unattended:
        how = "'corral canary --promote' or 'corral canary --end' follows it"
        return Turn(action="waits for a person", reason=f"{decision.action}: {decision.reason}; {how}")
    if decision.action == "promote":
        await asyncio.to_thread(point, registry, canary.version)
    await asyncio.to_thread(close_canary, registry)
    return Turn(action="settled", reason=f"{decision.action}: {decision.reason}")


async def look_at_canary(runs: Runs, canary: Canary) -> PromotionDecision:
    """Return what the ratings say of a version that is tried, and record that it was looked at."""
    feedback = runs.services.feedback
    ours = await feedback.feedback(canary.version, since=canary.opened_at, arm="canary")
    theirs = await feedback.feedback(canary.against, since=canary.opened_at, arm="current")
    decision = await asyncio.to_thread(decide_promotion, ours, theirs, canary.share)
    figures = decision.model_dump(include={"challenger", "current"}) | decision.difference.model_dump()
    await feedback.add_look(look_of("canary", canary.version, decision.action, decision.reason, **figures))
    return decision


def registry_of(runs: Runs, request: RunRequest) -> Path:
    """Return the registry that a request names, or the home's."""
    return Path(request.deploy.registry or runs.services.registry)


def improving(request: RunRequest, registry: Path, version: str) -> RunRequest:
    """Return the request of a run that improves on a version.

    Where it goes on with the deployed adapter, that answers the prompts, too: what is learned from is its own.
    """
    models = request.models
    if request.improve.start == "deployed" and models.policy.model == models.base:
        models = models.model_copy(
            update={"policy": models.policy.model_copy(update={"model": str(registry / version)})}
        )
    improve = request.improve.model_copy(update={"from_feedback": True})
    return request.model_copy(update={"models": models, "improve": improve})


async def _free_name(runs: Runs, version: str) -> str:
    """Return the name of the next run on a version: two processes come to the same, and one of them is refused."""
    known = [run_id for run_id, _ in await runs.services.store.run_ids()]
    number = 1
    while f"{PREFIX}{version}-{number}" in known:
        number += 1
    return f"{PREFIX}{version}-{number}"
