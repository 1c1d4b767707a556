"""Crews in store: one for each text at work, never shared by two, never used again after an error."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Literal
from weakref import WeakKeyDictionary

from tools.judging.quiet import load_crew
from tools.judging.sitting import Sitting
from tools.judging.wording import load_wording

CREWS = 64
"""Crews at work at a time in one event loop: more would hold memory and only wait for the endpoint."""
Kind = Literal["Table", "PairTable"]

_idle: dict[tuple[Kind, str], list[Any]] = {}
_room: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


async def sit(kind: Kind, task_type: str, subjects: Sequence[tuple[str, Sitting]]) -> list[Any]:
    """Kick off a crew for each subject, all at once.

    Args:
        kind: the class in ``tools.judging.crew``.
        task_type: picks the expert.
        subjects: the text for each crew, and who answers for its members.

    Returns:
        What each crew said, in their order.
    """
    try:
        return await asyncio.gather(*(_at_a_table(kind, task_type, text, sitting) for text, sitting in subjects))
    except BaseException:
        for _, sitting in subjects:
            sitting.close()
        raise


async def _at_a_table(kind: Kind, task_type: str, text: str, sitting: Sitting) -> Any:
    crew = await load_crew()
    async with _room.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(CREWS)):
        idle = _idle.setdefault((kind, task_type), [])
        # Building one touches folders, which an event loop must not do.
        table = idle.pop() if idle else await asyncio.to_thread(getattr(crew, kind), task_type, load_wording())
        said = await table.judge(text, sitting)
        # Only after success: a crew that failed or was cancelled may still have tasks of its own running.
        idle.append(table)
        return said
