"""What is damaged is told from what is whole: one checkpoint, the write-ahead log, and the database as a whole."""

from __future__ import annotations

import asyncio
import json
import shutil
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state import wal
from state.checkpoints import open_checkpointer, set_aside_damaged
from state.database import Database
from state.errors import DamagedCheckpoint
from state.request import RunRequest
from state.sqlite import SqliteFile
from state.store import RecordStore
from tests.builders import sample
from tests.harness import Corral
from tests.test_checkpoints import CONFIG, pipeline
from tests.test_previous_version import STANDING, change, standings
from tests.test_previous_version import home as home

CUTS = {
    "cut short": "UPDATE checkpoints SET checkpoint = substr(checkpoint, 1, length(checkpoint) / 2)",
    "emptied": "UPDATE checkpoints SET checkpoint = x''",
    "of another type": "UPDATE checkpoints SET checkpoint = x'93010203'",
    "without a state": "UPDATE checkpoints SET checkpoint = x'80'",
    "with other metadata": "UPDATE checkpoints SET metadata = x'7b7b'",
}


def test_one_damaged_checkpoint_hides_no_other_run(corral: Corral, home: Path) -> None:
    corral("runs")
    for cut in CUTS.values():
        change(home, f"{cut} WHERE thread_id = 'waiting'")
        assert standings(corral) == STANDING | {"waiting": ("damaged", "")}
    code, out, error = corral("show", "waiting", "--json")
    shown = json.loads(out)
    assert code == 0, error
    assert "corral resume waiting" in shown["status"]["detail"]
    assert sum(row["total"] for row in shown["accounts"]["rows"]) > 0, "what is saved of it is shown"
    assert corral("report", "waiting", "--out", "page.html")[0] == 0
    assert "damaged" in Path("page.html").read_text()


async def test_a_run_goes_on_from_the_last_checkpoint_that_can_be_read(database: Database) -> None:
    async with open_checkpointer(database) as saver:
        graph = pipeline(saver)
        await graph.ainvoke({"request": RunRequest()}, CONFIG, durability="sync")
        whole = [point.config["configurable"]["checkpoint_id"] async for point in saver.alist(CONFIG)]
        await _cut(database, whole[:2])
        with pytest.raises(DamagedCheckpoint, match="corral resume run"):
            await graph.aget_state(CONFIG)
        assert await set_aside_damaged(saver, "run") == 2
        assert (await graph.aget_state(CONFIG)).config["configurable"]["checkpoint_id"] == whole[2]
        assert (await graph.ainvoke(None, CONFIG, durability="sync"))["round"] == 3
        assert await set_aside_damaged(saver, "run") == 0


async def _cut(database: Database, ids: list[str]) -> None:
    from sqlalchemy import text

    async with database.writing() as connection:
        for id in ids:
            if database.file:
                cut = "UPDATE checkpoints SET checkpoint = substr(checkpoint, 1, 9) WHERE checkpoint_id = :id"
            else:
                cut = "UPDATE checkpoints SET checkpoint = '{\"v\": 4}' WHERE checkpoint_id = :id"
            await connection.execute(text(cut), {"id": id})


def _killed(folder: Path, rows: int = 40) -> Path:
    """Return a database as a killed process leaves it: marked as in use, with its log and its shared memory."""
    live = folder / "live.db"

    async def write() -> None:
        database = Database(f"sqlite:///{live}")
        await database.create()
        store = RecordStore(database)
        await store.open_run("run", RunRequest())
        for number in range(rows):
            await store.add("run", [sample(f"Task {number}")])
        for suffix in ("", "-wal", "-shm"):
            shutil.copy(f"{live}{suffix}", folder / f"corral.db{suffix}")
        await database.close()

    asyncio.run(write())
    return folder / "corral.db"


