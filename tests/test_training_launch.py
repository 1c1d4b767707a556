"""The real launcher and worker: killed by SIGKILL in SFT and again in DPO, gone, resumed, and bit for bit the same."""

import asyncio
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from state.errors import BadInput
from state.request import Training
from tests.tiny_model import tiny_model
from tools.training.job import TrainingJob, TrainingProgress
from tools.training.launch import train
from tools.training.sealing import read_seal
from tools.weights.processes import ROOT

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


@pytest.fixture
def job(base: Path, tmp_path: Path) -> TrainingJob:
    """Twelve rows, 15 steps of each phase."""
    with (tmp_path / "sft.jsonl").open("w") as sft, (tmp_path / "dpo.jsonl").open("w") as dpo:
        for number in range(12):
            prompt = [{"role": "user", "content": f"What comes after {number}?"}]
            good, bad = ([{"role": "assistant", "content": f"{t}."}] for t in (number + 1, "No idea " * number))
            sft.write(json.dumps({"prompt": prompt, "completion": good}) + "\n")
            dpo.write(json.dumps({"prompt": prompt, "chosen": good, "rejected": bad}) + "\n")
    return TrainingJob(
        base=str(base),
        recipe="sft+dpo",
        dataset=str(tmp_path),
        out=str(tmp_path / "adapter"),
        settings=Training(
            recipe="sft+dpo",
            epochs=5,
            batch_size=4,
            lora_rank=4,
            lora_dropout=0.1,
            save_steps=2,
            dpo_learning_rate=1e-3,
        ),
    )


def _processes_of(folder: Path) -> list[psutil.Process]:
    return [p for p in psutil.process_iter(["cmdline"]) if any(str(folder) in part for part in p.info["cmdline"] or ())]


def _killed_at(job: TrainingJob, work: Path, moment: str) -> None:
    """Start a training in a process of its own and SIGKILL that process at a step; nothing of it may be left."""
    job_file = work.with_suffix(".json")
    job_file.write_text(job.model_dump_json())
    command = [sys.executable, "-c", PARENT, str(job_file), str(work)]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, text=True, env={**os.environ, "PYTHONPATH": str(ROOT)}
    ) as parent:
        assert parent.stdout is not None
        assert any(line.strip() == moment for line in parent.stdout)
        parent.send_signal(signal.SIGKILL)
    end = time.monotonic() + 10
    while _processes_of(work) and time.monotonic() < end:
        time.sleep(0.05)
    assert not _processes_of(work)
    assert not Path(job.out).exists()


async def test_killed_in_both_phases_and_resumed_it_is_the_same_adapter(job: TrainingJob, tmp_path: Path) -> None:
    work = tmp_path / "work"
    await asyncio.to_thread(_killed_at, job, work, "sft 5")
    newest = max(work.glob("*/sft/checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    torn = newest.with_name("checkpoint-14")
    shutil.copytree(newest, torn, dirs_exist_ok=True)
    (torn / "optimizer.pt").write_bytes(b"cut short")
    await asyncio.to_thread(_killed_at, job, work, "dpo 5")
    seen: list[TrainingProgress] = []
    adapter = await train(job, work, seen.append)
    assert not [progress for progress in seen if progress.phase == "sft"]
    dpo = [progress.step for progress in seen if progress.phase == "dpo" and progress.step]
    assert dpo[0] > 4 and dpo[-1] == seen[-2].total == 15
    summary = json.loads((Path(job.out) / "summary.json").read_text())
    assert [(phase["steps"], phase["resumed"]) for phase in summary["phases"]] == [(15, True), (15, True)]

    # By the launcher, too: another number of threads rounds otherwise.
    unkilled = job.model_copy(update={"out": str(tmp_path / "unkilled")})
    await train(unkilled, tmp_path / "other", lambda _: None)
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (Path(job.out) / name).read_bytes() == (tmp_path / "unkilled" / name).read_bytes()

    seen.clear()
    assert await train(job, work, seen.append) == adapter
    assert seen == []
    with pytest.raises(BadInput, match="holds something else"):
        await train(job.model_copy(update={"seed": 9}), work, seen.append)


@pytest.mark.usefixtures("in_this_process")
async def test_what_cannot_be_trained_is_refused_in_one_line(job: TrainingJob, tmp_path: Path) -> None:
    too_short = job.model_copy(update={"settings": job.settings.model_copy(update={"max_length": 32})})
    with pytest.raises(BadInput, match=r"all 12 sft rows are longer than train\.max_length"):
        await train(too_short, tmp_path / "work", lambda _: None)
    config = job.model_copy(update={"settings": job.settings.model_copy(update={"accelerate_config": "no.yaml"})})
    with pytest.raises(BadInput, match=r"no\.yaml is not there"):
        await train(config, tmp_path / "work", lambda _: None)


async def test_two_processes_train_one_sealed_adapter(job: TrainingJob, tmp_path: Path) -> None:
    """DPO over gloo: each process scores its share of the reference, and their gradients are averaged."""
    settings = {"recipe": "dpo", "epochs": 1, "accelerate_config": "cpus"}
    two = job.model_copy(update={"recipe": "dpo", "settings": job.settings.model_copy(update=settings)})
    seen: list[TrainingProgress] = []
    adapter = await train(two, tmp_path / "work", seen.append)
    assert read_seal(Path(adapter.folder)) is not None
    assert [(p.step, p.total) for p in seen if p.phase == "dpo" and p.step] == [(1, 3), (2, 3), (3, 3)]
    summary = json.loads((Path(adapter.folder) / "summary.json").read_text())
    (dpo,) = summary["phases"]
    assert (dpo["rows"], dpo["steps"]) == (12, 3) and dpo["losses"][0] == pytest.approx(0.6931, abs=1e-3)
    assert [item["outcome"] for item in summary["inspection"]] == ["passed"] * 3
