"""The command line's habits: settings, init, latest, delete, preview, and what it asks before it overwrites."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from graph.services import Services, open_services
from state.lease import Leases
from state.request import Endpoint, RunRequest
from tests.harness import ROOT, Corral, refused, request_of, write_prompts
from tests.scripted_server import ScriptedServer
from tools.catalogue import all_settings
from tools.config import left_to_the_small_model, load_request
from tools.settings import Settings, load_settings
from tools.sources.opening import PACKED_SUFFIXES

PARTS = ("generator", "judge")


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


def in_home(work: Callable[[Services], Any]) -> Any:
    """Do something in the home of the test's command line."""

    async def opened() -> Any:
        async with open_services(load_settings()) as services:
            return await work(services)

    return asyncio.run(opened())


def test_version_and_a_word_that_is_no_command(corral: Corral) -> None:
    code, out, _ = corral("--version")
    assert code == 0 and out.startswith("corral ") and out.count("\n") == 1
    refused(corral("shwo"), "shwo", "show")
    refused(corral("runs", "--jsn"), "--jsn")
    refused(corral("show"), "RUN")
    refused(corral("export", "mine", "--format", "csv"), "csv", "alpaca")


def test_every_setting_says_what_it_does(corral: Corral) -> None:
    known = {one.key: one for one in all_settings()}
    assert [key for key, one in known.items() if not one.text or not one.kind] == []
    assert {"train.epochs", "models.judge.base_url", "unattended", "CORRAL_HOME", "OPENAI_API_KEY"} <= set(known)
    assert len(known) > 80 and "2.0" in known["train.epochs"].default and "at most 100" in known["train.epochs"].bounds
    code, out, _ = corral("settings")
    assert code == 0 and all(f"{key}  (" in out for key in known)


@pytest.mark.parametrize(
    ("key", "there", "missing"),
    [
        ("train.epochs", "train.epochs", "train.rounds"),
        ("train", "train.epochs", "judge.draws"),
        ("models.judge", "models.judge.timeout", "models.policy.timeout"),
        ("CORRAL_HOME", "CORRAL_HOME", "CORRAL_CACHE"),
    ],
)
def test_settings_of_one_key_or_group(corral: Corral, key: str, there: str, missing: str) -> None:
    code, out, _ = corral("settings", key)
    assert code == 0 and f"{there}  (" in out and missing not in out
    assert {one["key"] for one in json.loads(corral("settings", key, "--json")[1])} >= {there}


@pytest.mark.parametrize(
    ("key", "near"), [("train.epoch", "train.epochs"), ("epochs", "train.epochs"), ("trian", "train"), ("%", "corral")]
)
def test_an_unknown_setting_names_the_nearest(corral: Corral, key: str, near: str) -> None:
    refused(corral("settings", key), repr(key), near)


@pytest.mark.parametrize(
    ("options", "base_url", "model"),
    [
        (("--endpoint", "embedded"), "embedded", "smollm2-135m-instruct"),
        (("--endpoint", "openai"), "https://api.openai.com/v1", "gpt-4o-mini"),
        (("--endpoint", "ollama", "--model", "llama3:8b"), "http://127.0.0.1:11434/v1", "llama3:8b"),
        (("--url", "http://gpu:8000/v1", "--model", "m"), "http://gpu:8000/v1", "m"),
        (("--endpoint", "langchain", "--model", "anthropic:x"), "langchain", "anthropic:x"),
        ((), "https://api.openai.com/v1", "gpt-4o-mini"),  # the key in the environment is at hand
    ],
)
def test_init_writes_a_config_that_says_who_does_what(
    corral: Corral, tmp_path: Path, options: tuple[str, ...], base_url: str, model: str
) -> None:
    file = tmp_path / "mine.yaml"
    code, out, error = corral("init", str(file), *options)
    assert code == 0 and str(file) in out, error
    request = load_request(file)
    for spec in (request.models.generator, request.models.judge):
        assert (spec.base_url, spec.model) == (base_url, model)
    assert left_to_the_small_model(request, *PARTS) == []
    assert file.read_text().count("#") > 8, "it is commented"


