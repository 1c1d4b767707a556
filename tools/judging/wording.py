"""What the crew is told: agents and tasks, from the YAML files beside the code."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache, cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from state.records import content_hash
from tools.judging.subject import shield

if TYPE_CHECKING:  # the crews' process reads no request, which takes 0.1 s to import
    from state.request import Expert, Judging

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


@dataclass(frozen=True)
class Panel:
    """Who judges: the dimensions that are scored, the expert, and what they are told."""

    dimensions: tuple[str, ...]
    expert: str
    """The expert's entry among the agents of ``wording``."""
    wording: Wording

    @cached_property
    def key(self) -> str:
        """Tells panels apart."""
        return content_hash(self.dimensions, self.expert, self.wording.parts())


def panel_of(settings: Judging) -> Panel:
    """Return the panel of a run: the five judges and its task type's expert, and what the owner has put beside them."""
    wording, dimensions = load_wording(), tuple(settings.shares)
    own = {name: _own_judge(name, settings) for name in settings.dimensions}
    expert = f"expert_{settings.task_type}"
    if settings.expert is not None:
        expert = "expert_own"
        own[expert] = _own_expert(settings.expert)
    return Panel(dimensions, expert, replace(wording, agents=wording.agents | own) if own else wording)


def _own_judge(name: str, settings: Judging) -> dict[str, str]:
    said, dimension = name.replace("_", " "), settings.dimensions[name]
    goal = shield(dimension.goal) or f"Score only the answer's {said}."
    return {"role": f"{said} judge", "goal": goal, "backstory": shield(dimension.rubric)}


def _own_expert(expert: Expert) -> dict[str, str]:
    years = expert.years_of_experience
    experience = "" if years is None else f"You have {years} years of experience. "
    return {
        "role": shield(expert.role),
        "goal": shield(expert.goal),
        "backstory": f"{experience}{shield(expert.backstory)}".strip() or "A provable mistake weighs more than style.",
    }
