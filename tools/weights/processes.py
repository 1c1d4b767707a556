"""Child processes that stream JSON lines and never outlive their parent.

The parent holds the write end of the child's stdin and never writes: when the parent dies, by whatever signal, the
child reads end-of-file and ends itself. That also works through a launcher between the two, which passes its stdin on.
On Linux the kernel ends the child as well when its direct parent, the launcher, dies; elsewhere the child polls.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import sys
import threading
import time
from collections.abc import AsyncGenerator, Sequence
from pathlib import Path
from typing import IO, Any

from state.errors import StorageError, TrainingError
from tools.weights.tracebacks import killed_by, what_ended

ROOT = Path(__file__).resolve().parents[2]
LAST_LINES = 6
"""Lines of a log that are quoted where there is no exception in it."""
LINE_LIMIT = 2**24
"""The most bytes of one JSON line."""
OFFLINE_AND_QUIET = {
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
    "HF_HUB_OFFLINE": "1",
    "DO_NOT_TRACK": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "TQDM_DISABLE": "1",
    "TRANSFORMERS_VERBOSITY": "warning",
}

LIBRARIES = ("ATEN", "BLIS", "CUBLAS", "CUDA", "CUDNN", "DNNL", "GLIBC_TUNABLES", "GOMP", "GOTO", "HIP", "KMP", "LD_",
             "MKL", "NVIDIA", "OMP", "ONEDNN", "OPENBLAS", "PYTORCH", "TORCH", "TRANSFORMERS", "TRITON")  # fmt: skip
"""How the names of the variables begin by which the libraries that compute are set."""


def child_environment(threads: int) -> dict[str, str]:
    """Return the environment of a child that computes: this process's, offline, with so many threads.

    The base model is always a local folder by then, so a child needs no network.
    """
    # Threads that spin while they wait slow each other down on a busy machine: with PASSIVE, two take the CPU time of
    # one. DYNAMIC would let the libraries take fewer threads, which add up in another order, where the machine is busy.
    policy = {"OMP_WAIT_POLICY": "PASSIVE", "OMP_DYNAMIC": "FALSE", "MKL_DYNAMIC": "FALSE"}
    counts = dict.fromkeys(("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads))
    path = os.pathsep.join(filter(None, [str(ROOT), os.environ.get("PYTHONPATH", "")]))
    python = {
        "PYTHONPATH": path,
        "PYTHONSAFEPATH": "1",  # no folder ``tools`` of the working directory is taken for ours
        "PYTHONHASHSEED": "0",
    }
    return {**os.environ, **OFFLINE_AND_QUIET, **counts, **policy, **python}


def library_variables() -> dict[str, str]:
    """Return the variables by which the libraries of this process are set that compute, or from where they are read."""
    return {name: value for name, value in os.environ.items() if name.startswith(LIBRARIES)}


async def stream_child(command: Sequence[str], log: Path, threads: int) -> AsyncGenerator[dict[str, Any], None]:
    """Run a command and yield the JSON objects it prints, one a line; end it when the caller stops reading.

    Args:
        command: program and arguments.
        log: the file to which the child's stderr is appended.
        threads: compute threads of the child.

    Raises:
        TrainingError: its exit code was not 0; the message has its last exception.
        StorageError: the log cannot be written.
    """
    try:
        stderr = await asyncio.to_thread(log.open, "ab")
    except OSError as error:
        raise StorageError(f"{log} cannot be written: {error.strerror}") from error
    before = stderr.tell()
    with stderr:
        child = await asyncio.create_subprocess_exec(
            *command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=stderr,
            env=child_environment(threads),
            limit=LINE_LIMIT,
            start_new_session=True,
        )
    assert child.stdout is not None
    try:
        async for line in child.stdout:
            with contextlib.suppress(json.JSONDecodeError):
                yield json.loads(line)
        code = await child.wait()
    finally:
        await _end(child)
    if code != 0:
        said = await asyncio.to_thread(_read_from, log, before)
        raise TrainingError(f"{module_of(command)} failed: {last_words(said, code)}; see {log}")


def module_of(command: Sequence[str]) -> str:
    """Return the module that a command runs: of a launcher and its worker the worker's."""
    marks = [place for place, word in enumerate(command[:-1]) if word == "-m"]
    return command[marks[-1] + 1] if marks else " ".join(command[1:3])


def last_words(said: str, code: int) -> str:
    """Return why a process ended: its own last exception, else its signal, else its log's last lines.

    Args:
        said: what it wrote to stderr.
        code: its exit code; below 0 the number of a signal.
    """
    if reason := what_ended(said):
        return reason
    if code < 0:
        return f"it ended with code {code}; {killed_by(signal.Signals(-code).name)}"
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    return f"it ended with code {code}: {' / '.join(lines[-LAST_LINES:]) or 'it said nothing'}"


def _read_from(log: Path, start: int) -> str:
    """Return a log from a byte on: an earlier attempt has written into it, too."""
    try:
        with log.open("rb") as file:
            file.seek(start)
            return file.read().decode(errors="replace")
    except OSError:
        return ""


async def _end(child: asyncio.subprocess.Process) -> None:
    """Kill the whole session of the child, and wait until it is gone."""
    if child.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        if hasattr(os, "killpg"):
            os.killpg(child.pid, signal.SIGKILL)
        else:
            child.kill()
    await asyncio.shield(child.wait())


def die_with_parent() -> None:
    """End this process when the parent, or the launcher between the two, is gone. Call it first."""
    parent = os.getppid()
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG
        if os.getppid() != parent:
            os._exit(1)
    threading.Thread(target=_watch_stdin, daemon=True).start()
    if sys.platform not in ("linux", "win32"):
        threading.Thread(target=_watch_parent, args=(parent,), daemon=True).start()


def _watch_stdin() -> None:
    with contextlib.suppress(OSError):
        while os.read(0, 1):
            pass
    os._exit(1)


def _watch_parent(parent: int) -> None:
    while os.getppid() == parent:
        time.sleep(0.5)
    os._exit(1)


class JsonLines:
    """The child's real stdout. Everything else that prints goes to stderr, so that no library can break a line."""

    def __init__(self) -> None:
        self._stream: IO[str] = os.fdopen(os.dup(1), "w", encoding="utf-8")
        os.dup2(2, 1)

    def write(self, **fields: Any) -> None:
        """Send one JSON object to the parent."""
        self._stream.write(json.dumps(fields) + "\n")
        self._stream.flush()
