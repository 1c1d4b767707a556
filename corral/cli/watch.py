"""Progress of a run on a terminal: a bar for each step, and the calls and tokens so far. Plain lines elsewhere."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from typing import Protocol

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from graph.runs import Runs
from tools.progress import Progress
from tools.visible import one_line

LINE_SECONDS = 10.0
"""Where there is no terminal, a running step says how far it is this often."""


class View(Protocol):
    """Shows progress somewhere."""

    def show(self, step: str, done: int, total: int | None, note: str) -> None:
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

    def show(self, step: str, done: int, total: int | None, note: str) -> None:
        """Move the step's bar."""
        if step not in self._tasks:
            self._tasks[step] = self._bars.add_task(step, total=total, note="", spent="")
        self._bars.update(self._tasks[step], completed=done, total=total, note=one_line(note))

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
        self._shown: dict[str, tuple[int, int | None]] = {}
        self._started: dict[str, float] = {}
        self._spent = ""

    def show(self, step: str, done: int, total: int | None, note: str) -> None:
        """Print a line when one is due."""
        now = time.monotonic()
        ended = total is not None and done >= total
        if self._shown.get(step) == (done, total) or (now < self._next.get(step, 0.0) and not ended):
            return
        self._shown[step] = (done, total)
        self._next[step] = now + LINE_SECONDS
        seconds = now - self._started.setdefault(step, now)
        left = f", {seconds / done * (total - done):.0f} s left" if done and total and not ended else ""
        parts = [f"{step:9} {done}/{total if total is not None else '?'}", f"{seconds:.0f} s{left}", self._spent, note]
        self._console.print("  ".join(part for part in parts if part), highlight=False, markup=False, soft_wrap=True)

    def spent(self, line: str) -> None:
        """Keep the line for the next one printed."""
        self._spent = line


class Meter:
    """Adds up the relative progress of every step."""

    def __init__(self, view: View) -> None:
        self._view = view
        self._done: dict[str, int] = {}
        self._total: dict[str, int | None] = {}

    def add(self, event: Progress) -> None:
        """Take one event in. A new total counts from what is done already."""
        done = self._done.get(event.step, 0) + event.advance
        self._done[event.step] = done
        if event.total is not None:
            self._total[event.step] = done - event.advance + event.total
        self._view.show(event.step, done, self._total.get(event.step), event.note)


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
    columns = (
        TextColumn("{task.description:10}", markup=False),
        BarColumn(bar_width=24),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]} {task.fields[spent]}", style="dim", markup=False),
    )
    with Bars(*columns, console=console) as bars:
        yield TerminalView(bars)


async def _follow(runs: Runs, run_id: str, events: AsyncIterator[Progress], view: View) -> None:
    meter = Meter(view)
    counting = asyncio.create_task(_count(runs, run_id, view))
    try:
        async for event in events:
            meter.add(event)
    finally:
        counting.cancel()
        await asyncio.gather(counting, return_exceptions=True)


async def _count(runs: Runs, run_id: str, view: View) -> None:
    while True:
        began = time.monotonic()
        used = await runs.services.calls.tally(run_id)
        calls = sum(t.answered + t.failed for t in used)
        tokens = sum(t.prompt_tokens + t.completion_tokens for t in used)
        cost = sum(t.cost for t in used)
        if calls:
            view.spent(f"{calls} calls, {tokens:,} tokens" + (f", ${cost:.4f}" if cost else ""))
        # A run of millions of calls takes seconds to add up: most of the time belongs to the run.
        await asyncio.sleep(max(1.0, 20 * (time.monotonic() - began)))
