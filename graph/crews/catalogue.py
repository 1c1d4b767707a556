"""All tools by name: what each does, its arguments with their bounds, and its use with everything recorded."""

from __future__ import annotations

import inspect
import json
import time
from collections.abc import Callable, Coroutine, Mapping
from functools import cache
from types import MappingProxyType
from typing import Any, get_type_hints

from pydantic import BaseModel, ConfigDict, ValidationError, create_model

from graph.crews import texts, work
from graph.crews.result import ToolUse
from graph.crews.session import CrewSession
from state.errors import CorralError, LeaseLost, RunBusy
from state.faults import first_fault

Action = Callable[..., Coroutine[Any, Any, dict[str, Any]]]
"""Takes the session and its own arguments; returns what it found, with a ``summary`` of one line."""

TOOLS: Mapping[str, Action] = MappingProxyType(
    {
        action.__name__: action
        for action in (
            texts.openai_completion,
            texts.rouge_similarity,
            texts.format_alpaca_data,
            texts.similarity_checker,
            texts.content_filter,
            texts.safety_validator,
            texts.task_analysis,
            texts.diversity_checker,
            work.batch_processor,
            texts.tokenisation,
            work.format_converter,
            work.training_launcher,
            work.hyperparameter_tuner,
            work.checkpoint_manager,
            work.evaluation_suite,
            work.benchmark_runner,
            work.report_generator,
            work.workflow_management,
            work.resource_monitor,
            work.quality_gate,
        )
    }
)


def description(tool: str) -> str:
    """Return what a tool does, in a sentence or two."""
    return " ".join((inspect.getdoc(TOOLS[tool]) or "").split())


@cache
def arguments(tool: str) -> type[BaseModel]:
    """Return the schema of a tool's arguments; what it does not name is refused."""
    action = TOOLS[tool]
    hints = get_type_hints(action, include_extras=True)
    fields: dict[str, Any] = {
        name: (hints[name], ... if parameter.default is parameter.empty else parameter.default)
        for name, parameter in inspect.signature(action).parameters.items()
        if name != "session"
    }
    title = "".join(part.capitalize() for part in tool.split("_"))
    return create_model(f"{title}Arguments", __config__=ConfigDict(extra="forbid"), **fields)


async def use_tool(session: CrewSession, tool: str, given: Mapping[str, Any]) -> str:
    """Use a tool, record it, and return what it found as JSON; what went wrong as one line that begins ``error:``.

    Raises:
        LeaseLost, RunBusy: the run is another process's: the crew ends.
        StorageError: what was done cannot be kept.
        Exception: a fault of ours: the crew ends.
    """
    kept = dict(given)
    if (earlier := session.earlier_use(tool, kept)) is not None:
        return earlier
    began = time.monotonic()

    def use(outcome: str, said: str) -> ToolUse:
        seconds = round(time.monotonic() - began, 3)
        return ToolUse(tool=tool, arguments=kept, outcome=outcome, said=" ".join(said.split()), seconds=seconds)

    try:
        done, answer = await _used(session, tool, kept, use)
    except (LeaseLost, RunBusy) as error:
        session.failure = error
        raise
    except Exception as error:
        session.failure = error
        session.record(use("failed", f"{type(error).__name__}: {error}"))
        raise
    session.record(done, answer)
    return answer


async def _used(
    session: CrewSession, tool: str, given: dict[str, Any], use: Callable[[str, str], ToolUse]
) -> tuple[ToolUse, str]:
    """Use a tool with checked arguments; return what it did, and what it returns."""
    try:
        checked = arguments(tool).model_validate(given)
    except ValidationError as error:
        refused = use("refused", f"{tool}: {first_fault(error)}")
        return refused, f"error: {refused.said}"
    values = {name: getattr(checked, name) for name in type(checked).model_fields}
    try:
        found = await TOOLS[tool](session, **values)
    except (LeaseLost, RunBusy):
        raise
    except CorralError as error:
        failed = use("failed", str(error))
        return failed, f"error: {failed.said}"
    return use("done", str(found["summary"])), json.dumps(found, ensure_ascii=False, default=str)
