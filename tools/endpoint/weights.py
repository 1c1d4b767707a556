"""The weights endpoint: base weights, or base and LoRA adapter, sampled on this machine without a server.

Many calls are decoded together by a process a core (one on a GPU), in the number format the hardware computes fast in.
On a CPU that gives more tokens for a second of computing than llama.cpp's server does with one model of this size
(docs/experiments.md), and any Hugging Face folder and any PEFT adapter will do.
"""

from __future__ import annotations

import asyncio
import itertools
import subprocess
import sys
import threading
from concurrent.futures import Future
from pathlib import Path
from typing import Any
from weakref import WeakSet

from state.errors import CallRefused, EndpointFailing
from state.pipeline import RateLimits
from state.records import content_hash
from tools.endpoint.chat import ChatCall
from tools.endpoint.failures import TryAgain
from tools.endpoint.transport import Reply, chat_body
from tools.files import writable
from tools.machine.resources import sampling_processes
from tools.weights.processes import child_environment
from tools.weights.worker import NOT_LOADED, Draw, Drawn

_open: WeakSet[WeightsTransport] = WeakSet()


class WeightsTransport:
    """A model folder as a transport. Its processes start with the first call, and end after a while without one.

    Args:
        base: a local Hugging Face folder.
        adapter: a LoRA adapter's folder, or ``None``.
        processes: how many; one a core by default, one on a GPU.
    """

    def __init__(self, base: Path, adapter: Path | None, processes: int | None = None) -> None:
        self.limits = RateLimits()
        self._workers = [_Worker(base, adapter) for _ in range(processes or sampling_processes())]
        _open.add(self)

    def release(self) -> None:
        """End the processes that have nothing to do."""
        for worker in self._workers:
            worker.release()

    def body(self, call: ChatCall, model: str) -> dict[str, Any]:
        """Return what is asked, in OpenAI's form."""
        return chat_body(call, model)

    async def send(self, call: ChatCall, model: str, timeout: float) -> Reply:
        """Complete one chat. There is no time limit: the processes are ours, and a busy machine is merely waited for.

        Raises:
            CallRefused: an answer of a JSON schema is asked, or the prompt cannot be read.
            TryAgain: the process ended.
        """
        if call.json_schema is not None or call.stop:
            raise CallRefused("base_url 'weights' gives plain text alone: no JSON schema and no stop words")
        worker = min(self._workers, key=lambda one: one.claimed)
        # Counted here and now: many calls choose before the first of them has reached its process.
        worker.claimed += 1
        try:
            found = await asyncio.wrap_future(await asyncio.to_thread(worker.ask, call))
        finally:
            worker.claimed -= 1
        if found.failed:
            raise CallRefused(f"{model}: {found.failed}")
        return Reply(
            text=found.text,
            finish_reason="stop" if found.ended else "length",
            prompt_tokens=found.prompt_tokens,
            completion_tokens=found.tokens,
        )


def release_idle() -> None:
    """End the sampling processes that have nothing to do, for their memory; the next call starts them again."""
    for transport in list(_open):
        transport.release()


class _Worker:
    """One sampling process, and the calls it has."""

    def __init__(self, base: Path, adapter: Path | None) -> None:
        self._command = [
            sys.executable,
            "-m",
            "tools.weights.worker",
            str(base),
            *([str(adapter)] if adapter else []),
        ]
        self._numbers = itertools.count()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._asked: dict[int, Future[Drawn]] = {}
        self.claimed = 0
        """Calls that have chosen this process and are not answered yet."""

    def ask(self, call: ChatCall) -> Future[Drawn]:
        turns = tuple((turn["role"], writable(turn["content"])) for turn in call.messages)
        draw = Draw(
            number=next(self._numbers),
            turns=turns,
            noise=content_hash(call.seed, call.draw, turns),
            temperature=call.temperature,
            top_p=call.top_p,
            max_tokens=call.max_tokens,
        )
        answer: Future[Drawn] = Future()
        with self._lock:
            process = self._process or self._start()
            self._asked[draw.number] = answer
            assert process.stdin is not None
            try:
                process.stdin.write(draw.model_dump_json() + "\n")
                process.stdin.flush()
            except OSError:  # it ended this moment, and its reader is about to say so
                self._lost(process, "it had ended")
        return answer

    def release(self) -> None:
        with self._lock:
            process = self._process
            if process is None or self._asked:
                return
            self._process = None
        assert process.stdin is not None
        process.stdin.close()
        process.wait()

    def _start(self) -> subprocess.Popen[str]:
        self._process = process = subprocess.Popen(
            self._command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=child_environment(threads=1),
            text=True,
            encoding="utf-8",
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(process,), daemon=True).start()
        return process

    def _read(self, process: subprocess.Popen[str]) -> None:
        reason = "it ended before it answered"
        assert process.stdout is not None
        for line in process.stdout:
            found = Drawn.model_validate_json(line)
            if found.number == NOT_LOADED:
                reason = found.failed
            with self._lock:
                answer = self._asked.pop(found.number, None)
            if answer is not None and answer.set_running_or_notify_cancel():
                answer.set_result(found)
        process.wait()
        with self._lock:
            self._lost(process, reason)

    def _lost(self, process: subprocess.Popen[str], reason: str) -> None:
        """Fail what the ended process was asked; must hold the lock."""
        if self._process is not process:
            return
        self._process, asked = None, list(self._asked.values())
        self._asked.clear()
        for answer in asked:
            if answer.set_running_or_notify_cancel():
                answer.set_exception(TryAgain(EndpointFailing(f"the sampling process: {reason}")))
