"""Many processes start on an empty home, on both databases; and a home that can only be read still shows."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.harness import ROOT, Corral, refused
from tests.test_previous_version import STANDING, standings
from tests.test_previous_version import home as home

STARTERS = 6
START = """
import asyncio, os, sys
from state.checkpoints import open_checkpointer
from state.database import Database
from state.store import RecordStore
from state.request import RunRequest

async def start(url, name):
    database = Database(url)
    await database.create()
    async with open_checkpointer(database):
        await RecordStore(database).open_run(name, RunRequest())
        await database.create()
    await database.close()

ready, go = os.pipe()
children = []
for number in range(int(sys.argv[2])):
    if child := os.fork():
        children.append(child)
        continue
    os.close(go)
    os.read(ready, 1)  # returns for all at once, when the other end is closed
    asyncio.run(start(sys.argv[1], f"run-{number}"))
    os._exit(0)
os.close(go)
sys.exit(any([os.waitpid(child, 0)[1] for child in children]))
"""


def test_any_number_of_starters_makes_one_database(database_url: str) -> None:
    done = subprocess.run(
        [sys.executable, "-c", START, database_url, str(STARTERS)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, ""), done.stderr


@pytest.fixture
def locked(home: Path) -> Iterator[Callable[[], None]]:
    """Return what makes the home read-only: a mount, since the modes of files do not bind root."""
    mounted = []

    def lock() -> None:
        if os.getuid() != 0:
            for path in (*home.rglob("*"), home):
                path.chmod(0o555 if path.is_dir() else 0o444)
            return
        try:
            subprocess.run(["mount", "--bind", str(home), str(home)], check=True, capture_output=True)
            mounted.append(home)
            subprocess.run(["mount", "-o", "remount,ro,bind", str(home)], check=True, capture_output=True)
        except (OSError, subprocess.CalledProcessError):
            pytest.skip("mounting is not allowed here, and nothing else keeps root from writing")

    yield lock
    for _ in mounted:
        subprocess.run(["umount", "-l", str(home)], check=True)
    for path in home.rglob("*"):
        path.chmod(0o755)


def test_a_home_that_can_only_be_read_still_shows(
    corral: Corral, home: Path, locked: Callable[[], None], tmp_path: Path
) -> None:
    corral("runs")
    locked()
    before = {path: path.stat().st_mtime_ns for path in home.rglob("*")}
    assert standings(corral) == STANDING
    assert corral("show", "finished", "--json")[0] == 0
    page, rows = tmp_path / "page.html", tmp_path / "rows.jsonl"
    assert corral("report", "finished", "--out", str(page))[0] == 0 and page.exists()
    assert corral("export", "finished", "--format", "sft", "--out", str(rows))[0] == 0 and rows.exists()
    assert corral("backup", str(tmp_path / "copy.tar"))[0] == 0
    for command in (("report", "finished"), ("resume", "stopped"), ("review", "waiting", "--all", "reject")):
        refused(corral(*command), "ead-only")
    seeds = f"sources.seeds={ROOT / 'seeds' / 'seed_tasks.jsonl'}"
    refused(corral("run", "--set", seeds, "--set", f"sources.prompts={ROOT / 'seeds' / 'prompts.jsonl'}"), str(home))
    assert {path: path.stat().st_mtime_ns for path in home.rglob("*")} == before, "nothing was written"


@pytest.mark.parametrize("memory", [True, False], ids=["with shared memory", "without"])
def test_what_a_killed_process_left_in_the_log_is_read_too(
    memory: bool, corral: Corral, home: Path, locked: Callable[[], None]
) -> None:
    corral("runs")
    with closing(sqlite3.connect(home / "corral.db")) as live:
        live.execute("UPDATE runs SET run_id = 'renamed' WHERE run_id = 'waiting'")
        live.commit()
        kept = {name: (home / name).read_bytes() for name in ("corral.db", "corral.db-wal", "corral.db-shm")}
    for name in kept if memory else ("corral.db", "corral.db-wal"):
        (home / name).write_bytes(kept[name])
    locked()
    assert set(standings(corral)) == {"finished", "stopped", "renamed"}


def test_an_empty_home_that_can_only_be_read_is_one_line(
    corral: Corral, home: Path, locked: Callable[[], None]
) -> None:
    (home / "corral.db").unlink()
    locked()
    refused(corral("runs"), "is read-only", "no database")


def test_a_home_of_an_earlier_version_that_can_only_be_read_is_one_line(
    corral: Corral, locked: Callable[[], None]
) -> None:
    locked()
    refused(corral("runs"), "is read-only", "earlier version")
