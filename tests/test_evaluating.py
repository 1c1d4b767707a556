"""``corral evaluate``: any adapter on any prompts, what is refused, and that a killed evaluation goes on."""

from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from state.errors import BadInput
from state.records import Answer, Check, Sample
from tests.harness import Corral, refused, wait_until
from tests.tiny_model import tiny_model
from tools.evaluation.accuracy import accuracies
from tools.evaluation.standalone import plan_evaluation
from tools.files import sole_use
from tools.settings import load_settings
from tools.weights.adapters import adapter_identity, check_fit, find_base
from tools.weights.folders import base_folder, folder_fingerprint

NO_COMMA: dict[str, Any] = {
    "key": 1,
    "prompt": "Say something without a comma.",
    "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
    "kwargs": [{}, {"relation": "less than", "num_words": 500}],
}


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("tiny") / "base")


@pytest.fixture(scope="module")
def adapter(tmp_path_factory: pytest.TempPathFactory, base: Path) -> Path:
    """An adapter as PEFT writes it, whose second half is random too, so that it answers otherwise than its base."""
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    config = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", r=4, init_lora_weights=False)
    folder = tmp_path_factory.mktemp("adapter") / "mine"
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), config).save_pretrained(str(folder))
    return folder


@pytest.fixture
def changed(adapter: Path, tmp_path: Path) -> Any:
    """Copy the adapter with other values in its configuration."""

    def copy(**values: Any) -> Path:
        folder = shutil.copytree(adapter, tmp_path / "changed", dirs_exist_ok=True)
        config = json.loads((adapter / "adapter_config.json").read_text()) | values
        (folder / "adapter_config.json").write_text(json.dumps(config))
        return folder

    return copy


def write(path: Path, rows: list[dict[str, Any]]) -> str:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return str(path)


def lines(file: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in file.read_text().splitlines()]


def answered(database: Path) -> list[tuple[str, str]]:
    """Return key and time of the ledger's answered calls."""
    try:
        with sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=30) as opened:
            query = "SELECT key, json_extract(body, '$.started_at') FROM calls WHERE status = 'answered' ORDER BY key"
            return opened.execute(query).fetchall()
    except sqlite3.OperationalError:
        return []


@pytest.mark.usefixtures("in_this_process")
def test_killed_evaluation_goes_on(corral: Corral, adapter: Path, tmp_path: Path) -> None:
    rows = [NO_COMMA, {"prompt": "Left out.", "split": "train"}]
    rows += [{"prompt": f"Count to {n}.", "checks": [{"kind": "max_words", "value": 500}]} for n in range(6)]
    out, prompts = tmp_path / "out", write(tmp_path / "some.jsonl", rows)
    command = ["evaluate", str(adapter), "--prompts", prompts, "--out", str(out), "--max-tokens", "48", "--json"]
    process = subprocess.Popen(
        [sys.executable, "-m", "corral.cli", *command],
        cwd=Path(__file__).resolve().parents[1],
        env=os.environ | {"CORRAL_HOME": str(tmp_path / "home")},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    database = tmp_path / "home" / "corral.db"
    wait_until(lambda: answered(database), process, seconds=400)
    process.send_signal(signal.SIGKILL)
    process.wait()
    before, killed_at = answered(database), f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%S.%fZ}"

    code, printed, shown = corral(*command)
    assert code == 0 and "base      7/7" in shown and "adapter   7/7" in shown
    after = answered(database)
    assert len(after) == 14 and set(before) <= set(after), "what is answered is not asked again"
    kept = out / "answers-some.jsonl"
    assert Counter(Counter(line["prompt"] for line in lines(kept)).values()) == {2: 7}
    found = json.loads(printed)
    assert found["scoreboard"]["prompts"] == found["scoreboard"]["base"]["answered"] == 7
    assert found["scoreboard"]["notes"] == ["left out, being marked 'train': 1 prompt"]
    asked = [key for key, started_at in after if started_at > killed_at]
    assert found.pop("calls") == len(asked) < 14 and found.pop("spent") == 0.0, "what was asked now"
    assert json.loads((out / "some.json").read_text()) == found
    assert [(one["name"], one["loose"], one["count"]) for one in found["accuracies"]] == [
        ("prompt", False, 7),
        ("instruction", False, 8),
        ("prompt", True, 7),
        ("instruction", True, 8),
    ]

    code, printed, _ = corral(*command[:-1], "--limit", "3")
    assert code == 0 and answered(database) == after
    for words in ("on 3 held-out prompts", "prompt-level, strict", "instruction-level, loose", "scoreboard-some.json"):
        assert words in printed


