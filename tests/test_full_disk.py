"""A disk that fills up, and a database that is lost, under a run that pays: it stops at once, says why, and goes on."""

from __future__ import annotations

import asyncio
import errno
import json
import os
import sqlite3
import subprocess
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import yaml

from graph.runs import open_runs
from state.calls import CallStore
from state.database import Database
from state.errors import StorageError
from state.request import Endpoint, RunRequest
from state.store import RecordStore
from tests.harness import Corral, request_of, write_prompts
from tests.scripted_answers import answer_to
from tests.scripted_server import MODEL, ScriptedServer
from tests.test_endpoint_client import draws
from tools.endpoint.client import LedgeredEndpoint
from tools.endpoint.http_transport import HttpTransport
from tools.settings import load_settings

SLOTS = 4
BYTES = 40_000_000


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """Mount a file system of 40 MB, where this user may."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={BYTES}", "tmpfs", str(folder)]
    try:
        subprocess.run(mount, check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("mounting a small file system is not allowed here")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def fill(folder: Path, leave: int = 8192) -> Path:
    """Fill a file system up to a few bytes."""
    filler = folder / "filler"
    with filler.open("ab", buffering=0) as file:
        try:
            while True:
                file.write(b"\0" * 65536)
        except OSError as error:
            assert error.errno == errno.ENOSPC
        file.truncate(max(0, file.tell() - leave))
    return filler


def test_a_full_disk_stops_all_sending_and_the_run_goes_on(
    corral: Corral, small_disk: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("CORRAL_HOME", str(small_disk / "home"))
    monkeypatch.setattr("tools.machine.disk.RUN_BYTES", 0)

    done: list[Any] = []

    def answer(body: dict[str, Any]) -> str:
        if len(server.requests) >= 12 and not done:
            done.append(fill(small_disk))
        if len(server.answered) >= 36:
            server.keys = ["none"]  # before the judge, whose libraries take long to import
        return answer_to(body)

    with ScriptedServer(answer=answer, latency=0.02) as server:
        prompts = write_prompts(tmp_path / "prompts.jsonl", 4, 2)
        written = request_of(server.url, Path("nobody/no-model"), prompts, sampling={"candidates": 16})
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(written))
        code, _, error = corral("run", str(tmp_path / "config.yaml"), "--run-id", "full")
        last = error.strip().split("\n")[-1]
        assert (code, "Traceback" in error) == (2, False), error
        assert "disk is full" in last and "corral doctor" in last and "can be resumed" in last
        sent = len(server.requests)
        assert 12 <= sent < 12 + 3 * SLOTS, "the wave had 64 calls"

        for command in (("runs",), ("show", "full"), ("report", "full", "--out", str(tmp_path / "page.html"))):
            assert corral(*command)[0] == 0, "a full disk still shows"
        (small_disk / "filler").unlink()
        assert len(server.answered) - _answered(small_disk) <= SLOTS
        assert "refuses the key" in corral("resume", "full")[2] and len(server.answered) >= 36
    again = sum(count - 1 for count in Counter(seen.hash for seen in server.answered).values())
    assert again <= SLOTS
    candidates = json.loads(corral("show", "full", "--json")[1])["accounts"]["rows"][-1]
    assert candidates["failed"] == 0
    assert "write-ahead log" not in caplog.text


def _answered(folder: Path) -> int:
    # Read only: another program that closes the file last moves the log into it.
    with sqlite3.connect(f"file:{folder / 'home' / 'corral.db'}?mode=ro", uri=True) as database:
        (count,) = database.execute("SELECT count(*) FROM calls WHERE status = 'answered'").fetchone()
    database.close()
    return int(count)


async def test_answers_in_flight_are_kept_if_a_write_works_again(small_disk: Path) -> None:
    database = Database(f"sqlite:///{small_disk / 'corral.db'}")
    await database.create()
    calls = CallStore(database)
    await RecordStore(database).open_run("run", RunRequest())

    done: list[Any] = []

    def answer(body: dict[str, Any]) -> str:
        if len(server.requests) >= 20 and not done:
            done.append(fill(small_disk, leave=0))
        return answer_to(body)

    with ScriptedServer(answer=answer) as server:
        spec = Endpoint(base_url=server.url, model=MODEL, concurrency=SLOTS)
        asker = LedgeredEndpoint(HttpTransport(server.url, ["key"]), calls, spec, "run")
        long = [call.model_copy(update={"max_tokens": 2000}) for call in draws(200)]
        ended = await asyncio.gather(*(asker.complete(call) for call in long), return_exceptions=True)
        assert any(isinstance(result, StorageError) for result in ended)
        assert 20 <= len(server.requests) < 20 + 3 * SLOTS
        (small_disk / "filler").unlink()
        await calls.write_last()
    await database.close()
    with sqlite3.connect(small_disk / "corral.db") as connection:
        (kept,) = connection.execute("SELECT count(*) FROM calls WHERE status = 'answered'").fetchone()
    connection.close()
    assert kept == len(server.answered)


def test_a_lost_database_connection_stops_all_sending_and_the_run_goes_on(
    corral: Corral, postgres: Callable[[], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    url = postgres()
    admin = psycopg.connect(url.split("&options")[0], autocommit=True)
    schema = url.rsplit("%3D", 1)[1]
    user = f"user_{schema}"
    for statement in (f"CREATE ROLE {user} LOGIN", f"ALTER SCHEMA {schema} OWNER TO {user}"):
        admin.execute(statement.encode())
    monkeypatch.setenv("CORRAL_DATABASE_URL", url.replace("//postgres:@", f"//{user}:@"))

    done: list[Any] = []

    def answer(body: dict[str, Any]) -> str:
        if len(server.requests) >= 40 and not done:
            done.append(user)
            admin.execute(f"ALTER ROLE {user} NOLOGIN".encode())
            admin.execute("SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = %s", (user,))
        return answer_to(body)

    with ScriptedServer(answer=answer, latency=0.02) as server:
        written = request_of(server.url, Path("nobody/no-model"), write_prompts(tmp_path / "prompts.jsonl"))
        written["sampling"] = {"candidates": 12}
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(written))
        code, _, error = corral("run", str(tmp_path / "config.yaml"), "--run-id", "lost")
        last = error.strip().split("\n")[-1]
        assert (code, "Traceback" in error) == (2, False), error
        assert "the database postgresql" in last and "Check that the server is up" in last
        assert len(server.requests) < 40 + 3 * SLOTS
        admin.execute(f"ALTER ROLE {user} LOGIN".encode())
        (status,) = json.loads(corral("runs", "--json")[1])
        assert status["step"] == "respond"
        server.keys = ["none"]
        assert "refuses the key" in corral("resume", "lost")[2], "it goes on where it stopped"
    admin.close()


@pytest.mark.skipif(os.name != "posix", reason="signals")
async def test_many_cancelled_tasks_leave_no_lock_and_no_word(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    import random

    from tests.builders import call, sample

    database = Database(f"sqlite:///{tmp_path / 'corral.db'}")
    await database.create()
    store, calls, rng = RecordStore(database), CallStore(database), random.Random(0)

    async def work(name: str) -> None:
        await store.add("run", [sample(f"{name} {number}") for number in range(8)])
        async for _ in store.scan("run", type(sample()), "id", "outcome"):
            pass
        await calls.put(call(name))

    for round_ in range(8):
        tasks = [asyncio.create_task(work(f"{round_} {number}")) for number in range(20)]
        for _ in range(2):
            await asyncio.sleep(rng.random() * 0.02)
            for task in tasks:
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    async with asyncio.timeout(5):
        await store.add("run", [sample("last")])
    await database.close()
    assert caplog.text == ""


@pytest.mark.usefixtures("corral")
async def test_a_refused_key_is_the_one_reason_that_a_run_ends_with(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with ScriptedServer(latency=0.01, fail_when={"large": "401"}) as server:
        written = request_of(server.url, Path("nobody/no-model"), write_prompts(tmp_path / "prompts.jsonl", 18, 2))
        async with open_runs(load_settings()) as runs:
            run_id = await runs.create(RunRequest.model_validate(written))
            with pytest.raises(Exception, match="refuses the key \\(401\\)"):
                async for _ in runs.advance(run_id):
                    pass
    assert "Traceback" not in caplog.text
