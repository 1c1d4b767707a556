"""Training and answering with a tiny Llama of the embedded model's tokenizer: masks, losses, adapters, tripwires."""

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from state.errors import BadInput, TrainingError
from state.request import Training
from tests.tiny_model import tiny_model
from tools.registry.version import link_folder
from tools.training.job import TrainingJob
from tools.training.rows import read_conversations
from tools.training.sealing import read_seal
from tools.weights.adapters import find_base
from tools.weights.template import IGNORED, tokenise

SETTINGS = Training(
    recipe="sft+dpo", epochs=2, batch_size=4, lora_rank=4, lora_alpha=8, max_length=96, save_steps=2,
    learning_rate=5e-2, dpo_learning_rate=2e-2,
)  # fmt: skip
COLOURS = ("blue", "green", "red", "white", "black", "grey", "pink", "gold", "brown", "teal")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def tokenizer(base: Path) -> Any:
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(base)


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten rows for each phase, and one that is too long."""
    folder = tmp_path_factory.mktemp("rows")
    say = [f"The {colour} one{', and more' * number}." for number, colour in enumerate(COLOURS)] + ["word " * 200]
    with (folder / "sft.jsonl").open("w") as sft, (folder / "dpo.jsonl").open("w") as dpo:
        for number, text in enumerate(say):
            prompt = [{"role": "user", "content": f"Which of {number + 2} is it?"}]
            answer, other = ([{"role": "assistant", "content": t}] for t in (text, f"Not {number} of them."))
            sft.write(json.dumps({"prompt": prompt, "completion": answer}) + "\n")
            dpo.write(json.dumps({"prompt": prompt, "chosen": answer, "rejected": other}) + "\n")
    return folder


def _job(base: Path, rows: Path, out: Path, recipe: str, **settings: Any) -> TrainingJob:
    return TrainingJob(
        base=str(base),
        recipe=recipe,
        dataset=str(rows),
        out=str(out),
        settings=SETTINGS.model_copy(update=settings),
    )


def _run(job: TrainingJob, folder: Path) -> list[dict[str, Any]]:
    from tools.training.runner import run

    folder.mkdir(exist_ok=True)
    lines: list[dict[str, Any]] = []
    run(job, folder, lambda **fields: lines.append(fields))
    return lines


def _log_probability(base: Path, adapter: Path | None, prompt: str, answer: str) -> float:
    """Return the log-probability of an answer by plain transformers and PEFT, in float32."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    if adapter is not None:
        model = PeftModel.from_pretrained(model, str(adapter))
    turns = [{"role": "user", "content": prompt}], [{"role": "assistant", "content": answer}]
    row = tokenise(tokenizer, *turns)
    labels = torch.tensor([row.labels])
    with torch.no_grad():
        loss = model(input_ids=torch.tensor([row.input_ids]), labels=labels).loss
    return -float(loss) * int((labels != IGNORED).sum())


def test_the_mask_is_trls_token_by_token(base: Path, tokenizer: Any, rows: Path, tmp_path: Path) -> None:
    """TRL's own masking is the oracle; ours leaves out what the template writes after the end token."""
    from datasets import Dataset
    from transformers import AutoModelForCausalLM
    from trl import SFTConfig, SFTTrainer

    found = read_conversations(rows / "sft.jsonl", ("prompt", "completion"))[:10]
    theirs = SFTTrainer(
        model=AutoModelForCausalLM.from_pretrained(base),
        args=SFTConfig(output_dir=str(tmp_path), report_to="none", use_cpu=True, bf16=False),
        train_dataset=Dataset.from_list(found),
        processing_class=tokenizer,
    ).train_dataset
    newline = tokenizer("\n")["input_ids"]
    for given, their in zip(found, theirs, strict=True):
        ours = tokenise(tokenizer, given["prompt"], given["completion"])
        assert ours.input_ids + newline == their["input_ids"]
        assert ours.labels + newline == their["labels"]
        trained = [token for token in ours.labels if token != IGNORED]
        assert tokenizer.decode(trained) == given["completion"][0]["content"] + "<|im_end|>"


def test_the_score_of_completions_is_the_full_models(base: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from tools.training.faster_on_cpu import score

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)
    ids = torch.arange(40).reshape(2, 20) + 300
    labels = torch.where(torch.arange(20) % 3 == 1, ids, IGNORED)
    full = model(input_ids=ids)
    wanted = full.logits[:, :-1].log_softmax(-1).gather(-1, ids[:, 1:, None])[..., 0]
    hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
    found = score(hidden, labels[:, 1:], model.get_output_embeddings())
    mask = labels[:, 1:] != IGNORED
    assert torch.equal(found.label_mask, mask)
    assert torch.allclose(found.log_probs, torch.where(mask, wanted, 0.0), atol=1e-5)
    assert torch.equal(found.is_top1, mask & (full.logits[:, :-1].argmax(-1) == ids[:, 1:]))
    slope = torch.autograd.grad(found.log_probs.sum(), model.model.embed_tokens.weight, retain_graph=True)[0]
    assert torch.allclose(slope, torch.autograd.grad(wanted[mask].sum(), model.model.embed_tokens.weight)[0], atol=1e-5)


