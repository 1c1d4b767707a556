"""The process of the crews: ``python -m tools.judging.worker``. It works on JSON lines till its input ends.

``tools.judging.process`` starts it; the lines are those of ``tools.judging.protocol``.
"""

from __future__ import annotations

import asyncio
import gc
import os
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Any, assert_never

from pydantic import BaseModel

from state.errors import CorralError
from tools.judging.answers import ExpertRating, Opinion, PairChoice
from tools.judging.crewai_import import make_storage, prepare_crewai, remove_storage
from tools.judging.crewai_unused import leave_out_unused
from tools.judging.protocol import (
    Answer,
    Ask,
    Cancel,
    Failed,
    FromCrews,
    KickOff,
    Kind,
    NewPanel,
    Said,
    ToCrews,
    fields_of,
    to_crews,
)
from tools.judging.wording import Panel
from tools.machine.garbage import collect_seldom
from tools.weights.processes import JsonLines

Send = Callable[[FromCrews], None]
_ANSWERS: dict[str, type[BaseModel]] = {"expert": ExpertRating, "pair": PairChoice}
"""What members are answered; the judges are answered with an opinion."""


class AskingBackend:
    """Asks the parent, which answers for the members of one crew. See ``tools.judging.backend.CrewBackend``."""

    def __init__(self, number: int, send: Send) -> None:
        self.errors: dict[str, CorralError] = {}
        """None: the parent keeps them."""
        self._number, self._send = number, send
        self._waiting: dict[str, asyncio.Future[dict[str, Any]]] = {}
        self._closed = False

    async def ask(self, member: str, prompt: str) -> BaseModel:
        """Return the parent's answer."""
        if self._closed:
            raise asyncio.CancelledError
        self._waiting[member] = asyncio.get_running_loop().create_future()
        self._send(Ask(number=self._number, member=member, prompt=prompt))
        return _ANSWERS.get(member, Opinion).model_validate(await self._waiting[member])

    def answer(self, given: Answer) -> None:
        """Take an answer."""
        waiting = self._waiting.pop(given.member)
        if not waiting.done():
            waiting.set_result(given.fields)

    def close(self) -> None:
        """Cancel what is still being asked: CrewAI leaves its parallel tasks running when it is cancelled."""
        self._closed = True
        for waiting in self._waiting.values():
            waiting.cancel()


class Crews:
    """The crews of this process: one for each text at work, never shared by two, never used again after an error.

    Args:
        send: sends a message to the parent.
    """

    def __init__(self, send: Send) -> None:
        self.idle: defaultdict[tuple[Kind, str], list[Any]] = defaultdict(list)
        """Those that have nothing to do, by their class and panel."""
        self._send = send
        self._panels: dict[str, Panel] = {}
        self._at_work: dict[int, tuple[asyncio.Task[None], AskingBackend]] = {}

    def receive(self, message: ToCrews) -> None:
        """Do what a message of the parent's says."""
        match message:
            case NewPanel():
                self._panels[message.key] = message.panel
            case KickOff():
                backend = AskingBackend(message.number, self._send)
                task = asyncio.get_running_loop().create_task(self._kick_off(message, backend))
                self._at_work[message.number] = task, backend
                task.add_done_callback(lambda _: self._at_work.pop(message.number))
            case Answer():
                if message.number in self._at_work:
                    self._at_work[message.number][1].answer(message)
            case Cancel():
                if message.number in self._at_work:
                    self._at_work[message.number][0].cancel()
            case _:
                assert_never(message)

    async def _kick_off(self, asked: KickOff, backend: AskingBackend) -> None:
        idle = self.idle[asked.kind, asked.panel]
        try:
            crew = idle.pop() if idle else build(asked.kind, self._panels[asked.panel])
            said = await crew.judge(asked.subject, backend)
            # Only after success: a crew that failed or was cancelled may still have tasks of its own running.
            idle.append(crew)
            self._send(Said(number=asked.number, fields=fields_of(said)))
        except BaseException as error:  # the parent waits for a word in any case
            backend.close()
            reason = " ".join(f"{type(error).__name__}: {error}".split())
            self._send(Failed(number=asked.number, reason=f"CrewAI failed in the judging crew: {reason}"))


def build(kind: Kind, panel: Panel) -> Any:
    """Return a new crew; CrewAI is imported for the first one."""
    module = prepare_crewai()
    match kind:
        case "JudgingCrew":
            return module.JudgingCrew(panel)
        case "PairCrew":
            return module.PairCrew(panel)
        case other:
            assert_never(other)


async def main() -> None:
    """Work till the input ends, which ends the process."""
    lines, loop = JsonLines(), asyncio.get_running_loop()
    crews = Crews(lambda message: lines.write(**message.model_dump()))

    def read() -> None:
        # Not by sys.stdin, which a process that fails could not close under this thread.
        with os.fdopen(0, "rb", closefd=False) as stdin:
            for line in stdin:
                loop.call_soon_threadsafe(crews.receive, to_crews(line))
        remove_storage()
        os._exit(0)  # the parent is gone, or has nothing to do: it waits for no crew

    make_storage()  # before the input can end: what is half made is not removed
    threading.Thread(target=read, daemon=True).start()
    leave_out_unused()
    prepare_crewai()
    # CrewAI's modules are 300,000 objects that live to the end. Each full collection would look through them all, half
    # a second during which no crew works: a third of the judging's processor time.
    gc.freeze()
    await asyncio.Event().wait()


if __name__ == "__main__":
    collect_seldom()
    asyncio.run(main())
