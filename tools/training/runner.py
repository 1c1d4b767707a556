"""The training itself, inside the worker: one phase after the other, and the adapter at the end."""

from __future__ import annotations

import importlib.metadata
import json
import os
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from peft import PeftModel
from transformers import AutoModelForCausalLM

from state.errors import TrainingError
from state.records import content_hash
from tools.files import file_hash, write_file
from tools.training.faster_on_cpu import attention_for
from tools.training.inspecting import inspect_adapter
from tools.training.job import STOPPED, TrainingJob
from tools.training.phase import Phase
from tools.training.probe import Probe
from tools.training.quantise import quantisation
from tools.training.rows import rows_at_once
from tools.training.sealing import demand_taken, last_whole_checkpoint, own_folder, read_seal, seal, take_folder
from tools.training.selection import select_rows
from tools.training.trainable import adapter_config
from tools.training.trainers import Reporter
from tools.weights.loading import compute_dtype
from tools.weights.template import load_tokenizer
from tools.weights.trust import code_options

Emit = Callable[..., None]
ADAPTER_FILES = ("adapter_model.safetensors", "adapter_config.json")
LIBRARIES = ("torch", "transformers", "trl", "peft", "accelerate")


def run(job: TrainingJob, folder: Path, emit: Emit, owner: str = "") -> None:
    """Train all phases of a job and put the sealed adapter into ``job.out``.

    Args:
        job: with absolute paths.
        folder: gets one folder of checkpoints and adapters for the job's identity.
        emit: called with the fields of each JSON line.
        owner: who has taken the working folder there; empty to take it now.

    Raises:
        BadInput: the rows are malformed, or none is short enough.
        TrainingError: a tripwire stopped it, or another process has taken it over.
    """
    report_into(job.settings.report_to, folder)
    identity = job.identity()
    if not owner:
        take_folder(folder, identity, owner := "alone")
    work = own_folder(folder, identity, owner)
    began, fresh = time.monotonic(), not any(work.glob("*/"))
    if os.environ.get("RANK", "0") == "0":
        Path(job.out).with_name(STOPPED).unlink(missing_ok=True)  # of an earlier attempt
    adapter = Path(job.start) if job.start else None
    summaries = []
    for phase in job.phases():
        target = work / phase.name / "adapter"
        if (record := read_seal(target)) is None:
            record = {"summary": _train_phase(job, phase, adapter, work, target, emit)}
        summaries.append(record["summary"])
        adapter = target
    assert adapter is not None
    emit(event="progress", phase="save")
    demand_taken(work)
    if os.environ.get("RANK", "0") == "0":
        seconds = round(time.monotonic() - began, 1) if fresh else None
        times = {"estimated_seconds": job.estimated_seconds, "seconds": seconds}
        _publish(job, adapter, identity, {"phases": summaries, **times})


def report_into(service: str, folder: Path) -> None:
    """Let a service that gets the trainer's figures write into the training's folder, unless it is told elsewhere."""
    match service:
        case "wandb":
            os.environ.setdefault("WANDB_DIR", str(folder))
            os.environ.setdefault("WANDB_PROJECT", "corral")
            os.environ.setdefault("WANDB_SILENT", "true")
        case "tensorboard":
            os.environ.setdefault("TENSORBOARD_LOGGING_DIR", str(folder / "tensorboard"))
        case "mlflow":
            os.environ.setdefault("MLFLOW_TRACKING_URI", (folder / "mlruns").as_uri())
            os.environ.setdefault("MLFLOW_EXPERIMENT_NAME", "corral")


