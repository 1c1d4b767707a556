"""The commands over files: gate, judge, compare, calibrate."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from corral.cli import counting
from tests.harness import Corral, refused
from tests.scripted_server import ScriptedServer
from tests.served_registry import ServedRegistry

GOOD, BAD = "It answers splendidly: first mix, then bake.", "It answers shabbily, and then stops."


@pytest.fixture
def config(tmp_path: Path) -> Iterator[str]:
    """A config whose judge is the scripted server, which gives good answers high scores."""
    with ScriptedServer() as server:
        judge = {"base_url": server.url, "model": "scripted"}
        (tmp_path / "judge.yaml").write_text(yaml.safe_dump({"models": {"judge": judge}}))
        yield str(tmp_path / "judge.yaml")


def write(path: Path, rows: list[dict[str, object]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def outputs(path: Path, output: str) -> str:
    return write(path, [{"prompt": f"How do I bake bread number {n}?", "output": f"{output} ({n})"} for n in range(6)])


def test_gate_accounts_for_every_row(corral: Corral, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {"instruction": "Explain why bread dough rises when it rests.", "input": "", "output": "Yeast makes gas."},
        {"instruction": "Explain why bread dough rises when it rests.", "input": "", "output": "Yeast makes gas."},
        {"instruction": "Name three uses of an empty glass jar.", "input": "", "output": ""},
        {"instruction": "No output field here at all."},
    ]
    code, out, _ = corral("gate", write(tmp_path / "rows.jsonl", rows), "--out", str(tmp_path / "gated"))
    assert code == 0 and "4 rows = 1 accepted + 0 for review + 2 rejected + 1 unreadable" in out
    assert "empty_output" in out and "row 4" in out
    report = json.loads((tmp_path / "gated" / "report.json").read_text())
    assert report["rows"] == report["accepted"] + report["waiting"] + report["rejected"] + report["unreadable"]


def test_gate_refuses_a_file_with_nothing_usable(corral: Corral, tmp_path: Path) -> None:
    (tmp_path / "none.json").write_text("not json")
    refused(corral("gate", str(tmp_path / "none.json"), "--out", str(tmp_path / "gated")), "none.json")
    refused(corral("gate", str(tmp_path / "missing.json"), "--out", str(tmp_path / "gated")), "missing.json")


def test_judge_reports_and_fails_under(corral: Corral, tmp_path: Path, config: str) -> None:
    file = outputs(tmp_path / "bad.jsonl", BAD)
    code, out, _ = corral("judge", file, "--config", config)
    assert code == 0 and "6 rows = " in out
    code, _, error = corral("judge", file, "--config", config, "--fail-under", "70")
    assert code == 1 and "6 of 6" in error
    code, _, _ = corral("judge", outputs(tmp_path / "good.jsonl", GOOD), "--config", config, "--fail-under", "70")
    assert code == 0


def test_the_environment_names_the_judge_where_no_config_does(
    corral: Corral, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = outputs(tmp_path / "good.jsonl", GOOD)
    with ScriptedServer() as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_MODEL", "scripted")
        code, out, error = corral("judge", file, "--json")
        assert code == 0 and json.loads(out)["judge"].startswith("crew/scripted/") and "embedded" not in error
        refused(corral("judge", file, "--config", write(tmp_path / "no.yaml", [{"judge": {"weights": 1}}])), "weights")


def test_compare_names_the_winner_or_none(corral: Corral, tmp_path: Path, config: str) -> None:
    good, bad = outputs(tmp_path / "good.jsonl", GOOD), outputs(tmp_path / "bad.jsonl", BAD)
    found = json.loads(corral("compare", bad, good, "--config", config, "--json")[1])
    assert found["overall_b"] > found["overall_a"]
    assert found["wins_a"] + found["wins_b"] + found["ties"] + found["failed"] == found["pairs"] == 6
    same = json.loads(corral("compare", good, good, "--config", config, "--json")[1])
    assert same["winner"] == "none"


@pytest.mark.usefixtures("in_this_process")
def test_two_models_are_compared_by_their_names(
    corral: Corral, tmp_path: Path, config: str, served: ServedRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORRAL_HOME", str(served.home))
    monkeypatch.setenv("CORRAL_CACHE", str(tmp_path / "cache"))
    asked = write(tmp_path / "prompts.jsonl", [{"prompt": f"Say {n}.", "checks": []} for n in ("one", "two")])
    names = ("--a", f"registry:{served.second}", "--b", "registry:current", "--prompts", asked)
    command = ("compare", *names, "--max-tokens", "8", "--config", config)
    code, out, error = corral(*command, "--json")
    assert code == 0, error
    assert json.loads(out)["pairs"] == 2 and json.loads(out)["unmatched"] == 0
    refused(corral("compare", *names[:2], "--b", "registry:v9", "--prompts", asked), "v9")
    refused(corral("compare", "--a", "base", "--b", "base", "--prompts", asked), "nothing to compare")
    refused(corral("compare", "--a", "base", "--b", str(served.base), "--prompts", asked), "must be an adapter")
    refused(corral("compare", *names[:4]), "give two files", "--prompts")
    refused(corral("compare", asked, asked, *names), "give two files")


def test_calibrate_measures_and_refuses_one_sided_labels(corral: Corral, tmp_path: Path, config: str) -> None:
    rated: list[dict[str, object]] = [
        {"prompt": f"How do I bake bread number {n}?", "output": f"{text} ({n})", "rating": rating}
        for n, (text, rating) in enumerate([(GOOD, 5), (BAD, 1)] * 4)
    ]
    code, out, _ = corral("calibrate", write(tmp_path / "labels.jsonl", rated), "--config", config)
    assert code == 0 and "Cohen's kappa" in out and "Krippendorff's alpha" in out
    assert list((tmp_path / "home" / "calibrations").glob("*/*.json"))
    one_sided = [row | {"rating": 5} for row in rated]
    refused(corral("calibrate", write(tmp_path / "same.jsonl", one_sided), "--config", config), "same.jsonl")
    refused(corral("calibrate", write(tmp_path / "empty.jsonl", []), "--config", config), "empty.jsonl")


def priced(tmp_path: Path, server: ScriptedServer, **budget: float) -> str:
    """Return a config whose judge costs a dollar for a thousand tokens."""
    judge = {"base_url": server.url, "model": "scripted", "input_price": 1000.0, "output_price": 1000.0}
    (tmp_path / "priced.yaml").write_text(yaml.safe_dump({"models": {"judge": judge}, "budget": budget}))
    return str(tmp_path / "priced.yaml")


@pytest.mark.parametrize("command", ["judge", "compare", "calibrate"])
def test_a_cap_holds_outside_of_runs_and_the_rest_is_done_later(corral: Corral, tmp_path: Path, command: str) -> None:
    """A judge with a cap of a millionth of a dollar spent $4.97, without a word."""
    rows: list[dict[str, object]] = [
        {"prompt": f"How do I bake bread number {n}?", "output": f"{text} ({n})", "rating": rating}
        for n, (text, rating) in enumerate([(GOOD, 5), (BAD, 1)])
    ]
    files = [write(tmp_path / "rows.jsonl", rows)]
    if command == "compare":
        files.append(write(tmp_path / "others.jsonl", [row | {"output": "Nothing."} for row in rows]))
    with ScriptedServer() as server:
        config = ["--config", priced(tmp_path, server, dollars=1e-6)]
        refused_at_once = corral(command, *files, *config)
        assert refused_at_once[0] == 3 and not server.requests and refused_at_once[2].count("\n") == 1
        assert "$0.0000 of $1e-06 is spent" in refused_at_once[2] and "higher --budget" in refused_at_once[2]

        code, _, error = corral(command, *files, *config, "--budget", "2.5")
        some = len(server.requests)
        assert code == 3 and some > 0 and "of $2.5000 is spent" in error

        code, out, _ = corral(command, *files, *config, "--budget", "1000", "--json")
        found, made = json.loads(out), len(server.requests)
        assert code == 0 and found["calls"] == made - some and found["spent"] > 0
        code, out, _ = corral(command, *files, *config, "--budget", "0")
        assert code == 0 and len(server.requests) == made, "what was answered is never asked again"
        assert "spent $0.0000 of $0 on 0 calls of scripted (as the request says)" in out


def test_a_cap_outside_of_runs_needs_a_price_too(corral: Corral, tmp_path: Path) -> None:
    (tmp_path / "far.yaml").write_text("models: {judge: {base_url: 'https://models.example.org/v1', model: m}}")
    file = outputs(tmp_path / "good.jsonl", GOOD)
    result = corral("judge", file, "--config", str(tmp_path / "far.yaml"), "--budget", "1")
    refused(result, "the budget cannot be kept", "models.judge.input_price")


def test_judge_fails_where_nothing_was_judged_and_asks_again(corral: Corral, tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [{"prompt": "How do I bake bread?", "output": GOOD}]
    with ScriptedServer(fail_when={"bread": "invalid"}) as server:
        judge = {"base_url": server.url, "model": "scripted"}
        (tmp_path / "judge.yaml").write_text(yaml.safe_dump({"models": {"judge": judge}}))
        command = ("judge", write(tmp_path / "one.jsonl", rows), "--config", str(tmp_path / "judge.yaml"))
        code, _, error = corral(*command)
        assert code == 1 and "no row of 1 could be judged" in error and "AnswerInvalid" in error
        server.fail_when.clear()
        assert corral(*command)[0] == 0


DEEP = "[" * 100_000


@pytest.mark.parametrize("command", ["judge", "compare", "calibrate", "gate", "config", "set", "answers"])
def test_a_file_nested_without_end_is_one_line(corral: Corral, tmp_path: Path, config: str, command: str) -> None:
    deep = tmp_path / "deep.jsonl"
    deep.write_text('{"prompt": "a", "output": ' + DEEP + "]" * 100_000 + "}\n")
    arguments = {
        "judge": [command, deep, "--config", config],
        "compare": [command, deep, deep, "--config", config],
        "calibrate": [command, deep, "--config", config],
        "gate": [command, deep, "--out", tmp_path / "gated"],
        "config": ["judge", deep, "--config", deep],
        "set": ["run", config, "--set", f"name={DEEP[:5000]}"],
        "answers": ["review", "none", "--answers", deep],
    }[command]
    code, _, error = corral(*map(str, arguments))
    assert code == 2 and "Traceback" not in error and len(error.strip().splitlines()) <= 2


@pytest.mark.parametrize("label", [[1], {"a": 1}, [], True, 1.5, -1, "first", None])
def test_a_label_that_is_none_is_one_line(corral: Corral, tmp_path: Path, config: str, label: object) -> None:
    row = {"prompt": "Which?", "output_1": "a b", "output_2": "c d"}
    file = write(tmp_path / "labels.jsonl", [row | {"label": label}, row | {"label": 2}])
    refused(corral("calibrate", file, "--config", config), "line 1")


def test_what_takes_longer_shows_its_count_its_rate_and_the_time_left(
    corral: Corral, config: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(counting, "QUIET_SECONDS", 0.0)
    code, out, error = corral("judge", outputs(tmp_path / "good.jsonl", GOOD), "--config", config, "--json")
    assert code == 0 and json.loads(out)["rows"]
    assert "judge     6/6" in error, "on standard error, so that JSON stays JSON"
    pairs = outputs(tmp_path / "more.jsonl", GOOD)
    assert "/18" in corral("compare", pairs, pairs, "--config", config)[2]
