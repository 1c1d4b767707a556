"""On a CUDA GPU, and only there: batched decoding, a training of each kind, and what is said where memory runs out.

python -m pytest tests/test_gpu.py
"""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch

from state.errors import TrainingError
from state.request import Training
from tests.tiny_model import tiny_model
from tools.machine.resources import gpu_count
from tools.training.decision import decide_training
from tools.training.job import TrainingJob
from tools.training.launch import train
from tools.training.survey import SurveyJob, run_survey
from tools.weights.decoding import Prompt, decode, end_tokens
from tools.weights.invariance import invariant_sizes
from tools.weights.likelihoods import score
from tools.weights.pool import ModelPool
from tools.weights.protocol import Draw, Drawn, Score
from tools.weights.template import load_tokenizer, prompt_tokens

pytestmark = pytest.mark.skipif(not gpu_count() or not torch.cuda.is_available(), reason="needs a CUDA GPU")
WORDS = ("spoon", "river", "cloud", "lamp", "door", "horse")
HOG = """
import sys, torch
free, _ = torch.cuda.mem_get_info()
held = torch.empty(int(free - float(sys.argv[1]) * 1e9), dtype=torch.uint8, device="cuda")
print("held", flush=True)
sys.stdin.read()
"""
PARENT = """
import asyncio, sys
from pathlib import Path
from tools.training.job import TrainingJob
from tools.training.launch import train
job = TrainingJob.model_validate_json(Path(sys.argv[1]).read_text())
asyncio.run(train(job, Path(sys.argv[2]), lambda p: print(p.phase, p.step, flush=True)))
"""


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base"))


def job_of(base: Path, folder: Path, **settings: Any) -> TrainingJob:
    folder.mkdir(exist_ok=True)
    with (folder / "sft.jsonl").open("w") as sft, (folder / "dpo.jsonl").open("w") as dpo:
        for word in WORDS:
            prompt = [{"role": "user", "content": f"Say one thing about a {word}."}]
            good, bad = (
                [{"role": "assistant", "content": text.format(word)}] for text in ("A {0} is seen.", "{0} {0}!")
            )
            sft.write(json.dumps({"prompt": prompt, "completion": good}) + "\n")
            dpo.write(json.dumps({"prompt": prompt, "chosen": good, "rejected": bad}) + "\n")
    return TrainingJob(
        base=str(base),
        recipe="sft+dpo",
        dataset=str(folder),
        out=str(folder / "adapter"),
        settings=Training(recipe="sft+dpo", epochs=1, batch_size=2, save_steps=1, lora_dropout=0.1, **settings),
    )


def trained(job: TrainingJob, folder: Path) -> dict[str, Any]:
    asyncio.run(train(job, folder / "work", lambda _: None))
    summary: dict[str, Any] = json.loads((Path(job.out) / "summary.json").read_text())
    return summary


def hog(left: float) -> subprocess.Popen[str]:
    """Return a process that holds all memory of the GPU but so many gigabytes."""
    child = subprocess.Popen(
        [sys.executable, "-c", HOG, str(left)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdout is not None and child.stdout.readline().strip() == "held"
    return child


def test_decoding_is_that_of_generate_and_likelihoods_are_those_of_the_cpu(base: Path) -> None:
    from transformers import AutoModelForCausalLM, GenerationConfig

    tokenizer = load_tokenizer(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()
    asked = [
        Score(number=n, turns=({"role": "user", "content": word},), completion="It is so.", next_words=("Yes",))
        for n, word in enumerate(WORDS)
    ]
    on_cpu = list(score(model, tokenizer, asked))
    model = model.to("cuda")
    for here, there in zip(score(model, tokenizer, asked), on_cpu, strict=True):
        assert here.log_likelihood == pytest.approx(there.log_likelihood, abs=1e-3)
    ends = end_tokens(model, tokenizer)
    prompts = [tuple(prompt_tokens(tokenizer, [{"role": "user", "content": f"{word} " * 9}])) for word in WORDS]
    found = decode(model, [Prompt(p) for p in prompts], ends, max_tokens=24, sizes=invariant_sizes(model))
    settings = GenerationConfig(max_new_tokens=24, do_sample=False, eos_token_id=sorted(ends), pad_token_id=0)
    for row in found:
        ids = torch.tensor([prompts[row.row]], device="cuda")
        whole = model.generate(input_ids=ids, attention_mask=torch.ones_like(ids), generation_config=settings)
        written = whole[0, len(prompts[row.row]) :].tolist()
        assert row.tokens == [token for token in written if token not in ends]


def test_a_killed_training_goes_on_in_bfloat16(base: Path, tmp_path: Path) -> None:
    job = job_of(base, tmp_path / "one")
    (tmp_path / "job.json").write_text(job.model_dump_json())
    command = [sys.executable, "-c", PARENT, str(tmp_path / "job.json"), str(tmp_path / "one" / "work")]
    root = str(Path(__file__).parent.parent)
    path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": path}) as parent:
        assert parent.stdout is not None
        assert any(line.strip() == "dpo 2" for line in parent.stdout)
        parent.send_signal(signal.SIGKILL)
    summary = trained(job, tmp_path / "one")
    assert [(phase["phase"], phase["steps"]) for phase in summary["phases"]] == [("sft", 3), ("dpo", 3)]
    assert summary["phases"][1]["resumed"]
    assert summary["phases"][1]["losses"][0] == pytest.approx(0.6931, abs=0.01)


@pytest.mark.parametrize("method", ["lora", "full"])
def test_sharded_weights_are_trained_by_one_process(base: Path, tmp_path: Path, method: str) -> None:
    summary = trained(job_of(base, tmp_path / "one", accelerate_config="fsdp", method=method), tmp_path / "one")
    assert [(phase["steps"], phase["probe_steps"]) for phase in summary["phases"]] == [(3, []), (3, [])]


def test_a_base_in_four_bits_is_trained(base: Path, tmp_path: Path) -> None:
    pytest.importorskip("bitsandbytes")
    summary = trained(job_of(base, tmp_path / "one", quantise="4bit"), tmp_path / "one")
    assert [phase["steps"] for phase in summary["phases"]] == [3, 3]


def test_where_memory_runs_out_one_line_says_so_and_a_run_would_wait(base: Path, tmp_path: Path) -> None:
    holder = hog(0.2)
    try:
        job = job_of(base, tmp_path / "one")
        with pytest.raises(TrainingError, match=r"^the GPU's memory ran out.*resume") as told:
            trained(job, tmp_path / "one")
        assert "\n" not in str(told.value)
        found = asyncio.run(run_survey(SurveyJob(job=job, heldout=()), tmp_path))
        decision = decide_training(found.survey, job.settings)
        assert decision.action == "wait" and "other programs" in decision.reason
    finally:
        holder.kill()
        holder.wait()


def test_a_model_process_answers_many_at_once(base: Path) -> None:
    async def answers() -> list[Any]:
        pool = ModelPool(base, None)
        draws = [
            Draw(
                turns=({"role": "user", "content": f"{word} {n}"},), noise=str(n), temperature=1, top_p=1, max_tokens=8
            )
            for n in range(40)
            for word in WORDS
        ]
        try:
            return list(await asyncio.gather(*map(pool.ask, draws)))
        finally:
            pool.release()

    found = asyncio.run(answers())
    assert all(isinstance(one, Drawn) and not one.failed and not one.slow for one in found)
