"""Runs whose calls wait for batches: the same rows as at once, a wait that everyone sees, and any kill in between."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from graph import batching
from graph.accounts import account
from graph.deletion import what_goes
from graph.runs import Runs, open_runs
from serving.background import Worker
from serving.pages import templates
from serving.run_pages import _live
from serving.waking import wake
from state.errors import BadInput, EndpointRefused
from state.records import Candidate, Judgement
from state.request import RunRequest
from tests.harness import ROOT, Corral, Home, refused, request_of, write_prompts
from tests.scripted_batches import ScriptedBatches
from tests.scripted_server import ScriptedServer
from tools.endpoint import batching as sending
from tools.endpoint import trial
from tools.settings import Settings

BATCH = {"after": 2, "within": "24h"}


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batching, "SOONEST", 0.0)
    monkeypatch.setattr(sending, "SETTLE_SECONDS", 0.01)
    monkeypatch.setattr(trial, "FIRST", 1)  # so that a tiny run has something left for a batch


def described(
    server: ScriptedServer, tmp_path: Path, batch: dict[str, Any] | None = BATCH, target: int = 0
) -> dict[str, Any]:
    prompts = write_prompts(tmp_path / "prompts.jsonl", training=3, heldout=1)
    generation, sampling = {"target": target, "tasks_per_call": 6}, {"candidates": 1, "scaffold_draws": 0}
    made = request_of(server.url, tmp_path, prompts, sampling=sampling, generation=generation)
    for name in ("generator", "policy", "judge"):
        made["models"][name] = made["models"][name] | {"batch": batch}
    return made | {"models": made["models"] | {"base": "embedded"}}


async def judged(runs: Runs, run_id: str) -> dict[str, Any]:
    """Return what the run's judges said of which answers, as far as it does not depend on the run."""
    store = runs.services.store
    answers = {one.id: one for one in await store.find(run_id, Candidate)}
    judgements = await store.find(run_id, Judgement)
    said = {one.candidate_id: (one.overall, one.stars, str(one.outcome)) for one in judgements}
    return {one.text: (one.draw, str(one.outcome), said.get(id)) for id, one in answers.items()}


async def advanced(runs: Runs, run_id: str) -> list[str]:
    """Work on a run up to its judging, and return what it told meanwhile."""
    return [event.note async for event in runs.advance(run_id, last="judge") if event.note]


async def test_a_run_in_batches_makes_the_same_rows_as_one_at_once(tmp_path: Path) -> None:
    found, used = [], []
    with ScriptedServer(batches=(server_side := ScriptedBatches(states=("in_progress",)))) as server:
        for batch in (None, BATCH):
            async with open_runs(Settings(home=tmp_path / str(batch))) as runs:
                at_once = len(server.requests)
                request = RunRequest.model_validate(described(server, tmp_path, batch, target=8))
                await runs.create(request, "run")
                told = await advanced(runs, "run")
                found.append(await judged(runs, "run"))
                used.append({one.purpose: one.answered for one in await runs.services.calls.tally("run")})
                lines = (await account(runs.services, "run")).batches
                assert (await runs.status("run")).standing == "stopped"
    assert found[0] == found[1] != {} and used[0] == used[1]
    assert set(server_side.sent.values()) == {1}
    # A trial of each purpose is asked at once, and what is too little for a batch.
    trials = len(server.requests) - at_once
    assert trials + len(server_side.sent) == at_once and trials < len(server_side.sent)
    assert any("calls of judge to scripted in a batch, 0 done, until 2" in note for note in told)
    assert all(": completed, " in line for line in lines) and len(lines) == len(server_side.made)
    purposes = {line.split(" to ")[0].split(" of ")[1] for line in lines}
    assert {"generate", "respond", "judge"} == purposes


