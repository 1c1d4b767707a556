"""Pipeline: the compiled graph of a run, and what is refused of those who start or answer one, wherever they come from.

The command line, the Python API and LangGraph's server all enter by ``Pipeline.astream``, so that the same words refuse
the same things, and nothing is saved of what was refused: a run that waits still waits, one that is done stays done.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import aclosing
from typing import Any, cast

from langchain_core.runnables import RunnableConfig
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import Command, StateSnapshot
from pydantic import ValidationError

from graph.answering import demand_first
from graph.inputs import demand_name, other_request, same_request, with_absolute_folders
from graph.preflight import preflight
from graph.services import Services
from graph.steps import answer_refusal
from state.errors import BadInput, RunWaiting, UnknownRun
from state.pipeline import PipelineState, RunInput
from state.request import RunRequest
from tools.config import read_request
from tools.endpoint.environment import with_environment
from tools.settings import Settings


class Pipeline(CompiledStateGraph[PipelineState, None, RunInput, PipelineState]):
    """The compiled graph of a run. One thread is one run, of the thread's name.

    A fork of a thread, from any of its checkpoints, is the same run gone back: rows, reviews and calls that are there
    stay and are not made again, and what the state alone holds, such as a signature, is decided anew.

    Args:
        services: the process's.
        improves: whether its runs begin with feedback on the deployed version.
        **compiled: what a ``CompiledStateGraph`` is made of.
    """

    def __init__(self, *, services: Services, improves: bool = False, **compiled: Any) -> None:
        super().__init__(**compiled)
        self.services = services
        self.improves = improves

    async def astream(self, input: Any, config: RunnableConfig | None = None, **options: Any) -> AsyncIterator[Any]:
        """Run the graph; see ``CompiledStateGraph.astream``.

        Who asks for ``custom`` events is sent the progress of the long steps, too, which are graphs of their own:
        LangGraph sends it only to who asks for all events of subgraphs.

        Raises:
            BadInput: the input is no request, the thread is a run already, or an answer does not fit its question.
            RunWaiting: a new input for a run that waits for a person.
        """
        given = await self._admit(input, config or {})
        try:
            inside = _shows_inside(options)
            # Closed with this one: who cancels a run stops its steps at once.
            events = cast(AsyncGenerator[Any, None], super().astream(given, config, **(options | inside)))
            async with aclosing(events):
                async for event in events:
                    if not inside:
                        yield event
                    elif (own := _as_of_the_root(event, options)) is not None:
                        yield own
        except ValidationError as error:
            if (refusal := answer_refusal(error)) is not None:
                raise refusal from error
            raise

    async def _admit(self, given: Any, config: RunnableConfig) -> Any:
        """Return the input as the graph takes it."""
        named = config.get("configurable", {})
        thread = str(named.get("thread_id", ""))
        if given is None or not thread or self.checkpointer is None:
            return given
        demand_name(thread)
        # An answer may be to a question of an earlier checkpoint; an input begins a run, wherever it is addressed to.
        place = {"thread_id": thread, "checkpoint_ns": ""}
        if isinstance(given, Command) and named.get("checkpoint_id"):
            place["checkpoint_id"] = named["checkpoint_id"]
        snapshot = await self.aget_state({"configurable": place})
        if isinstance(given, Command):
            if given.resume is not None and not snapshot.interrupts:
                raise BadInput(f"run {thread} does not wait for an answer{_standing(snapshot)}")
            if given.resume == {}:
                # LangGraph takes it for answers by interrupt, of which there are none, and reads the last wrong answer.
                raise BadInput("the answer does not fit: it is empty; the run still waits for it")
            await demand_first(self.services, thread, snapshot, given.resume)
            return given
        request = self._own(requested(given, self.services.settings))
        if snapshot.created_at is None:
            await self._demand_new(thread, request)
        elif not _goes_on(snapshot, config):
            raise _second_input(thread, snapshot)
        return RunInput(request=request)

    def _own(self, request: RunRequest) -> RunRequest:
        """Return a request as this graph's: which graph a run goes on with is told by its request."""
        if self.improves:
            improve = request.improve.model_copy(update={"from_feedback": True})
            return request.model_copy(update={"improve": improve})
        if request.improve.from_feedback:
            raise BadInput("improve.from_feedback is for the graph 'improvement'; leave it out here")
        return request

    async def _demand_new(self, run_id: str, request: RunRequest) -> None:
        """Check a thread's first input as ``Runs.create`` does, unless that has noted the run already."""
        try:
            kept = await self.services.store.request_of(run_id)
        except UnknownRun:
            await preflight(request, self.services.settings, self.services.plugged)
            return
        if not same_request(await asyncio.to_thread(with_absolute_folders, request), kept):
            raise BadInput(other_request(run_id))


def _shows_inside(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what to ask LangGraph for in place of the caller's own words, so that progress from inside steps comes."""
    modes = options.get("stream_mode")
    asks = "custom" in ([modes] if isinstance(modes, str) else modes or ())
    return {"subgraphs": True} if asks and not options.get("subgraphs") else {}


def _as_of_the_root(event: Any, options: Mapping[str, Any]) -> Any:
    """Return an event in the form that the caller asked for; ``None`` for what belongs to a step's own graph.

    Args:
        event: with its namespace, as LangGraph gives it where subgraphs are asked for.
        options: the caller's.
    """
    modes = options["stream_mode"]
    if options.get("version") == "v2":
        return event | {"ns": ()} if not event["ns"] or event["type"] == "custom" else None
    if not isinstance(modes, list):
        return event[1]
    namespace, mode, payload = event
    return (mode, payload) if not namespace or mode == "custom" else None


def requested(given: Any, settings: Settings) -> RunRequest:
    """Return the request in an input, with the models that the environment names for it.

    Raises:
        BadInput: there is none, it is wrong, or something else stands beside it.
    """
    if not isinstance(given, Mapping) or given.get("request") is None:
        raise BadInput('the input names no request; give {"request": {...}}, such as {"request": {"name": "first"}}')
    if unknown := sorted(map(str, given.keys() - {"request"})):
        raise BadInput(f"the input: unknown key {unknown[0]}; an input holds request alone, and settings stand in that")
    request = given["request"]
    if not isinstance(request, RunRequest):
        request = read_request(request, "the request", settings.openai_base_url)
    return with_environment(request, settings)


def _goes_on(snapshot: StateSnapshot, config: RunnableConfig) -> bool:
    """Whether a server begins a job again that it had begun before: LangGraph then goes on, and reads no input."""
    job = config.get("metadata", {}).get("run_id")
    return job is not None and job == (snapshot.metadata or {}).get("run_id")


def _second_input(thread: str, snapshot: StateSnapshot) -> BadInput:
    advice = "open a new thread for a new run"
    if snapshot.interrupts:
        return RunWaiting(
            f"this thread is run {thread}, which waits for a person at {snapshot.next[0]}, and a new input would drop "
            f"its question: answer it, or {advice}"
        )
    return BadInput(f"this thread is run {thread} already{_standing(snapshot)}; {advice}")


def _standing(snapshot: StateSnapshot) -> str:
    if snapshot.created_at is None:
        return ", it has not begun"
    return f", it stands at {snapshot.next[0]}" if snapshot.next else ", it is done"
