"""Corral's tools for anyone's crew: CrewAI's ``BaseTool``, or LangChain's tools.

from crewai import Agent
from corral.crew_tools import crew_tools, kickoff, rouge_similarity

agent = Agent(role=..., goal=..., backstory=..., tools=[rouge_similarity, *crew_tools("content_filter")])
result = kickoff({"instructions": 200, "base": "embedded"})   # Corral's own crew, from the plan to the report

A tool by its name is a tool, ready for an agent; in CrewAI's style, ``RougeSimilarityTool()`` makes the same. Unless a
session is given, all work in one that is opened at the first use: with the environment's settings, and a plan of
defaults that ``workflow_management`` configures. CrewAI is imported when the first tool is asked for.
"""

from __future__ import annotations

import asyncio
import atexit
import threading
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from corral.arguments import demand_mapping
from corral.running import in_sync
from state.errors import BadInput
from state.faults import first_fault
from state.request import RunRequest

if TYPE_CHECKING:
    from graph.crews.result import CrewResult
    from graph.crews.session import CrewSession
    from tools.settings import Settings

_lock = threading.Lock()
_opened: dict[str, Background] = {}


class Inputs(BaseModel):
    """What ``kickoff`` takes."""

    model_config = ConfigDict(extra="forbid")

    instructions: int = Field(200, ge=0, le=1_000_000)
    """Instructions to write."""
    base: str = "embedded"
    """The model to train."""
    crew: str = "sequential"
    """``sequential``, ``hierarchical``, or a folder with ``agents.yaml`` and ``tasks.yaml``."""
    config: Path | None = None
    """A run's config; what is not in it has its default."""
    settings: list[str] = []
    """Settings over the config's, as ``section.key=value``."""
    budget: float | None = Field(None, ge=0)
    """Dollars for everything: the agents' own calls, which may take a fifth of it, and the run."""
    rule_based: bool = False
    """Let the rules decide even where the generator is a model that could."""


class Background:
    """A session in a thread of its own, for programs without an event loop.

    Args:
        request: the plan.
    """

    def __init__(self, request: RunRequest) -> None:
        self._request = request
        self._ready, self._done = threading.Event(), threading.Event()
        self._failure: BaseException | None = None
        self._session: CrewSession | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._live()), name="corral-crew", daemon=True)
        self._thread.start()

    def session(self) -> CrewSession:
        """Return the session.

        Raises:
            CorralError: the settings or the database cannot be used.
        """
        self._ready.wait()
        if self._failure is not None:
            raise self._failure
        assert self._session is not None  # ready without a failure
        return self._session

    def close(self) -> None:
        """End the session and its thread; what was started stays resumable."""
        self._ready.wait()
        if self._session is not None:
            self._session.close()
            self._session.loop.call_soon_threadsafe(self._end)
        self._thread.join()

    def _end(self) -> None:
        self._ended.set()

    async def _live(self) -> None:
        from graph.crews.session import CrewSession
        from graph.runs import open_runs
        from tools.settings import load_settings

        self._ended = asyncio.Event()
        try:
            async with open_runs(load_settings()) as runs:
                self._session = CrewSession(runs, asyncio.get_running_loop(), self._request)
                self._ready.set()
                await self._ended.wait()
        except Exception as error:
            self._failure = error
            self._ready.set()


def default_session() -> CrewSession:
    """Return the session that tools work in where none is given; it is closed at the program's end."""
    with _lock:
        if "default" not in _opened:
            _opened["default"] = Background(RunRequest(name="crew", unattended=True))
            atexit.register(close_default_session)
        return _opened["default"].session()


def close_default_session() -> None:
    """Close it; the next use of a tool opens another."""
    with _lock:
        if (opened := _opened.pop("default", None)) is not None:
            opened.close()


