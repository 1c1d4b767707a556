"""The embedded model itself: SIGKILL in its SFT and again in its DPO, and the resumed adapter is the unkilled one's.

It takes about a CPU-minute, so it runs where it is asked for:

    TEST_REAL_MODEL=1 python -m pytest tests/test_training_model_killed.py

``test_training_launch.py`` shows the same for a tiny model, always.
"""

import asyncio
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from state.request import Training
from tools.settings import load_settings
from tools.training.job import TrainingJob
from tools.training.launch import train
from tools.weights.folders import base_folder
from tools.weights.processes import ROOT

pytestmark = pytest.mark.skipif(not os.environ.get("TEST_REAL_MODEL"), reason="a CPU-minute; set TEST_REAL_MODEL=1")

PARENT = """
import asyncio, sys
from pathlib import Path
from tools.training.job import TrainingJob
from tools.training.launch import train
job = TrainingJob.model_validate_json(Path(sys.argv[1]).read_text())
asyncio.run(train(job, Path(sys.argv[2]), lambda p: print(p.phase, p.step, flush=True)))
"""


@pytest.fixture
def job(tmp_path: Path) -> TrainingJob:
    """Three rows, six steps of each phase, a checkpoint at every second."""
    with (tmp_path / "sft.jsonl").open("w") as sft, (tmp_path / "dpo.jsonl").open("w") as dpo:
        for word in ("spoon", "river", "cloud"):
            prompt = [{"role": "user", "content": f"Say one thing about a {word}."}]
            good, bad = (
                [{"role": "assistant", "content": text.format(word)}] for text in ("A {0} is seen.", "{0} {0}!")
            )
            sft.write(json.dumps({"prompt": prompt, "completion": good}) + "\n")
            dpo.write(json.dumps({"prompt": prompt, "chosen": good, "rejected": bad}) + "\n")
    settings = Training(recipe="sft+dpo", epochs=2, batch_size=1, save_steps=2, lora_dropout=0.1)
    return TrainingJob(
        base=str(base_folder("embedded", load_settings().cache)),
        recipe="sft+dpo",
        dataset=str(tmp_path),
        out=str(tmp_path / "adapter"),
        settings=settings,
    )


def _killed_at(job: TrainingJob, work: Path, moment: str) -> None:
    """Start a training in a process of its own, and SIGKILL that process at a step."""
    job_file = work.with_suffix(".json")
    job_file.write_text(job.model_dump_json())
    command = [sys.executable, "-c", PARENT, str(job_file), str(work)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=environment) as parent:
        assert parent.stdout is not None
        assert any(line.strip() == moment for line in parent.stdout)
        parent.send_signal(signal.SIGKILL)
    assert not Path(job.out).exists()


async def test_the_real_model_killed_in_both_phases_ends_as_the_unkilled_one(job: TrainingJob, tmp_path: Path) -> None:
    work = tmp_path / "work"
    await asyncio.to_thread(_killed_at, job, work, "sft 4")
    await asyncio.to_thread(_killed_at, job, work, "dpo 4")
    resumed = await train(job, work, lambda _: None)
    summary = json.loads((Path(job.out) / "summary.json").read_text())
    assert [(phase["steps"], phase["resumed"]) for phase in summary["phases"]] == [(6, True), (6, True)]

    other = job.model_copy(update={"out": str(tmp_path / "unkilled")})
    assert (await train(other, tmp_path / "other", lambda _: None)).id == resumed.id
    for name in ("adapter_model.safetensors", "adapter_config.json"):
        assert (Path(job.out) / name).read_bytes() == (tmp_path / "unkilled" / name).read_bytes()
    unkilled = json.loads((tmp_path / "unkilled" / "summary.json").read_text())
    for series in ("losses", "gradient_norms", "probe_steps", "probe_distinct3"):
        assert [p[series] for p in summary["phases"]] == [p[series] for p in unkilled["phases"]]
