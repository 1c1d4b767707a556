"""The phases of a training, inside the worker: SFT, DPO, and the adapter that comes out."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import torch
from datasets import Dataset
from peft import LoraConfig, PeftModel
from transformers import AutoModelForCausalLM
from trl import DPOConfig, SFTConfig

from state.errors import BadInput, TrainingError
from state.records import content_hash
from tools.files import file_hash, write_file
from tools.training.inspecting import inspect_adapter
from tools.training.job import STOPPED, Phase, TrainingJob
from tools.training.probe import Probe
from tools.training.quantise import quantisation
from tools.training.quicken import attention_for
from tools.training.rows import read_rows, rows_at_once
from tools.training.sealing import last_whole_checkpoint, read_seal, seal
from tools.training.trainers import OrderedDPO, OrderedSFT, Reporter
from tools.weights.loading import compute_dtype
from tools.weights.template import IGNORED, load_tokenizer, template_marks, tokenise

Emit = Callable[..., None]
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json")
LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate")


def run(job: TrainingJob, folder: Path, emit: Emit) -> None:
    """Train all phases of a job and put the sealed adapter into ``job.out``.

    Args:
        job: with absolute paths.
        folder: gets one folder of checkpoints and adapters for the job's identity.
        emit: called with the fields of each JSON line.

    Raises:
        BadInput: the rows are malformed, or none is short enough.
        TrainingError: a tripwire stopped it.
    """
    identity = job.identity()
    work = folder / identity[:12]
    began, fresh = time.monotonic(), not work.exists()
    if os.environ.get("RANK", "0") == "0":
        Path(job.out).with_name(STOPPED).unlink(missing_ok=True)  # of an attempt before this one
    adapter: Path | None = None
    summaries = []
    for phase in job.phases():
        target = work / phase / "adapter"
        if (record := read_seal(target)) is None:
            record = {"summary": _train_phase(job, phase, adapter, work / phase, target, emit)}
        summaries.append(record["summary"])
        adapter = target
    assert adapter is not None
    emit(event="progress", phase="save")
    if os.environ.get("RANK", "0") == "0":
        seconds = round(time.monotonic() - began, 1) if fresh else None
        times = {"estimated_seconds": job.estimated_seconds, "seconds": seconds}
        _publish(job, adapter, identity, {"phases": summaries, **times})


def _train_phase(
    job: TrainingJob, phase: Phase, start: Path | None, work: Path, target: Path, emit: Emit
) -> dict[str, Any]:
    """Train one phase from ``start`` (an adapter, or ``None`` for a fresh one) into ``target``; return its summary."""
    emit(event="progress", phase=phase)
    tokenizer = load_tokenizer(Path(job.base))
    rows = _rows(job, phase, tokenizer)
    reporter = Reporter(phase, emit, work, job.settings.dpo_beta, dropped=rows.too_long, doubled=rows.doubled)
    arguments = _arguments(job, phase, work, max(rows.lengths))
    attention = attention_for(max(rows.lengths), arguments.use_cpu)
    model = AutoModelForCausalLM.from_pretrained(
        job.base, dtype=compute_dtype(), attn_implementation=attention, **quantisation(job.settings.quantise)
    )
    fresh = LoraConfig(
        task_type="CAUSAL_LM",
        target_modules="all-linear",
        r=job.settings.lora_rank,
        lora_alpha=job.settings.lora_alpha,
        lora_dropout=job.settings.lora_dropout,
    )
    trainer_class = OrderedSFT if phase == "sft" else OrderedDPO
    trainer = trainer_class(
        model=model if start is None else PeftModel.from_pretrained(model, str(start), is_trainable=True),
        args=arguments,
        train_dataset=rows.data,
        processing_class=tokenizer,
        peft_config=fresh if start is None else None,
        callbacks=[Probe(tokenizer, rows.asked), reporter],
    )
    trainer.fix_order(rows.lengths, job.settings.epochs, job.seed)
    checkpoint = last_whole_checkpoint(work)

    def summary() -> dict[str, Any]:
        state = trainer.state
        return reporter.summary(state.log_history, len(rows.data), state.max_steps, resumed=checkpoint is not None)

    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except TrainingError as error:
        if trainer.is_world_process_zero():
            stopped = {"phases": [summary()], "flags": [str(error)]}
            write_file(Path(job.out).with_name(STOPPED), (json.dumps(stopped, indent=2) + "\n").encode())
        raise
    _keep_adapter(trainer, work, target, done := summary())
    return done


def _keep_adapter(trainer: Any, work: Path, target: Path, summary: dict[str, Any]) -> None:
    """Save the trained adapter alone into ``target``, sealed; its checkpoints have served their time."""
    saved = work / "saved"
    trainer.save_model(str(saved))  # by all processes: sharded weights are gathered here
    if trainer.is_world_process_zero():
        part = target.with_name("adapter.part")
        shutil.rmtree(part, ignore_errors=True)
        part.mkdir()
        for name in ADAPTER_FILES:
            shutil.move(saved / name, part / name)
        seal(part, summary=summary)
        shutil.rmtree(target, ignore_errors=True)
        os.replace(part, target)
        for spent in [saved, *work.glob("checkpoint-*")]:
            shutil.rmtree(spent, ignore_errors=True)
    trainer.accelerator.wait_for_everyone()


class _Rows(NamedTuple):
    """The rows of one phase, and what was left out."""

    data: Dataset
    """Tokenised for SFT, as read for DPO; sorted by length, so that scoring DPO's reference pads little."""
    lengths: list[int]
    """Tokens of each; for DPO of the longer answer."""
    asked: list[list[int]]
    """Tokens of each prompt."""
    too_long: int
    doubled: int
    """Texts that already hold the chat template's marks."""


