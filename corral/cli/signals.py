"""Ctrl-C and SIGTERM, as a terminal, ``docker stop``, systemd and Kubernetes send them: an orderly end of a command.

The first cancels the work: calls in flight are awaited and recorded for ``GRACE_SECONDS``, and the run's lease is given
back. The second ends the process at once, as a kill would.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, TypeVar

import typer

T = TypeVar("T")
Handler = Callable[[int, FrameType | None], Any]
RESUME = "'corral resume RUN' goes on"
AGAIN = "the same command goes on: what was answered is not asked again"
SHOW_CURSOR = "\x1b[?25h"


def run_orderly(work: Coroutine[Any, Any, T], goes_on: str = RESUME) -> T:
    """Run a command's work to its end, or to an orderly end where a signal asks for it.

    Args:
        work: the command's.
        goes_on: how the work is continued, for the line that is printed when it was stopped.

    Raises:
        typer.Exit: a signal ended it: code 130 after SIGINT, 143 after SIGTERM.
    """
    from tools.endpoint.loop import with_last_answers  # only for those who work: it imports the endpoint

    received: list[int] = []
    task: asyncio.Task[T] | None = None

    def stop(number: int, _frame: FrameType | None) -> None:
        received.append(number)
        if len(received) > 1:
            _say(SHOW_CURSOR if sys.stderr.isatty() else "")
            os._exit(128 + number)
        _say(f"corral: {signal.Signals(number).name}: stopping; a second one ends at once\n")
        if task is not None and not task.done():
            task.get_loop().call_soon_threadsafe(task.cancel)

    with _handled(stop), asyncio.Runner() as runner:
        task = runner.get_loop().create_task(with_last_answers(work))
        if received:
            task.cancel()
        try:
            return runner.run(_result(task))
        except (asyncio.CancelledError, Exception):
            # Also an error: the signal may have ended a child process, too.
            if not received:
                raise
    _say(f"corral: stopped; {goes_on}\n")
    raise typer.Exit(128 + received[0])


@contextmanager
def ended_at_once() -> Iterator[None]:
    """Let a signal end what blocks this thread, such as a question to the person at the terminal.

    Raises:
        typer.Exit: a signal came: code 130 after SIGINT, 143 after SIGTERM.
    """

    def stop(number: int, _frame: FrameType | None) -> None:
        raise typer.Exit(128 + number)

    with _handled(stop):
        yield


async def _result(task: asyncio.Task[T]) -> T:
    return await task


@contextmanager
def _handled(handler: Handler) -> Iterator[None]:
    if threading.current_thread() is not threading.main_thread():  # where Python delivers no signals
        yield
        return
    before = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, former in before.items():
            signal.signal(number, former)


def _say(text: str) -> None:
    # Not by print: a signal may come in the middle of one.
    os.write(2, text.encode())
