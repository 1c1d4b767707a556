"""The process in which CrewAI and its crews work: one for all event loops of this one, from its first use on.

CrewAI takes seconds to import and a quarter of the processor time of each call. In a process of its own it takes them
on another core, and calls go out meanwhile. The process ends after a while without work, and when this one does, by
whatever signal: its input ends then.
"""

from __future__ import annotations

import atexit
import itertools
import subprocess
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from queue import Empty, SimpleQueue
from typing import IO

from tools.judging.protocol import Failed, FromCrews, KickOff, Kind, NewPanel, ToCrews, from_crews, line_of
from tools.judging.wording import Panel
from tools.weights.processes import child_environment, last_words

IDLE_SECONDS = 60.0
"""Seconds without work after which the process ends; the next kickoff starts another in a few seconds."""
STOP_SECONDS = 5.0
"""Seconds that the end of this process waits for that of the crews', which takes some milliseconds."""
COMMAND = (sys.executable, "-m", "tools.judging.worker")

Hear = Callable[[FromCrews], None]
"""Is told, in another thread, what the crews say about one kickoff."""

_lock = threading.Lock()
_numbers = itertools.count()
_newest: CrewProcess | None = None


class CrewProcess:
    """One such process, and the kickoffs in it. Nothing here blocks but its own two threads."""

    def __init__(self) -> None:
        self._hearing: dict[int, Hear] = {}
        self._panels: set[str] = set()
        self._unsent: SimpleQueue[bytes] = SimpleQueue()
        self.pid: int | None = None
        """The process's, once it is started."""
        self._ended = False
        self._thread = threading.Thread(target=self._work, name="crews", daemon=True)
        self._thread.start()

    @property
    def ended(self) -> bool:
        """Whether it takes no kickoff any more; in a fork of this process there is no thread of it."""
        return self._ended or not self._thread.is_alive()

    def begin(self, hear: Hear) -> int:
        """Return the number of a new kickoff; the caller holds the lock."""
        number = next(_numbers)
        self._hearing[number] = hear
        return number

    def kick_off(self, number: int, kind: Kind, panel: Panel, subject: str) -> None:
        """Kick a crew off."""
        key = panel.key
        with _lock:  # no kickoff of another thread may come before its panel
            if key not in self._panels:
                self._panels.add(key)
                self.send(NewPanel(key=key, panel=panel))
        self.send(KickOff(number=number, kind=kind, panel=key, subject=subject))

    def send(self, message: ToCrews) -> None:
        """Send a message, after those before it; where the process has ended, nobody reads it."""
        self._unsent.put(line_of(message))

    def end(self, number: int) -> None:
        """Hear no more of a kickoff."""
        with _lock:
            self._hearing.pop(number, None)

    def stop(self) -> None:
        """End the process, and wait until it is gone, so that its processor time counts as this one's child's."""
        self._unsent.put(b"")
        self._thread.join(STOP_SECONDS)

    def _work(self) -> None:
        """Start the process, write to it till it ends or has nothing to do, and tell those at work why it ended."""
        with tempfile.TemporaryFile() as stderr:
            try:
                process = subprocess.Popen(
                    COMMAND,
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=stderr,
                    env=child_environment(threads=1),
                    start_new_session=True,  # so that Ctrl-C at a terminal does not reach it
                )
            except OSError as error:
                return self._lose(f"it cannot be started: {error}")
            self.pid = process.pid
            assert process.stdin is not None and process.stdout is not None
            reading = threading.Thread(target=self._read, args=(process.stdout,), name="crews' words", daemon=True)
            reading.start()
            with suppress(OSError), process.stdin as stdin:  # it may have just ended
                while line := self._next_line():
                    stdin.write(line)
                    if self._unsent.empty():
                        stdin.flush()
            reading.join()
            code = process.wait()
            stderr.seek(0)
            self._lose(last_words(stderr.read().decode(errors="replace"), code))

    def _next_line(self) -> bytes:
        """Wait for what is to be sent, and return it; nothing when the process is to end, or has ended."""
        while True:
            with suppress(Empty):
                return self._unsent.get(timeout=IDLE_SECONDS)
            with _lock:
                self._ended = not self._hearing
            if self._ended:
                return b""

    def _read(self, stdout: IO[bytes]) -> None:
        try:
            with stdout:
                for line in stdout:
                    said = from_crews(line)
                    with _lock:
                        hear = self._hearing.get(said.number)
                    if hear is not None:
                        hear(said)
        finally:
            self._unsent.put(b"")

    def _lose(self, reason: str) -> None:
        with _lock:
            self._ended = True
            hearing, self._hearing = self._hearing, {}
        for number, hear in hearing.items():
            hear(Failed(number=number, reason=f"the process of the judging crew has ended: {reason}; try again"))


def new_kickoff(hear: Hear) -> tuple[CrewProcess, int]:
    """Return the process, started where none runs, and the number of a new kickoff in it."""
    global _newest
    with _lock:
        if _newest is None or _newest.ended:
            _newest = CrewProcess()
        return _newest, _newest.begin(hear)


@atexit.register
def _stop_newest() -> None:
    if _newest is not None:
        _newest.stop()


@contextmanager
def crews_kept() -> Iterator[None]:
    """Have the process started, and kept while the body works on what a crew judges next."""
    process, number = new_kickoff(lambda said: None)
    try:
        yield
    finally:
        process.end(number)


def begin_crews() -> None:
    """Start the process, which imports CrewAI while other things are done."""
    with crews_kept():
        pass
