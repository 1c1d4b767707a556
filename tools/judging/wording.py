"""What the crew is told: agents and tasks, from the YAML files beside the code."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent


@dataclass(frozen=True)
class Wording:
    """Roles, goals and rubrics by member, tasks by kind, and the frame of every prompt."""

    agents: dict[str, dict[str, str]]
    tasks: dict[str, dict[str, str]]
    frame: dict[str, str]

    def parts(self) -> list[dict[str, Any]]:
        """Return everything, for a hash."""
        return [self.agents, self.tasks, self.frame]


@cache
def load_wording() -> Wording:
    """Return what both files say; they are part of the code and read once."""
    agents, tasks = (yaml.safe_load((HERE / name).read_text("utf-8")) for name in ("agents.yaml", "tasks.yaml"))
    frame = tasks.pop("frame")
    return Wording(agents=agents, tasks=tasks, frame=frame)
