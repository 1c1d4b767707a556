"""Runs: start, resume, answer, list. The one way in for the command line, the server and the Python API."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from langchain_core.runnables import RunnableConfig
from langgraph.errors import is_invalid_resume
from langgraph.types import Command, Interrupt

from graph.batching import LOOK, until_over
from graph.creating import create_run
from graph.entry import Pipeline
from graph.improvement import build_improvement
from graph.inputs import own_request
from graph.pipeline import build_pipeline
from graph.preview import LAST_STEP
from graph.services import Services, open_services
from graph.standing import RunStatus, how_to_answer, state_of, status_of, statuses_of
from graph.tabular import rows_of
from graph.tracing import attach_opinions, new_tree
from state.checkpoints import Saver, open_checkpointer, prune, set_aside_damaged
from state.errors import BadInput, LeaseLost, RunWaiting
from state.extras import demand_extra, missing_modules
from state.pipeline import PipelineState, RunInput
from state.request import RunRequest
from tools.endpoint.loop import GRACE_SECONDS, await_sent, drop_calls
from tools.logs import logged_run
from tools.progress import Progress
from tools.settings import Settings, load_settings

if TYPE_CHECKING:
    from tools.endpoint.plugged import Brought

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Runs:
    """All runs of one database, and the pipeline that runs them."""

    services: Services
    saver: Saver
    pipeline: Pipeline

    @cached_property
    def improvement(self) -> Pipeline:
        """The pipeline with what surrounds it in a run that begins with feedback; most processes need none of it."""
        return build_improvement(self.services, self.saver)

    async def create(self, request: RunRequest, run_id: str | None = None, *, probe: bool = True) -> str:
        """Check a request and register the run; nothing is spent yet. See ``create_run`` for arguments and errors."""
        return await create_run(self.services, request, run_id, probe=probe)

    async def advance(
        self, run_id: str, answer: Any = None, *, last: str | None = None, take_over: bool = False
    ) -> AsyncIterator[Progress]:
        """Work on a run until it is done or waits for a person, and yield its progress.

        Where it is cancelled, calls in flight are awaited and recorded before the run's lease is given back.

        Args:
            run_id: a run that was created.
            answer: what a person answers to the interrupt the run waits at; ``None`` to go on after a kill.
            last: the last step to take; ``None`` for all.
            take_over: take the run from a live process that works on it; that one then stops.

        Raises:
            UnknownRun: there is no such run.
            RunBusy: another process works on it.
            LeaseLost: another process has taken it over from this one.
            RunWaiting: it waits for an answer, and none was given.
            UnreadableRun: another version began it, and this one cannot read its request.
            BadInput: the answer does not fit the question, or there is none to answer; or a file of the run is gone.
            CorralError: a step failed; the run can be resumed.
        """
        request = await self.services.store.request_of(run_id)
        async with self.services.leases.hold(run_id, take_over=take_over):
            try:
                async for event in self._advance(run_id, request, answer, last):
                    yield event
            except (LeaseLost, asyncio.CancelledError) as error:
                if isinstance(error, LeaseLost) or self.services.leases.has_lost(run_id):
                    drop_calls(self.services.calls, run_id)
                else:
                    await await_sent(self.services.calls, GRACE_SECONDS)
                raise

    async def _advance(
        self, run_id: str, request: RunRequest, answer: Any, last: str | None
    ) -> AsyncIterator[Progress]:
        if dropped := await set_aside_damaged(self.saver, run_id):
            self._log(run_id, "damaged checkpoints set aside", logging.WARNING, count=dropped)
        status = await self.status(run_id)
        if status.standing == "waiting" and answer is None:
            raise RunWaiting(f"run {run_id} waits for a person at {status.step}; {how_to_answer(status)}")
        if status.standing != "waiting" and answer is not None:
            raise BadInput(f"run {run_id} does not wait for an answer; it is {status.standing}")
        if status.standing == "done":
            return
        await own_request(self.services, run_id, request)
        self._log(run_id, "run started" if status.standing == "new" else "run resumed")
        if await asyncio.to_thread(_cannot_train, request):
            if status.step == "train":
                demand_extra("train", "the training")
            last = LAST_STEP
        last = LAST_STEP if request.preview else last
        start: Any = RunInput(request=request) if status.standing == "new" else None
        given = start if answer is None else Command(resume=answer)
        async for event in self._until_stopped(run_id, request, status, given, last):
            yield event
        reached = await self.status(run_id)
        if reached.standing == "done":
            await prune(self.saver, run_id)
        self._log(run_id, f"run {reached.standing}", at=reached.step, detail=reached.detail)

    async def _until_stopped(
        self, run_id: str, request: RunRequest, reached: RunStatus, given: Any, last: str | None
    ) -> AsyncIterator[Progress]:
        """Work until the run waits for no batch any more."""
        while True:
            if reached.standing == "batched":
                async for event in until_over(self.services, run_id, request, reached.step):
                    yield event
                # Where an attempt that was killed has taken all answers, there is nothing left to wait for.
                given = Command(resume=LOOK) if await self.services.batches.open(run_id) else None
            async for event in self._stream(self._graph(request), run_id, given, last):
                yield event
            reached = await self.status(run_id)
            if reached.standing != "batched":
                return

    async def status(self, run_id: str) -> RunStatus:
        """Return where a run stands.

        Raises:
            UnknownRun: there is no such run.
            UnreadableRun: another version began it, and this one cannot read its request.
        """
        return await status_of(self.services, run_id)

    async def statuses(self) -> list[RunStatus]:
        """Return where all runs stand, newest first; one that cannot be read says why, and hides no other."""
        return await statuses_of(self.services)

    async def state(self, run_id: str) -> PipelineState:
        """Return the run's state: references, counts and decisions; of a damaged run, the last that can be read."""
        return await state_of(self.services, run_id)

    async def rows(self, run_id: str, kind: str) -> list[dict[str, Any]]:
        """Return a run's rows of one kind, such as ``"candidates"``, for a table; see ``graph.tabular.rows_of``."""
        return await rows_of(self.services, run_id, kind)

    async def interrupts(self, run_id: str) -> list[Interrupt]:
        """Return what a run asks a person; empty if it asks nothing.

        Raises:
            UnknownRun: there is no such run.
            DamagedCheckpoint: its last checkpoint cannot be read.
        """
        graph = await self.graph(run_id)
        snapshot = await graph.aget_state(_config(run_id))
        return list(snapshot.interrupts)

    async def graph(self, run_id: str) -> Pipeline:
        """Return the graph of a run.

        Raises:
            UnknownRun: there is no such run.
        """
        return self._graph(await self.services.store.request_of(run_id))

    def _graph(self, request: RunRequest) -> Pipeline:
        return self.improvement if request.improve.from_feedback else self.pipeline

    async def _stream(self, graph: Pipeline, run_id: str, given: Any, last: str | None) -> AsyncIterator[Progress]:
        config: RunnableConfig = {**_config(run_id), **await new_tree(self.services, run_id)}
        events = graph.astream(
            given,
            config,
            stream_mode="custom",
            subgraphs=True,
            durability="sync",
            version="v1",
            interrupt_after=[last] if last else None,
        )
        try:
            async for _namespace, event in events:
                yield Progress.model_validate(event)
        except Exception as error:
            if error.__cause__ is not None and is_invalid_resume(error.__cause__):
                raise  # the run did not fail: it waits, as before
            self._log(run_id, "run failed", logging.ERROR, error=f"{type(error).__name__}: {error}")
            raise
        finally:
            await attach_opinions(self.services, run_id)

    def _log(self, run_id: str, event: str, level: int = logging.INFO, **fields: object) -> None:
        with logged_run(run_id, self.services.runs_folder / run_id):
            logger.log(level, event, extra={name: value for name, value in fields.items() if value})


