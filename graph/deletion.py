"""Delete a run: what goes, what stays, and in which order, so that a deletion that is killed can be done again."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path

from sqlalchemy import delete, func, select, update

from graph.services import Services
from state.errors import StorageError, UnknownRun
from state.rows import TABLES
from state.tables import call_uses, calls, metadata, runs
from state.wording import number_of

DELETED = "(deleted)"
"""In place of a run's name, who paid for a call that outlives the run. No run can be called so."""


async def what_goes(services: Services, run_id: str) -> str:
    """Return in words what a deletion removes.

    Raises:
        UnknownRun: there is no such run.
    """
    if run_id not in dict(await services.store.run_ids()):
        raise UnknownRun(f"there is no run {run_id!r}; 'corral runs' lists them")
    async with services.database.reading() as connection:
        rows = 0
        for table in TABLES.values():
            count = select(func.count()).select_from(table).where(table.c.run_id == run_id)
            rows += (await connection.execute(count)).scalar_one()
    folder = services.runs_folder / run_id
    size = await asyncio.to_thread(_size, folder)
    return f"{number_of(rows, 'row')} and {folder} ({size / 1e6:,.1f} MB) go{await _left_at_servers(services, run_id)}"


async def delete_run(services: Services, run_id: str) -> str:
    """Delete a run, and return in words what of it stays.

    Its answers stay in the ledger: other runs may use them, and they are paid for. What it deployed stays, as a copy.

    Raises:
        UnknownRun: there is no such run.
        RunBusy: a process works on it.
        StorageError: its folder cannot be removed.
    """
    from state.checkpoints import open_checkpointer  # LangGraph: who is asked first, or refused, needs none of it

    left = await _left_at_servers(services, run_id)
    async with services.leases.hold(run_id):
        async with open_checkpointer(services.database) as saver:
            await saver.adelete_thread(run_id)
        await asyncio.to_thread(_remove, services.runs_folder / run_id)
        async with services.database.writing() as connection:
            kept = select(func.count()).select_from(call_uses).where(call_uses.c.run_id == run_id)
            answers = (await connection.execute(kept)).scalar_one()
            # A later run of this name must not find its budget spent.
            await connection.execute(update(calls).where(calls.c.run_id == run_id).values(run_id=DELETED))
            for table in metadata.sorted_tables:
                if "run_id" in table.c and table not in (calls, runs):
                    await connection.execute(delete(table).where(table.c.run_id == run_id))
            await connection.execute(delete(runs).where(runs.c.run_id == run_id))
    kept_answers = number_of(answers, "answer")
    return f"what stays: {kept_answers} in the ledger, where other runs find them, and adapters in the registry{left}"


async def _left_at_servers(services: Services, run_id: str) -> str:
    """Return in words which batches of a run go on at their servers, and are paid for; empty where none does."""
    sent = [one for one in await services.batches.open(run_id) if one.tried_at is not None]
    told = [
        f"; {one.server_id or 'a batch'} with {number_of(one.calls, 'call')} goes on at {one.endpoint}, which "
        "charges for it: cancel it there"
        for one in sent
    ]
    return "".join(told)


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _remove(folder: Path) -> None:
    try:
        shutil.rmtree(folder)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise StorageError(f"{error.filename} cannot be removed: {error.strerror}; nothing else was deleted") from error
