"""What answers for a crew's agents: the rules, or a model behind the ledger. Import it through ``building`` only.

Both answer in CrewAI's text form of tool use (``Thought``, ``Action``, ``Action Input``, ``Final Answer``), which every
chat model can write: an endpoint needs no tool calls of its own.
"""

from __future__ import annotations

import json
import re
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol

from crewai.llms.base_llm import BaseLLM
from pydantic import PrivateAttr

from tools.crews.reading import CrewSpec
from tools.crews.rules import DELEGATE, RULE_BASED, CrewFacts, next_use

ACTION = re.compile(r"^Action:[ \t]*[*`\"'\[]*([^\s*`\"'\]]+)", re.MULTILINE)
OBSERVATION = re.compile(r"^Observation:\s*(.*)", re.MULTILINE | re.DOTALL)
STOP = "\nObservation:"
"""Where a model's turn ends: the tool's result is not for it to write."""
FINAL = "Final Answer:"
Turns = Sequence[Mapping[str, str]]
Ask = Callable[[Turns], str]
"""Takes messages and returns a model's answer; it blocks, as CrewAI's executor does."""


class Decisions(Protocol):
    """Is told of every decision of every agent."""

    def before(self) -> None:
        """Raise where the crew has to end: nothing more is asked then."""
        ...

    def earlier(self, agent: str, task: str) -> str | None:
        """Return what was decided here before the crew was killed; ``None`` where it is to be decided."""
        ...

    def note(self, agent: str, task: str, tool: str, answer: str, *, earlier: bool) -> None:
        """Note a decision: which tool is asked for, empty for a final answer; and whether it was noted before."""
        ...


class CrewLLM(BaseLLM):  # type: ignore[misc]  # crewai carries no usable types
    """The model of all agents of one crew. Each decision is noted before it takes effect."""

    _decisions: Decisions = PrivateAttr()

    def __init__(self, model: str, decisions: Decisions) -> None:
        super().__init__(model=model)
        self._decisions = decisions

    def call(self, messages: Any, *_: Any, from_task: Any = None, from_agent: Any = None, **__: Any) -> str:
        """Return an agent's next turn."""
        self._decisions.before()
        turns = [{"role": str(m["role"]), "content": str(m.get("content") or "")} for m in messages]
        # CrewAI names nobody where it asks for the last answer of an agent that has made all its decisions.
        agent, task = (from_agent.role if from_agent else "", from_task.name or "" if from_task else "")
        earlier = self._decisions.earlier(agent, task)
        answer = self.answer(turns, agent, task) if earlier is None else earlier
        asked = None if FINAL in answer else ACTION.search(answer)
        tool = asked.group(1) if asked else ""
        self._decisions.note(agent, task, tool, answer, earlier=earlier is not None)
        return answer

    @abstractmethod
    def answer(self, turns: Turns, agent: str, task: str) -> str:
        """Return the text of the next turn.

        Args:
            turns: the messages so far.
            agent: the agent's role; empty for the last answer of one that has made all its decisions.
            task: the task's name; empty for a task that was delegated.
        """

    def supports_function_calling(self) -> bool:
        """Return False: tools are used in text."""
        return False


class RuleBasedLLM(CrewLLM):
    """Lets the rules decide, and writes their decisions as a model would.

    Args:
        crew: whose agents it answers for.
        facts: returns what is known now.
        decisions: is told of each.
    """

    _crew: CrewSpec = PrivateAttr()
    _facts: Callable[[], CrewFacts] = PrivateAttr()

    def __init__(self, crew: CrewSpec, facts: Callable[[], CrewFacts], decisions: Decisions) -> None:
        super().__init__(RULE_BASED, decisions)
        self._crew, self._facts = crew, facts

    def answer(self, turns: Turns, agent: str, task: str) -> str:
        """Return the rules' decision."""
        used, observed = _history(turns)
        failed = observed[-1] if observed and observed[-1].startswith("error:") else ""
        if not agent or failed:
            return _final("there is nothing more to do", _summary([failed] if failed else observed))
        name = next(name for name, spec in self._crew.agents.items() if spec.role == agent)
        if name == self._crew.manager:
            return _final("it is done", _summary(observed)) if used else self._delegated(turns, task)
        tools = self._crew.tools_of(task) if task else self._crew.agents[name].tools
        step = next_use(tools, used, self._facts())
        if step is None:
            return _final("every rule is followed", _summary(observed))
        return _action(f"the rules say {step.tool}", step.tool, step.arguments)

    def _delegated(self, turns: Turns, task: str) -> str:
        spec = self._crew.tasks[task]
        given = {
            "coworker": self._crew.agents[spec.agent].role,
            "task": f"{' '.join(spec.description.split())} Expected: {spec.expected_output}",
            "context": "The plan and the run are known to the tools.",
        }
        return _action("it belongs to who knows it best", DELEGATE, given)


class EndpointLLM(CrewLLM):
    """Lets a model decide.

    Args:
        model: its name.
        ask: asks it, through the ledger.
        decisions: is told of each.
    """

    _ask: Ask = PrivateAttr()

    def __init__(self, model: str, ask: Ask, decisions: Decisions) -> None:
        super().__init__(model, decisions)
        self._ask = ask

    def answer(self, turns: Turns, agent: str, task: str) -> str:
        """Return the model's answer."""
        return self._ask(turns)


def _history(turns: Turns) -> tuple[list[str], list[str]]:
    """Return the tools that were used on a task so far, and what each gave."""
    own = [turn["content"] for turn in turns if turn["role"] == "assistant"]
    used = [found.group(1) for text in own if (found := ACTION.search(text))]
    observed = [found.group(1).strip() for text in own if (found := OBSERVATION.search(text))]
    return used, observed


def _summary(observed: Sequence[str]) -> str:
    """Return what the tools said in their summaries; a coworker's answer as it is."""
    return "; ".join(map(_said, observed)) or "nothing was to be done"


def _said(text: str) -> str:
    # CrewAI puts its own words on the form of an answer behind every third result.
    try:
        result, _ = json.JSONDecoder().raw_decode(text)
    except ValueError:
        return text.splitlines()[0]
    return str(result["summary"]) if isinstance(result, dict) and "summary" in result else text


def _action(thought: str, tool: str, arguments: Mapping[str, Any]) -> str:
    return f"Thought: {thought}\nAction: {tool}\nAction Input: {json.dumps(arguments)}"


def _final(thought: str, answer: str) -> str:
    return f"Thought: {thought}\n{FINAL} {answer}"