def test_init_refuses_what_cannot_be_and_never_overwrites(corral: Corral, tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    refused(corral("init", str(file), "--endpoint", "url"), "--url")
    refused(corral("init", str(file), "--url", "gpu:8000", "--model", "m"), "gpu:8000")
    refused(corral("init", str(file), "--url", "http://gpu:8000/v1"), "--model")
    refused(corral("init", str(file), "--endpoint", "embedded", "--model", "m"), "--model")
    refused(corral("init", str(tmp_path / "no" / "mine.yaml"), "--endpoint", "embedded"), "folder")
    assert not file.exists()
    file.write_text("name: precious\n")
    refused(corral("init", str(file), "--endpoint", "embedded"), str(file), "--yes")
    assert file.read_text() == "name: precious\n"
    assert corral("init", str(file), "--endpoint", "embedded", "--yes")[0] == 0
    assert "precious" not in file.read_text()


async def test_a_server_on_this_machine_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    from corral import starting

    with ScriptedServer() as server:
        monkeypatch.setattr(starting, "OLLAMA", server.url)
        monkeypatch.setattr(starting, "VLLM", "http://127.0.0.1:9/v1")
        found = await starting.look_around(Settings())
    assert [one.kind for one in found] == ["ollama", "embedded"]
    assert starting.endpoint_of("ollama", None, None, found).base_url == server.url


def test_the_small_model_does_nothing_in_silence(tmp_path: Path) -> None:
    file = tmp_path / "c.yaml"
    file.write_text("models: {judge: {base_url: embedded}}\n")
    (line,) = left_to_the_small_model(load_request(file), *PARTS)
    assert "models.generator" in line and "corral init" in line
    assert left_to_the_small_model(load_request(file, ["generation.target=0"]), *PARTS) == []
    assert len(left_to_the_small_model(load_request(None), *PARTS)) == 2
    kept = RunRequest.model_validate(RunRequest().model_dump(mode="json"))
    assert left_to_the_small_model(kept, *PARTS) == [], "a request of the store names every model"
    for shipped in (ROOT / "seeds").glob("*.yaml"):
        if shipped.name not in ("prompt_parts.yaml", "large.yaml", "alpaca_7b.yaml"):  # who trains 7B names the models
            assert left_to_the_small_model(load_request(shipped), *PARTS) == [], shipped


def test_latest_is_the_newest_run(corral: Corral) -> None:
    refused(corral("show", "latest"), "no runs")

    async def begin(services: Services) -> None:
        await services.store.open_run("older", RunRequest())
        await asyncio.sleep(1.1)  # times are kept in seconds
        await services.store.open_run("newer", RunRequest())

    corral("runs")
    in_home(begin)
    assert json.loads(corral("show", "latest", "--json")[1])["status"]["run_id"] == "newer"
    refused(corral("export", "latest", "--format", "sft"), "newer")
    refused(corral("review", "latest", "--all", "approve"), "newer")
    refused(corral("delete", "latest"), "newer", "--yes")


def test_preview_then_the_run_pays_only_for_the_rest_and_both_can_be_deleted(
    corral: Corral, config: Callable[..., str], server: ScriptedServer, tmp_path: Path
) -> None:
    path = config(generation={"target": 4}, budget={"dollars": 5})
    code, out, _ = corral("run", path, "--preview", "2", "--run-id", "look")
    assert code == 0 and "The whole run" in out and "estimate:" in out and "corral delete look" in out
    assert "evaluate" not in out.partition("The whole run")[0], "its cost is of the steps that it takes"
    shown = json.loads(corral("show", "look", "--json")[1])
    assert shown["dataset"] is not None and shown["training_decision"] is None, "all steps before training"
    rows = {row["kind"]: row["total"] for row in shown["accounts"]["rows"]}
    assert rows["given prompts, training"] == rows["generated instructions"] == 2 and rows["candidates"] > 0
    assert "no-model" not in out, "nothing is trained"
    assert corral("resume", "look")[0] == 0, "it is done"
    assert json.loads(corral("runs", "--json")[1])[0]["standing"] == "done"

    before = len(server.requests)
    corral("run", path, "--run-id", "whole")
    whole = json.loads(corral("show", "whole", "--json")[1])["accounts"]
    found = {used["purpose"]: used["from_ledger"] for used in whole["calls"]}
    assert found["generate"] >= 1 and found["respond"] >= 6
    made = sum(used["answered"] + used["failed"] - used["from_ledger"] for used in whole["calls"])
    assert len(server.requests) - before == made

    out_file = tmp_path / "rows.jsonl"
    assert corral("export", "whole", "--format", "sft", "--out", str(out_file))[0] == 0
    out_file.write_text("precious")
    refused(corral("export", "whole", "--format", "sft", "--out", str(out_file)), str(out_file), "--yes")
    assert out_file.read_text() == "precious"
    assert corral("export", "whole", "--format", "sft", "--out", str(out_file), "--yes")[0] == 0
    assert out_file.read_text() != "precious"

    refused(corral("delete", "whole"), "rows", "--yes")

    async def while_busy(services: Services) -> Any:
        async with Leases(services.database, owner="another-host:1:0.00").hold("whole"):
            return await asyncio.to_thread(corral, "delete", "whole", "--yes")

    refused(in_home(while_busy), "another-host")
    folder = tmp_path / "home" / "runs" / "whole"
    assert folder.is_dir()
    code, out, _ = corral("delete", "whole", "--yes")
    assert code == 0 and "ledger" in out and not folder.exists()
    refused(corral("show", "whole"), "whole")
    refused(corral("delete", "whole", "--yes"), "whole")
    assert [run["run_id"] for run in json.loads(corral("runs", "--json")[1])] == ["look"]

    # A run of the same name starts with its whole budget, and its answers are still there.
    before = len(server.requests)
    corral("run", path, "--run-id", "whole")
    again = json.loads(corral("show", "whole", "--json")[1])["accounts"]
    assert again["spent"] == 0 and len(server.requests) == before
    assert sum(used["from_ledger"] for used in again["calls"]) == sum(used["answered"] for used in again["calls"])


def test_gate_asks_before_it_overwrites(corral: Corral, tmp_path: Path) -> None:
    row = {"instruction": "Explain why bread dough rises when it rests.", "input": "", "output": "Yeast makes gas."}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n")
    gate = ("gate", str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "gated"))
    assert corral(*gate)[0] == 0
    refused(corral(*gate), "report.json", "--yes")
    assert corral(*gate, "--yes")[0] == 0


