"""The model processes of this machine: one for each core (one on a GPU), which start with the first request.

Each decodes many requests together, in the number format in which the hardware is fast. On a CPU that gives more tokens
for a second of computing than llama.cpp's server with a model of this size (docs/experiments.md), and it works with any
Hugging Face folder and any PEFT adapter.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import tempfile
import threading
from collections import Counter
from concurrent.futures import Future
from pathlib import Path
from typing import IO
from weakref import WeakSet

from tools.machine.resources import sampling_processes
from tools.weights.number_format import answering_format
from tools.weights.processes import child_environment, last_words
from tools.weights.protocol import NOT_LOADED, REPLY, Reply, Request

SPREAD = 8
"""Requests that a process may have more than another one, for the sake of a prompt that it has already."""

_open: WeakSet[ModelPool] = WeakSet()


class ProcessLost(Exception):
    """The process that was asked has ended; the request can be made again."""


class ModelPool:
    """The processes that hold one model. They end after a while without a request.

    Args:
        base: a local Hugging Face folder.
        adapter: a LoRA adapter's folder, or ``None``.
        processes: how many; one for each core by default, one on a GPU.
    """

    def __init__(self, base: Path, adapter: Path | None, processes: int | None = None) -> None:
        self.processes = [ModelProcess(base, adapter) for _ in range(processes or sampling_processes())]
        _open.add(self)

    async def ask(self, request: Request) -> Reply:
        """Return the reply to a request, whose number is given here. There is no time limit: the machine may be busy.

        Raises:
            ProcessLost: the process ended before it replied.
        """
        prompt = str(request.turns)
        process = self._choose(prompt)
        # Counted at once: many requests choose a process before the first of them has reached it.
        process.claimed[prompt] += 1
        try:
            return await asyncio.wrap_future(await asyncio.to_thread(process.ask, request))
        finally:
            process.claimed[prompt] -= 1
            process.claimed += Counter()  # without the prompts that have nothing left

    def _choose(self, prompt: str) -> ModelProcess:
        """Return the process with the least to do, or one that has this prompt already, and reads it once for all."""
        least = min(self.processes, key=lambda one: one.claimed.total())
        room = least.claimed.total() + SPREAD
        return next((one for one in self.processes if one.claimed[prompt] and one.claimed.total() <= room), least)

    def release(self) -> None:
        """End the processes that have nothing to do."""
        for process in self.processes:
            process.release()


def release_idle() -> None:
    """End all model processes that have nothing to do, for their memory; the next request starts them again."""
    for pool in list(_open):
        pool.release()


class ModelProcess:
    """One model process and its requests."""

    def __init__(self, base: Path, adapter: Path | None) -> None:
        weights = [str(base), answering_format(), *([str(adapter)] if adapter else [])]
        self._command = [sys.executable, "-m", "tools.weights.worker", *weights]
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._asked: dict[int, Future[Reply]] = {}
        self.claimed: Counter[str] = Counter()
        """Requests that have chosen this process and are not answered yet."""

    @property
    def running(self) -> subprocess.Popen[str] | None:
        """The running process; ``None`` before the first request and after the last."""
        return self._process

    def ask(self, request: Request) -> Future[Reply]:
        """Send a request, and start the process if it does not run; blocks while one line is written."""
        request = request.model_copy(update={"number": next(self._numbers)})
        reply: Future[Reply] = Future()
        with self._lock:
            process = self._process or self._start()
            self._asked[request.number] = reply
            assert process.stdin is not None
            try:
                process.stdin.write(request.model_dump_json() + "\n")
                process.stdin.flush()
            except OSError:  # it has just ended, and its reader will report that
                self._lost(process, "it had ended")
        return reply

    def release(self) -> None:
        """End the process if it has nothing to do."""
        with self._lock:
            process = self._process
            if process is None or self._asked:
                return
            self._process = None
        assert process.stdin is not None
        process.stdin.close()
        process.wait()

    def _start(self) -> subprocess.Popen[str]:
        said = tempfile.TemporaryFile()
        self._process = process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            env=child_environment(threads=1),
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(process, said), daemon=True).start()
        return process

    def _read(self, process: subprocess.Popen[str], said: IO[bytes]) -> None:
        reason = ""
        assert process.stdout is not None
        for line in process.stdout:
            found = REPLY.validate_json(line)
            if found.number == NOT_LOADED:
                reason = found.failed
            with self._lock:
                reply = self._asked.pop(found.number, None)
            if reply is not None and reply.set_running_or_notify_cancel():
                reply.set_result(found)
        code = process.wait()
        with said:
            said.seek(0)
            words = said.read().decode(errors="replace")
            reason = reason or (last_words(words, code) if code else "it ended before it answered")
        with self._lock:
            self._lost(process, reason)

    def _lost(self, process: subprocess.Popen[str], reason: str) -> None:
        """Fail the requests of a process that ended; the caller holds the lock."""
        if self._process is not process:
            return
        self._process, asked = None, list(self._asked.values())
        self._asked.clear()
        for reply in asked:
            if reply.set_running_or_notify_cancel():
                reply.set_exception(ProcessLost(reason))