def test_bad_input_is_one_line(corral: Corral, adapter: Path, base: Path, changed: Any, tmp_path: Path) -> None:
    good = write(tmp_path / "good.jsonl", [NO_COMMA])
    bad = write(tmp_path / "bad.jsonl", [NO_COMMA, NO_COMMA | {"instruction_id_list": ["punctuation:no_comma", "x:y"]}])
    train = write(tmp_path / "train.jsonl", [{"prompt": "p", "split": "train"}])
    refused(corral("evaluate", str(adapter), "--prompts", bad), "bad.jsonl, line 2", "'x:y'", "startend:quotation")
    refused(corral("evaluate", str(adapter), "--prompts", str(tmp_path / "none.jsonl")), "none.jsonl")
    refused(corral("evaluate", str(adapter), "--prompts", train), "train.jsonl", "nothing to evaluate")
    refused(corral("evaluate", str(base), "--prompts", good), "no PEFT adapter", "adapter_config.json")
    refused(corral("evaluate", str(tmp_path / "no"), "--prompts", good), str(tmp_path / "no"))
    refused(corral("evaluate", str(adapter), "--prompts", good, "--base", str(tmp_path / "no")), "--base", "/no")
    refused(corral("evaluate", str(changed(r=8)), "--prompts", good), "does not fit", str(base))
    assert not (tmp_path / "home").exists()


def test_the_base_is_the_adapters_own(adapter: Path, base: Path, changed: Any, tmp_path: Path) -> None:
    cache = load_settings().cache
    assert find_base(adapter, None, tmp_path) == base.resolve()
    embedded = base_folder("embedded", cache)
    assert find_base(adapter, "embedded", cache) == embedded
    moved = changed(base_model_name_or_path=f"/another/machine/{embedded.name}")
    assert find_base(moved, None, cache) == embedded
    assert find_base(moved, str(base), cache) == base.resolve()
    for name, words in (("/another/machine/model", "name it with --base"), (None, "does not name"), ("", "not name")):
        with pytest.raises(BadInput, match=words):
            find_base(changed(base_model_name_or_path=name), None, cache)
    (moved / "adapter_config.json").write_text("[")
    with pytest.raises(BadInput, match="cannot be read"):
        find_base(moved, None, cache)
    (moved / "adapter_model.safetensors").rename(moved / "adapter_model.bin")
    with pytest.raises(BadInput, match="pickled"):
        find_base(moved, None, cache)


def test_an_adapter_that_does_not_fit_is_refused(adapter: Path, base: Path, changed: Any, tmp_path: Path) -> None:
    check_fit(adapter, base)
    check_fit(changed(init_lora_weights="pissa"), base)
    other = shutil.copytree(base, tmp_path / "wide")
    config = json.loads((other / "config.json").read_text())
    every_layer = changed(target_modules="q_proj k_proj v_proj o_proj gate_proj up_proj down_proj".split())
    check_fit(every_layer, base)
    for values, words in (
        ({"hidden_size": 48, "head_dim": 24}, "does not fit .*weights differ, such as .*lora_[AB]"),
        ({"num_hidden_layers": 3}, r"does not fit .*layers\.2\..*missing in the adapter"),
        ({"num_hidden_layers": 1}, r"does not fit .*layers\.1\..*none by the base"),
    ):
        (other / "config.json").write_text(json.dumps(config | values))
        with pytest.raises(BadInput, match=words):
            check_fit(every_layer, other)
    for values in ({"target_modules": ["nothing_here"]}, {"peft_type": "NO_SUCH"}):
        with pytest.raises(BadInput, match="cannot be put on the base") as told:
            check_fit(changed(**values), base)
        assert "\n" not in str(told.value)
    learned = {"peft_type": "PROMPT_TUNING", "task_type": "CAUSAL_LM", "num_virtual_tokens": 4}
    prompt = shutil.copytree(adapter, tmp_path / "prompt")
    (prompt / "adapter_config.json").write_text(json.dumps(learned))
    with pytest.raises(BadInput, match="a learned prompt"):
        check_fit(prompt, base)


