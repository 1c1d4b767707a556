"""A crew that was killed goes on as a crew: nothing that was decided or done is decided, done or paid for again."""

from __future__ import annotations

import asyncio
import json
import signal
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from graph.crews.journal import JOURNAL, journal_of, journal_to_go_on
from graph.crews.kickoff import go_on, run_crew
from graph.crews.result import CrewResult, read_result
from graph.crews.session import CrewSession
from graph.runs import Runs, open_runs
from state.errors import CorralError, EndpointError, RunBusy
from state.lease import Leases
from state.request import RunRequest
from tests.harness import Corral, Home, request_of, wait_until, write_prompts
from tests.scripted_server import ScriptedServer
from tools.config import read_request
from tools.settings import Settings

WORK: dict[str, list[tuple[str, dict[str, Any]] | str]] = {
    "begin": [
        ("resource_monitor", {}),
        ("workflow_management", {"action": "configure", "settings": ["train.epochs=3"]}),
        ("fly", {}),
        ("workflow_management", {"action": "start"}),
        "The run is begun.",
    ],
    "look": [
        ("rouge_similarity", {"text": "x", "most": 0}),
        ("task_analysis", {"source": "seeds"}),
        "The seeds are fine.",
    ],
}
"""What a model decides for each task, turn by turn: tools with their arguments, and its answer."""
TURNS = sum(map(len, WORK.values()))


def model(body: dict[str, Any]) -> str:
    """Answer by the task and the turns so far."""
    asked = str(body["messages"][1]["content"])
    task = next(task for task in WORK if f"{task} at it." in asked)
    turn = WORK[task][sum(message["role"] == "assistant" for message in body["messages"])]
    if isinstance(turn, str):
        return f"Thought: I know\nFinal Answer: {turn}"
    return f"Thought: hm\nAction: {turn[0]}\nAction Input: {json.dumps(turn[1])}"


def crew(folder: Path) -> str:
    folder.mkdir()
    tools = ["resource_monitor", "workflow_management", "rouge_similarity", "task_analysis"]
    agent = {"role": "Looker", "goal": "look", "tools": tools}
    task = {"expected_output": "What there is.", "agent": "looker"}
    tasks = {name: task | {"description": f"{name} at it."} for name in WORK}
    (folder / "agents.yaml").write_text(yaml.safe_dump({"looker": agent}))
    (folder / "tasks.yaml").write_text(yaml.safe_dump(tasks))
    return str(folder)


def planned(folder: Path, url: str) -> RunRequest:
    prompts = write_prompts(folder / "prompts.jsonl", 2, 1)
    request = request_of(url, Path("nobody/no-model"), prompts, generation={"target": 0})
    request["models"]["generator"] |= {"input_price": 1.0, "output_price": 1.0}
    return read_request(request, "test")


def session_of(runs: Runs, request: RunRequest, **options: Any) -> CrewSession:
    return CrewSession(runs, asyncio.get_running_loop(), request, **options)


@pytest.fixture
async def runs(tmp_path: Path) -> AsyncIterator[Runs]:
    async with open_runs(Settings(home=tmp_path / "home")) as opened:
        yield opened


def without_times(result: CrewResult) -> dict[str, Any]:
    uses = [use.model_dump(exclude={"seconds"}) for use in result.uses]
    return result.model_dump(exclude={"uses"}) | {"uses": uses, "spent": pytest.approx(result.spent)}


async def test_a_crew_goes_on_from_wherever_it_was_killed(runs: Runs, tmp_path: Path) -> None:
    """A kill leaves a part of the journal: each is tried, with half a line at its end."""
    told: list[str] = []
    with ScriptedServer(answer=model) as server:
        folder, request = crew(tmp_path / "crew"), planned(tmp_path, server.url)
        whole = await run_crew(session_of(runs, request), folder)
        journal = runs.services.runs_folder / whole.run_id / JOURNAL
        lines = journal.read_bytes().splitlines(keepends=True)
        for kept in range(3, len(lines)):
            journal.write_bytes(b"".join(lines[:kept]) + lines[kept][:-5])
            again = await run_crew(session_of(runs, request, tell=told.append), folder)
            assert without_times(again) == without_times(whole), kept
            assert [json.loads(line).keys() for line in journal.read_bytes().splitlines()] == [
                json.loads(line).keys() for line in lines
            ]
        assert len(server.requests) == TURNS, "no answer is asked for again"
        other = await runs.statuses()
    assert [status.run_id for status in other] == [whole.run_id], "no second run is begun"
    assert (await runs.services.store.request_of(whole.run_id)).train.epochs == 3
    assert told[0] == f"goes on with the crew of run {whole.run_id}: 2 decisions and results are kept"
    assert whole.answers == {"begin": "The run is begun.", "look": "The seeds are fine."}
    assert [use.outcome for use in whole.uses] == ["done", "done", "unknown", "done", "refused", "done"]
    assert whole.calls == TURNS and whole.spent > 0


