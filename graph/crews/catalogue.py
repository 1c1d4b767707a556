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
from graph.crews.session import CrewSession
from state.errors import CorralError, LeaseLost
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
        LeaseLost: another process has taken the run over: the crew ends.
        Exception: a fault of ours: the crew ends.
    """
    began = time.monotonic()
    kept = dict(given)
    try:
        checked = arguments(tool).model_validate(kept)
    except ValidationError as error:
        return _refused(session, tool, kept, "refused", f"{tool}: {first_fault(error)}", began)
    values = {name: getattr(checked, name) for name in type(checked).model_fields}
    try:
        found = await TOOLS[tool](session, **values)
    except LeaseLost as error:
        session.failure = error
        raise
    except CorralError as error:
        return _refused(session, tool, kept, "failed", str(error), began)
    except Exception as error:
        session.failure = error
        session.record(tool, kept, "failed", f"{type(error).__name__}: {error}", began)
        raise
    session.record(tool, kept, "done", str(found["summary"]), began)
    return json.dumps(found, ensure_ascii=False, default=str)


def _refused(session: CrewSession, tool: str, given: dict[str, Any], outcome: str, why: str, began: float) -> str:
    line = " ".join(why.split())
    session.record(tool, given, outcome, line, began)
    return f"error: {line}"
