"""Progress of a run on a terminal: a bar for each step, and the calls and tokens so far. Plain lines elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, ProgressColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.progress import Progress as Bars
from rich.table import Column

from state.wording import number_of
from tools.progress import Meter, Progress, StepProgress
from tools.visible import one_line

if TYPE_CHECKING:  # what judges a file shows its progress, and works on no run
    from graph.runs import Runs

WIDE = 120
"""Columns from which on a long bar leaves room for the words behind it."""
REFRESH_SECONDS = 1.0
LINE_SECONDS = 10.0
"""Where there is no terminal, a running step says how far it is this often."""
LONGEST_SECONDS = 600.0
"""The same at most for a step that stands still, as one that waits a day for a batch: each time twice as long."""


class View(Protocol):
    """Shows progress somewhere."""

    def show(self, at: StepProgress) -> None:
        """Show how far a step is."""
        ...

    def spent(self, line: str) -> None:
        """Show what the run has used so far."""
        ...


class TerminalView:
    """A bar for each step, with the calls and tokens so far behind the one that runs."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def show(self, at: StepProgress) -> None:
        """Move the step's bar."""
        if at.step not in self._tasks:
            self._tasks[at.step] = self._bars.add_task(at.step, total=at.total, note="", spent="", pace="")
        note = one_line(at.note)
        self._bars.update(self._tasks[at.step], completed=at.done, total=at.total, note=note, pace=at.in_words)

    def spent(self, line: str) -> None:
        """Show the line behind the bars that still move."""
        for task in self._bars.tasks:
            if not task.finished:
                self._bars.update(task.id, spent=line)


class PlainView:
    """A line when a step begins, every few seconds, and when it ends."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._next: dict[str, float] = {}
        self._pause: dict[str, float] = {}
        self._shown: dict[str, tuple[int, int | None]] = {}
        self._spent = ""

    def show(self, at: StepProgress) -> None:
        """Print a line when one is due."""
        now, figures = time.monotonic(), (at.done, at.total)
        early = now < self._next.get(at.step, 0.0)
        if (self._shown.get(at.step) == figures and (early or at.ended)) or (early and not at.ended):
            return
        still = self._shown.get(at.step) == figures
        self._pause[at.step] = min(2 * self._pause[at.step], LONGEST_SECONDS) if still else LINE_SECONDS
        self._shown[at.step] = figures
        self._next[at.step] = now + self._pause[at.step]
        count = f"{at.step:9} {at.done}/{at.total if at.total is not None else '?'}"
        parts = [count, f"{at.seconds:.0f} s", "" if at.ended else at.in_words, self._spent, at.note]
        self._console.print("  ".join(part for part in parts if part), highlight=False, markup=False, soft_wrap=True)

    def spent(self, line: str) -> None:
        """Keep the line for the next one printed."""
        self._spent = line


async def watch(runs: Runs, run_id: str, events: AsyncIterator[Progress], console: Console) -> None:
    """Show a run's progress until it ends or waits."""
    with open_view(console) as view:
        await _follow(runs, run_id, events, view)


@contextmanager
def open_view(console: Console) -> Iterator[View]:
    """Show progress as bars on a terminal, as lines elsewhere."""
    if not console.is_terminal:
        yield PlainView(console)
        return
    with Bars(*bar_columns(console.width), console=console) as bars:
        yield TerminalView(bars)


def bar_columns(width: int) -> tuple[ProgressColumn, ...]:
    """Return the columns of a step's bar; on a terminal that is narrow words go on in a second line, and none is cut.

    Args:
        width: of the terminal, in columns.
    """
    return (
        TextColumn("{task.description:10}", markup=False),
        BarColumn(bar_width=24 if width >= WIDE else 10),
        MofNCompleteColumn(table_column=Column(no_wrap=True)),
        TimeElapsedColumn(table_column=Column(no_wrap=True)),
        TextColumn("{task.fields[pace]}", markup=False, table_column=Column(overflow="fold")),
        TextColumn(
            "{task.fields[note]} {task.fields[spent]}",
            style="dim",
            markup=False,
            table_column=Column(overflow="fold"),
        ),
    )


async def _follow(runs: Runs, run_id: str, events: AsyncIterator[Progress], view: View) -> None:
    meter = Meter()
    beside = [asyncio.create_task(_count(runs, run_id, view)), asyncio.create_task(refresh(meter, view))]
    try:
        async for event in events:
            view.show(meter.add(event, time.monotonic()))
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


async def refresh(meter: Meter, view: View) -> None:
    """Show again what runs: the time left changes while nothing ends, too."""
    while True:
        await asyncio.sleep(REFRESH_SECONDS)
        for at in meter.steps(time.monotonic()):
            if not at.ended:
                view.show(at)


async def _count(runs: Runs, run_id: str, view: View) -> None:
    while True:
        began = time.monotonic()
        used = await runs.services.calls.tally(run_id)
        calls = sum(t.answered + t.failed for t in used)
        tokens = sum(t.prompt_tokens + t.completion_tokens for t in used)
        cost = sum(t.cost for t in used)
        if calls:
            view.spent(f"{number_of(calls, 'call')}, {number_of(tokens, 'token')}" + (f", ${cost:.4f}" if cost else ""))
        # A run of millions of calls takes seconds to add up: most of the time belongs to the run.
        await asyncio.sleep(max(1.0, 20 * (time.monotonic() - began)))