async def test_a_crew_whose_server_went_away_goes_on_and_one_that_ended_does_not(runs: Runs, tmp_path: Path) -> None:
    failures = ["ok"] * 5 + ["401"]
    with ScriptedServer(answer=model, failures=failures) as server:
        folder, request = crew(tmp_path / "crew"), planned(tmp_path, server.url)
        told: list[str] = []
        session = session_of(runs, request, tell=told.append)
        with pytest.raises(EndpointError):
            await run_crew(session, folder)
        assert told == [f"'corral resume {session.run_id}' goes on with the crew"]
        place = runs.services.runs_folder / session.run_id
        assert (kept := read_result(place)) is not None and kept.ended_by
        journal = journal_to_go_on(place)
        assert journal is not None
        with pytest.raises(RunBusy, match=f"the crew of run {session.run_id} is at work in another process"):
            journal_to_go_on(place)
        result = await go_on(session_of(runs, journal.plan.request), journal)
        assert result.answers["look"] == "The seeds are fine." and result.run_id == session.run_id
        assert len(server.answered) == TURNS and result.calls == TURNS + 1, "the one that failed counts"
        assert journal_to_go_on(place) is None, "it came to its end"
        assert journal_of(place.parent, journal.plan) is None, "the same call begins another"


async def test_a_crew_whose_run_is_held_elsewhere_says_by_whom_until_when_and_what_to_do(
    runs: Runs, tmp_path: Path
) -> None:
    with ScriptedServer(answer=model) as server:
        folder, request = crew(tmp_path / "crew"), planned(tmp_path, server.url)
        whole = await run_crew(session_of(runs, request), folder)
        journal = runs.services.runs_folder / whole.run_id / JOURNAL
        journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:3]))
        said = rf"elsewhere.*lease until \d\d:\d\d:\d\d UTC; wait for it.*corral resume {whole.run_id} --take-over"
        async with Leases(runs.services.database, owner="elsewhere:1:0").hold(whole.run_id):
            with pytest.raises(RunBusy, match=said):
                await run_crew(session_of(runs, request), folder)
        again = await run_crew(session_of(runs, request), folder)
    assert without_times(again) == without_times(whole) and len(server.requests) == TURNS


async def test_a_crew_that_would_only_come_to_the_same_end_is_at_its_end(runs: Runs, tmp_path: Path) -> None:
    with ScriptedServer(answer=model) as server:
        session = session_of(runs, planned(tmp_path, server.url), most=5)
        with pytest.raises(CorralError, match=r"which is the bound.*goes on with its run"):
            await run_crew(session, crew(tmp_path / "crew"))
    assert journal_to_go_on(runs.services.runs_folder / session.run_id) is None


async def test_a_crew_of_another_version_decides_anew_from_where_it_differs(runs: Runs, tmp_path: Path) -> None:
    with ScriptedServer(answer=model) as server:
        folder, request = crew(tmp_path / "crew"), planned(tmp_path, server.url)
        whole = await run_crew(session_of(runs, request), folder)
        journal = runs.services.runs_folder / whole.run_id / JOURNAL
        lines = journal.read_bytes().splitlines(keepends=True)[:-1]
        lines[5] = lines[5].replace(b"Looker", b"Another")
        journal.write_bytes(b"".join(lines))
        again = await run_crew(session_of(runs, request), folder)
    assert without_times(again) == without_times(whole) and len(server.requests) == TURNS
    journal.write_text("{}\n")
    assert journal_to_go_on(journal.parent) is None, "what another version wrote is left alone"


def test_the_command_that_was_killed_goes_on_and_so_does_resume(corral: Corral, tmp_path: Path) -> None:
    with ScriptedServer(answer=model, latency=0.2) as server:
        request = planned(tmp_path, server.url).model_dump(mode="json", exclude_unset=True)
        home = Home.make(tmp_path, request)
        command = ("crew", crew(tmp_path / "crew"), "--config", str(home.config), "--instructions", "0")
        killed = home.start(*command)
        wait_until(lambda: len(server.requests) > 4, killed, seconds=600)
        killed.send_signal(signal.SIGKILL)
        killed.communicate()
        server.latency = 0.0
        code, out, error = corral(*command)
        (folder,) = (tmp_path / "home" / "runs").iterdir()
        assert code == 1 and f"goes on with the crew of run {folder.name}: " in out, (out, error)
        assert f"run {folder.name} is new; 'corral resume {folder.name}' goes on with it" in error
        assert "The seeds are fine." in out
        journal = folder / JOURNAL
        journal.write_bytes(b"".join(journal.read_bytes().splitlines(keepends=True)[:-2]))
        code, out, _ = corral("resume", folder.name)
    assert code == 1 and "goes on with the crew" in out and "decided by scripted: 8 decisions" in " ".join(out.split())
    assert len(server.requests) <= TURNS + 1, "but for the one in flight when it was killed"
