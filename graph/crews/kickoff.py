"""A crew from its kickoff to its end: a dataset, an adapter and a report, and a record of who decided what."""

from __future__ import annotations

import asyncio
from typing import Any

from graph.creating import checked_request
from graph.crews.catalogue import TOOLS
from graph.crews.journal import CrewPlan, Journal, begin_journal, journal_of
from graph.crews.result import KEPT, CrewResult
from graph.crews.session import CrewSession
from state.errors import BudgetExceeded, CorralError
from state.request import RunRequest
from tools.crews.reading import CrewSpec, read_crew
from tools.crews.rules import DELEGATE, RULE_BASED
from tools.endpoint import capabilities
from tools.endpoint.chat import ChatCall, Message
from tools.endpoint.client import LedgeredEndpoint
from tools.files import write_file
from tools.judging.crewai_import import prepare_crewai

COWORKERS = (DELEGATE, "ask_question_to_coworker")
"""The tools that CrewAI itself gives to a manager."""
TEMPERATURE = 0.2
TURN_TOKENS = 700
"""Completion tokens of one decision: a thought, a tool and its arguments, or an answer."""


async def run_crew(session: CrewSession, crew: str, *, rule_based: bool = False) -> CrewResult:
    """Kick a crew off, wait for its end, and keep what it did in its run's folder.

    The same call goes on with a crew that was killed: what it decided and what its tools did is not done again.

    Args:
        session: its plan and its runs.
        crew: ``sequential``, ``hierarchical``, or a folder.
        rule_based: let the rules decide even where the plan's generator is a model that could.

    Raises:
        BadInput: the crew's files are wrong, or its plan cannot work as a run; nothing is written or asked then.
        CorralError: the crew came to no end; the message says what it cost, and what is there.
    """
    return await go_on(session, await begin_crew(session, crew, rule_based=rule_based))


async def begin_crew(session: CrewSession, crew: str, *, rule_based: bool = False) -> Journal:
    """Return the journal of a crew to go on with: of one of this plan that was killed, else of a new one.

    A new one is checked as a run is; arguments and errors as for ``run_crew``.
    """
    spec = await asyncio.to_thread(read_crew, crew, TOOLS)
    if not _by_rules(session.request, rule_based):
        await session.demand_price(session.request.models.generator)
    plan = CrewPlan(crew=spec, request=session.request, rule_based=rule_based)
    folder = session.services.runs_folder
    journal = await asyncio.to_thread(journal_of, folder, plan)
    if journal is None:
        await checked_request(session.services, session.request)
        journal = await asyncio.to_thread(begin_journal, folder, plan)
    return journal


async def go_on(session: CrewSession, journal: Journal) -> CrewResult:
    """Go on with a crew where its journal ends; see ``run_crew``.

    Args:
        session: its runs, over the request of the journal's plan.
        journal: what the crew decided and did so far.
    """
    ended = False
    try:
        await session.take_up(journal)
        await asyncio.to_thread(prepare_crewai)
        result, failure = await _worked(session, journal.plan)
        ended = failure is None or _at_its_end(session, failure)
    finally:
        journal.close(ended=ended)
    if failure is not None:
        if not ended:
            session.tell(f"'corral resume {journal.name}' goes on with the crew")
        raise _ended(session, failure) from failure
    return result


async def _worked(session: CrewSession, plan: CrewPlan) -> tuple[CrewResult, BaseException | None]:
    """Kick the crew off, keep what it did in its run's folder, and return that and what ended it before its time."""
    request = plan.request
    asked = None if _by_rules(request, plan.rule_based) else await session.endpoint(request.models.generator)
    inputs = {"instructions": request.generation.target, "base": request.models.base}
    kicking = asyncio.create_task(asyncio.to_thread(_kick_off, session, plan.crew, asked, inputs))
    failure: BaseException | None = None
    try:
        answers = await asyncio.shield(kicking)
    except asyncio.CancelledError:
        session.close()
        await asyncio.gather(kicking, return_exceptions=True)
        raise
    except Exception as error:
        answers, failure = {}, session.failure or error
    result = await _result(session, plan.crew, asked, answers, failure)
    if session.run_id:
        path = session.services.runs_folder / session.run_id / KEPT
        await asyncio.to_thread(write_file, path, (result.model_dump_json(indent=1) + "\n").encode())
    return result, failure


