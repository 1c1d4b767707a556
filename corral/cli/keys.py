"""Single key presses of a terminal."""

from __future__ import annotations

import asyncio
import os
import select
import sys
import termios
import tty
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

CTRL_C, CTRL_D, ENTER, ESCAPE, UP, DOWN = "ctrl-c", "ctrl-d", "enter", "escape", "up", "down"
_NAMES = {
    b"\x03": CTRL_C,
    b"\x04": CTRL_D,
    b"\r": ENTER,
    b"\n": ENTER,
    b"\x1b": ESCAPE,
    b"\x1b[A": UP,
    b"\x1b[B": DOWN,
    b"\x1bOA": UP,
    b"\x1bOB": DOWN,
}

SEQUENCE_SECONDS = 0.05
"""How long the rest of an arrow's sequence may take."""


class Keys:
    """The keys that a person presses, one by one, without Enter. Ctrl-C is a key like the others.

    Args:
        descriptor: of the terminal.
    """

    def __init__(self, descriptor: int | None = None) -> None:
        self._descriptor = sys.stdin.fileno() if descriptor is None else descriptor
        self._before: list[Any] = []

    def __enter__(self) -> Keys:
        self._before = termios.tcgetattr(self._descriptor)
        self._begin()
        return self

    def __exit__(self, *_: object) -> None:
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)

    @contextmanager
    def left_to_others(self) -> Iterator[None]:
        """Let another program have the terminal as it was, such as an editor."""
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, self._before)
        try:
            yield
        finally:
            self._begin()

    async def read(self) -> str:
        """Return the next key: a character, or a name such as ``enter``; the end of the input is Ctrl-D.

        No more is read than the key: what was typed behind it is for whoever asks next, such as an editor.
        """
        pressed = await self._byte()
        if pressed == b"\x1b":
            pressed = self._sequence(pressed)
        while pressed[:1] >= b"\xc0" and len(pressed) < _length(pressed[0]):
            pressed += await self._byte()
        return _NAMES.get(pressed) or pressed.decode("utf-8", "replace")

    async def _byte(self) -> bytes:
        loop = asyncio.get_running_loop()
        ready = asyncio.Event()
        # Not in a thread: who ends the command while nobody presses a key would wait for one.
        loop.add_reader(self._descriptor, ready.set)
        try:
            await ready.wait()
        finally:
            loop.remove_reader(self._descriptor)
        return os.read(self._descriptor, 1) or b"\x04"

    def _sequence(self, pressed: bytes) -> bytes:
        """Return the sequence that an arrow sends; Escape alone is followed by nothing."""
        while select.select([self._descriptor], [], [], SEQUENCE_SECONDS)[0]:
            pressed += os.read(self._descriptor, 1)
            if len(pressed) > 2 and 0x40 <= pressed[-1] <= 0x7E:
                break
        return pressed

    def _begin(self) -> None:
        tty.setcbreak(self._descriptor, termios.TCSADRAIN)
        mode = termios.tcgetattr(self._descriptor)
        mode[3] &= ~termios.ISIG
        termios.tcsetattr(self._descriptor, termios.TCSADRAIN, mode)


def _length(lead: int) -> int:
    """Return how many bytes a character of UTF-8 has that begins with this one."""
    return 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