def _train_phase(
    job: TrainingJob, phase: Phase, start: Path | None, taken: Path, target: Path, emit: Emit
) -> dict[str, Any]:
    """Train one phase from ``start`` (an adapter, or ``None`` for a fresh one) into ``target``; return its summary."""
    emit(event="progress", phase=phase.name)
    work = taken / phase.name
    tokenizer = load_tokenizer(Path(job.base))
    rows = select_rows(phase, phase.read(job.rows_file(phase)), tokenizer, job.settings.max_length)
    reporter = Reporter(
        phase, emit, work, job.settings, taken, too_long=rows.too_long, already_templated=rows.already_templated
    )
    arguments = _arguments(job, phase, work, max(rows.lengths))
    attention = attention_for(max(rows.lengths), arguments.use_cpu)
    model = AutoModelForCausalLM.from_pretrained(
        job.base,
        # All weights are trained in float32, and computed in bfloat16 where that is decided.
        dtype=torch.float32 if job.settings.method == "full" else _dtype(job),
        attn_implementation=attention,
        **quantisation(job.settings.quantise),
        **code_options(Path(job.base)),
    )
    fresh = adapter_config(job.settings, model)
    trainer = phase.trainer_class()(
        model=model if start is None else PeftModel.from_pretrained(model, str(start), is_trainable=True),
        args=arguments,
        train_dataset=Dataset.from_list(rows.examples),
        processing_class=tokenizer,
        peft_config=fresh if start is None else None,
        callbacks=[Probe(tokenizer, rows.prompts), reporter],
    )
    trainer.fix_order(rows.lengths, job.settings.epochs, job.seed)
    checkpoint = last_whole_checkpoint(work)

    def summary() -> dict[str, Any]:
        state = trainer.state
        return reporter.summary(state.log_history, len(rows.examples), state.max_steps, resumed=checkpoint is not None)

    try:
        trainer.train(resume_from_checkpoint=str(checkpoint) if checkpoint else None)
    except TrainingError as error:
        if trainer.is_world_process_zero():
            stopped = {"phases": [summary()], "flags": [str(error)]}
            write_file(Path(job.out).with_name(STOPPED), (json.dumps(stopped, indent=2) + "\n").encode())
        raise
    if job.settings.report_to == "wandb":
        import wandb

        wandb.finish()  # or the next phase would go on in the same run, and a killed one would leave nothing
    demand_taken(taken)
    _keep_adapter(trainer, work, target, done := summary())
    return done


def _keep_adapter(trainer: Any, work: Path, target: Path, summary: dict[str, Any]) -> None:
    """Save the trained adapter into ``target``, sealed, and remove the checkpoints, which nobody needs any more."""
    saved = work / "saved"
    trainer.save_model(str(saved))  # in all processes: this gathers sharded weights
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


def _dtype(job: TrainingJob) -> torch.dtype:
    dtype: torch.dtype = getattr(torch, job.number_format) if job.number_format else compute_dtype()
    return dtype


def _arguments(job: TrainingJob, phase: Phase, work: Path, longest: int) -> Any:
    settings = job.settings
    processes = int(os.environ.get("WORLD_SIZE", "1"))
    on_cpu = not torch.cuda.is_available()
    rows = max(1, settings.batch_size // processes)
    together = job.rows_at_once.get(phase.name) or rows_at_once(rows, phase.sequences, longest, on_cpu)
    shared = {
        "output_dir": str(work),
        "seed": job.seed,
        "per_device_train_batch_size": together,
        "gradient_accumulation_steps": rows // together,
        "num_train_epochs": 1,
        "learning_rate": job.learning_rate_scale * phase.learning_rate(settings),
        "lr_scheduler_type": settings.scheduler if settings.scheduler != "constant" else "constant_with_warmup",
        "warmup_steps": settings.warmup_ratio,
        "max_grad_norm": 1.0,
        "max_length": settings.max_length,
        "bf16": _dtype(job) == torch.bfloat16,
        "gradient_checkpointing": not on_cpu if job.gradient_checkpointing is None else job.gradient_checkpointing,
        "use_cpu": on_cpu,
        "save_steps": settings.save_steps,
        "save_total_limit": 2,
        "logging_steps": 1,
        "logging_nan_inf_filter": False,
        "report_to": job.settings.report_to,
        "run_name": f"{work.parents[2].parent.name}-{phase.name}",
        "disable_tqdm": True,
        "dataloader_pin_memory": not on_cpu,
    }
    return phase.trainer_config(settings, **shared)


def _publish(job: TrainingJob, adapter: Path, identity: str, summary: dict[str, Any]) -> None:
    out = Path(job.out)
    part = out.with_name(f".{out.name}.{adapter.parents[1].name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir(parents=True)
    shutil.copy(adapter / "adapter_model.safetensors", part)
    config = json.loads((adapter / "adapter_config.json").read_text())
    # PEFT keeps these in a set, whose order differs between processes.
    for key in ("target_modules", "modules_to_save"):
        if isinstance(config[key], list):
            config[key] = sorted(config[key])
    # One that went on from a version of the registry would name the base as that does: by its folder in the version.
    config["base_model_name_or_path"] = job.base
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
