"""The CrewAI crew of a folder. Import this module after ``tools.judging.crewai_import.prepare_crewai`` only."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from crewai import Process, Task
from crewai.tools import BaseTool

from tools.crews.llms import CrewLLM
from tools.crews.reading import CrewSpec
from tools.judging.crewai_quiet import QuietAgent, QuietCrew


def build_crew(spec: CrewSpec, tools: Mapping[str, BaseTool], llm: CrewLLM) -> QuietCrew:
    """Return a crew, ready to be kicked off once, in a thread of its own.

    Args:
        spec: agents and tasks.
        tools: all tools, by name.
        llm: decides for every agent.
    """
    agents = {name: _agent(spec, name, tools, llm) for name in spec.agents}
    tasks: dict[str, Task] = {}
    for name, task in spec.tasks.items():
        tasks[name] = Task(
            name=name,
            description=task.description,
            expected_output=task.expected_output,
            agent=agents[task.agent],
            # CrewAI gives a task without tools of its own those of its agent; a manager's task has none.
            tools=[] if spec.manager else [tools[tool] for tool in spec.tools_of(name)],
            **({} if task.context is None else {"context": [tasks[before] for before in task.context]}),
        )
    led: dict[str, Any] = {"process": Process.sequential}
    if spec.manager is not None:
        led = {"process": Process.hierarchical, "manager_agent": agents[spec.manager]}
    members = [agent for name, agent in agents.items() if name != spec.manager]
    return QuietCrew(agents=members, tasks=list(tasks.values()), memory=False, cache=False, tracing=False, **led)


def _agent(spec: CrewSpec, name: str, tools: Mapping[str, BaseTool], llm: CrewLLM) -> QuietAgent:
    entry = spec.agents[name]
    return QuietAgent(
        role=entry.role,
        goal=entry.goal,
        backstory=entry.backstory,
        tools=[tools[tool] for tool in entry.tools],
        llm=llm,
        max_iter=entry.max_iter,
        max_retry_limit=0,
        allow_delegation=entry.manager,
        verbose=False,
    )
