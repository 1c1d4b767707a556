"""What a crew decided and did, as the folder of its run keeps it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field

from state.records import Record

KEPT = "crew.json"


class Decision(Record):
    """One decision of an agent."""

    agent: str
    task: str
    """Empty for a task that was delegated."""
    tool: str
    """What it asked for; empty for its answer."""


class ToolUse(Record):
    """One use of a tool."""

    tool: str
    arguments: dict[str, Any]
    outcome: str
    """``done``; ``refused`` for arguments out of range; ``failed``; ``unknown`` for a tool that is not there."""
    said: str
    """Its summary, or what was wrong, in one line."""
    seconds: float = 0.0


class CrewResult(Record):
    """What a crew did, as ``crew.json`` in its run's folder keeps it."""

    crew: str
    decided_by: str
    """The model that decided, or ``rule-based``."""
    run_id: str
    """Empty where no run was started."""
    standing: str
    """Of the run, at the crew's end."""
    answers: dict[str, str]
    """What came of each task, by its name."""
    decisions: tuple[Decision, ...]
    uses: tuple[ToolUse, ...]
    failed: int = Field(ge=0)
    """Uses of tools that failed, were refused, or asked for a tool that is not there."""
    spent: float
    """Dollars for the agents' own calls."""
    calls: int
    run_spent: float
    """Dollars that the run paid."""
    held: str = ""
    """Why the quality gate stopped the data; empty where it did not."""
    ended_by: str = ""
    """What ended the crew before its end; empty where it came to it."""


def read_result(folder: Path) -> CrewResult | None:
    """Return what is kept of the crew of a run; ``None`` where no crew made it, or its file cannot be read."""
    try:
        return CrewResult.model_validate_json((folder / KEPT).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
