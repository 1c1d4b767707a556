"""How a training tells the other runs of the same home that it runs: a shared lock on one file."""

from __future__ import annotations

import asyncio
import fcntl
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TextIO

from tools.files import storage_errors

LOCK = "training.lock"


@asynccontextmanager
async def training_lock(home: Path) -> AsyncIterator[None]:
    """Hold the lock while a training runs. It is shared, so it never makes another training wait.

    The operating system releases it when this process ends, also by a kill.

    Args:
        home: the folder that the runs have in common.

    Raises:
        StorageError: the lock file cannot be written.
    """
    file = await asyncio.to_thread(_open, home)
    try:
        # This can wait for a few milliseconds, while ``training_elsewhere`` holds the exclusive lock.
        await asyncio.to_thread(fcntl.flock, file.fileno(), fcntl.LOCK_SH)
        yield
    finally:
        file.close()


def training_elsewhere(home: Path) -> bool:
    """Return whether any run of this home is training.

    Args:
        home: the folder that the runs have in common.

    Raises:
        StorageError: the lock file cannot be written.
    """
    with _open(home) as file:
        # Another process that asks at the same moment holds the exclusive lock, too; it is gone when we try again.
        return not any(_exclusive(file.fileno(), wait) for wait in (0.0, 0.05, 0.05))


def _open(home: Path) -> TextIO:
    with storage_errors(home):
        home.mkdir(parents=True, exist_ok=True)
        return (home / LOCK).open("a")


def _exclusive(handle: int, wait: float) -> bool:
    """Return whether the exclusive lock is free after ``wait`` seconds."""
    time.sleep(wait)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
