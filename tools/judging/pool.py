"""A pool of crews: one for each text at work, never shared by two texts, never used again after an error."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from types import ModuleType
from typing import Any, Literal, assert_never
from weakref import WeakKeyDictionary

from state.request import Judging, TaskType
from tools.judging.backend import CrewBackend
from tools.judging.crewai_import import load_crew
from tools.judging.wording import Panel, panel_of

CREWS = 64
"""Crews at work at a time in one event loop: more would only take memory and wait for the endpoint."""
Kind = Literal["JudgingCrew", "PairCrew"]
"""The classes in ``tools.judging.crew``."""

_idle: dict[tuple[Kind, str], list[Any]] = {}
_slots: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def kick_off(kind: Kind, who: Panel | TaskType, subjects: Sequence[tuple[str, CrewBackend]]) -> list[Any]:
    """Kick off a crew for each subject, all at once.

    Args:
        kind: the crew's class.
        who: judges; a task type stands for the five and its expert.
        subjects: the text for each crew, and what answers for its members.

    Returns:
        What each crew said, in their order.
    """
    panel = who if isinstance(who, Panel) else panel_of(Judging(task_type=who))
    try:
        return await asyncio.gather(*(_kick_off(kind, panel, text, backend) for text, backend in subjects))
    except BaseException:
        for _, backend in subjects:
            backend.close()
        raise


async def _kick_off(kind: Kind, panel: Panel, text: str, backend: CrewBackend) -> Any:
    module = await load_crew()
    async with _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(CREWS)):
        idle = _idle.setdefault((kind, panel.key), [])
        # Building one touches folders, which an event loop must not do.
        crew = idle.pop() if idle else await asyncio.to_thread(_build, module, kind, panel)
        said = await crew.judge(text, backend)
        # Only after success: a crew that failed or was cancelled may still have tasks of its own running.
        idle.append(crew)
        return said


def _build(module: ModuleType, kind: Kind, panel: Panel) -> Any:
    match kind:
        case "JudgingCrew":
            return module.JudgingCrew(panel)
        case "PairCrew":
            return module.PairCrew(panel)
        case other:
            assert_never(other)