def test_a_plan_settles_what_was_not_said(adapter: Path, base: Path, tmp_path: Path) -> None:
    asked: dict[str, Any] = {"base": None, "limit": None, "max_tokens": None, "out": None}
    own = Path(write(tmp_path / "own.jsonl", [{"prompt": f"p{n}"} for n in range(3)]))
    ifeval = Path(write(tmp_path / "ifeval.jsonl", [NO_COMMA]))
    plan = plan_evaluation(adapter, own, **asked, home=tmp_path, cache=tmp_path)
    assert plan.settings.max_tokens == 144 and len(plan.samples) == 3 and plan.base == base.resolve()
    assert plan.out == tmp_path / "evaluations" / f"mine-{adapter_identity(adapter, base)[:8]}"
    assert plan_evaluation(adapter, ifeval, **asked, home=tmp_path, cache=tmp_path).settings.max_tokens == 1280
    given = asked | {"limit": 2, "max_tokens": 9, "out": tmp_path / "x"}
    plan = plan_evaluation(adapter, own, **given, home=tmp_path, cache=tmp_path)
    assert (len(plan.samples), plan.settings.max_tokens, plan.out) == (2, 9, tmp_path / "x")


def test_two_evaluations_do_not_write_to_one_folder(tmp_path: Path) -> None:
    with sole_use(tmp_path / "deep" / "out"):
        with pytest.raises(BadInput, match=r"another process writes to .*out; wait for it, or name another folder"):
            with sole_use(tmp_path / "deep" / "out"):
                pass
    with sole_use(tmp_path / "deep" / "out"):
        pass


def test_a_model_folder_is_told_by_what_its_files_hold(base: Path, tmp_path: Path) -> None:
    identity, copy = folder_fingerprint(base), tmp_path / "copy"
    shutil.copytree(base, copy)
    (copy / ".lock").touch()
    assert folder_fingerprint(copy) == identity
    weights = copy / "model.safetensors"
    held = weights.read_bytes()
    weights.write_bytes(held[:-1] + bytes([held[-1] ^ 1]))
    assert folder_fingerprint(copy) != identity, "weights of one size, trained on"


def test_accuracies_count_prompts_and_instructions() -> None:
    two = (Check(kind="punctuation:no_comma"), Check(kind="startend:quotation"))
    samples = [
        Sample(id="a", instruction="a", checks=two),
        Sample(id="b", instruction="b", checks=two[:1]),
        Sample(id="c", instruction="c"),
    ]

    def answers(**texts: str) -> list[Answer]:
        return [Answer(id=id_, sample_id=id_, model="m", text=text, ended=True) for id_, text in texts.items()]

    base, adapter = answers(a="x", c="x"), answers(a='Sure\n"x"', b="x", c="x")
    found = {(one.name, one.loose): one for one in accuracies(samples, base, adapter, 500, 0)}
    assert {key: (one.count, one.base, one.adapter) for key, one in found.items()} == {
        ("prompt", False): (2, 0.0, 0.5),
        ("instruction", False): (3, pytest.approx(1 / 3), pytest.approx(2 / 3)),
        ("prompt", True): (2, 0.0, 1.0),
        ("instruction", True): (3, pytest.approx(1 / 3), 1.0),
    }
    for one in found.values():
        assert -1 <= one.interval.low <= one.interval.value <= one.interval.high <= 1
        assert one.interval.value == pytest.approx(one.adapter - one.base)
    assert accuracies(samples[2:], base, adapter, 500, 0) == ()
    with_itself = accuracies(samples, adapter, adapter, 500, 0)
    assert all(one.interval.low == one.interval.high == 0 for one in with_itself)
