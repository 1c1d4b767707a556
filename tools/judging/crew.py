"""The CrewAI crews: five judges at once and the expert who reads them; the expert alone over a pair of answers.

Import this module through ``crewai_import.prepare_crewai`` only. CrewAI's own extension points carry all of it: agents
whose ``aexecute_task`` asks the model once, a ``BaseLLM`` over the crew's backend, a task log that keeps nothing, and
prompt templates. ``Task`` and ``Crew.akickoff`` are used as they are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from crewai import Task
from crewai.agent.utils import format_task_with_context
from crewai.llms.base_llm import BaseLLM
from crewai.utilities.prompts import Prompts
from pydantic import BaseModel, PrivateAttr

from tools.judging.answers import DimensionRating, Draw, ExpertRating, Opinion, PairChoice
from tools.judging.crewai_events import without_events
from tools.judging.crewai_quiet import QuietAgent, QuietCrew
from tools.judging.subject import shield
from tools.judging.wording import Panel, Wording

if TYPE_CHECKING:  # an endpoint takes a second to import, which the crews' own process never needs
    from tools.judging.backend import CrewBackend

EXPERT, PAIR = "expert", "pair"


class _MemberLLM(BaseLLM):  # type: ignore[misc]  # crewai carries no usable types
    """The model of one member: hands the prompt to the crew's backend."""

    member: str
    _backend: CrewBackend | None = PrivateAttr(default=None)

    def call(self, messages: Any, *args: Any, **kwargs: Any) -> Any:
        """Refuse: CrewAI asks for a blocking form, and nothing here blocks."""
        raise RuntimeError("the judges' model answers asynchronously only: kick the crew off with akickoff")

    async def acall(self, messages: list[dict[str, Any]], *args: Any, **kwargs: Any) -> BaseModel:
        """Answer one prompt."""
        if self._backend is None:
            raise RuntimeError("the crew has no backend: kick it off by its method judge")
        answer: BaseModel = await self._backend.ask(self.member, "\n".join(m["content"] for m in messages))
        return answer

    def supports_function_calling(self) -> bool:
        """Return False: the judges have no tools."""
        return False


class _OneCallAgent(QuietAgent):
    """Asks its model once for a task, with the prompt that CrewAI makes.

    CrewAI's own ``aexecute_task`` runs a flow of nine steps around that call: half of a judge's processor time.
    """

    _frame: str = PrivateAttr(default="")

    def create_agent_executor(self, *_: Any, **__: Any) -> None:
        """Make none: nothing stands between the task and the model."""

    async def aexecute_task(self, task: Task, context: str | None = None, tools: Any = None) -> Any:
        """Fill the prompt, and return the model's structured answer."""
        if not self._frame:
            templates = {"system_template": self.system_template, "prompt_template": self.prompt_template}
            self._frame = Prompts(agent=self, **templates).task_execution()["prompt"]
        asked = self._frame.replace("{input}", format_task_with_context(task.prompt(), context)).rstrip()
        return await self.llm.acall([{"role": "user", "content": asked}], from_task=task, from_agent=self)


class _Task(Task):  # type: ignore[misc]  # crewai carries no usable types
    def prompt(self) -> str:
        """Return the description and what is expected, without CrewAI's own sentences about it."""
        return f"{self.description}\n\n{self.expected_output}"


class JudgingCrew:
    """A judge for each dimension, and the expert. One kickoff at a time: two must never share a crew.

    Args:
        panel: who they are, and what they are told.
    """

    def __init__(self, panel: Panel) -> None:
        wording, members = panel.wording, {**{d: d for d in panel.dimensions}, EXPERT: panel.expert}
        self._llms = {name: _MemberLLM(model="corral", member=name) for name in members}
        agents = {name: _agent(wording, entry, self._llms[name]) for name, entry in members.items()}
        judges = [_task(wording, "judge", agents[d], DimensionRating, Opinion) for d in panel.dimensions]
        expert = _task(wording, "expert", agents[EXPERT], ExpertRating, ExpertRating, context=judges)
        self._crew = QuietCrew(
            agents=list(agents.values()),
            tasks=[*judges, expert],
            memory=False,
            tracing=False,
        )

    async def judge(self, subject: str, backend: CrewBackend) -> Draw:
        """Kick the crew off once over one subject."""
        for llm in self._llms.values():
            llm._backend = backend
        with without_events():
            output = await self._crew.akickoff(inputs={"subject": shield(subject)})
        *opinions, expert = (task.pydantic for task in output.tasks_output)
        return Draw(opinions=tuple(opinions), expert=expert)


class PairCrew:
    """The expert alone, who compares two answers. One kickoff at a time, as for ``JudgingCrew``.

    Args:
        panel: as for ``JudgingCrew``.
    """

    def __init__(self, panel: Panel) -> None:
        wording = panel.wording
        self._llm = _MemberLLM(model="corral", member=PAIR)
        agent = _agent(wording, panel.expert, self._llm)
        task = _task(wording, PAIR, agent, PairChoice, PairChoice, context=[])
        self._crew = QuietCrew(agents=[agent], tasks=[task], memory=False, tracing=False)

    async def judge(self, subject: str, backend: CrewBackend) -> PairChoice:
        """Kick the crew off once over two answers in one order."""
        self._llm._backend = backend
        with without_events():
            output = await self._crew.akickoff(inputs={"subject": shield(subject)})
        choice: PairChoice = output.pydantic
        return choice


def _agent(wording: Wording, entry: str, llm: _MemberLLM) -> _OneCallAgent:
    return _OneCallAgent(
        **wording.agents[entry],
        llm=llm,
        system_template=wording.frame["system"],
        prompt_template=wording.frame["prompt"],
        max_retry_limit=0,
        allow_delegation=False,
        respect_context_window=True,
        verbose=False,
    )


def _task(
    wording: Wording,
    entry: str,
    agent: _OneCallAgent,
    asked: type[BaseModel],
    given: type[BaseModel],
    context: list[_Task] | None = None,
) -> _Task:
    texts: Mapping[str, str] = wording.tasks[entry]
    return _Task(
        **texts,
        agent=agent,
        response_model=asked,
        output_pydantic=given,
        async_execution=context is None,
        context=context or [],
    )
