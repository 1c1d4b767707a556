"""Start a training in a process of its own under accelerate, and follow it."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from state.errors import BadInput, StorageError, TrainingError
from state.pipeline import AdapterRef
from tools.training.child import stream_child
from tools.training.job import TrainingJob, TrainingProgress
from tools.training.sealing import read_seal

ONE_PROCESS = Path(__file__).with_name("one_process.yaml")
"""Passed always: without a file accelerate would read the user's own default configuration."""


async def train(job: TrainingJob, folder: Path, on_progress: Callable[[TrainingProgress], None]) -> AdapterRef:
    """Train the job's adapter, or go on where an earlier call was killed, or return the one that is finished.

    The work runs in a child process that dies with this one. Cancelling the call ends the child.

    Args:
        job: what to train. ``job.out`` becomes the adapter's folder, with ``summary.json`` beside the weights.
        folder: working folder for checkpoints and ``train.log``; a later call with the same two resumes.
        on_progress: called in this thread after every optimiser step.

    Raises:
        BadInput: rows or base are missing or malformed, or ``job.out`` holds something else.
        StorageError: a folder cannot be written.
        TrainingError: the training was stopped by a tripwire or failed; the message has the reason.
    """
    identity = job.identity()
    if (finished := _finished(job, identity)) is not None:
        return finished
    log = folder / "train.log"
    job_file = folder / f"job-{identity[:12]}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Path(job.out).parent.mkdir(parents=True, exist_ok=True)
        job_file.write_text(_absolute(job).model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise StorageError(f"the training folder {folder} cannot be written: {error.strerror}") from error
    async with contextlib.aclosing(stream_child(_command(job, job_file), log, _threads())) as lines:
        async for line in lines:
            _handle(line, on_progress)
    finished = _finished(job, identity)
    if finished is None:
        raise TrainingError(f"the training ended without an adapter; see {log}")
    return finished


def _threads() -> int:
    return max(1, (os.cpu_count() or 1))


def _command(job: TrainingJob, job_file: Path) -> Sequence[str]:
    config = job.settings.accelerate_config or str(ONE_PROCESS)
    if not Path(config).is_file():
        raise BadInput(f"train.accelerate_config: {config} is not there")
    launcher = ["--config_file", str(Path(config).resolve()), "--num_cpu_threads_per_process", str(_threads())]
    worker = ["-m", "tools.training.worker", str(job_file.resolve())]
    return [sys.executable, "-m", "accelerate.commands.launch", *launcher, *worker]


def _absolute(job: TrainingJob) -> TrainingJob:
    paths = {
        name: str(Path(value).resolve())
        for name in ("base", "sft_file", "dpo_file", "out")
        if (value := getattr(job, name)) is not None
    }
    return job.model_copy(update=paths)


def _handle(line: dict[str, Any], on_progress: Callable[[TrainingProgress], None]) -> None:
    event = line.pop("event", None)
    if event == "progress":
        on_progress(TrainingProgress.model_validate(line))
    elif event == "refused":
        raise BadInput(line["reason"])
    elif event == "stopped":
        raise TrainingError(line["reason"])


def _finished(job: TrainingJob, identity: str) -> AdapterRef | None:
    out = Path(job.out)
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return None
    record = read_seal(out)
    if record is None or record.get("job") != identity:
        raise BadInput(f"{out} holds something else than this job's adapter; choose another folder or remove it")
    return AdapterRef(id=record["adapter"], folder=str(out))
