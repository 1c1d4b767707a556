"""CrewAI's crew and agent without what they write beside the work. Import it as ``tools.judging.crew`` is imported."""

from __future__ import annotations

from typing import Any

from crewai import Agent, Crew
from pydantic import PrivateAttr


class _NoLog:
    """Keeps no task outputs; CrewAI's own log is a SQLite file that costs 69 ms a kickoff."""

    def reset(self) -> None:
        """Do nothing: no output is kept."""

    def add(self, *_: Any, **__: Any) -> None:
        """Do nothing: no output is kept."""

    def update(self, *_: Any, **__: Any) -> None:
        """Do nothing: no output is kept."""

    def load(self) -> list[Any]:
        """Return an empty list: no output is kept."""
        return []


class QuietCrew(Crew):  # type: ignore[misc]  # crewai carries no usable types
    """A crew that keeps no log of its own."""

    _task_output_handler: Any = PrivateAttr(default_factory=_NoLog)


class QuietAgent(Agent):  # type: ignore[misc]  # crewai carries no usable types
    """An agent that reads no file of the working directory."""

    def _use_trained_data(self, task_prompt: str) -> str:
        """Return the prompt as it is; CrewAI would unpickle a trained_agents_data.pkl of the working directory."""
        return task_prompt
