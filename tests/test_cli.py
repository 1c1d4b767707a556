"""The command line in this process: bad input is one line and exit 2; a waiting run is exit 3 and can be answered."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from graph.services import open_services
from state.lease import Leases
from tests.harness import Corral, refused, request_of, write_prompts
from tests.scripted_server import ScriptedServer
from tools.endpoint.trial import FIRST
from tools.settings import load_settings

OUTCOMES = ("accepted", "rejected", "waiting", "pending", "failed")


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer(keys=["good-key"]) as server:
        yield server


@pytest.fixture
def config(tmp_path: Path, server: ScriptedServer) -> Callable[..., str]:
    """Write a config with these sections over the usual ones, and return its path."""

    def write(**sections: Any) -> str:
        prompts = write_prompts(tmp_path / "prompts.jsonl", training=5, heldout=2)
        request = request_of(server.url, Path("nobody/no-model"), prompts, **sections)
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(request))
        return str(tmp_path / "config.yaml")

    return write


def test_config_that_is_missing_or_malformed(corral: Corral, tmp_path: Path) -> None:
    refused(corral("run", str(tmp_path / "none.yaml")), "none.yaml")
    (tmp_path / "bad.yaml").write_text("train: [1,\n")
    refused(corral("run", str(tmp_path / "bad.yaml")), "bad.yaml", "line")


def test_unknown_key_names_the_nearest(corral: Corral, config: Callable[..., str]) -> None:
    refused(corral("run", config(), "--set", "train.epoch=3"), "train.epoch", "train.epochs")


def test_unknown_phase_names_the_nearest(corral: Corral, config: Callable[..., str], server: ScriptedServer) -> None:
    refused(corral("run", config(), "--set", "train.recipe=sft+dop"), "train.recipe", "'dop'", "dpo")
    assert server.requests == []


def test_thresholds_in_the_wrong_order(corral: Corral, config: Callable[..., str]) -> None:
    refused(corral("run", config(judge={"review_from": 90, "accept": 70})), "judge.review_from", "judge.accept")


def test_seed_file_with_a_broken_line(corral: Corral, config: Callable[..., str], tmp_path: Path) -> None:
    seeds = tmp_path / "seeds.jsonl"
    seeds.write_text('{"instruction": "Say hello.", "instances": [{"output": "Hello."}]}\n{"instruction": \n')
    refused(corral("run", config(sources={"seeds": str(seeds)})), "seeds.jsonl", "line 2")


def test_unreachable_endpoint_and_wrong_key(
    corral: Corral, config: Callable[..., str], server: ScriptedServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lost = {"base_url": "http://127.0.0.1:9/v1", "model": "scripted"}
    refused(corral("run", config(models={"judge": lost})), "127.0.0.1:9")
    monkeypatch.setenv("OPENAI_API_KEY", "wrong-key")
    result = corral("run", config())
    refused(result, "key")
    assert "wrong-key" not in "".join(map(str, result))
    assert [one.outcome for one in server.requests] == ["401"], "a list of models may be refused to a good key"


def test_disk_that_cannot_be_written(
    corral: Corral, config: Callable[..., str], monkeypatch: pytest.MonkeyPatch, server: ScriptedServer
) -> None:
    monkeypatch.setenv("CORRAL_HOME", "/proc/corral")
    refused(corral("run", config()), "/proc/corral")
    assert server.requests == []


def test_full_disk_is_refused_before_anything_is_spent(
    corral: Corral, config: Callable[..., str], monkeypatch: pytest.MonkeyPatch, server: ScriptedServer
) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: _Usage())
    refused(corral("run", config()), "GB left")
    assert server.requests == []


class _Usage:
    total, used, free = 10**9, 10**9, 10**6


def test_unknown_run_names_the_nearest(corral: Corral) -> None:
    refused(corral("show", "nobody"), "nobody")
    refused(corral("resume", "nobody"), "nobody")
    refused(corral("export", "nobody", "--format", "sft"), "nobody")


def test_run_waits_for_a_person_and_is_answered(
    corral: Corral, config: Callable[..., str], server: ScriptedServer
) -> None:
    path = config(unattended=False)
    code, out, _ = corral("run", path, "--run-id", "mine")
    assert code == 3 and "corral review mine" in out
    spent = len(server.requests)

    refused(corral("run", path, "--run-id", "mine"), "waits for a person", "corral review mine")
    refused(corral("resume", "mine"), "waits for a person")
    refused(corral("approve", "mine"), "corral review mine")
    (status,) = json.loads(corral("runs", "--json")[1])
    assert (status["standing"], status["step"]) == ("waiting", "review")
    assert len(server.requests) == spent

    # There is no model to train, so the run fails behind the review: what people decided stays decided.
    code, _, error = corral("review", "mine", "--all", "reject")
    assert code != 3 and "no-model" in error
    shown = json.loads(corral("show", "mine", "--json")[1])
    assert shown["status"]["standing"] == "failed" and shown["status"]["step"] == "train"
    assert all(row["waiting"] == row["pending"] == 0 for row in shown["accounts"]["rows"])
    assert len(server.requests) == spent

    refused(corral("export", "mine", "--format", "dpo", "--out", "/proc/none/x"), "/proc/none/x")
    code, out, _ = corral("export", "mine", "--format", "dpo")
    assert code == 0 and all({"prompt", "chosen", "rejected"} == set(json.loads(line)) for line in out.splitlines())


def test_run_that_is_running_elsewhere(corral: Corral, config: Callable[..., str]) -> None:
    corral("run", config(unattended=False), "--run-id", "mine")

    async def from_elsewhere() -> tuple[int, str, str]:
        async with open_services(load_settings()) as services:
            other = Leases(services.database, owner="another-host:1:0.00")
            async with other.hold("mine"):
                return await asyncio.to_thread(corral, "review", "mine", "--all", "approve")

    refused(asyncio.run(from_elsewhere()), "mine", "another-host")


def test_budget_stops_the_run_and_can_be_raised(
    corral: Corral, config: Callable[..., str], server: ScriptedServer
) -> None:
    priced = {"base_url": server.url, "model": "scripted", "input_price": 1000.0, "output_price": 1000.0}
    models = {"generator": priced, "policy": priced, "judge": priced}
    code, out, _ = corral("run", config(models=models, budget={"dollars": 2.0}), "--run-id", "dear")
    assert code == 3 and "corral approve dear" in out
    first = json.loads(corral("show", "dear", "--json")[1])["accounts"]
    assert first["spent"] <= 2.0

    refused(corral("approve", "dear", "--budget", "1.5"), "the new cap must be a number of dollars above 2", "waits")
    code, *_ = corral("approve", "dear", "--budget", "4.0")
    second = json.loads(corral("show", "dear", "--json")[1])["accounts"]
    assert code == 3 and 2.0 < second["cap"] == 4.0 and first["spent"] <= second["spent"] <= 4.0

    asked = len(server.requests)
    corral("approve", "dear", "--reject")
    rows = json.loads(corral("show", "dear", "--json")[1])["accounts"]["rows"]
    assert len(server.requests) == asked, "no call may be made once the budget is final"
    assert all(row["pending"] == 0 for row in rows) and any(row["failed"] for row in rows)


def test_answers_given_one_after_the_other_are_each_read_once(
    corral: Corral, config: Callable[..., str], server: ScriptedServer
) -> None:
    """The generator's budget ends several times in one step; every approval doubles the cap that was shown."""
    priced = {"base_url": server.url, "model": "scripted", "input_price": 20.0, "output_price": 20.0}
    written = config(models={"generator": priced}, budget={"dollars": 0.03}, generation={"target": 60})
    code, *_ = corral("run", written, "--run-id", "dear")
    cap = 0.03
    for _ in range(3):
        status = json.loads(corral("show", "dear", "--json")[1])
        if status["status"]["step"] != "generate":
            break  # there is no model to train here, so it fails behind the review
        assert code == 3
        code, *_ = corral("approve", "dear")
        cap *= 2
        assert json.loads(corral("show", "dear", "--json")[1])["accounts"]["cap"] == pytest.approx(cap)
    assert cap > 0.03


