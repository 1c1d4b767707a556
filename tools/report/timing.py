"""How long each step worked: the length of the union of its intervals, so that work side by side counts once."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Mapping
from datetime import datetime

from state.records import Record

STEPS = (
    *("generate", "gate", "respond", "judge", "review", "assemble", "decide_training", "train", "evaluate"),
    *("approve", "deploy"),
)
"""The pipeline's steps, in order. Other notes, such as of a question to a person, are not work."""


class StepTime(Record):
    """How long a step worked."""

    step: str
    seconds: float
    """Of the clock. Work side by side counts once; the pause between a kill and a resume does not count."""


class Busy:
    """The union of intervals, added in any order.

    Intervals less than ``gap`` apart are merged, so that a run of days keeps few of them, however many calls it makes.

    Args:
        gap: seconds.
    """

    def __init__(self, gap: float = 1.0) -> None:
        self._gap = gap
        self._starts: list[float] = []
        self._ends: list[float] = []

    def add(self, start: float, end: float) -> None:
        """Add an interval, in seconds of any clock; one that ends before it starts is empty."""
        end = max(start, end)
        low = bisect_left(self._ends, start - self._gap)
        high = bisect_right(self._starts, end + self._gap)
        if low < high:
            start, end = min(start, self._starts[low]), max(end, self._ends[high - 1])
        self._starts[low:high] = [start]
        self._ends[low:high] = [end]

    def join(self, other: Busy) -> None:
        """Add all intervals of another union."""
        for start, end in zip(other._starts, other._ends, strict=True):
            self.add(start, end)

    @property
    def seconds(self) -> float:
        """The length of the union."""
        return sum(end - start for start, end in zip(self._starts, self._ends, strict=True))

    def __len__(self) -> int:
        """Return the number of intervals held."""
        return len(self._starts)


class Latency:
    """How long calls took, and when any was in flight."""

    def __init__(self) -> None:
        self.calls, self.seconds = 0, 0.0
        self.busy = Busy()

    def add(self, start: datetime, end: datetime) -> None:
        """Count one call."""
        self.calls += 1
        self.seconds += (end - start).total_seconds()
        self.busy.add(start.timestamp(), end.timestamp())

    @property
    def mean(self) -> float:
        """Mean seconds of a call."""
        return self.seconds / max(1, self.calls)


def step_times(notes: Iterable[tuple[str, float, float]], calls: Mapping[str, Busy]) -> tuple[StepTime, ...]:
    """Return how long each step worked, in the pipeline's order.

    Args:
        notes: (step, began, ended) in seconds, in any order. A step that was killed left none.
        calls: when calls were in flight, by purpose; ``judge.accuracy`` belongs to ``judge``. They also count for
            steps that were killed.
    """
    busy: dict[str, Busy] = {}
    for step, began, ended in notes:
        busy.setdefault(step, Busy()).add(began, ended)
    for purpose, in_flight in calls.items():
        busy.setdefault(purpose.partition(".")[0], Busy()).join(in_flight)
    there = [step for step in STEPS if step in busy]
    return tuple(StepTime(step=step.replace("_", " "), seconds=busy[step].seconds) for step in there)
