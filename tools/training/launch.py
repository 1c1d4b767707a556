"""Start a training in a process of its own under accelerate, and follow it."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from state.errors import BadInput, StorageError, TrainingError
from state.pipeline import AdapterRef
from tools.machine.resources import cores
from tools.training.configs import config_file, launch_options, uses_cpu
from tools.training.job import TrainingJob, TrainingProgress
from tools.training.sealing import read_seal, take_folder
from tools.weights.processes import stream_child


async def train(job: TrainingJob, folder: Path, on_progress: Callable[[TrainingProgress], None]) -> AdapterRef:
    """Train the job's adapter, or go on where an earlier call was killed, or return the finished one.

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
    log = folder / "train.log"
    job = await asyncio.to_thread(_absolute, job)
    identity, finished = await asyncio.to_thread(_finished, job)
    if finished is not None:
        return finished
    command = await asyncio.to_thread(_prepare, job, folder, identity)
    async with contextlib.aclosing(stream_child(command, log, cores())) as lines:
        async for line in lines:
            _handle(line, on_progress)
    _, finished = await asyncio.to_thread(_finished, job)
    if finished is None:
        raise TrainingError(f"the training ended without an adapter; see {log}")
    return finished


def _finished(job: TrainingJob) -> tuple[str, AdapterRef | None]:
    """Return the job's identity, and its adapter, or ``None`` where it is not finished."""
    identity, out = job.identity(), Path(job.out)
    if not out.exists() or (out.is_dir() and not any(out.iterdir())):
        return identity, None
    record = read_seal(out)
    if record is None or record.get("job") != identity:
        raise BadInput(f"{out} holds something else than this job's adapter; choose another folder or remove it")
    return identity, AdapterRef(id=record["adapter"], folder=str(out))


def _prepare(job: TrainingJob, folder: Path, identity: str) -> Sequence[str]:
    """Take the working folder and write the worker's job file; return the command that starts it."""
    config = config_file(job.settings.accelerate_config)
    job = job.model_copy(update={"use_cpu": uses_cpu(config)})
    job_file = folder / f"job-{identity[:12]}.json"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        Path(job.out).parent.mkdir(parents=True, exist_ok=True)
        take_folder(folder, identity, owner := secrets.token_hex(4))
        job_file.write_text(job.model_dump_json(indent=2) + "\n")
    except OSError as error:
        raise StorageError(f"the training folder {folder} cannot be written: {error.strerror}") from error
    worker = ["-m", "tools.training.worker", str(job_file.resolve()), owner]
    return [sys.executable, "-m", "accelerate.commands.launch", *launch_options(config, cores()), *worker]


def _absolute(job: TrainingJob) -> TrainingJob:
    paths = {name: str(Path(getattr(job, name)).resolve()) for name in ("base", "dataset", "out")}
    return job.model_copy(update=paths)


def _handle(line: dict[str, Any], on_progress: Callable[[TrainingProgress], None]) -> None:
    event = line.pop("event", None)
    if event == "progress":
        on_progress(TrainingProgress.model_validate(line))
    elif event == "refused":
        raise BadInput(line["reason"])
    elif event == "storage":
        raise StorageError(line["reason"])
    elif event == "stopped":
        raise TrainingError(line["reason"])
