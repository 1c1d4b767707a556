"""A deployment: the version needs nothing of the machine that trained it, and serves what was trained."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from nodes.deploy import make_deploy
from state.database import Database
from state.pipeline import AdapterRef, Approval, DatasetRef, PipelineState
from state.records import Answer
from state.request import RunRequest
from state.store import RecordStore
from tests.builders import sample, verdict
from tests.served_registry import ServedRegistry
from tests.test_evaluation_scoreboard import board as scoreboard
from tools.endpoint.chat import Likelihood, LikelihoodCall, Message, user_message
from tools.engine.embedded import served_alone
from tools.engine.parity import REQUESTS, Parity, ServedAnswer, compared, measure_parity
from tools.registry import current, record_of
from tools.settings import Settings
from tools.weights.gguf_files import write_gguf_adapter
from tools.weights.likelihoods import score
from tools.weights.loading import load_model
from tools.weights.protocol import Score
from tools.weights.template import load_tokenizer

PROMPTS = [user_message(f"Tell me about {topic}.") for topic in ("kettles", "ladders", "lanterns", "anchors")]
TOKENS = 16


class Trainer:
    """The trainer's weights in this process, as the evaluation's endpoint has them in its own."""

    def __init__(self, base: Path, adapter: Path) -> None:
        self.tokenizer, self.model = load_tokenizer(base), load_model(base, adapter)

    async def likelihood(self, call: LikelihoodCall) -> Likelihood:
        turns = tuple({name: str(text) for name, text in turn.items()} for turn in call.messages)
        (found,) = score(self.model, self.tokenizer, [Score(turns=turns, completion=call.completion)])
        return Likelihood(log_likelihood=found.log_likelihood, tokens=found.tokens)

    def answer(self, prompt: Message) -> str:
        ids = self.tokenizer.apply_chat_template([dict(prompt)], add_generation_prompt=True, return_tensors="pt")
        ids = ids if not hasattr(ids, "input_ids") else ids.input_ids
        out = self.model.generate(ids, do_sample=False, max_new_tokens=TOKENS)[0, ids.shape[1] :]
        return str(self.tokenizer.decode(out, skip_special_tokens=True))


@pytest.fixture(scope="module")
def trainer(served: ServedRegistry) -> Trainer:
    return Trainer(served.base, served.base.parent / "adapter-1")


@pytest.fixture
def moved(served: ServedRegistry, tmp_path: Path) -> Iterator[Path]:
    """A copy of a version in another place, while what it was made of is out of reach."""
    shutil.copytree(served.registry / served.first, tmp_path / "elsewhere")
    away = served.base.parent.with_name("away")
    served.base.parent.rename(away)
    yield tmp_path / "elsewhere"
    away.rename(served.base.parent)


async def parity(version: Path, trainer: Trainer, cache: Path) -> Parity:
    async with served_alone(version, cache, 512) as held:
        answers = [trainer.answer(prompt) for prompt in PROMPTS]
        return await measure_parity(held, trainer.tokenizer, PROMPTS, answers, trainer.likelihood, TOKENS)


async def test_a_version_is_loaded_from_a_copy_elsewhere(
    moved: Path, trainer: Trainer, monkeypatch: pytest.MonkeyPatch
) -> None:
    from peft import AutoPeftModelForCausalLM
    from transformers import AutoTokenizer

    assert json.loads((moved / "adapter_config.json").read_text())["base_model_name_or_path"] == "base"
    assert not [path for path in moved.rglob("*.json") if str(moved.parent.parent) in path.read_text()]
    monkeypatch.chdir(moved)
    model, tokenizer = AutoPeftModelForCausalLM.from_pretrained("."), AutoTokenizer.from_pretrained(".")
    assert tokenizer.chat_template == trainer.tokenizer.chat_template
    ids = tokenizer("Hello there.", return_tensors="pt").input_ids
    close = (model(ids).logits - trainer.model(ids).logits).abs().max()
    assert float(close) < 1e-3
    found = await parity(moved, trainer, moved.parent / "cache")
    assert (found.requests_equal, found.faults) == (len(REQUESTS), ())
    assert found.answers_equal == len(PROMPTS) and found.largest < 0.01
    assert "token ids" in found.words


def lose_the_adapter(version: Path) -> None:
    from safetensors.numpy import load_file, save_file

    weights = load_file(version / "adapter_model.safetensors")
    save_file({name: weight * 0 for name, weight in weights.items()}, version / "adapter_model.safetensors")
    write_gguf_adapter(version, version / "base", version / "adapter.gguf")


def halve_the_scale(version: Path) -> None:
    config = json.loads((version / "adapter_config.json").read_text())
    (version / "adapter_config.json").write_text(json.dumps(config | {"lora_alpha": config["lora_alpha"] / 2}))
    write_gguf_adapter(version, version / "base", version / "adapter.gguf")


def change_the_template(version: Path) -> None:
    template = version / "chat_template.jinja"
    template.write_text(template.read_text().replace("You are a helpful AI assistant", "You are an AI"))


@pytest.mark.parametrize("spoil", [lose_the_adapter, halve_the_scale, change_the_template])
async def test_what_is_not_what_was_trained_is_found(
    served: ServedRegistry, tmp_path: Path, trainer: Trainer, spoil: Any
) -> None:
    version = tmp_path / "version"
    shutil.copytree(served.registry / served.first, version)
    spoil(version)
    found = await parity(version, trainer, served.home / "cache")
    assert found.faults, found.words
    assert (found.requests_equal < len(REQUESTS)) == (spoil is change_the_template)


def test_rounding_is_no_fault_and_a_short_answer_is_not_taken_for_much() -> None:
    served = [ServedAnswer(text="one two", log_likelihood=-1.0, tokens=1)]
    found = compared(7, [], ["one two "], served, [Likelihood(log_likelihood=-1.1, tokens=1)])
    assert (found.answers_equal, found.faults) == (1, ()) and found.largest == pytest.approx(0.1 / 8)
    other = compared(7, ["hello"], ["x"], served, [Likelihood(log_likelihood=-1.3, tokens=2)])
    assert [fault.split(" ")[0] for fault in other.faults] == ["the", "no"] and other.requests_equal == 6


@pytest.fixture
async def store(tmp_path: Path) -> Any:
    database = Database(f"sqlite:///{tmp_path / 'corral.db'}")
    await database.create()
    yield RecordStore(database)
    await database.close()


@pytest.mark.parametrize(("unattended", "spoilt"), [(True, False), (True, True), (False, True)])
async def test_an_unattended_run_points_at_nothing_else_than_was_trained(
    served: ServedRegistry, trainer: Trainer, store: RecordStore, tmp_path: Path, unattended: bool, spoilt: bool
) -> None:
    run = await state_of(served, store, tmp_path, unattended)
    registry = tmp_path / "registry"

    async def open_endpoint(spec: Any, run_id: str) -> Any:
        return trainer

    deploy = make_deploy(store, registry, Settings(home=tmp_path, cache=served.home / "cache"), open_endpoint)
    if spoilt:  # killed between writing the version and comparing it; meanwhile somebody changed it
        shutil.copytree(served.registry / served.first, registry / "v1-00000001")
        halve_the_scale(registry / "v1-00000001")
    told = await deploy(run)
    record = record_of(registry, "v1-00000001")
    assert record["parity"]["prompts"] == 3 and bool(record["warnings"]) == spoilt
    if unattended and spoilt:
        assert "deployed" not in told and current(registry) is None
        assert "not current" in told["warnings"][-1]
        return
    assert told["deployed"] == current(registry) == "v1-00000001"
    assert bool(told["warnings"]) == spoilt
    if not spoilt:
        version = registry / "v1-00000001"
        assert json.loads((version / "scoreboard.json").read_text())["prompts"] == 3
        assert (version / "lineage.jsonl").read_text() == "{}\n"
        assert "0.000 | 1.000 | +1.000" in (version / "README.md").read_text() and (version / "LICENSE").is_file()
        assert record["verdict"]["scoreboard"] == "scoreboard.json" and record["base"] == "base"
        assert os.stat(version / "base" / "model.safetensors").st_nlink > 1, "the base takes no room twice"


async def state_of(served: ServedRegistry, store: RecordStore, folder: Path, unattended: bool) -> PipelineState:
    """Return a run's state before its adapter is deployed."""
    request = RunRequest.model_validate(
        {"unattended": unattended, "models": {"base": str(served.base)}, "evaluate": {"max_tokens": TOKENS}}
    )
    samples = [sample(f"Tell me about {topic}.", split="heldout") for topic in ("kettles", "ladders", "lanterns")]
    adapter = AdapterRef(id="00000001" + "0" * 24, folder=str(served.base.parent / "adapter-1"))
    await store.add("trial", samples)
    answers = [Answer(id=s.id, sample_id=s.id, model=adapter.id, text="x", ended=True, tokens=1) for s in samples]
    await store.add("trial", answers)
    board = folder / "scoreboard.json"
    board.write_text(scoreboard(3, 0, 0).model_dump_json())
    (folder / "lineage.jsonl").write_text("{}\n")
    return {
        "run_id": "trial",
        "request": request,
        "adapter": adapter,
        "dataset": DatasetRef(version="d", folder=str(folder), sft_rows=1, dpo_rows=0, alpaca_rows=1),
        "verdict": verdict(scoreboard=str(board)),
        "approval": Approval(approved=True, reviewer="ada"),
    }
