"""The tools as CrewAI's and LangChain's. Import this after ``tools.judging.crewai_import.prepare_crewai`` only."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

from crewai.tools import BaseTool
from crewai.tools.structured_tool import CrewStructuredTool
from langchain_core.tools import StructuredTool
from pydantic import BaseModel, PrivateAttr

from graph.crews.catalogue import TOOLS, arguments, description, use_tool
from graph.crews.session import CrewSession

OpenSession = Callable[[], CrewSession]
"""Returns the session that tools work in; called at a tool's first use."""


class _Unchecked(CrewStructuredTool):  # type: ignore[misc]  # crewai carries no usable types
    """Hands the arguments on as they are: ours are checked where every use is recorded."""

    def _parse_args(self, raw_args: str | dict[str, Any]) -> dict[str, Any]:
        return raw_args if isinstance(raw_args, dict) else super()._parse_args(raw_args)


class CorralTool(BaseTool):  # type: ignore[misc]  # crewai carries no usable types
    """One of Corral's tools.

    Args:
        tool: its name in ``TOOLS``.
        open_session: returns the session that it works in.
    """

    args_schema: type[BaseModel]
    _open_session: OpenSession = PrivateAttr()

    def __init__(self, tool: str, open_session: OpenSession) -> None:
        super().__init__(name=tool, description=description(tool), args_schema=arguments(tool))
        self._open_session = open_session

    def _run(self, *placed: Any, **named: Any) -> str:
        """Use the tool and wait for it; arguments without a name are taken in the order of its fields."""
        fields = list(self.args_schema.model_fields)
        if len(placed) > len(fields):
            return f"error: {self.name} takes {len(fields)} arguments, not {len(placed)}"
        session = self._open_session()
        return session.wait(use_tool(session, self.name, dict(zip(fields, placed, strict=False)) | named))

    async def _arun(self, *placed: Any, **named: Any) -> str:
        """Use the tool."""
        return await asyncio.to_thread(self._run, *placed, **named)

    def _validate_kwargs(self, kwargs: dict[str, Any]) -> dict[str, Any]:
        return kwargs

    def to_structured_tool(self) -> CrewStructuredTool:
        """Return the tool as CrewAI's executor uses it."""
        made = _Unchecked(name=self.name, description=self.description, args_schema=self.args_schema, func=self._run)
        made._original_tool = self
        return made


def crewai_tools(open_session: OpenSession, names: Iterable[str] = TOOLS) -> dict[str, CorralTool]:
    """Return tools for CrewAI's agents, by name."""
    return {name: CorralTool(name, open_session) for name in names}


class _UncheckedStructuredTool(StructuredTool):
    """LangChain's tool that hands the arguments on as they are, for the same reason."""

    def _parse_input(self, tool_input: str | dict[str, Any], tool_call_id: str | None) -> str | dict[str, Any]:
        return tool_input


def langchain_tools(open_session: OpenSession, names: Iterable[str] = TOOLS) -> list[StructuredTool]:
    """Return the same as LangChain's tools; what is wrong with an argument is their answer, as it is CrewAI's."""
    return [
        _UncheckedStructuredTool.from_function(
            func=CorralTool(name, open_session)._run,
            name=name,
            description=description(name),
            args_schema=arguments(name),
        )
        for name in names
    ]
