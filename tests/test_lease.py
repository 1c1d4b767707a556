"""Leases, over SQLite and PostgreSQL: one process works on a run at a time, and a dead one stands in nobody's way."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import psutil
import pytest
from sqlalchemy import select

import state.lease
from state.database import Database
from state.errors import RunBusy, StorageError
from state.lease import Leases
from state.owners import is_dead, process_owner, process_space, shown
from state.request import RunRequest
from state.store import RecordStore
from state.tables import runs

HOLD = """
import asyncio, sys
from state.database import Database
from state.lease import Leases

async def main():
    async with Leases(Database(sys.argv[1])).hold("run"):
        print("held", flush=True)
        await asyncio.sleep(60)

asyncio.run(main())
"""
ELSEWHERE = "another-machine:1:100.00:another-boot:ab12"


def owner_of(pid: int, started: float) -> str:
    """Return the name of a process here as a lease owner."""
    return f"{socket.gethostname()}:{pid}:{started:.2f}:{process_space()}:ab12"


@pytest.fixture(autouse=True)
async def noted_run(store: RecordStore) -> None:
    await store.open_run("run", RunRequest())


def start_holder(url: str) -> "subprocess.Popen[str]":
    root = Path(__file__).parent.parent
    process = subprocess.Popen([sys.executable, "-c", HOLD, url], cwd=root, stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "held\n"
    return process


def kill(process: "subprocess.Popen[str]") -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()
    if process.stdout:
        process.stdout.close()


async def until(condition: Callable[[], Awaitable[bool]]) -> None:
    async with asyncio.timeout(10):
        while not await condition():
            await asyncio.sleep(0.01)


async def lease_until(database: Database) -> float:
    async with database.reading() as connection:
        return float((await connection.execute(select(runs.c.lease_until))).scalar_one())


async def test_of_two_owners_one_holds_it(database: Database) -> None:
    mine, theirs = Leases(database), Leases(database, ELSEWHERE)
    async with mine.hold("run"):
        assert await theirs.holder("run") == process_owner()
        with pytest.raises(RunBusy, match=f"run run is being worked on by {shown(mine.owner)}"):
            async with theirs.hold("run"):
                raise AssertionError("two hold one lease")
    assert await mine.holder("run") is None
    async with theirs.hold("run"):
        assert await mine.holder("run") == ELSEWHERE


async def test_it_nests_and_is_given_back_at_the_outermost_end(database: Database) -> None:
    mine, theirs = Leases(database), Leases(database, ELSEWHERE)

    async def step() -> None:
        async with mine.hold("run"):
            await asyncio.sleep(0.01)

    async with mine.hold("run"):
        await asyncio.gather(*(step() for _ in range(8)))
        assert await theirs.holder("run") == mine.owner
    assert await theirs.holder("run") is None


async def test_an_error_inside_gives_it_back(database: Database) -> None:
    mine = Leases(database)
    with pytest.raises(ValueError, match="inside"):
        async with mine.hold("run"):
            raise ValueError("inside")
    assert await Leases(database, ELSEWHERE).holder("run") is None


async def test_a_cancelled_holder_gives_it_back(database: Database) -> None:
    mine = Leases(database)

    async def work() -> None:
        async with mine.hold("run"):
            await asyncio.sleep(60)

    task = asyncio.create_task(work())
    await until(lambda: _held(database))
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until(lambda: _free(database))


async def _held(database: Database) -> bool:
    return await Leases(database).holder("run") is not None


async def _free(database: Database) -> bool:
    return not await _held(database)


async def _renewed(database: Database, first: float) -> bool:
    return await lease_until(database) > first


async def test_the_lease_of_a_killed_process_is_free_at_once(database: Database, database_url: str) -> None:
    process = start_holder(database_url)
    leases = Leases(database)
    try:
        with pytest.raises(RunBusy, match=f":{process.pid} "):
            async with leases.hold("run"):
                raise AssertionError("two processes hold one lease")
    finally:
        kill(process)
    async with leases.hold("run"):
        assert await leases.holder("run") == leases.owner


async def test_a_killed_process_that_nobody_has_waited_for_is_dead_too(database: Database) -> None:
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    owner = owner_of(process.pid, psutil.Process(process.pid).create_time())
    assert not is_dead(owner)
    process.kill()
    os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    try:
        assert is_dead(owner)
    finally:
        process.wait()
    assert is_dead(owner)


def test_a_process_that_took_a_dead_ones_number_is_another() -> None:
    started = psutil.Process().create_time()
    assert not is_dead(process_owner())
    assert is_dead(owner_of(os.getpid(), started - 3600))


def test_a_clock_set_by_a_second_kills_nobody() -> None:
    """Linux tells a start time as the time of boot plus ticks, and moves the first when the clock is set."""
    started = psutil.Process().create_time()
    assert not is_dead(owner_of(os.getpid(), started - 1))
    assert not is_dead(owner_of(os.getpid(), started + 1))


def test_nothing_is_known_of_another_machines_processes() -> None:
    assert not is_dead(ELSEWHERE)


def test_a_container_of_the_same_name_sees_none_of_its_twins_processes() -> None:
    """Host name, process id and start time may all be the same; where that id counts is not."""
    host, pid, started, space, _ = process_owner().split(":")
    twin = f"{host}:{_dead_pid()}:{started}:{space}"
    assert is_dead(f"{twin}:ab12") and not is_dead(f"{twin}9:ab12")
    assert not is_dead(f"{host}:{pid}:{started}"), "as the version before wrote it"


async def test_of_many_that_see_a_dead_owner_one_wins(database: Database) -> None:
    dead = Leases(database, owner_of(_dead_pid(), 1.0))
    for _ in range(5):
        await dead._take("run")
        rivals = [Leases(database, f"machine-{n}:1:1.00") for n in range(8)]
        ended = await asyncio.gather(*(rival._take("run") for rival in rivals), return_exceptions=True)
        assert sum(result is None for result in ended) == 1
        assert sum(isinstance(result, RunBusy) for result in ended) == 7
        winner = rivals[[result is None for result in ended].index(True)]
        assert await dead.holder("run") == winner.owner
        winner._renewals["run"] = asyncio.create_task(asyncio.sleep(0))
        await winner._release("run")


async def test_one_that_was_taken_while_we_looked_is_not_taken_away(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    await Leases(database, owner_of(_dead_pid(), 1.0))._take("run")
    quick, slow = Leases(database, "quick:1:1.00"), Leases(database, "slow:1:1.00")
    read, reads = database.reading, 0

    @asynccontextmanager
    async def slowly() -> AsyncIterator[object]:
        nonlocal reads
        async with read() as connection:
            yield connection
        reads += 1
        if reads == 1:
            monkeypatch.setattr(database, "reading", read)
            await quick._take("run")

    monkeypatch.setattr(database, "reading", slowly)
    with pytest.raises(RunBusy):
        await slow._take("run")
    assert await slow.holder("run") == quick.owner


def _dead_pid() -> int:
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


async def test_one_that_is_taken_again_while_it_is_given_back_is_kept(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Batches of one run hold its lease one after the other, and the first may end as the second begins."""
    mine, entered, leave = Leases(database), asyncio.Event(), asyncio.Event()

    async def second() -> None:
        async with mine.hold("run"):
            entered.set()
            await leave.wait()

    async with mine._lock:  # whatever the order in which the two come to it
        mine._depth["run"] = 0
        later = asyncio.create_task(second())
        await asyncio.sleep(0)
    await entered.wait()
    await mine._release("run")  # of the one before, which found nobody else
    assert await mine.holder("run") == mine.owner and "run" in mine._renewals
    leave.set()
    await later
    assert await mine.holder("run") is None and not mine._renewals