@asynccontextmanager
async def open_runs(
    settings: Settings | None = None, chat_models: Mapping[str, Brought] | None = None
) -> AsyncIterator[Runs]:
    """Yield the runs of the settings' database.

    Args:
        settings: the environment's, which are read where none are given.
        chat_models: what answers in place of a server, by the name that a request's ``models.*.model`` gives it: a
            LangChain chat model, another Runnable, or a function of a prompt.

    Raises:
        BadInput: one of the models is nothing that can be asked.
    """
    read: Settings = await asyncio.to_thread(load_settings) if settings is None else settings
    async with open_services(read, chat_models) as services, runs_over(services) as runs:
        yield runs


@asynccontextmanager
async def runs_over(services: Services) -> AsyncIterator[Runs]:
    """Yield the runs over services that are open."""
    async with open_checkpointer(services.database) as saver:
        yield Runs(services=services, saver=saver, pipeline=build_pipeline(services, saver))


def _cannot_train(request: RunRequest) -> bool:
    """Return whether the run has to stop before its training, since this installation cannot train.

    An improvement cannot even begin: it needs the adapter that is deployed.
    """
    return bool(missing_modules("train")) and not request.improve.from_feedback


def _config(run_id: str) -> RunnableConfig:
    return {"configurable": {"thread_id": run_id}, "recursion_limit": 10_000}