def test_rollback_says_what_changed(corral: Corral, tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    for name in ("v1-aaaaaaaa", "v2-bbbbbbbb"):
        (registry / name).mkdir(parents=True)
    said = [
        corral("rollback", version, "--registry", str(registry))[1]
        for version in ("v2-bbbbbbbb", "v1-aaaaaaaa", "v1-aaaaaaaa")
    ]
    assert "was none" in said[0] and "was v2-bbbbbbbb" in said[1] and "nothing changed" in said[2]
    refused(corral("rollback", "v9-cccccccc", "--registry", str(registry)), "v9-cccccccc", "v2-bbbbbbbb")


def test_doctor_looks_at_what_the_run_will_pay(
    corral: Corral, config: Callable[..., str], server: ScriptedServer, tmp_path: Path
) -> None:
    lost = Endpoint(base_url="http://127.0.0.1:9/v1", model="lost", attempts=1).model_dump(mode="json")
    code, out, _ = corral("doctor", config(models={"judge": lost}), "--json")
    findings = {finding["what"]: finding for finding in json.loads(out)}
    assert code == 1 and server.requests == [], "nothing is paid"
    assert findings["generator, policy"]["ok"] and server.url in findings["generator, policy"]["found"]
    assert not findings["judge"]["ok"] and "127.0.0.1:9" in findings["judge"]["advice"]
    assert {"sources", "base", "model file", "database", "GPU", "disk"} <= set(findings)
    refused(corral("doctor", str(tmp_path / "none.yaml")), "none.yaml")


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ("run", ("prompt", "checks", "instances")),
        ("gate", ("instruction", "output")),
        ("judge", ("prompt", "output")),
        ("compare", ("prompt", "output", "instruction_id_list")),
        *((name, ("prompt", "instances")) for name in ("crew", "improve", "doctor")),
        ("calibrate", ("rating", "output_1", "label")),
        ("evaluate", ("checks", "instruction_id_list")),
        ("review", ("decisions", "edited_action")),
        ("export", ("chosen", "rejected", "completion")),
    ],
)
def test_help_has_the_format_of_rows(corral: Corral, command: str, words: tuple[str, ...]) -> None:
    code, out, _ = corral(command, "--help")
    assert code == 0 and all(f'"{word}"' in out for word in words)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("judges", "--picture", "x.png"), "x.png: this command writes .svg; name a file"),
        (("report", "latest", "--out", "x.pdf"), "x.pdf: this command writes .html or .htm; name a file"),
        (("export", "latest", "--format", "sft", "--out", "x.csv"), "x.csv: this command writes .jsonl or .ndjson or"),
        (("export", "latest", "--format", "zz"), "'--format': 'zz' is not one of 'alpaca', 'sft', 'dpo'"),
        (("export", "latest", "--adapter", "zz"), "'--adapter': 'zz' is not one of 'peft'"),
        (("review", "latest", "--all", "zz"), "'--all': 'zz' is not one of 'approve'"),
        (("init", "--endpoint", "zz"), "'--endpoint': 'zz' is not one of 'embedded'"),
        (("calibrate", "x.jsonl", "--split", "zz"), "'--split': 'zz' is not one of "),
    ],
)
def test_a_wrong_ending_or_choice_is_one_line_that_names_the_right_ones(
    corral: Corral, arguments: tuple[str, ...], said: str
) -> None:
    refused(corral(*arguments), said)
    assert not Path(arguments[-1]).exists()


@pytest.mark.parametrize(
    "command", ["run", "doctor", "improve", "crew", "gate", "judge", "compare", "calibrate", "evaluate"]
)
def test_the_help_of_what_reads_rows_names_every_kind_of_file(corral: Corral, command: str) -> None:
    shown = " ".join(corral(command, "--help")[1].split())
    assert all(kind in shown for kind in ("JSON Lines", "JSON array", "CSV", "TSV", "Parquet", *PACKED_SUFFIXES))