def test_a_log_of_a_killed_process_is_whole(tmp_path: Path) -> None:
    database = _killed(tmp_path)
    assert wal.damage(database) == ""
    wal.memory_of(database).unlink()
    assert wal.damage(database) == ""


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (lambda log: log.unlink(), "is missing"),
        (lambda log: log.write_bytes(log.read_bytes()[: log.stat().st_size // 2]), "is cut or damaged"),
        (lambda log: log.write_bytes(b""), "is cut or damaged"),
        (lambda log: log.write_bytes(_flipped(log.read_bytes(), 5000)), "damaged"),
        (lambda log: log.write_bytes(_flipped(log.read_bytes(), 3)), "damaged"),
    ],
    ids=["missing", "cut", "emptied", "changed", "its header"],
)
def test_a_log_that_is_not_whole_is_noticed_and_kept(
    harm: Callable[[Path], Any], said: str, tmp_path: Path, corral: Corral, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "home").mkdir()
    database = _killed(tmp_path / "home")
    harm(wal.log_of(database))
    left = wal.log_of(database).read_bytes() if wal.log_of(database).exists() else None
    assert said in wal.damage(database)
    assert corral("runs")[0] == 0
    (line,) = caplog.messages  # without pytest it is a line on standard error
    assert "write-ahead log" in line and said in line
    kept = [path.read_bytes() for path in database.parent.glob("*.damaged-*")]
    assert kept == ([left] if left is not None else [])


def test_only_the_file_without_its_log_is_noticed_where_it_was_copied_to(
    tmp_path: Path, corral: Corral, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "home").mkdir()
    shutil.copy(_killed(tmp_path), tmp_path / "home" / "corral.db")
    for suffix in ("-wal", "-shm"):
        assert not (tmp_path / "home" / f"corral.db{suffix}").exists()
    assert corral("runs")[0] == 0 and "is missing" in caplog.text


@given(st.data())
def test_a_torn_last_transaction_is_no_damage(data: st.DataObject) -> None:
    log = _log()
    frame = wal.FRAME_HEADER + 4096
    frames = (len(log) - wal.LOG_HEADER) // frame
    cut = data.draw(st.integers(wal.LOG_HEADER, len(log)))
    whole, later = wal.frames(log[:cut])
    assert not later and whole <= (cut - wal.LOG_HEADER) // frame
    at = data.draw(st.integers(wal.LOG_HEADER, len(log) - 1))
    if (at - wal.LOG_HEADER) % frame >= wal.FRAME_HEADER:  # a page's byte
        whole, later = wal.frames(_flipped(log, at))
        assert whole <= (at - wal.LOG_HEADER) // frame and (later or whole < frames)


def _log(made: list[bytes] = []) -> bytes:  # noqa: B006  # made once
    if not made:
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            made.append(wal.log_of(_killed(Path(folder), rows=6)).read_bytes())
    return made[0]


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 0x55]) + data[at + 1 :]


async def test_the_log_is_short_after_an_orderly_end_and_the_file_has_it_all(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'corral.db'}")
    await database.create()
    store = RecordStore(database)
    for number in range(50):
        await store.add("run", [sample(f"Task {number} " * 200)])
    assert wal.log_of(tmp_path / "corral.db").stat().st_size < 3e6
    await database.shorten_log()
    assert wal.log_of(tmp_path / "corral.db").stat().st_size == 0
    await database.close()
    assert [path.name for path in tmp_path.iterdir() if path.suffix != ".db-lock"] == ["corral.db"]
    with sqlite3.connect(tmp_path / "corral.db") as connection:
        assert connection.execute("SELECT count(*) FROM samples").fetchone() == (50,)
        assert connection.execute("PRAGMA user_version").fetchone() == (0,)
    connection.close()


def test_a_run_that_the_database_lost_is_listed_by_its_folder(tmp_path: Path, corral: Corral) -> None:
    inputs = tmp_path / "home" / "runs" / "lost" / "inputs"
    inputs.mkdir(parents=True)
    (inputs / "manifest.json").write_text("{}")
    assert standings(corral) == {"lost": ("unreadable", "")}
    code, _, error = corral("show", "lost")
    assert code == 2 and error.count("\n") == 1 and "restore it from a backup" in error


def test_a_file_is_held_by_all_who_have_it_open(tmp_path: Path) -> None:
    first, second = (SqliteFile(tmp_path / "corral.db") for _ in range(2))
    first.open(lambda: None)
    first.connect().close()
    first.mark()
    second.open(lambda: None)
    first.close()
    assert wal.damage(tmp_path / "corral.db") != "", "the mark stays as long as another has it open"
    second.mark()
    second.close()
    assert wal.damage(tmp_path / "corral.db") == ""