def test_a_judge_of_no_use_stops_the_run_before_the_rest_is_paid_for(
    corral: Corral, config: Callable[..., str], server: ScriptedServer
) -> None:
    """630 judgements were paid for without a row, and the advice was to take more prompts."""
    server.fail_when = {"You judge": "invalid"}
    refused(corral("run", config(), "--run-id", "mute"), "I would give it eight of ten.", "models.judge")
    asked = [seen for seen in server.requests if seen.outcome == "invalid"]
    assert len(asked) == 2 * FIRST
    accounts = json.loads(corral("show", "mute", "--json")[1])["accounts"]
    assert all(row["total"] == sum(row[name] for name in OUTCOMES) for row in accounts["rows"])
    assert accounts["rows"][-1]["pending"] > 0, "what was not judged is not lost"

    server.fail_when = {}
    refused(corral("resume", "mute"), "models.base")  # there is no model to train here, so it fails behind the review
    rows = json.loads(corral("show", "mute", "--json")[1])["accounts"]["rows"]
    assert all(row["pending"] == 0 for row in rows) and rows[-1]["accepted"] > 0
    assert not {seen.hash for seen in asked} & {seen.hash for seen in server.answered}, "none is asked again"


def test_run_name_cannot_leave_the_home(corral: Corral, config: Callable[..., str]) -> None:
    refused(corral("run", config(), "--run-id", "../../evil"), "../../evil")


def test_what_training_needs_is_looked_for_first(
    corral: Corral, config: Callable[..., str], server: ScriptedServer, tmp_path: Path
) -> None:
    (tmp_path / "empty").mkdir()
    refused(corral("run", config(), "--set", f"models.base={tmp_path / 'empty'}"), "empty")
    refused(corral("run", config(), "--set", "train.accelerate_config=none.yaml"), "none.yaml")
    refused(corral("run", config(), "--set", "models.policy.base_url=http://[bad"), "base_url")
    assert server.requests == []


def test_doctor_says_what_to_do(corral: Corral, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OPENAI_API_KEY")
    code, out, _ = corral("doctor", "--json")
    findings = {finding["what"]: finding for finding in json.loads(out)}
    assert set(findings) == {"endpoint", "model file", "database", "GPU", "disk"}
    assert code == 0 and all(f["ok"] or f["advice"] for f in findings.values())


def test_help_is_a_page_of_the_manual(corral: Corral) -> None:
    code, out, _ = corral("--help")
    assert code == 0
    for command in ("run", "resume", "runs", "show", "review", "approve", "export", "doctor", "gate"):
        assert f" {command} " in out
    assert "Exit codes" in out
