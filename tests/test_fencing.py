"""Fencing, over SQLite and PostgreSQL: a process that has lost a run writes nothing more for it, wherever it stood."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest
from langgraph.checkpoint.base import empty_checkpoint
from sqlalchemy import update

import state.lease
from state.calls import CallStore
from state.checkpoints import open_checkpointer
from state.database import Database
from state.errors import LeaseLost, RunBusy, StorageError
from state.fencing import read_lease
from state.lease import Leases
from state.records import Sample
from state.request import Budget, RunRequest
from state.store import RecordStore
from state.tables import runs
from tests.builders import call, sample
from tools.files import new_folder, publish, write_file
from tools.registry import current, point

CONFIG: Any = {"configurable": {"thread_id": "run", "checkpoint_ns": "", "checkpoint_id": empty_checkpoint()["id"]}}


@pytest.fixture
async def theirs(database: Database, database_url: str) -> AsyncIterator[Leases]:
    """Another process on another machine, over the same database."""
    await RecordStore(database).open_run("run", RunRequest(budget=Budget(dollars=1.0)))
    other = Database(database_url)
    yield Leases(other, "another-machine:1:100.00:another-boot:ab12")
    await other.close()


WRITES: dict[str, Callable[[Database], Awaitable[Any]]] = {
    "a row": lambda database: RecordStore(database).add("run", [sample("New.")]),
    "a changed row": lambda database: RecordStore(database).settle("run", [sample("Old.")]),
    "an answer": lambda database: CallStore(database).put(call("new")),
    "a use": lambda database: CallStore(database).use("run", "old", "respond"),
    "a reservation": lambda database: CallStore(database).reserve("run", 0.1),
    "a call that costs nothing": lambda database: CallStore(database).reserve("run", 0.0),
    "a raised cap": lambda database: CallStore(database).raise_cap("run", 5.0),
}


@pytest.mark.parametrize("write", WRITES)
async def test_who_lost_a_run_writes_nothing(write: str, database: Database, theirs: Leases) -> None:
    mine = Leases(database)
    with pytest.raises(LeaseLost, match="run run was taken over by another-machine:1"):
        async with mine.hold("run"):
            await WRITES[write](database)
            async with theirs.hold("run", take_over=True):
                before = await kept(theirs.database)
                with pytest.raises(LeaseLost, match=r"taken over by another-machine:1 .*, lease until"):
                    await WRITES[write](database)
                assert await kept(theirs.database) == before
            # Nor when the other has ended meanwhile.
            await WRITES[write](database)
    with pytest.raises(LeaseLost):
        await WRITES[write](database)
    async with mine.hold("run"):
        await WRITES[write](database)


async def kept(database: Database) -> list[Any]:
    store, calls = RecordStore(database), CallStore(database)
    rows = await store.find("run", Sample)
    async with database.reading() as connection:
        booked = (await connection.execute(runs.select().with_only_columns(runs.c.reserved, runs.c.budget))).one()
    return [rows, await calls.spent("run"), await calls.tally("run"), tuple(booked)]


async def test_who_lost_a_run_writes_no_checkpoint(database: Database, theirs: Leases) -> None:
    mine = Leases(database)
    async with open_checkpointer(database) as saver, open_checkpointer(theirs.database) as other:
        with pytest.raises(LeaseLost):
            async with mine.hold("run"):
                await saver.aput(CONFIG, empty_checkpoint(), {}, {})
                await saver.aput_writes(CONFIG, [("channel", 1)], "task")
                async with theirs.hold("run", take_over=True):
                    with pytest.raises(LeaseLost):
                        await saver.aput(CONFIG, empty_checkpoint(), {}, {})
                    with pytest.raises(LeaseLost):
                        await saver.aput_writes(CONFIG, [("channel", 2), ("channel", 3)], "later")
                    # The refused writes hold no lock.
                    await other.aput(CONFIG, empty_checkpoint(), {}, {})
                await saver.aput(CONFIG, empty_checkpoint(), {}, {})
        assert len([found async for found in other.alist({"configurable": {"thread_id": "run"}})]) == 2
        # A thread that is no run of the store has no lease, and a run that nobody holds may be written by anyone.
        await saver.aput({"configurable": {"thread_id": "x", "checkpoint_ns": ""}}, empty_checkpoint(), {}, {})
        await open_checkpoint_of_a_free_run(database, theirs)


async def open_checkpoint_of_a_free_run(database: Database, theirs: Leases) -> None:
    third = Database(
        database.url.render_as_string(hide_password=False).replace("+aiosqlite", "").replace("+psycopg", "")
    )
    async with open_checkpointer(third) as saver:
        await saver.aput(CONFIG, empty_checkpoint(), {}, {})
        async with theirs.hold("run"):
            with pytest.raises(RunBusy, match="another-machine:1"):
                await saver.aput(CONFIG, empty_checkpoint(), {}, {})
            with pytest.raises(RunBusy, match="another-machine:1"):
                await RecordStore(third).add("run", [sample("New.")])
    await third.close()


async def test_a_live_lease_is_broken_only_when_asked_to(database: Database, theirs: Leases) -> None:
    mine = Leases(database)
    async with theirs.hold("run"):
        with pytest.raises(RunBusy, match=r"lease until \d\d:\d\d:\d\d UTC.*corral resume run --take-over"):
            await mine._take("run")
        first = await read_lease(database, "run")
        await mine._take("run", take_over=True)
        second = await read_lease(database, "run")
    assert first and second and (second.owner, second.epoch) == (mine.owner, first.epoch + 1)


async def test_a_loss_is_noticed_by_the_work_itself(
    database: Database, theirs: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Work that neither writes nor asks, such as a training, is cancelled by the next renewal."""
    monkeypatch.setattr(state.lease, "LEASE_SECONDS", 0.3)
    began = asyncio.Event()

    async def step() -> None:
        async with mine.hold("run"):
            began.set()
            await asyncio.sleep(60)

    mine = Leases(database)
    async with asyncio.timeout(10):
        with pytest.raises(LeaseLost, match="another-machine:1"):
            async with mine.hold("run"):
                nested = asyncio.create_task(step())
                await began.wait()
                await theirs._take("run", take_over=True)
                await asyncio.sleep(60)
        with pytest.raises(LeaseLost):
            await nested
    lease = await read_lease(database, "run")
    assert not mine._renewals and lease is not None and lease.owner == theirs.owner