def crew_tools(*names: str, session: CrewSession | None = None) -> list[Any]:
    """Return tools for CrewAI's agents.

    Args:
        *names: of tools; all where none is given.
        session: what they work in; the default one where it is not given.

    Raises:
        BadInput: there is no such tool.
    """
    from tools.judging.crewai_import import prepare_crewai

    prepare_crewai()
    from graph.crews.crewai_tools import crewai_tools

    return list(crewai_tools(_opener(session), _known(names)).values())


def langchain_tools(*names: str, session: CrewSession | None = None) -> list[Any]:
    """Return the same as LangChain's tools; arguments and errors as for ``crew_tools``."""
    from tools.judging.crewai_import import prepare_crewai

    prepare_crewai()
    from graph.crews.crewai_tools import langchain_tools as made

    return made(_opener(session), _known(names))


def kickoff(inputs: Mapping[str, Any] | None = None) -> CrewResult:
    """Run one of Corral's crews from its plan to its report, and wait for it.

    Args:
        inputs: as ``Inputs`` has them, such as ``{"instructions": 200, "base": "embedded"}``.

    Raises:
        BadInput: an input is unknown or out of range, or the crew's files are wrong.
        CorralError: the crew came to no end; the message says what it cost, and what is there.
    """
    return in_sync(akickoff(inputs))


async def akickoff(inputs: Mapping[str, Any] | None = None) -> CrewResult:
    """Do the same in a running event loop."""
    from graph.crews.kickoff import run_crew
    from graph.crews.session import CrewSession
    from graph.runs import open_runs
    from tools.settings import load_settings

    given = read_inputs(inputs)
    settings = load_settings()
    request = planned(given, settings)
    async with open_runs(settings) as runs:
        session = CrewSession(runs, asyncio.get_running_loop(), request)
        return await run_crew(session, given.crew, rule_based=given.rule_based)


def read_inputs(inputs: Mapping[str, Any] | None) -> Inputs:
    """Return the inputs of a kickoff.

    Raises:
        BadInput: one is unknown or out of range.
    """
    demand_mapping(inputs, "kickoff: what it takes")
    try:
        return Inputs.model_validate(dict(inputs or {}))
    except ValidationError as error:
        raise BadInput(f"kickoff: {first_fault(error)}") from error


def planned(given: Inputs, settings: Settings) -> RunRequest:
    """Return the plan that a crew begins with: the config's models, else those that the environment names.

    Raises:
        BadInput: the config or a setting is wrong.
    """
    from tools.config import load_request, with_settings
    from tools.crews.adapting import Requirements, adapted_request
    from tools.endpoint.environment import with_environment

    request = with_environment(load_request(given.config, ["unattended=true"]), settings)
    cap = request.budget.dollars if given.budget is None else given.budget
    wanted = Requirements(instructions=given.instructions, base=given.base, dollars=cap)
    return with_settings(adapted_request(wanted, request), given.settings)


def _opener(session: CrewSession | None) -> Any:
    return default_session if session is None else lambda: session


def _known(names: tuple[str, ...]) -> tuple[str, ...]:
    import difflib

    from graph.crews.catalogue import TOOLS

    for name in names:
        if name not in TOOLS:
            near = difflib.get_close_matches(str(name), TOOLS, n=1)
            hint = f"did you mean {near[0]!r}?" if near else f"there are {', '.join(TOOLS)}"
            raise BadInput(f"there is no tool {name!r}; {hint}")
    return names or tuple(TOOLS)


def _class_name(tool: str) -> str:
    return "".join({"openai": "OpenAI"}.get(part, part.capitalize()) for part in tool.split("_")) + "Tool"


def __getattr__(name: str) -> Any:
    """Return a tool by its name, or what makes one by its name in CrewAI's style (PEP 562)."""
    if name.startswith("_"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from graph.crews.catalogue import TOOLS

    if name in TOOLS:
        found = crew_tools(name)[0]
    else:
        tool = next((tool for tool in TOOLS if _class_name(tool) == name), None)
        if tool is None:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

        def found(session: CrewSession | None = None, of: str = tool) -> Any:
            return crew_tools(of, session=session)[0]

    globals()[name] = found
    return found
