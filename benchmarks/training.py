"""What does Corral's SFT cost, beside a plain TRL script on the same rows?

    python benchmarks/training.py [--rows 96] [--repeats 3]

Both train the embedded model on the processor for one epoch, in a process of their own with one thread, in turn. The
script is what TRL's documentation shows: its defaults, except what makes the work the same (rows, LoRA, batch, length,
rate, seed, weights in bfloat16) and gradient checkpointing, which costs time and is off in both. Corral's process is
the training's own worker with all that it does beside: probes, checkpoints, seals. CPU time and peak memory are the
kernel's figures for the whole process, imports and loading among them; of the repeats the median counts.

A row is a training prompt of ``seeds/prompts.jsonl``, answered by three outputs of ``seeds/seed_tasks.jsonl``: real
text of a usual length, always the same. It teaches nothing. The last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from state.request import Training
from tools.dataset.files import SFT
from tools.settings import load_settings
from tools.training.job import TrainingJob
from tools.weights.folders import base_folder
from tools.weights.processes import ROOT, child_environment

SETTINGS = Training(epochs=1, max_length=512)
MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1 << 10
MEBIBYTE = 1 << 20


class Cost(NamedTuple):
    """What one process took."""

    seconds: float
    """CPU, of all its threads."""
    peak_mb: float
    """Most resident memory, in MiB."""


def write_rows(path: Path, count: int) -> None:
    """Write prompts and seed tasks' outputs as rows for SFT, in a fixed order."""
    prompts = [row["prompt"] for row in _jsonl("prompts.jsonl") if row["split"] == "train"]
    tasks = _jsonl("seed_tasks.jsonl")
    outputs = [instance["output"] for task in tasks for instance in task["instances"] if instance["output"]]
    with path.open("w") as file:
        for number in range(count):
            answer = "\n\n".join(outputs[(3 * number + part) % len(outputs)] for part in range(3))
            row = {
                "prompt": [{"role": "user", "content": prompts[number % len(prompts)]}],
                "completion": [{"role": "assistant", "content": answer}],
            }
            file.write(json.dumps(row) + "\n")


def _jsonl(name: str) -> list[dict[str, object]]:
    return [json.loads(line) for line in (ROOT / "seeds" / name).read_text().splitlines()]


def measure(command: Sequence[str], log: Path) -> Cost:
    """Run a command to its end; return what the kernel says that it took.

    Raises:
        SystemExit: it failed; the message has the log's end.
    """
    with log.open("wb") as output:
        child = subprocess.Popen(
            [sys.executable, *command],
            stdin=subprocess.PIPE,  # kept open: the worker ends when it closes
            stdout=output,
            stderr=output,
            env=child_environment(threads=1),
        )
        _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        raise SystemExit(f"{' '.join(command)} failed:\n{log.read_text(errors='replace')[-2000:]}")
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * MAXRSS_UNIT / MEBIBYTE)


def train_with_corral(rows: Path, folder: Path) -> tuple[Cost, int]:
    """Train by the worker; return the cost, and the tokens trained on."""
    base = base_folder("embedded", load_settings().cache)
    job = TrainingJob(
        base=str(base), recipe="sft", dataset=str(rows.parent), out=str(folder / "adapter"), settings=SETTINGS
    )
    folder.mkdir()
    (folder / "job.json").write_text(job.model_dump_json())
    cost = measure(["-m", "tools.training.worker", str(folder / "job.json")], folder / "log")
    return cost, json.loads((folder / "adapter" / "summary.json").read_text())["phases"][0]["tokens"]


def train_with_trl(rows: Path, folder: Path) -> Cost:
    """Train by the plain script."""
    base = base_folder("embedded", load_settings().cache)
    folder.mkdir()
    command = [__file__, "--trl", str(base), "--rows-file", str(rows), "--out", str(folder / "adapter")]
    return measure(command, folder / "log")


def plain_script(base: str, rows: str, out: str) -> None:
    """Train as TRL's documentation shows (run in a fresh process)."""
    import torch
    from datasets import load_dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    trainer = SFTTrainer(
        model=base,
        args=SFTConfig(
            output_dir=out,
            model_init_kwargs={"dtype": torch.bfloat16},
            per_device_train_batch_size=SETTINGS.batch_size,
            num_train_epochs=SETTINGS.epochs,
            learning_rate=SETTINGS.learning_rate,
            lr_scheduler_type="cosine",
            warmup_steps=0.1,
            max_length=SETTINGS.max_length,
            gradient_checkpointing=False,
            seed=0,
            use_cpu=True,
            report_to="none",
        ),
        train_dataset=load_dataset("json", data_files=rows, split="train", cache_dir=f"{out}-cache"),
        peft_config=LoraConfig(
            task_type="CAUSAL_LM",
            target_modules="all-linear",
            r=SETTINGS.lora_rank,
            lora_alpha=SETTINGS.lora_alpha,
            lora_dropout=SETTINGS.lora_dropout,
        ),
    )
    trainer.train()
    trainer.save_model(out)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=3)
    for hidden in ("--trl", "--rows-file", "--out"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.trl:
        plain_script(arguments.trl, arguments.rows_file, arguments.out)
        return

    ours, theirs, tokens = [], [], 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / SFT, arguments.rows)
        for repeat in range(arguments.repeats):
            cost, tokens = train_with_corral(folder / SFT, folder / f"corral-{repeat}")
            ours.append(cost)
            theirs.append(train_with_trl(folder / SFT, folder / f"trl-{repeat}"))
            if not repeat:
                print(f"{arguments.rows} rows, {tokens:,} tokens, one epoch; CPU-seconds of one thread")
                print(f"{'repeat':>8}  {'Corral':>8} {'TRL':>8}   {'Corral MiB':>10} {'TRL MiB':>8}")
            print(
                f"{repeat + 1:>8}  {ours[-1].seconds:>8.1f} {theirs[-1].seconds:>8.1f}   "
                f"{ours[-1].peak_mb:>10,.0f} {theirs[-1].peak_mb:>8,.0f}",
                flush=True,
            )
    corral, trl = (Cost(*map(statistics.median, zip(*costs, strict=True))) for costs in (ours, theirs))
    print(
        f"{'median':>8}  {corral.seconds:>8.1f} {trl.seconds:>8.1f}   {corral.peak_mb:>10,.0f} {trl.peak_mb:>8,.0f}\n"
        f"tokens a CPU-second: {tokens / corral.seconds:.0f} against {tokens / trl.seconds:.0f}"
    )
    print(
        json.dumps(
            {
                "tokens_per_second": round(tokens / corral.seconds, 1),
                "ratio_trl": round(trl.seconds / corral.seconds, 2),
                "peak_rss_mb": round(corral.peak_mb),
                "peak_rss_ratio_trl": round(corral.peak_mb / trl.peak_mb, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