def test_sft_teaches_the_rows_and_drops_the_long_one(base: Path, rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    lines = _run(_job(base, rows, out, "sft"), tmp_path / "work")
    assert lines[0] == {"event": "progress", "phase": "sft"}
    steps = lines[1:-1]
    assert [(line["phase"], line["step"]) for line in steps] == [("sft", number) for number in range(1, 6)]
    assert {(line["total"], line["dropped"]) for line in steps} == {(5, 1)}
    summary = json.loads((out / "summary.json").read_text())["phases"][0]
    assert (summary["rows"], summary["dropped"], summary["steps"]) == (10, 1, 5)
    assert summary["losses"] == [round(line["loss"], 6) for line in steps]
    assert summary["tokens"] == steps[-1]["tokens"] > 0
    taught = "Which of 3 is it?", "The green one, and more."
    assert _log_probability(base, out, *taught) > _log_probability(base, None, *taught) + 1
    assert not list((tmp_path / "work").rglob("checkpoint-*"))


def test_dpo_prefers_the_chosen(base: Path, rows: Path, tmp_path: Path) -> None:
    out = tmp_path / "adapter"
    lines = _run(_job(base, rows, out, "dpo"), tmp_path / "work")
    first = next(line for line in lines if line.get("step") == 1)
    assert first["loss"] == pytest.approx(math.log(2), abs=1e-3)
    prompt = "Which of 3 is it?"

    def margin(adapter: Path | None) -> float:
        chosen, rejected = "The green one, and more.", "Not 1 of them."
        return _log_probability(base, adapter, prompt, chosen) - _log_probability(base, adapter, prompt, rejected)

    assert margin(out) > margin(None)


def test_dpo_after_sft_starts_from_the_sft_adapter_and_gives_one_adapter(
    base: Path, rows: Path, tmp_path: Path
) -> None:
    out = tmp_path / "adapter"
    lines = _run(_job(base, rows, out, "sft+dpo"), tmp_path / "work")
    assert [line["phase"] for line in lines] == ["sft"] * 6 + ["dpo"] * 6 + ["save"]
    assert lines[7]["loss"] == pytest.approx(math.log(2), abs=1e-3)
    assert sorted(path.name for path in out.iterdir()) == [
        "adapter_config.json", "adapter_model.safetensors", "sealed.json", "summary.json"
    ]  # fmt: skip
    taught = "Which of 3 is it?", "The green one, and more."
    assert _log_probability(base, out, *taught) > _log_probability(base, None, *taught) + 1


def test_same_seed_same_bytes_and_another_seed_others(base: Path, rows: Path, tmp_path: Path) -> None:
    def weights(name: str, seed: int, **decided: object) -> tuple[bytes, str]:
        job = _job(base, rows, tmp_path / name, "sft", epochs=1).model_copy(update={"seed": seed} | decided)
        _run(job, tmp_path / f"work-{name}")
        record = read_seal(tmp_path / name)
        assert record is not None and record["job"] == job.identity()
        return (tmp_path / name / "adapter_model.safetensors").read_bytes(), record["adapter"]

    first, again, other = weights("a", 1), weights("b", 1), weights("c", 2)
    assert first == again
    assert first[0] != other[0] and first[1] != other[1]
    frugal = weights("d", 1, gradient_checkpointing=True)
    assert frugal == first, "memory that is short for a moment changes nothing"


def test_what_goes_on_from_a_version_of_the_registry_names_a_base_that_is_there(
    base: Path, rows: Path, tmp_path: Path
) -> None:
    version, second = tmp_path / "version", tmp_path / "second"
    _run(_job(base, rows, version, "sft", epochs=1), tmp_path / "work-first")
    link_folder(base, version / "base")
    config = json.loads((version / "adapter_config.json").read_text())
    (version / "adapter_config.json").write_text(json.dumps(config | {"base_model_name_or_path": "base"}))
    job = _job(base, rows, second, "sft", epochs=1).model_copy(update={"start": str(version)})
    _run(job, tmp_path / "work-second")
    assert find_base(version, None, tmp_path / "cache") == version / "base"
    assert find_base(second, None, tmp_path / "cache") == base


def test_a_broken_base_is_stopped(base: Path, rows: Path, tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(base)
    with torch.no_grad():
        model.model.norm.weight.fill_(float("nan"))
    model.save_pretrained(tmp_path / "broken")
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path / "broken")
    with pytest.raises(TrainingError, match="sft step 1: the loss is nan"):
        _run(_job(tmp_path / "broken", rows, tmp_path / "out", "sft"), tmp_path / "work")


def test_rows_that_are_all_too_long_are_refused(base: Path, rows: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="all 11 sft rows are longer"):
        _run(_job(base, rows, tmp_path / "out", "sft", max_length=32), tmp_path / "work")


@pytest.fixture
def batch(base: Path, tokenizer: Any) -> Iterator[dict[str, Any]]:
    texts = ["One", "Two words", "Here are a few more words than before", "4 4 4 4", "And five", "six", "7"]
    tokenizer.padding_side = "left"
    yield tokenizer(texts, padding=True, return_tensors="pt")
    tokenizer.padding_side = "right"


def test_decoding_is_generates_greedy_search(base: Path, batch: dict[str, Any]) -> None:
    import torch
    from transformers import AutoModelForCausalLM

    from tests.greedy import decode_greedily

    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    free = model.generate(**batch, max_new_tokens=24, do_sample=False, eos_token_id=[], pad_token_id=0)
    width = batch["input_ids"].shape[1]
    ends = frozenset(free[row, width + 4 + 2 * row].item() for row in range(5))
    theirs = model.generate(**batch, max_new_tokens=24, do_sample=False, eos_token_id=sorted(ends), pad_token_id=0)
    found = {
        decoded.row: decoded
        for decoded in decode_greedily(model, batch["input_ids"], batch["attention_mask"], ends, 24)
    }
    assert len(found) == len(theirs) and {decoded.ended for decoded in found.values()} == {True, False}
    for row, tokens in enumerate(theirs[:, width:].tolist()):
        stop = next((place for place, token in enumerate(tokens) if token in ends), None)
        assert found[row].tokens == tokens[:stop]
        assert found[row].ended == (stop is not None)
