"""A backup of a live home: it is consistent, it can be restored, and a run goes on from it."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import tarfile
from pathlib import Path

import pytest

from graph.runs import open_runs
from state.database import Database
from state.records import Sample
from state.request import RunRequest
from state.store import RecordStore
from tests.builders import sample
from tests.harness import Corral, refused, request_of, write_prompts
from tests.scripted_server import ScriptedServer
from tools.backup import back_up
from tools.settings import load_settings


def unpack(archive: Path, folder: Path) -> Path:
    with tarfile.open(archive) as tar:
        tar.extractall(folder, filter="data")
    return folder


def test_a_run_goes_on_from_a_restored_backup_and_asks_nothing_again(
    corral: Corral, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(fail_when={"large": "401"}) as server:
        prompts = write_prompts(tmp_path / "prompts.jsonl", 12, 2)
        written = request_of(server.url, Path("nobody/no-model"), prompts, sampling={"candidates": 2})

        async def start() -> None:
            async with open_runs(load_settings()) as runs:
                run_id = await runs.create(RunRequest.model_validate(written), "kept")
                with pytest.raises(Exception, match="refuses the key"):
                    async for _ in runs.advance(run_id):
                        pass

        asyncio.run(start())
        answered = len(server.answered)
        code, out, error = corral("backup", str(tmp_path / "kept.tar.gz"), "--json")
        made = json.loads(out)
        assert code == 0 and (made["runs"], made["answers"]) == (1, answered), error
        refused(corral("backup", str(tmp_path / "kept.tar.gz")), "exists already; --yes overwrites it")
        assert corral("backup", str(tmp_path / "kept.tar.gz"), "--yes")[0] == 0
        restored = unpack(tmp_path / "kept.tar.gz", tmp_path / "elsewhere")
        prompts.unlink()
        monkeypatch.setenv("CORRAL_HOME", str(restored))
        (status,) = json.loads(corral("runs", "--json")[1])
        assert (status["standing"], status["step"]) == ("failed", "respond")
        assert "refuses the key" in corral("resume", "kept")[2]
        hashes = [seen.hash for seen in server.answered]
        assert len(hashes) == len(set(hashes)), "what was answered is in the copy"


async def test_a_backup_of_a_database_that_is_written_to_is_of_one_instant(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'home' / 'corral.db'}")
    await database.create()
    store = RecordStore(database)
    kept_folders = ("runs/a/datasets/v1", "calibrations/judge", "evaluations/one")
    for folder in ("runs/a/.part-x", "runs/a/training/round-1/checkpoint-3", *kept_folders):
        (tmp_path / "home" / folder).mkdir(parents=True)
        (tmp_path / "home" / folder / "file").write_text("data")

    async def write() -> None:
        for number in range(30):
            # In one transaction: a copy has both or none.
            await store.add("run", [sample(f"a {number}"), sample(f"b {number}")])

    writing = asyncio.create_task(write())
    while not await store.ids("run", Sample):
        await asyncio.sleep(0.01)
    await asyncio.to_thread(back_up, database, tmp_path / "home", tmp_path / "copy.tar")
    await writing
    await database.close()
    restored = unpack(tmp_path / "copy.tar", tmp_path / "restored")
    with sqlite3.connect(restored / "corral.db") as connection:
        (rows,) = connection.execute("SELECT count(*) FROM samples").fetchone()
    connection.close()
    assert 2 <= rows <= 60 and rows % 2 == 0
    kept = sorted(str(path.relative_to(restored)) for path in restored.rglob("*") if path.is_file())
    assert kept == sorted(["corral.db", *(f"{folder}/file" for folder in kept_folders)])
    assert not list(tmp_path.glob(".part-*"))


def test_what_cannot_be_backed_up_is_one_line(corral: Corral, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    refused(corral("backup", str(tmp_path / "none.tar")), "there is no database")
    assert not (tmp_path / "home").exists(), "nothing is made by asking"
    assert corral("runs")[0] == 0
    result = corral("backup", str(tmp_path / "nowhere" / "b.tar"))
    refused(result, f"{tmp_path}/nowhere/b.tar cannot be written: No such file or directory; name another place")
    monkeypatch.setenv("CORRAL_DATABASE_URL", "postgresql://ada:secret@127.0.0.1:1/corral")
    code, _, error = corral("backup", str(tmp_path / "none.tar"))
    assert code == 2 and "pg_dump" in error and "secret" not in error