def _rows(job: TrainingJob, phase: Phase, tokenizer: Any) -> _Rows:
    keys = ("prompt", "completion") if phase == "sft" else ("prompt", "chosen", "rejected")
    found = read_rows(job.rows_file(phase), keys)
    marks = template_marks(tokenizer)
    bare = [row for row in found if not any(m in turn["content"] for key in keys for turn in row[key] for m in marks)]
    kept = []
    for row in bare:
        tokens = [tokenise(tokenizer, row["prompt"], row[key]) for key in keys[1:]]
        longest = max(len(token_row.input_ids) for token_row in tokens)
        if longest <= job.settings.max_length:
            asked = tokens[0].input_ids[: tokens[0].labels.count(IGNORED)]
            kept.append((longest, tokens[0]._asdict() if phase == "sft" else row, asked))
    if not bare:
        raise BadInput(
            f"all {len(found)} {phase} rows hold the chat template's own marks ({marks[0]!r}): give bare texts"
        )
    if not kept:
        limit = job.settings.max_length
        raise BadInput(f"all {len(bare)} {phase} rows are longer than train.max_length ({limit} tokens); raise it")
    kept.sort(key=lambda row: row[0])
    lengths, rows, prompts = map(list, zip(*kept, strict=True))
    return _Rows(Dataset.from_list(rows), lengths, prompts, len(bare) - len(kept), len(found) - len(bare))


def _arguments(job: TrainingJob, phase: Phase, work: Path, longest: int) -> SFTConfig | DPOConfig:
    settings = job.settings
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    on_cpu = not torch.cuda.is_available()
    rows = max(1, settings.batch_size // processes)
    together = job.rows_at_once.get(phase) or rows_at_once(rows, 1 if phase == "sft" else 2, longest, on_cpu)
    shared = {
        "output_dir": str(work),
        "seed": job.seed,
        "per_device_train_batch_size": together,
        "gradient_accumulation_steps": rows // together,
        "num_train_epochs": 1,
        "learning_rate": job.learning_rate_scale
        * (settings.learning_rate if phase == "sft" else settings.dpo_learning_rate),
        "lr_scheduler_type": "cosine",
        "warmup_steps": 0.1,
        "max_grad_norm": 1.0,
        "max_length": settings.max_length,
        "bf16": compute_dtype() == torch.bfloat16,
        "gradient_checkpointing": not on_cpu if job.gradient_checkpointing is None else job.gradient_checkpointing,
        "use_cpu": on_cpu,
        "save_steps": settings.save_steps,
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": "none",
        "disable_tqdm": True,
        "dataloader_pin_memory": not on_cpu,
    }
    if phase == "sft":
        return SFTConfig(**shared)
    return DPOConfig(**shared, beta=settings.dpo_beta, precompute_ref_log_probs=True)


def _publish(job: TrainingJob, adapter: Path, identity: str, summary: dict[str, Any]) -> None:
    out = Path(job.out)
    part = out.with_name(f".{out.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    shutil.copy(adapter / "adapter_model.safetensors", part)
    config = json.loads((adapter / "adapter_config.json").read_text())
    # PEFT keeps these in a set, whose order differs between processes.
    config["target_modules"] = sorted(config["target_modules"])
    (part / "adapter_config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")
    versions = {name: importlib.metadata.version(name) for name in LIBRARIES}
    summary["flags"] = [flag for phase in summary["phases"] for flag in phase.get("flags", [])]
    summary |= {"versions": versions, "inspection": inspect_adapter(Path(job.base), part)}
    (part / "summary.json").write_text(json.dumps(summary, indent=2) + "\n")
    del config["base_model_name_or_path"]
    seal(part, job=identity, adapter=content_hash(file_hash(part / "adapter_model.safetensors"), config))
    if out.is_dir():
        out.rmdir()
    os.replace(part, out)