def _by_rules(request: RunRequest, rule_based: bool) -> bool:
    return rule_based or not capabilities(request.models.generator).remote


def _kick_off(
    session: CrewSession, spec: CrewSpec, asked: LedgeredEndpoint | None, inputs: dict[str, Any]
) -> dict[str, str]:
    """Build the crew and kick it off, in a thread of its own; return what came of each task."""
    from graph.crews.crewai_tools import crewai_tools
    from tools.crews.building import build_crew
    from tools.crews.llms import EndpointLLM, RuleBasedLLM
    from tools.judging.crewai_events import without_events

    tools = crewai_tools(lambda: session)
    noted = _Noted(session, spec)
    if asked is None:
        llm: Any = RuleBasedLLM(spec, lambda: session.wait(session.facts()), noted)
    else:
        endpoint = asked
        llm = EndpointLLM(endpoint.model, lambda turns: session.wait(_ask(endpoint, turns)), noted)
    with without_events():
        output = build_crew(spec, tools, llm).kickoff(inputs=inputs)
    return {name: str(task.raw) for name, task in zip(spec.tasks, output.tasks_output, strict=True)}


class _Noted:
    """Notes every decision, and every tool that was asked for and is not there."""

    def __init__(self, session: CrewSession, spec: CrewSpec) -> None:
        self._session = session
        self._tools = {agent.role: _tools_of(spec, name) for name, agent in spec.agents.items()}

    def before(self) -> None:
        self._session.before()

    def earlier(self, agent: str, task: str) -> str | None:
        return self._session.earlier_decision(agent, task)

    def note(self, agent: str, task: str, tool: str, answer: str, *, earlier: bool) -> None:
        self._session.note(agent, task, tool, answer, earlier=earlier)
        if tool and agent in self._tools and tool not in self._tools[agent]:
            self._session.record_unknown(agent, tool)


def _tools_of(spec: CrewSpec, agent: str) -> tuple[str, ...]:
    if agent == spec.manager:
        return COWORKERS
    of_tasks = [tool for task in spec.tasks.values() if task.agent == agent for tool in task.tools]
    return (*spec.agents[agent].tools, *of_tasks)


async def _ask(endpoint: LedgeredEndpoint, turns: Any) -> str:
    from tools.crews.llms import STOP

    call = ChatCall(
        purpose="crew",
        messages=tuple(Message(role=turn["role"], content=turn["content"]) for turn in turns),
        temperature=TEMPERATURE,
        max_tokens=TURN_TOKENS,
        stop=(STOP,),
        seed=0,
    )
    return (await endpoint.complete(call)).text


async def _result(
    session: CrewSession,
    spec: CrewSpec,
    asked: LedgeredEndpoint | None,
    answers: dict[str, str],
    failure: BaseException | None,
) -> CrewResult:
    run_id = session.run_id
    return CrewResult(
        crew=spec.name,
        decided_by=RULE_BASED if asked is None else asked.model,
        run_id=run_id,
        standing=(await session.runs.status(run_id)).standing if run_id else "none",
        answers=answers,
        decisions=tuple(session.decisions),
        uses=tuple(session.uses),
        failed=sum(use.outcome != "done" for use in session.uses),
        spent=session.spending.spent,
        calls=session.spending.calls,
        run_spent=await session.services.calls.spent(run_id) if run_id else 0.0,
        held=session.held,
        ended_by="" if failure is None else " ".join(str(failure).split()),
    )


def _ended(session: CrewSession, failure: BaseException) -> CorralError:
    """Return the error of a crew that came to no end, with how to go on."""
    with_run = f"; 'corral resume {session.run_id}' goes on with its run" if session.run_id else ""
    if isinstance(failure, BudgetExceeded):
        return BudgetExceeded(failure.spent, failure.cap, f"That is the agents' share of the budget{with_run}")
    if isinstance(failure, CorralError):
        return failure
    return CorralError(f"the crew failed ({type(failure).__name__}: {failure}); it {session.cost}{with_run}")


def _at_its_end(session: CrewSession, failure: BaseException) -> bool:
    """Return whether a crew that failed would only come to the same end again."""
    return session.at_bound or isinstance(failure, BudgetExceeded) or not isinstance(failure, CorralError)
