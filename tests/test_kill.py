"""A run that is killed with SIGKILL goes on: the same dataset, and no answered call made again."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

from corral import run
from tests.harness import Corral, Home, request_of, wait_until, write_prompts
from tests.in_this_process import stay_in_this_process
from tests.scripted_answers import request_hash
from tests.scripted_server import ScriptedServer
from tests.tiny_model import tiny_model
from tools.generation.costing import StageEstimate

RUN = "trial"
AT = {
    "respond": lambda home: len(home.query("SELECT 1 FROM call_uses WHERE purpose = 'respond'")) >= 9,
    "judge": lambda home: len(home.query("SELECT 1 FROM call_uses WHERE purpose LIKE 'judge%'")) >= 31,
    "train": lambda home: any((home.folder / "home").glob("runs/*/training/round-1/**/checkpoint-*")),
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="module")
def server() -> Iterator[ScriptedServer]:
    """One server for all runs: its URL is a part of the ledger's keys."""
    with ScriptedServer(latency=0.02) as server:
        yield server


@pytest.fixture(scope="module")
def unkilled(tmp_path_factory: pytest.TempPathFactory, base: Path, server: ScriptedServer) -> Home:
    """A run in this process: its dataset and its costs are what is compared."""
    folder = tmp_path_factory.mktemp("unkilled")
    home = Home.make(folder, request_of(server.url, base, write_prompts(folder / "prompts.jsonl")))
    with pytest.MonkeyPatch.context() as patch:
        stay_in_this_process(patch)
        for name, value in home.environment.items():
            patch.setenv(name, value)
        assert run(home.config, run_id=RUN).standing == "done"
    return home


def test_a_run_that_is_killed_in_three_steps_goes_on(
    corral: Corral, tmp_path: Path, base: Path, server: ScriptedServer, unkilled: Home
) -> None:
    before = len(server.answered)
    home = Home.make(tmp_path, request_of(server.url, base, write_prompts(tmp_path / "prompts.jsonl")))
    command, paid = ["run", str(home.config), "--run-id", RUN], dict[str, int]()
    for step, reached in AT.items():
        process = home.start(*command)
        wait_until(lambda reached=reached: reached(home), process, seconds=600)
        process.kill()
        process.wait()
        # The model processes on this machine answer too, where the server sees nothing of it.
        recorded = {request_hash(call["request"]) for call in home.answered() if call["endpoint"] == server.url}
        assert paid.keys() < recorded or (step == "train" and paid.keys() <= recorded), (
            "no answer that was kept is lost"
        )
        so_far = Counter(seen.hash for seen in server.answered[before:])
        paid |= {hash_: so_far[hash_] for hash_ in recorded - paid.keys()}
        (standing,) = json.loads(corral("runs", "--json")[1])
        assert (standing["standing"], standing["step"]) == ("stopped", step)
        command = ["resume", RUN]
    home.corral(*command)
    asked = Counter(seen.hash for seen in server.answered[before:])

    assert home.datasets() == unkilled.datasets()
    assert paid and all(asked[hash_] == times for hash_, times in paid.items()), "what was kept is not asked again"
    in_flight_at_death = sum(asked.values()) - len(asked)
    assert in_flight_at_death <= 4 * len(AT)
    shown = json.loads(corral("show", RUN, "--json")[1])
    assert shown["status"]["standing"] == "done"
    for row in shown["accounts"]["rows"]:
        outcomes = ("accepted", "rejected", "waiting", "pending", "failed")
        assert row["total"] == sum(row[name] for name in outcomes)
        assert row["waiting"] == row["pending"] == 0
    used = {row["purpose"]: row["answered"] for row in shown["accounts"]["calls"]}
    local = sum(count for purpose, count in used.items() if purpose.startswith("evaluate"))
    assert local > 0 and sum(used.values()) - local == len(asked)


def test_the_truth_lies_in_the_estimate(unkilled: Home) -> None:
    for row in json.loads(unkilled.corral("show", RUN, "--json"))["accounts"]["costs"]:
        expected, actual = StageEstimate.model_validate(row["estimated"]), row["actual"]
        assert expected.calls.holds(actual["calls"]), row
        assert expected.prompt_tokens.holds(actual["prompt_tokens"]), row
        assert expected.completion_tokens.holds(actual["completion_tokens"]), row
