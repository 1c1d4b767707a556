"""The training process: ``accelerate launch -m tools.training.worker JOB.json OWNER``, started by ``launch.train``."""

from __future__ import annotations

import errno
import os
import shutil
import sys
from pathlib import Path

from state.errors import BadInput, TrainingError
from tools.machine.garbage import collect_seldom
from tools.training.job import TrainingJob
from tools.weights.gpu_memory import in_one_line
from tools.weights.processes import JsonLines, die_with_parent

DISK_ERRORS = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES)
ALMOST_FULL = 2**20
"""Free bytes below which any failure is blamed on the disk."""
MORE_MEMORY = (
    "end what else uses the GPU and resume, or start a run with a smaller train.batch_size or train.max_length, "
    "or with train.quantise 4bit"
)


def main(job_file: Path, owner: str = "") -> int:
    """Run a job; its checkpoints go into the folder of ``job_file``.

    Args:
        job_file: the job as JSON.
        owner: who has taken the working folder there; empty to take it now.

    Returns:
        The exit code: 0 done, 1 refused or stopped, with the reason as the last JSON line.
    """
    die_with_parent()
    lines = JsonLines()
    main_process = os.environ.get("RANK", "0") == "0"

    def emit(**fields: object) -> None:
        if main_process:
            lines.write(**fields)

    emit(event="progress", phase="start")
    job = TrainingJob.model_validate_json(job_file.read_text())
    if job.use_cpu:
        os.environ["CUDA_VISIBLE_DEVICES"] = ""
    from tools.training.runner import run

    try:
        run(job, job_file.parent, emit, owner)
    except BadInput as error:
        emit(event="refused", reason=str(error))
        return 1
    except TrainingError as error:
        emit(event="stopped", reason=str(error))
        return 1
    except Exception as error:
        if (reason := in_one_line(error)) is not None and main_process:
            emit(event="stopped", reason=f"{reason}; {MORE_MEMORY}")
        elif (reason := storage_trouble(error, job_file.parent)) is not None:
            emit(event="storage", reason=reason)
        else:
            raise
        return 1
    return 0


def storage_trouble(error: Exception, folder: Path) -> str | None:
    """Return one line where ``error`` comes from a disk that is full or read-only, else ``None``.

    The libraries that write weights wrap the system's error in their own, so the free space is looked at, too.
    """
    if isinstance(error, OSError) and error.errno in DISK_ERRORS:
        return f"the training could not write into {folder}: {error.strerror}"
    if shutil.disk_usage(folder).free < ALMOST_FULL:
        return f"the training could not write into {folder}: the disk is full; free some space and resume"
    return None


if __name__ == "__main__":
    collect_seldom()
    sys.exit(main(Path(sys.argv[1]), *sys.argv[2:]))