async def test_one_that_is_not_renewed_runs_out(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state.lease, "LEASE_SECONDS", 1.0)
    await Leases(database, ELSEWHERE)._take("run")
    mine = Leases(database)
    with pytest.raises(RunBusy, match="another-machine"):
        await mine._take("run")
    await until(lambda: _free(database))
    async with mine.hold("run"):
        assert await mine.holder("run") == mine.owner


async def test_one_that_is_held_is_renewed(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state.lease, "LEASE_SECONDS", 3.0)
    async with Leases(database, ELSEWHERE).hold("run"):
        first = await lease_until(database)
        await until(lambda: _renewed(database, first))
        with pytest.raises(RunBusy):
            await Leases(database)._take("run")


async def test_a_renewal_that_fails_once_is_tried_again(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(state.lease, "LEASE_SECONDS", 1.5)
    mine = Leases(database)
    async with mine.hold("run"):
        first, write, failures = await lease_until(database), database.writing, 0

        @asynccontextmanager
        async def locked() -> AsyncIterator[object]:
            nonlocal failures
            failures += 1
            monkeypatch.setattr(database, "writing", write)
            raise StorageError("database is locked")
            yield

        monkeypatch.setattr(database, "writing", locked)
        await until(lambda: _renewed(database, first))
        assert failures == 1
    assert await mine.holder("run") is None
