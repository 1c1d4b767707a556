"""Progress that a person sees while a step runs: small events on LangGraph's custom stream, and what they add up to."""

from __future__ import annotations

import time
from contextvars import copy_context
from typing import Literal

from pydantic import Field

from state.records import Record
from tools.pace import Pace, Range, left_in_words, rate_in_words

PENDING = "first one pending"
PARTS_SECONDS = 0.5
"""Parts of items are told no more often than this."""


class Progress(Record):
    """One step forward.

    Several events of one step add up: ``advance`` is relative, ``total`` replaces the total known so far.
    """

    type: Literal["progress"] = "progress"
    step: str
    advance: float = 0
    """Items; a part of one where an item takes long."""
    total: int | None = None
    note: str = ""
    expected: float | None = Field(None, ge=0)
    """Seconds that the step was estimated to take, where it was."""


def report_progress(
    step: str, advance: float = 0, *, total: int | None = None, note: str = "", expected: float | None = None
) -> None:
    """Send an event to whoever watches the run; outside a run, such as in a test of one node, it goes nowhere.

    Args:
        step: the node's name.
        advance: items done since the last event.
        total: items that the step has left, where that is known.
        note: a few words, such as a loss.
        expected: seconds that the step was estimated to take.
    """
    from langgraph.config import get_stream_writer  # a second; who only looks at runs needs none of it

    try:
        write = get_stream_writer()
    except RuntimeError:
        return
    write(Progress(step=step, advance=advance, total=total, note=note, expected=expected).model_dump())


class ItemProgress:
    """Progress of items that are worked on side by side and take several calls each.

    The first ones end late and all at once: their calls show how fast the step is before that. It is made in the step,
    and told from any thread or task.

    Args:
        step: the node's name.
        parts: calls that one item takes.
    """

    def __init__(self, step: str, parts: int) -> None:
        self._step, self._parts = step, parts
        self._context = copy_context()
        self._waiting, self._told_at = 0.0, time.monotonic()

    def begin(self) -> OneItem:
        """Return the progress of one item."""
        return OneItem(self, 1 / self._parts)

    def add(self, amount: float, *, at_once: bool) -> None:
        """Count an amount, and tell it now or with the next ones."""
        self._waiting += amount
        now = time.monotonic()
        if at_once or now - self._told_at >= PARTS_SECONDS:
            told, self._waiting, self._told_at = self._waiting, 0.0, now
            # LangGraph finds the stream by the context of the step, which a crew's thread does not have.
            self._context.copy().run(report_progress, self._step, told)


class OneItem:
    """Progress of one item, in equal parts."""

    def __init__(self, items: ItemProgress, part: float) -> None:
        self._items, self._part, self._done = items, part, 0.0

    def answered(self) -> None:
        """Count one of its calls; more than were expected count nothing."""
        part = min(self._part, 1 - self._done)
        self._done += part
        self._items.add(part, at_once=False)

    def end(self) -> None:
        """Count what is left of it."""
        rest, self._done = 1 - self._done, 1.0
        self._items.add(rest, at_once=True)


class StepProgress(Record):
    """How far one step is."""

    step: str
    done: int
    total: int | None
    seconds: float
    """Since it began."""
    rate: float | None
    """Items a second, by the last minute; ``None`` before anything is done."""
    left: Range | None
    """Seconds that it takes at least, and at most; ``None`` where it has ended or its total is not known."""
    note: str = ""

    @property
    def ended(self) -> bool:
        """Whether all of it is done."""
        return self.total is not None and self.done >= self.total

    @property
    def in_words(self) -> str:
        """Its rate, and the time left as a range; before anything is done, that there is no rate yet."""
        pending = PENDING if self.total and self.rate is None and not self.ended else ""
        return ", ".join(part for part in (rate_in_words(self.rate) or pending, left_in_words(self.left)) if part)


class Meter:
    """Adds up the relative progress of every step."""

    def __init__(self) -> None:
        self._done: dict[str, float] = {}
        self._total: dict[str, int | None] = {}
        self._note: dict[str, str] = {}
        self._pace: dict[str, Pace] = {}

    def add(self, event: Progress, now: float) -> StepProgress:
        """Take one event in, and return how far its step is. A new total counts from what is done already.

        Args:
            event: of any step.
            now: seconds of any clock that goes on.
        """
        step = event.step
        before = self._done.get(step, 0.0)
        if event.total is not None:
            # After a pause, or in another round, the step begins anew.
            if step not in self._pace or self.standing(step, now).ended:
                self._pace[step] = Pace(now)
            self._total[step] = round(before) + event.total
        pace = self._pace.setdefault(step, Pace(now))
        pace.expected = event.expected if event.expected is not None else pace.expected
        pace.add(now, event.advance)
        self._done[step] = before + event.advance
        self._note[step] = event.note or self._note.get(step, "")
        return self.standing(step, now)

    def reach(self, step: str, done: int, total: int | None, now: float) -> StepProgress:
        """Take in how far a step is in all, from who does not tell how far it came."""
        before = self._done.get(step, 0.0)
        new = None if total is None or total == self._total.get(step) else total - round(before)
        return self.add(Progress(step=step, advance=done - before, total=new), now)

    def steps(self, now: float) -> list[StepProgress]:
        """Return how far every step is that has begun, in the order in which they began."""
        return [self.standing(step, now) for step in self._pace]

    def standing(self, step: str, now: float) -> StepProgress:
        """Return how far a step is that has begun."""
        done, total, pace = self._done.get(step, 0.0), self._total.get(step), self._pace[step]
        remaining = None if total is None else max(0.0, total - done)
        if remaining is None:
            left = pace.left(now, 0.0) if pace.expected is not None else None
        else:
            left = pace.left(now, remaining) if remaining > 1e-6 else None
        return StepProgress(
            step=step,
            done=int(done + 1e-6),
            total=total,
            seconds=now - pace.began,
            rate=pace.rate(now),
            left=left,
            note=self._note.get(step, ""),
        )
