"""A program on a real pseudo-terminal: keys go in, and what it shows comes out."""

from __future__ import annotations

import fcntl
import os
import pty
import select
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType

from tests.harness import ROOT


class PseudoTerminal:
    """The command line on a terminal of its own.

    Args:
        *arguments: of ``corral``.
        environment: what it sees.
        columns: of the terminal.
        rows: of the terminal.
    """

    def __init__(self, *arguments: str, environment: Mapping[str, str], columns: int = 80, rows: int = 40) -> None:
        self.keys = 0
        """Keys that were pressed."""
        self.shown = ""
        """All that was shown."""
        self._seen = 0
        self._master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "corral.cli", *arguments],
            stdin=slave, stdout=slave, stderr=slave, cwd=ROOT, start_new_session=True,
            env={"TERM": "xterm", "PROMPT_TOOLKIT_NO_CPR": "1", **environment},
        )  # fmt: skip
        os.close(slave)

    def __enter__(self) -> PseudoTerminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: object, trace: TracebackType | None) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._master)

    def press(self, keys: str) -> None:
        """Press keys, a character each."""
        self.keys += len(keys)
        os.write(self._master, keys.encode())

    def until(self, text: str, seconds: float = 60) -> str:
        """Return what is shown from where the last call ended to the end of a text, once that is there."""
        deadline = time.monotonic() + seconds
        while text not in self.shown[self._seen :]:
            if time.monotonic() > deadline or not self._read():
                raise AssertionError(f"{text!r} was not shown, but:\n{self.shown[self._seen :]}")
        end = self.shown.index(text, self._seen) + len(text)
        found, self._seen = self.shown[self._seen : end], end
        return found

    def end(self, seconds: float = 60) -> int:
        """Return the exit code, once the program has ended."""
        deadline = time.monotonic() + seconds
        while self._read() and time.monotonic() < deadline:
            pass
        return self.process.wait(timeout=max(1.0, deadline - time.monotonic()))

    def _read(self) -> bool:
        """Read what is shown within a second; return whether there may be more."""
        if not select.select([self._master], [], [], 1.0)[0]:
            return True
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other side is closed
            return False
        self.shown += data.decode("utf-8", "replace")
        return bool(data)


def environment_of(home: Path, **more: str) -> dict[str, str]:
    """Return the environment of a command over a home."""
    kept = {name: value for name, value in os.environ.items() if name not in ("EDITOR", "VISUAL", "NO_COLOR")}
    return kept | {"CORRAL_HOME": str(home), "CORRAL_REVIEWER": "ada"} | more
