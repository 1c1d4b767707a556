"""The same seed is the same run: neither the machine's load nor the number of calls in flight changes a byte of it."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from nodes.respond import make_respond
from state.database import Database
from state.records import Candidate
from state.request import WEIGHTS, Endpoint, RunRequest, Sampling
from state.store import RecordStore
from tests.builders import sample
from tests.harness import TOPICS, Home, request_of, write_prompts
from tests.memory_ledger import MemoryLedger
from tests.scripted_server import ScriptedServer
from tests.tiny_model import tiny_model
from tools.endpoint.client import LedgeredEndpoint
from tools.endpoint.weights import WeightsTransport
from tools.weights.pool import ModelPool

RUN = "trial"
DURATIONS = ("seconds", "estimated_seconds")
"""Fields of JSON files that tell how long something took."""
TIME = re.compile(rb"\d{4}-?\d\d-?\d\d[T ]\d\d:?\d\d(:?\d\d)?(Z|\+00:00)?")
OF_THE_MACHINE = (
    ".log",
    "log.jsonl",
    "steps.jsonl",
    "decision.json",
    "checklist.json",
    "checklists.json",
    "sealed.json",
    "report.html",
)
"""Files with the memory that was free, the pace of the machine, the times of all steps, or the hash of a time."""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny") / "base")


@contextmanager
def busy_machine() -> Iterator[None]:
    """Let two other processes compute all the while."""
    others = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for _ in range(2)]
    try:
        yield
    finally:
        for other in others:
            other.kill()
            other.wait()


async def test_draws_are_the_same_in_every_order_and_company(base: Path, tmp_path: Path) -> None:
    """All prompts at once in one process; and in two, few calls in flight, in batches such as a kill leaves."""
    prompts = [sample(f"Tell me of {topic}{', and more' * n}.") for n, topic in enumerate(TOPICS)]
    ids = [prompt.id for prompt in prompts]

    async def drawn(name: str, processes: int, concurrency: int, batches: list[list[str]]) -> list[Candidate]:
        database = Database(f"sqlite:///{tmp_path / name}.db")
        await database.create()
        store = RecordStore(database)
        await store.add(RUN, prompts)
        pool = ModelPool(base, None, processes)
        spec = Endpoint(base_url=WEIGHTS, model="tiny", concurrency=concurrency)
        endpoint = LedgeredEndpoint(WeightsTransport(pool), MemoryLedger(), spec, RUN)

        async def open_endpoint(spec: Endpoint, run_id: str) -> LedgeredEndpoint:
            return endpoint

        request = RunRequest(sampling=Sampling(candidates=3, max_tokens=24, scaffold_draws=1))
        for batch in batches:
            await make_respond(store, open_endpoint)({"run_id": RUN, "request": request, "ids": batch})
        pool.release()
        found = await store.find(RUN, Candidate)
        await database.close()
        return found

    whole = await drawn("whole", 1, 100, [ids])
    parts = await drawn("parts", 2, 4, [ids[7:], ids[2:5], [ids[5], ids[0], ids[6], ids[1]]])
    assert len(whole) >= 30 and len({one.text for one in whole}) > 25
    assert parts == whole


@pytest.mark.skipif(not os.environ.get("SLOW_TESTS"), reason="two whole runs, beside busy processes")
def test_a_run_on_a_busy_machine_writes_the_same_files(base: Path, tmp_path: Path) -> None:
    prompts = write_prompts(tmp_path / "prompts.jsonl")

    def files(name: str, concurrency: int) -> dict[str, bytes]:
        """Run in a home that is empty, always in the same place, and return what the run wrote."""
        request = request_of(server.url, base, prompts)
        for model in ("generator", "policy", "judge"):
            request["models"][model] = {**request["models"][model], "concurrency": concurrency}
        home = Home.make(tmp_path / "work", request)
        home.corral("run", str(home.config), "--run-id", RUN)
        home.folder.rename(tmp_path / name)
        folder = tmp_path / name / "home" / "runs" / RUN
        there = [path for path in sorted(folder.rglob("*")) if path.is_file()]
        written = [path for path in there if not path.name.endswith(OF_THE_MACHINE)]
        return {_place(path, folder): _content(path) for path in written}

    with ScriptedServer(latency=0.01) as server:  # one for both runs, since calls are known by its URL, too
        idle = files("idle", 16)
        with busy_machine():
            busy = files("busy", 3)
    assert {"adapter_model.safetensors", "sft.jsonl", "dpo.jsonl"} <= {Path(name).name for name in idle}
    assert any("scoreboard" in name for name in idle)
    assert idle.keys() == busy.keys()
    assert [name for name in idle if idle[name] != busy[name]] == []


OWNER = re.compile(r"(?<=^[0-9a-f]{12})-[0-9a-f]{8}$")
"""Who works in a training's folder: it stands behind the job's hash."""


def _place(path: Path, folder: Path) -> str:
    """Return a file's name in its run, without a dataset's time and without the owner of a training's folder."""
    return "/".join(OWNER.sub("", part.split("Z-")[-1]) for part in path.relative_to(folder).parts)


def _content(path: Path) -> bytes:
    """Return a file's bytes; those that a person may read, and that name the time, without it."""
    match path.suffix:
        case ".json":
            return TIME.sub(b"", json.dumps(_timeless(json.loads(path.read_text()))).encode())
        case ".md":
            return TIME.sub(b"", path.read_bytes())
        case _:
            return path.read_bytes()


def _timeless(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _timeless(held) for name, held in value.items() if name not in DURATIONS}
    return [_timeless(held) for held in value] if isinstance(value, list) else value
