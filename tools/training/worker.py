"""The training process: ``accelerate launch -m tools.training.worker JOB.json``. It is started by ``launch.train``."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from state.errors import BadInput, TrainingError
from tools.training.child import JsonLines, die_with_parent
from tools.training.job import TrainingJob


def main(job_file: Path) -> int:
    """Run a job; its state lives in the folder of ``job_file``.

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
    from tools.training.phases import run

    try:
        run(TrainingJob.model_validate_json(job_file.read_text()), job_file.parent, emit)
    except BadInput as error:
        emit(event="refused", reason=str(error))
        return 1
    except TrainingError as error:
        emit(event="stopped", reason=str(error))
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))
