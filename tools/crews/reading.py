"""A crew's folder: ``agents.yaml`` and ``tasks.yaml``, read and checked before anything is started."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import Field, ValidationError

from state.errors import BadInput
from state.faults import first_fault
from state.records import Record

FOLDER = Path(__file__).parent
SHIPPED = ("sequential", "hierarchical")
"""The crews that come with Corral."""
AGENTS, TASKS = "agents.yaml", "tasks.yaml"
VARIABLES = ("instructions", "base")
"""What a text may name in braces, as ``run_crew`` gives it: the instructions wanted, the model to train."""
_VARIABLE = re.compile(r"\{([A-Za-z_][A-Za-z0-9_\-]*)\}")
"""What CrewAI takes for a variable: ``crewai.utilities.string_utils``."""
T = TypeVar("T", bound=Record)


class AgentSpec(Record):
    """One agent of a crew, in CrewAI's words."""

    role: str = Field(min_length=1)
    goal: str = Field(min_length=1)
    backstory: str = ""
    tools: tuple[str, ...] = ()
    """Names of tools that it always has."""
    manager: bool = False
    """It leads the others: the crew is hierarchical, and each task is delegated by it."""
    max_iter: int = Field(16, ge=1, le=200)
    """Decisions on one task at most; then it must answer with what it has."""


class TaskSpec(Record):
    """One task of a crew."""

    description: str = Field(min_length=1)
    expected_output: str = Field(min_length=1)
    agent: str
    """Who does it: a name of ``agents.yaml``."""
    tools: tuple[str, ...] = ()
    """Names of tools for this task alone; where there are some, the agent's own are not used."""
    context: tuple[str, ...] | None = None
    """Names of tasks whose results are shown; ``null`` for those of all before it."""


class CrewSpec(Record):
    """A crew as its folder has it."""

    name: str
    agents: dict[str, AgentSpec]
    tasks: dict[str, TaskSpec]

    @property
    def manager(self) -> str | None:
        """The name of the agent that leads; ``None`` for a sequential crew."""
        return next((name for name, agent in self.agents.items() if agent.manager), None)

    def tools_of(self, task: str) -> tuple[str, ...]:
        """Return the tools of who does a task."""
        spec = self.tasks[task]
        return self.agents[spec.agent].tools if self.manager else spec.tools or self.agents[spec.agent].tools


def crew_folder(name: str) -> Path:
    """Return the folder of a crew's files; the argument is that of ``read_crew``.

    Raises:
        BadInput: there is no such crew.
    """
    folder = FOLDER / name if name in SHIPPED else Path(name).expanduser()
    if not folder.is_dir():
        raise BadInput(f"there is no crew {name!r}: give {' or '.join(SHIPPED)}, or a folder with {AGENTS} and {TASKS}")
    return folder


def read_crew(name: str, tools: Iterable[str]) -> CrewSpec:
    """Read a crew and check that all it names is there.

    Args:
        name: ``sequential``, ``hierarchical``, or a folder with ``agents.yaml`` and ``tasks.yaml``.
        tools: the names of all tools.

    Raises:
        BadInput: there is no such crew, a file is wrong, or it names an agent, a tool or a task that is not there.
    """
    folder = crew_folder(name)
    agents = _read(folder / AGENTS, AgentSpec)
    tasks = _read(folder / TASKS, TaskSpec)
    crew = CrewSpec(name=folder.name, agents=agents, tasks=tasks)
    _demand_known(crew, folder, tuple(tools))
    return crew


def _demand_known(crew: CrewSpec, folder: Path, tools: tuple[str, ...]) -> None:
    managers = [name for name, agent in crew.agents.items() if agent.manager]
    if len(managers) > 1:
        raise BadInput(f"{folder / AGENTS}: {' and '.join(managers)} both say 'manager: true'; a crew has one at most")
    for name, agent in crew.agents.items():
        if agent.manager and agent.tools:
            raise BadInput(f"{folder / AGENTS}, {name}: a manager delegates and has no tools; leave out its tools")
        _demand_names(agent.tools, tools, "tool", f"{folder / AGENTS}, {name}")
    before: list[str] = []
    for name, task in crew.tasks.items():
        where = f"{folder / TASKS}, {name}"
        workers = [agent for agent in crew.agents if agent != crew.manager]
        _demand_names((task.agent,), workers, "agent", where)
        _demand_names(task.tools, tools, "tool", where)
        _demand_names(task.context or (), before, "task before it", where)
        if task.tools and crew.manager:
            raise BadInput(f"{where}: in a crew with a manager, tools belong to agents; move them to {AGENTS}")
        before.append(name)


def _demand_names(names: Iterable[str], known: Iterable[str], kind: str, where: str) -> None:
    known = list(known)
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.4)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(known) or 'none'}"
            raise BadInput(f"{where}: there is no {kind} {name!r}; {hint}")


def _read(path: Path, record: type[T]) -> dict[str, T]:
    try:
        entries: Any = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise BadInput(f"{path} is not there; a crew's folder has {AGENTS} and {TASKS}") from error
    except yaml.MarkedYAMLError as error:
        line = f", line {error.problem_mark.line + 1}" if error.problem_mark else ""
        raise BadInput(f"{path}{line}: not valid YAML ({error.problem})") from error
    except (OSError, UnicodeDecodeError, RecursionError, yaml.YAMLError) as error:
        raise BadInput(f"{path} cannot be read: {str(error).splitlines()[0]}") from error
    if not isinstance(entries, Mapping) or not entries:
        raise BadInput(f"{path}: it must map names to entries, and has at least one")
    return {str(name): _entry(path, str(name), entry, record) for name, entry in entries.items()}


def _entry(path: Path, name: str, entry: Any, record: type[T]) -> T:
    if not isinstance(entry, Mapping):
        raise BadInput(f"{path}, {name}: an entry is a mapping of {', '.join(record.model_fields)}")
    try:
        found = record.model_validate(dict(entry))
    except ValidationError as error:
        raise BadInput(f"{path}, {name}: {first_fault(error)}") from error
    for field, text in found:
        if isinstance(text, str):
            _demand_names(_VARIABLE.findall(text), VARIABLES, "variable", f"{path}, {name}, {field}")
    return found