async def test_a_lease_that_ran_out_is_renewed_if_nobody_took_it(
    database: Database, theirs: Leases, monkeypatch: pytest.MonkeyPatch
) -> None:
    mine = Leases(database)
    async with mine.hold("run"):
        async with database.writing() as connection:
            await connection.execute(update(runs).values(lease_until=1.0))
        assert await theirs.holder("run") is None
        await RecordStore(database).add("run", [sample("New.")])
        assert await mine._renew_once("run")
        assert await theirs.holder("run") == mine.owner


async def test_no_hosts_clock_matters(database: Database, theirs: Leases, monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    async with theirs.hold("run"):
        for hours in (-5, 5):
            with monkeypatch.context() as skewed:
                skewed.setattr(time, "time", lambda hours=hours: 1.7e9 + hours * 3600)
                with pytest.raises(RunBusy):
                    await Leases(database)._take("run")


async def test_two_processes_cannot_pass_a_cap_together(database: Database, theirs: Leases) -> None:
    ledgers = [CallStore(database), CallStore(theirs.database)]
    asked = await asyncio.gather(*(ledger.reserve("run", 0.3) for ledger in ledgers for _ in range(4)))
    assert sum(over is None for over in asked) == 3
    over = next(over for over in asked if over is not None)
    assert (over.spent, over.cap) == (0.0, 1.0)
    await ledgers[0].release("run", 0.3)
    assert await ledgers[1].reserve("run", 0.3) is None


async def test_an_answer_takes_the_place_of_its_reservation(database: Database, theirs: Leases) -> None:
    ledger = CallStore(database)
    async with Leases(database).hold("run"):
        assert await ledger.reserve("run", 0.9) is None
        assert await ledger.reserve("run", 0.2) is not None
        await ledger.put(call("a", cost=0.7), 0.9)
        assert await ledger.reserve("run", 0.2) is None
        over = await ledger.reserve("run", 0.2)
        assert over is not None and (over.spent, over.cap) == (0.7, 1.0)


async def test_what_a_dead_process_had_in_flight_still_counts(database: Database, theirs: Leases) -> None:
    """It may have been answered, and paid for; what is in the ledger counts as it cost."""
    ledger = CallStore(theirs.database)
    await theirs._take("run")
    await ledger.reserve("run", 0.25)
    await ledger.reserve("run", 0.5)
    await ledger.put(call("a", cost=0.25), 0.5)
    async with Leases(database).hold("run", take_over=True):
        mine = CallStore(database)
        assert await mine.reserve("run", 0.51) is not None
        assert await mine.reserve("run", 0.5) is None


def _publish(folder: Path) -> None:
    with new_folder(folder.parent) as part:
        write_file(part / "file", b"x")
        publish(part, folder)


async def test_no_file_of_a_lost_run_is_put_in_its_place(database: Database, theirs: Leases, tmp_path: Path) -> None:
    registry, mine = tmp_path / "registry", Leases(database)
    for version in ("v1-00000000", "v2-11111111"):
        (registry / version).mkdir(parents=True)
    with pytest.raises(LeaseLost):
        async with mine.hold("run"):
            with mine.step("run"):
                await asyncio.to_thread(write_file, tmp_path / "file", b"first")
                await asyncio.to_thread(_publish, tmp_path / "first")
                await asyncio.to_thread(point, registry, "v1-00000000")
                async with theirs.hold("run", take_over=True):
                    with pytest.raises(LeaseLost):
                        await asyncio.to_thread(write_file, tmp_path / "file", b"second")
                    with pytest.raises(LeaseLost):
                        await asyncio.to_thread(_publish, tmp_path / "second")
                    with pytest.raises(LeaseLost):
                        await asyncio.to_thread(point, registry, "v2-11111111")
            raise LeaseLost("as the work itself would")
    assert (tmp_path / "file").read_bytes() == b"first" and current(registry) == "v1-00000000"
    assert sorted(path.name for path in tmp_path.glob("*") if not path.name.startswith("corral.db")) == [
        "file",
        "first",
        "registry",
    ]


async def test_an_error_after_a_run_was_lost_is_told_as_the_loss(database: Database, theirs: Leases) -> None:
    """The next owner clears away what the last one left half written, which the last one then cannot find."""
    mine = Leases(database)
    with pytest.raises(LeaseLost, match="run run was taken over by another-machine:1") as told:
        async with mine.hold("run"), theirs.hold("run", take_over=True):
            raise StorageError("datasets/.part-1/alpaca.json cannot be used")
    assert isinstance(told.value.__cause__, StorageError)
    with pytest.raises(StorageError, match="alpaca"):
        async with mine.hold("run"):
            raise StorageError("datasets/.part-1/alpaca.json cannot be used")
