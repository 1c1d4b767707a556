"""When each step of a run worked, read by who only looks at it: nothing of LangGraph is imported."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

STEP_TIMES = "steps.jsonl"
"""In a run's folder: a line for each time that a step, or one batch of it, worked."""


def read_step_times(folder: Path) -> Iterator[tuple[str, float, float]]:
    """Yield (step, began, ended) of a run's folder, in seconds since 1970; a torn line is skipped."""
    try:
        with (folder / STEP_TIMES).open(encoding="utf-8") as file:
            for line in file:
                try:
                    row = json.loads(line)
                    yield str(row["step"]), float(row["began"]), float(row["ended"])
                except (ValueError, KeyError, TypeError):
                    continue
    except OSError:
        return
