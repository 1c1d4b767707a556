"""Whether a model's answers to one purpose can be used at all: the first are a trial, before the rest is paid for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from types import MappingProxyType

from state.errors import AnswersUnusable
from tools.endpoint.chat import Completion

FIRST = 8
"""Questions without a usable answer, and none with one before, after which no more are asked. More than the five judges
of one answer, so that one text that confuses them all stops nothing; a model that is usable in half of the cases is
stopped wrongly once in 256 runs. Another machine is asked no more than that before the trial is decided."""
PAUSE_SECONDS = 15.0
"""How long further questions of the same step are refused; a step that is resumed later has a trial of its own."""
QUOTED = 160
"""Characters of an answer in the message."""
SETTINGS: Mapping[str, tuple[str, str]] = MappingProxyType(
    {
        "generate": ("models.generator", "generation.max_tokens"),
        "respond": ("models.policy", "sampling.max_tokens"),
        "judge": ("models.judge", "judge.max_tokens"),
        "gate": ("models.judge", "gates.opinion"),
    }
)
"""By purpose: the setting that names the model, and the one that may have to change where the model may stay."""


class Trial:
    """The answers to one purpose of one run, by one model, in one event loop.

    Args:
        where: model and endpoint, for the message.
        purpose: what is asked for, such as ``judge``.
    """

    def __init__(self, where: str, purpose: str) -> None:
        self._where, self._purpose = where, purpose
        self._passed = False
        self._unusable = 0
        self._in_flight = 0
        self._stopped_until = 0.0
        self._why = ""
        self._changed = asyncio.Event()

    @property
    def passed(self) -> bool:
        """Whether an answer could be used."""
        return self._passed

    @asynccontextmanager
    async def question(self, *, limited: bool) -> AsyncIterator[None]:
        """Surround a question with all its tries; where ``limited``, it waits until it may be asked.

        Raises:
            AnswersUnusable: the trial has failed.
        """
        while limited and not self._passed and self._in_flight + self._unusable >= FIRST and not self._stopped():
            self._changed.clear()
            await self._changed.wait()
        if self._stopped():
            raise AnswersUnusable(self._why)
        self._in_flight += 1
        try:
            yield
        finally:
            self._in_flight -= 1
            self._changed.set()

    def note(self, completion: Completion, fault: str) -> None:
        """Note the last answer to a question. One that an earlier attempt at the run has paid for counts if it is good.

        Args:
            completion: the answer.
            fault: why it cannot be used; empty if it can.

        Raises:
            AnswersUnusable: it is the last straw.
        """
        if self._passed:
            return
        if not fault:
            self._passed = True
        elif not completion.from_ledger:
            self._unusable += 1
            if self._unusable >= FIRST:
                self._unusable, self._stopped_until = 0, time.monotonic() + PAUSE_SECONDS
                self._why = unusable(self._where, self._purpose, fault, completion)
                raise AnswersUnusable(self._why)

    def _stopped(self) -> bool:
        return time.monotonic() < self._stopped_until


def unusable(where: str, purpose: str, fault: str, last: Completion) -> str:
    """Return what to tell a person: what the model said, why it is of no use, and what to do."""
    said = " ".join(last.text.split())
    quoted = repr(said[:QUOTED] + "..." if len(said) > QUOTED else said)
    model, setting = SETTINGS.get(purpose, ("the model", ""))
    other = f", or change {setting}" if setting else ""
    return (
        f"the first {FIRST} answers of {where} to {purpose!r} could not be used, and none could before: {fault}. "
        f"The last says: {quoted}. Set {model} to a model that can do it{other}; what was answered is kept, and to "
        f"go on all the same asks for {FIRST} more"
    )