async def test_a_waiting_run_is_seen_to_wait_asks_no_person_and_is_woken(tmp_path: Path) -> None:
    async with open_runs(Settings(home=tmp_path / "home")) as runs:
        with ScriptedServer(batches=(server_side := ScriptedBatches(held=True))) as server:
            request = RunRequest.model_validate(described(server, tmp_path))
            await runs.create(request, "held")
            graph = await runs.graph("held")
            config: Any = {"configurable": {"thread_id": "held"}}
            # As LangGraph's server works on it: to the interrupt, and no further.
            async for _ in graph.astream({"request": request}, config, stream_mode="values"):
                pass
            status = await runs.status("held")
            assert (status.standing, status.step) == ("batched", "respond")
            assert "calls of respond to scripted in a batch, 0 done, until " in status.detail
            (asked,) = await runs.interrupts("held")
            assert asked.value["action_requests"][0]["name"] == "wait_for_batch"
            with pytest.raises(BadInput, match="does not wait for an answer; it is batched"):
                await anext(runs.advance("held", "approve"))
            worker = Worker(runs)
            page = templates().get_template("run_live.html").render(await _live(runs, worker, "held"))
            assert 'class="badge batched">batched</span> at respond' in page
            assert page.count("calls of respond to scripted in a batch, 0 done, until 2") == 2
            await wake(runs, worker)
            assert not worker.works_on("held")
            assert f"; batch-0 with 2 calls goes on at {server.url}, which charges" in await what_goes(
                runs.services, "held"
            )
            server_side.release()
            server_side.states = ()
            await wake(runs, worker)
            async with asyncio.timeout(120):
                while not await runs.services.store.find("held", Judgement):
                    await asyncio.sleep(0.02)
            await worker.close()
    assert set(server_side.sent.values()) == {1}


async def test_a_run_whose_batch_was_refused_stands_as_failed_and_goes_on(tmp_path: Path) -> None:
    """It was shown as waiting for that batch for another day."""
    with ScriptedServer(batches=ScriptedBatches(ends=["failed"], states=())) as server:
        async with open_runs(Settings(home=tmp_path / "home")) as runs:
            await runs.create(RunRequest.model_validate(described(server, tmp_path)), "run")
            with pytest.raises(EndpointRefused, match="the file is too odd"):
                await advanced(runs, "run")
            status = await runs.status("run")
            assert (status.standing, status.step) == ("failed", "respond") and "too odd" in status.detail
            await advanced(runs, "run")
            assert (await runs.status("run")).standing == "stopped" and len(await judged(runs, "run")) == 3


BEGIN = """
import asyncio, sys
from pathlib import Path
from graph.runs import open_runs
from state.request import RunRequest
from tools.settings import load_settings

async def main():
    async with open_runs(load_settings()) as runs:
        await runs.create(RunRequest.model_validate_json(Path(sys.argv[1]).read_text()), "run")
        async for _ in runs.advance("run", last="judge"):
            pass

asyncio.run(main())
"""


async def test_a_process_that_is_killed_while_it_waits_is_followed_by_another(tmp_path: Path) -> None:
    with ScriptedServer(batches=(server_side := ScriptedBatches(held=True))) as server:
        home = Home.make(tmp_path, described(server, tmp_path))
        path = tmp_path / "request.json"
        path.write_text(json.dumps(described(server, tmp_path)))
        process = subprocess.Popen([sys.executable, "-c", BEGIN, str(path)], cwd=ROOT, env=home.environment)
        try:
            async with asyncio.timeout(120):
                while not server_side.made and process.poll() is None:
                    await asyncio.sleep(0.05)
        finally:
            process.send_signal(signal.SIGKILL)
            process.wait()
        async with open_runs(Settings(home=tmp_path / "home", openai_api_key="test-key")) as runs:
            server_side.release()
            await advanced(runs, "run")
            assert len(await runs.services.store.find("run", Judgement)) == 3
            assert [one.status for one in await runs.services.batches.all("run")] == ["ended"] * len(server_side.made)
    assert set(server_side.sent.values()) == set(server_side.answered.values()) == {1}


def test_what_has_no_batches_is_refused_before_anything_is_sent(corral: Corral, tmp_path: Path) -> None:
    with ScriptedServer() as server:
        home = Home.make(tmp_path / "made", described(server, tmp_path))
        refused(corral("run", str(home.config)), "has no batch API (GET /batches: 404)", "leave batch out")
        code, output, _ = corral("doctor", str(home.config))
        assert code != 0 and "has no batch API" in " ".join(output.split())
        refused(
            corral("run", str(home.config), "--set", "models.judge.base_url=embedded"),
            "models.judge.batch",
            "needs a server's URL",
        )
        refused(corral("run", str(home.config), "--set", "models.judge.batch.within=soon"), "batch.within", "soon")
        assert not server.requests
