"""LangSmithTracer: a program's own work as traces in LangSmith, in the guide's words.

    tracer = LangSmithTracer()
    with tracer.trace_feedback_collection(user_id="ada", task_type="budgeting") as trace:
        trace.note(rating=generator.generate_feedback(prompt, answer).overall_rating)
    tracer.get_project_stats()["total_runs"]

The model calls within are traced below it. Runs trace themselves where ``LANGSMITH_TRACING`` is on. Nothing waits for
LangSmith: traces are sent beside the work, and one that cannot be sent is lost.
"""

from __future__ import annotations

import asyncio
import functools
import inspect
import logging
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, ExitStack
from types import TracebackType
from typing import Any, ParamSpec, Self, TypeVar, cast

from state.errors import BadInput, EndpointUnreachable
from state.masking import masked
from tools.endpoint.observing import flush_traces, observer, tracing_calls
from tools.settings import Settings, load_settings

P = ParamSpec("P")
T = TypeVar("T")
logger = logging.getLogger(__name__)


class LangSmithTracer:
    """Traces into one project.

    Args:
        project_name: the project; ``LANGSMITH_PROJECT`` where none is given.
        settings: the environment's, which are read where none are given. Without ``LANGSMITH_API_KEY`` nothing is
            traced, with a warning.
    """

    def __init__(self, project_name: str | None = None, *, settings: Settings | None = None) -> None:
        settings = settings or load_settings()
        self.project = project_name or settings.langsmith_project
        self._place = masked(settings.langsmith_endpoint)
        self._client: Any = None
        if settings.langsmith_api_key is None:
            logger.warning("LANGSMITH_API_KEY is not set, so this LangSmithTracer traces nothing")
        else:
            self._client = observer(settings).client

    def trace_feedback_collection(self, user_id: str = "", task_type: str = "", **metadata: Any) -> Trace:
        """Return a trace of feedback that is gathered: a context manager, or a decorator of a function.

        Args:
            user_id: who gives it.
            task_type: on what.
            **metadata: what else should stand beside it.
        """
        return self._trace("feedback collection", {"user_id": user_id, "task_type": task_type} | metadata)

    def trace_training(self, method: str, name: str = "", **metadata: Any) -> Trace:
        """Return a trace of a training; as for ``trace_feedback_collection``.

        Args:
            method: such as ``SFT`` or ``DPO``.
            name: the adapter's.
            **metadata: what else should stand beside it.
        """
        return self._trace(f"{method} training", {"method": method, "adapter": name} | metadata)

    def note(self, name: str, inputs: Mapping[str, Any], outputs: Mapping[str, Any]) -> None:
        """Trace something that is done already.

        Args:
            name: the trace's.
            inputs: what it was about.
            outputs: what was found.
        """
        with self._trace(name, dict(inputs)) as trace:
            trace.note(**outputs)

    async def aget_project_stats(self) -> dict[str, Any]:
        """Return the project's figures, without blocking the loop; see ``get_project_stats``."""
        return await asyncio.to_thread(self.get_project_stats)

    def get_project_stats(self) -> dict[str, Any]:
        """Return the project's figures from LangSmith, once what was traced so far is sent.

        Returns:
            ``project``, ``total_runs``, ``error_rate``, ``total_tokens``, ``total_cost``, and ``latency_p50`` and
            ``latency_p99`` in seconds. A project that does not exist yet has no runs.

        Raises:
            BadInput: there is no key.
            EndpointUnreachable: LangSmith does not answer, or refuses the key.
        """
        if self._client is None:
            raise BadInput("LANGSMITH_API_KEY is not set: there is nothing to ask LangSmith with")
        from langsmith.utils import LangSmithNotFoundError

        flush_traces()
        try:
            found = self._client.read_project(project_name=self.project, include_stats=True)
        except LangSmithNotFoundError:
            return {"project": self.project, "total_runs": 0}
        except Exception as error:  # langsmith and what it asks with share no base class
            told = masked(" ".join(str(error).split()))[:200]
            raise EndpointUnreachable(f"LangSmith at {self._place} gives no figures: {told}") from error
        return {
            "project": self.project,
            "total_runs": found.run_count or 0,
            "error_rate": found.error_rate,
            "total_tokens": found.total_tokens,
            "total_cost": found.total_cost,
            "latency_p50": found.latency_p50.total_seconds() if found.latency_p50 else None,
            "latency_p99": found.latency_p99.total_seconds() if found.latency_p99 else None,
        }

    def _trace(self, name: str, metadata: Mapping[str, Any]) -> Trace:
        return Trace(name, {key: value for key, value in metadata.items() if value != ""}, self.project, self._client)


class Trace:
    """One trace: ``with``, ``async with``, or a decorator of a function, which is then traced at each call.

    Args:
        name: its name.
        metadata: what stands beside it.
        project: where it goes.
        client: LangSmith's; ``None`` for a trace that goes nowhere.
    """

    def __init__(self, name: str, metadata: Mapping[str, Any], project: str, client: Any) -> None:
        self._name, self._metadata, self._project, self._client = name, dict(metadata), project, client
        self._open = ExitStack()
        self._outputs: dict[str, Any] = {}
        self._run: Any = None

    @property
    def id(self) -> str:
        """Its id in LangSmith; empty where it goes nowhere, or is not open."""
        return "" if self._run is None else str(self._run.id)

    def note(self, **outputs: Any) -> None:
        """Note what came of the work."""
        self._outputs |= outputs

    def __enter__(self) -> Self:
        if self._client is not None:
            from langsmith import trace, tracing_context

            enabled = tracing_context(enabled=True, client=self._client, project_name=self._project)
            self._open.enter_context(cast(AbstractContextManager[None], enabled))
            self._open.enter_context(tracing_calls())
            options: dict[str, Any] = {"inputs": self._metadata, "metadata": self._metadata}
            opened = trace(self._name, project_name=self._project, client=self._client, **options)
            self._run = self._open.enter_context(opened)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._run is not None and error is None:
            self._run.end(outputs=self._outputs)
        self._open.__exit__(kind, error, traceback)

    async def __aenter__(self) -> Self:
        return self.__enter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.__exit__(kind, error, traceback)

    def __call__(self, function: Callable[P, T]) -> Callable[P, T]:
        """Return the function, traced at each call."""

        def again() -> Trace:
            return Trace(self._name, self._metadata, self._project, self._client)

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def traced_later(*given: P.args, **named: P.kwargs) -> Any:
                with again() as trace:
                    found = await function(*given, **named)
                    trace.note(returned=found)
                return found

            return cast(Callable[P, T], traced_later)

        @functools.wraps(function)
        def traced(*given: P.args, **named: P.kwargs) -> T:
            with again() as trace:
                found = function(*given, **named)
                trace.note(returned=found)
            return found

        return traced
