"""Where runs stand: for those who only look at them, and for those who work on them."""

from __future__ import annotations

import ast
import asyncio
from collections.abc import Container
from typing import Any, Literal

import state.errors
from graph.services import Services
from state.batches import WAIT
from state.errors import DamagedCheckpoint, StorageError, UnknownRun, UnreadableRun
from state.pipeline import PipelineState, relocated
from state.records import Record
from state.snapshots import Snapshot, last_readable, read_snapshot
from tools.sources.inputs import FOLDER, MANIFEST

Standing = Literal["new", "running", "waiting", "batched", "stopped", "failed", "done", "unreadable", "damaged"]
LOST = (
    "the database does not know this run, though its folder {folder} is there: the database was replaced, or lost what "
    "was written last; restore it from a backup, or start the run anew under another name"
)
LATEST = "latest"
"""The name, in place of a run's, of the newest one."""


class RunStatus(Record):
    """Where a run stands."""

    run_id: str
    created_at: str
    standing: Standing
    """``batched``: waits for the answers of a batch, and asks no person; ``stopped``: killed or cancelled;
    ``failed``: a step raised, to be resumed when mended; ``unreadable``: another version of Corral began it, and this
    one cannot read its request; or the database does not know it any more; ``damaged``: its last checkpoint cannot be
    read, to be resumed from the one before."""
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
        UnreadableRun: another version began it, and this one cannot read its request.
    """
    created = dict(await services.store.run_ids())
    if run_id not in created and run_id in await _unknown_folders(services, created):
        raise UnknownRun(LOST.format(folder=services.runs_folder / run_id))
    request = await services.store.request_of(run_id)
    lease = await services.leases.held(run_id)
    worker = f"by {lease}" if lease is not None and lease.owner != services.leases.owner else ""
    try:
        snapshot = await read_snapshot(services.database, run_id)
        standing, step, detail = _standing(snapshot)
        if standing == "batched" and (errors := _failures(snapshot)) and not await services.batches.open(run_id):
            standing, detail = "failed", error_in_words(errors[0])  # it is no wait: the server refused the batch
    except DamagedCheckpoint as error:
        standing, step, detail = "damaged", "", str(error)
    if request.preview and standing == "stopped" and step == "train":
        standing, step = "done", ""
    if worker:
        standing, detail = "running", worker
    return RunStatus(run_id=run_id, created_at=created[run_id], standing=standing, step=step, detail=detail)


async def statuses_of(services: Services) -> list[RunStatus]:
    """Return where all runs stand, newest first; one that cannot be read says why, and hides no other."""
    found = []
    created = dict(await services.store.run_ids())
    for run_id, time in created.items():
        try:
            found.append(await status_of(services, run_id))
        except (UnreadableRun, StorageError) as error:
            standing: Standing = "unreadable" if isinstance(error, UnreadableRun) else "damaged"
            found.append(RunStatus(run_id=run_id, created_at=time, standing=standing, step="", detail=str(error)))
    for run_id in await _unknown_folders(services, created):
        detail = LOST.format(folder=services.runs_folder / run_id)
        found.append(RunStatus(run_id=run_id, created_at="", standing="unreadable", step="", detail=detail))
    return found


async def state_of(services: Services, run_id: str) -> PipelineState:
    """Return a run's state: references, counts and decisions; empty if it has not begun.

    Of a run whose last checkpoint is damaged it is the last one that can be read.
    """
    try:
        snapshot = await read_snapshot(services.database, run_id)
    except DamagedCheckpoint:
        snapshot = await last_readable(services.database, run_id)
    return relocated(snapshot.values, services.runs_folder / run_id)


def _standing(snapshot: Snapshot) -> tuple[Standing, str, str]:
    """Return standing, step and detail of a run that nobody works on."""
    step = next(iter(snapshot.next), "")
    if not snapshot.begun:
        return "new", step, ""
    if snapshot.questions and snapshot.questions[0]["action_requests"][0]["name"] == WAIT:
        return "batched", step, str(snapshot.questions[0]["action_requests"][0]["description"]).partition(". ")[0]
    if snapshot.questions:
        return "waiting", step, _asked(snapshot.questions[0])
    if errors := _failures(snapshot):
        return "failed", step, error_in_words(errors[0])
    return ("stopped" if snapshot.next else "done"), step, ""


def _failures(snapshot: Snapshot) -> list[str]:
    """Return what steps failed with; one that was cancelled, by a signal or beside one that failed, has not failed."""
    return [error for error in snapshot.errors if error != "CancelledError()"]


def error_in_words(kept: str) -> str:
    """Return the message of an error that LangGraph keeps as Python writes it; its kind, too, where it is not ours.

    Args:
        kept: such as ``BadInput('no such file')``.
    """
    name, _, arguments = kept.partition("(")
    try:
        (said,) = ast.literal_eval(f"({arguments.removesuffix(')').rstrip(',')},)")
    except (SyntaxError, ValueError):  # none or several arguments, or some that are no plain values
        return kept
    ours = isinstance(getattr(state.errors, name, None), type)
    return str(said) if ours else f"{name}: {said}"


async def _unknown_folders(services: Services, known: Container[str]) -> list[str]:
    """Return the runs whose folders are there, though the database does not know them: it lost something."""

    def look() -> list[str]:
        manifests = services.runs_folder.glob(f"*/{FOLDER}/{MANIFEST}")
        return sorted(name for path in manifests if (name := path.parent.parent.name) not in known)

    return await asyncio.to_thread(look)


def how_to_answer(status: RunStatus) -> str:
    """Return the command that answers what a run waits for."""
    command = "review" if status.step == "review" else "approve"
    return f"corral {command} {status.run_id}"


def _asked(question: dict[str, Any]) -> str:
    actions = question["action_requests"]
    return f"{len(actions)} x {actions[0]['name']}"
