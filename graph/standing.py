"""Where runs stand: for those who only look at them, and for those who work on them."""

from __future__ import annotations

from typing import Any, Literal

from graph.services import Services
from state.errors import UnknownRun, UnreadableRun
from state.pipeline import PipelineState, relocated
from state.records import Record
from state.snapshots import read_snapshot

Standing = Literal["new", "running", "waiting", "stopped", "failed", "done", "unreadable"]
LATEST = "latest"
"""The name, in place of a run's, of the newest one."""


class RunStatus(Record):
    """Where a run stands."""

    run_id: str
    created_at: str
    standing: Standing
    """``stopped``: killed or cancelled, to be resumed; ``failed``: a step raised, to be resumed when mended;
    ``unreadable``: another version of Corral began it, and this one cannot read its request."""
    step: str
    """The step that runs, waits or failed; empty if the run is done."""
    detail: str = ""
    """The error of a failed run, why one cannot be read, what a waiting one asks, or who works on a running one."""


async def named_run(services: Services, name: str) -> str:
    """Return the run that a person means: for ``latest`` the newest one, unless a run is called so.

    Raises:
        UnknownRun: the newest one is meant, and there is none.
    """
    if name != LATEST:
        return name
    names = [run_id for run_id, _ in await services.store.run_ids()]
    if LATEST in names:
        return LATEST
    if not names:
        raise UnknownRun("there are no runs yet; 'corral run' starts one")
    return names[0]


async def status_of(services: Services, run_id: str) -> RunStatus:
    """Return where a run stands.

    Raises:
        UnknownRun: there is no such run.
        UnreadableRun: another version began it, and this one cannot read its request; or its checkpoint is damaged.
    """
    await services.store.request_of(run_id)
    created = dict(await services.store.run_ids())[run_id]
    snapshot = await read_snapshot(services.database, run_id)
    holder = await services.leases.holder(run_id)
    step, detail = next(iter(snapshot.next), ""), next(iter(snapshot.errors), "")
    if holder not in (None, services.leases.owner):
        standing: Standing = "running"
        detail = f"by {holder} (host:process)"
    elif not snapshot.values:
        standing = "new"
    elif snapshot.questions:
        standing, detail = "waiting", _asked(snapshot.questions[0])
    elif snapshot.errors:
        standing = "failed"
    else:
        standing = "stopped" if snapshot.next else "done"
    return RunStatus(run_id=run_id, created_at=created, standing=standing, step=step, detail=detail)


async def statuses_of(services: Services) -> list[RunStatus]:
    """Return where all runs stand, newest first; one that cannot be read says why, and hides no other."""
    found = []
    for run_id, created in await services.store.run_ids():
        try:
            found.append(await status_of(services, run_id))
        except UnreadableRun as error:
            found.append(
                RunStatus(run_id=run_id, created_at=created, standing="unreadable", step="", detail=str(error))
            )
    return found


async def state_of(services: Services, run_id: str) -> PipelineState:
    """Return a run's state: references, counts and decisions; empty if it has not begun."""
    snapshot = await read_snapshot(services.database, run_id)
    return relocated(snapshot.values, services.runs_folder / run_id)


def how_to_answer(status: RunStatus) -> str:
    """Return the command that answers what a run waits for."""
    command = "review" if status.step == "review" else "approve"
    return f"corral {command} {status.run_id}"


def _asked(question: dict[str, Any]) -> str:
    actions = question["action_requests"]
    return f"{len(actions)} x {actions[0]['name']}"
