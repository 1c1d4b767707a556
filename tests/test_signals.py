"""SIGTERM and Ctrl-C end a command in order, in real processes: answers are kept, the lease is given back."""

from __future__ import annotations

import json
import re
import signal
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tests.harness import Corral, Home, request_of, stop_between_writes, wait_until, write_prompts
from tests.scripted_server import ScriptedServer
from tools.endpoint.loop import GRACE_SECONDS

LATENCY = 1.5
"""Seconds before each answer, so that calls are in flight when the signal comes."""


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(latency=LATENCY) as server:
        yield server


def home_of(folder: Path, server: ScriptedServer) -> Home:
    prompts = write_prompts(folder / "prompts.jsonl", training=4, heldout=1)
    request = request_of(server.url, Path("nobody/no-model"), prompts, sampling={"candidates": 2})
    return Home.make(folder, request)


def rows(home: Home) -> list[int]:
    """Return how many rows there are of each kind that a step up to judging writes."""
    tables = ("calls", "call_uses", "samples", "candidates", "judgements", "checkpoints", "writes")
    return [home.query(f"SELECT count(*) FROM {table}")[0][0] for table in tables]


def answered(home: Home) -> int:
    return len(home.query("SELECT 1 FROM calls WHERE status = 'answered'"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_run_ends_in_order(number: signal.Signals, corral: Corral, tmp_path: Path, server: ScriptedServer) -> None:
    home, before = home_of(tmp_path, server), len(server.requests)
    process = home.start("run", str(home.config), "--run-id", "trial")
    wait_until(lambda: len(server.requests) >= before + 4, process)
    process.send_signal(number)
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 128 + number, output
    assert "Traceback" not in output and "corral: stopped; 'corral resume RUN' goes on" in output
    assert answered(home) == len(server.requests) - before, "every answer that was paid for is kept"
    assert home.query("SELECT lease_until FROM runs") == [(0.0,)], "the lease is given back"
    (standing,) = json.loads(corral("runs", "--json")[1])
    assert standing["standing"] == "stopped"


def test_a_second_signal_ends_at_once(tmp_path: Path) -> None:
    with ScriptedServer(latency=60) as server:
        home = home_of(tmp_path, server)
        process = home.start("run", str(home.config), "--run-id", "trial")
        wait_until(lambda: server.requests, process)
        process.send_signal(signal.SIGTERM)
        assert process.stdout is not None
        for line in process.stdout:
            if "a second one ends at once" in line:
                break
        began = time.monotonic()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
    assert process.returncode == 143 and time.monotonic() - began < GRACE_SECONDS / 2


def test_judging_a_file_ends_in_order(tmp_path: Path, server: ScriptedServer) -> None:
    home, before = home_of(tmp_path, server), len(server.requests)
    items = [{"prompt": f"Say something about {n}.", "output": f"It is {n}."} for n in range(9)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(item) + "\n" for item in items))
    process = home.start("judge", str(tmp_path / "rows.jsonl"), "--config", str(home.config))
    wait_until(lambda: len(server.requests) >= before + 4, process)
    process.send_signal(signal.SIGTERM)
    output = process.communicate(timeout=30)[0]
    assert process.returncode == 143, output
    assert "Traceback" not in output and "the same command goes on" in output
    assert answered(home) == len(server.requests) - before


def test_a_stopped_process_whose_run_was_taken_over_does_nothing_more(corral: Corral, tmp_path: Path) -> None:
    with ScriptedServer(latency=0.05) as server:
        home = home_of(tmp_path, server)
        process = home.start("run", str(home.config), "--run-id", "trial")
        wait_until(lambda: answered(home) >= 9, process)
        file = home.folder / "home" / "corral.db"
        stop_between_writes(process, file)
        with closing(sqlite3.connect(file)) as database, database:  # however slow this machine is
            database.execute("UPDATE runs SET lease_until = lease_until + 3600")
        try:
            code, out, refused = corral("resume", "trial")
            assert code == 2 and re.search(r"lease until \d\d:\d\d:\d\d UTC", " ".join(refused.split())), out + refused
            code, _, unasked = corral("resume", "trial", "--take-over")
            assert code == 2 and "add --yes" in unasked
            (standing,) = json.loads(corral("runs", "--json")[1])
            assert standing["standing"] == "running" and "lease until" in standing["detail"]
            # There is no model to train here, so the run ends behind its judging.
            corral("resume", "trial", "--take-over", "--yes")
            asked, kept = len(server.requests), rows(home)
        finally:
            process.send_signal(signal.SIGCONT)
        output = process.communicate(timeout=60)[0]
        assert process.returncode == 4, output
        assert "Traceback" not in output and "run trial was taken over by" in " ".join(output.split())
        assert len(server.requests) == asked, "no call after the take-over"
        assert rows(home) == kept, "no row and no checkpoint after the take-over"
        assert home.query("SELECT lease_epoch FROM runs") == [(2,)]
