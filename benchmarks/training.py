"""What does Corral's SFT cost, beside a plain TRL script on the same rows?

    python benchmarks/training.py [--rows 96] [--repeats 3]

Both train the embedded model on the processor for one epoch, in a process of their own with one thread, in turn. The
script is what TRL's documentation shows: its defaults, except what makes the work the same (rows, LoRA, batch, length,
rate, seed) and gradient checkpointing, which costs time and is off in both. It runs with its rows packed and with its
rows grouped by length, each in every number format that the CPU has instructions for; the way with the lowest median
is TRL at its best. Corral's process is the training's own worker with all that it does beside: probes, checkpoints,
seals. CPU time and peak memory are the kernel's figures for the whole process, imports and loading among them; of the
repeats the median counts.

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
from tools.training.number_format import cpu_format
from tools.training.survey import base_facts
from tools.weights.folders import base_folder
from tools.weights.number_format import NumberFormat, cpu_has_bfloat16
from tools.weights.processes import ROOT, child_environment

SETTINGS = Training(epochs=1, max_length=512)
WAYS: dict[str, dict[str, object]] = {
    "packed": {"packing": True},
    "grouped": {"train_sampling_strategy": "group_by_length"},
}
"""TRL's ways to waste no work on padding."""
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


def train_with_corral(rows: Path, folder: Path, number_format: NumberFormat) -> tuple[Cost, int]:
    """Train by the worker in the format that a run would take; return the cost, and the tokens trained on."""
    base = base_folder("embedded", load_settings().cache)
    places = {"base": str(base), "dataset": str(rows.parent), "out": str(folder / "adapter")}
    job = TrainingJob(**places, recipe="sft", settings=SETTINGS, number_format=number_format)
    folder.mkdir()
    (folder / "job.json").write_text(job.model_dump_json())
    cost = measure(["-m", "tools.training.worker", str(folder / "job.json")], folder / "log")
    return cost, json.loads((folder / "adapter" / "summary.json").read_text())["phases"][0]["tokens"]


def train_with_trl(rows: Path, folder: Path, way: str) -> Cost:
    """Train by the plain script in one of its ways, such as ``packed float32``."""
    base = base_folder("embedded", load_settings().cache)
    folder.mkdir()
    command = [__file__, "--trl", str(base), "--way", way, "--rows-file", str(rows), "--out", str(folder / "adapter")]
    return measure(command, folder / "log")


def plain_script(base: str, rows: str, out: str, way: str) -> None:
    """Train as TRL's documentation shows (run in a fresh process)."""
    import torch
    from datasets import load_dataset
    from peft import LoraConfig
    from trl import SFTConfig, SFTTrainer

    name, number_format = way.split()
    trainer = SFTTrainer(
        model=base,
        args=SFTConfig(
            output_dir=out,
            model_init_kwargs={"dtype": getattr(torch, number_format)},
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
            bf16=number_format == "bfloat16",
            **WAYS[name],
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


def median(costs: Sequence[Cost]) -> Cost:
    """Return the medians of time and memory."""
    return Cost(*map(statistics.median, zip(*costs, strict=True)))


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--rows", type=int, default=96)
    parser.add_argument("--repeats", type=int, default=3)
    for hidden in ("--trl", "--way", "--rows-file", "--out"):
        parser.add_argument(hidden, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.trl:
        plain_script(arguments.trl, arguments.rows_file, arguments.out, arguments.way)
        return

    formats: list[NumberFormat] = ["float32", "bfloat16"] if cpu_has_bfloat16() else ["float32"]
    own = cpu_format(base_facts(base_folder("embedded", load_settings().cache)).width)
    ours: list[Cost] = []
    theirs: dict[str, list[Cost]] = {f"{name} {one}": [] for name in WAYS for one in formats}
    tokens = 0
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_rows(folder / SFT, arguments.rows)
        for repeat in range(arguments.repeats):
            cost, tokens = train_with_corral(folder / SFT, folder / f"corral-{repeat}", own)
            ours.append(cost)
            if not repeat:
                print(f"{arguments.rows} rows, {tokens:,} tokens, one epoch; CPU-seconds of one thread, and peak MiB")
            print(f"{repeat + 1}  {f'Corral {own}':24} {cost.seconds:>8.1f} {cost.peak_mb:>8,.0f}", flush=True)
            for way, costs in theirs.items():
                costs.append(
                    cost := train_with_trl(folder / SFT, folder / f"trl-{way}-{repeat}".replace(" ", "-"), way)
                )
                print(f"{repeat + 1}  {f'TRL {way}':24} {cost.seconds:>8.1f} {cost.peak_mb:>8,.0f}", flush=True)
    corral, medians = median(ours), {way: median(costs) for way, costs in theirs.items()}
    best = min(medians, key=lambda way: medians[way].seconds)
    trl = medians[best]
    print(f"median: {corral.seconds:.1f} against {trl.seconds:.1f} of TRL {best}")
    print(f"tokens a CPU-second: {tokens / corral.seconds:.0f} against {tokens / trl.seconds:.0f}")
    print(
        json.dumps(
            {
                "tokens_per_second": round(tokens / corral.seconds, 1),
                "ratio_trl": round(trl.seconds / corral.seconds, 2),
                "trl_at_its_best": best,
                "peak_rss_mb": round(corral.peak_mb),
                "peak_rss_ratio_trl": round(corral.peak_mb / trl.peak_mb, 2),
            }
        )
    )


if __name__ == "__main__":
    main()
