"""Kick crews off, in the process that they work in; what their members ask is answered here."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from typing import Any, assert_never
from weakref import WeakKeyDictionary

from state.errors import CrewFailed
from state.request import Judging, TaskType
from tools.judging.answers import Draw, PairChoice
from tools.judging.backend import CrewBackend
from tools.judging.process import CrewProcess, new_kickoff
from tools.judging.protocol import Answer, Ask, Cancel, Failed, FromCrews, Kind, Said, fields_of
from tools.judging.wording import Panel, panel_of

CREWS = 64
"""Crews at work at a time in one event loop: more would only take memory and wait for the endpoint."""

_Slots = WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore]
_slots: _Slots = WeakKeyDictionary()
_text_slots: _Slots = WeakKeyDictionary()


def text_slot() -> asyncio.Semaphore:
    """Return what limits the texts at work in this loop: as many as crews, each of which needs one or more."""
    return _text_slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(CREWS))


async def kick_off(kind: Kind, who: Panel | TaskType, subjects: Sequence[tuple[str, CrewBackend]]) -> list[Any]:
    """Kick off a crew for each subject, all at once.

    Args:
        kind: the crew's class.
        who: judges; a task type stands for the five and its expert.
        subjects: the text for each crew, and what answers for its members.

    Returns:
        What each crew said, in their order.

    Raises:
        CrewFailed: CrewAI failed, or the process that it works in ended.
    """
    panel = who if isinstance(who, Panel) else panel_of(Judging(task_type=who))
    crews = [asyncio.create_task(_kick_off(kind, panel, text, backend)) for text, backend in subjects]
    try:
        return await asyncio.gather(*crews)
    finally:
        for crew in crews:
            crew.cancel()
        await asyncio.gather(*crews, return_exceptions=True)


async def _kick_off(kind: Kind, panel: Panel, text: str, backend: CrewBackend) -> Draw | PairChoice:
    async with _slots.setdefault(asyncio.get_running_loop(), asyncio.Semaphore(CREWS)):
        kickoff = _Kickoff(backend)
        try:
            said = await kickoff.work(kind, panel, text)
        finally:
            kickoff.end()
    match kind:
        case "JudgingCrew":
            return Draw.model_validate(said)
        case "PairCrew":
            return PairChoice.model_validate(said)
        case other:
            assert_never(other)


class _Kickoff:
    """One crew's work, as it is seen from here.

    Args:
        backend: answers for the crew's members.
    """

    def __init__(self, backend: CrewBackend) -> None:
        self._backend = backend
        self._loop = asyncio.get_running_loop()
        self._heard: asyncio.Queue[FromCrews | BaseException] = asyncio.Queue()
        self._asking: set[asyncio.Task[None]] = set()
        self._said = False
        self._process: CrewProcess
        self._process, self._number = new_kickoff(self._hear)

    async def work(self, kind: Kind, panel: Panel, text: str) -> dict[str, Any]:
        """Return what the crew says at its end; ask the backend in its members' names meanwhile."""
        self._process.kick_off(self._number, kind, panel, text)
        while True:
            match heard := await self._heard.get():
                case Ask():
                    task = asyncio.create_task(self._answer(heard))
                    self._asking.add(task)
                    task.add_done_callback(self._asking.discard)
                case Said():
                    self._said = True
                    return heard.fields
                case Failed():
                    raise CrewFailed(heard.reason)
                case BaseException():
                    raise heard
                case _:
                    assert_never(heard)

    def end(self) -> None:
        """Cancel what is not done, here and there."""
        self._process.end(self._number)
        if not self._said:
            self._process.send(Cancel(number=self._number))
        for task in self._asking:
            task.cancel()

    def _hear(self, said: FromCrews) -> None:
        with suppress(RuntimeError):  # the loop is closed, so nobody waits
            self._loop.call_soon_threadsafe(self._heard.put_nowait, said)

    async def _answer(self, asked: Ask) -> None:
        try:
            answer = await self._backend.ask(asked.member, asked.prompt)
        except BaseException as error:  # it ends this kickoff, and this task has nothing else to do
            self._heard.put_nowait(error)
        else:
            self._process.send(Answer(number=self._number, member=asked.member, fields=fields_of(answer)))
