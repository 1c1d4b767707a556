"""Atomic files: written beside their place, synced, then moved into it; in a step, only while the run is ours."""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import io
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import BinaryIO, TypeVar

from state.errors import BadInput, StorageError
from state.lease import demand_here

T = TypeVar("T")
_PART = ".part-"
"""How the names of unfinished files and folders begin."""


def writable(text: str) -> str:
    """Return the text with U+FFFD for each lone surrogate; UTF-8 cannot hold one."""
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an ``OSError`` over ``path`` into a StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        raise StorageError(
            f"{error.filename2 or error.filename or path} cannot be used: {error.strerror or error}. "
            "Check the disk's space and rights (corral doctor), or set CORRAL_HOME to another folder."
        ) from error


@contextmanager
def place_errors(path: Path) -> Iterator[None]:
    """Turn what keeps ``path``, which a person named, from being written into a StorageError that asks for another."""
    try:
        with storage_errors(path):
            yield
    except StorageError as error:
        why = getattr(error.__cause__, "strerror", None) or error
        raise StorageError(f"{path} cannot be written: {why}; name another place") from error


def write_file(path: Path, data: bytes | BinaryIO) -> None:
    """Write ``data``, or the rest of an open file, to ``path`` atomically, making its folder where it is missing.

    Raises:
        StorageError: the disk is full or read-only.
        LeaseLost: another process has taken over the run whose step writes this.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=_PART)
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, 0o644)
                shutil.copyfileobj(io.BytesIO(data) if isinstance(data, bytes) else data, file)
                file.flush()
                os.fsync(file.fileno())
            demand_here()
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_out(path: Path, data: bytes) -> None:
    """Write ``data`` where a person said; see ``copy_out``."""
    copy_out(path, io.BytesIO(data))


def copy_out(path: Path, source: BinaryIO) -> None:
    """Copy a stream to where a person said: atomically to a file, straight into a device or a pipe.

    A link is replaced, and what it points at stays as it is; a link to a device is followed.

    Raises:
        BadInput: the place is a folder.
        StorageError: it cannot be written.
    """
    if path.is_dir():
        raise BadInput(f"{path} is a folder; name a file in it")
    with place_errors(path):
        if path.exists() and not path.is_file():
            with path.open("wb") as stream:
                shutil.copyfileobj(source, stream)
        else:
            write_file(path, source)


@contextmanager
def new_folder(parent: Path) -> Iterator[Path]:
    """Yield an empty folder in ``parent`` for files that are written one by one, until ``publish`` gives it its name.

    It is removed in the end if it was not published. What a killed process left of such a folder is removed first: a
    parent has one writer at a time.

    Raises:
        StorageError: the disk is full or read-only.
    """
    with storage_errors(parent):
        parent.mkdir(parents=True, exist_ok=True)
        for left in parent.glob(f"{_PART}*"):
            shutil.rmtree(left, ignore_errors=True)
        part = Path(tempfile.mkdtemp(dir=parent, prefix=_PART))
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


@asynccontextmanager
async def in_thread(context: AbstractContextManager[T]) -> AsyncIterator[T]:
    """Enter and leave a context that waits for the disk in a thread, so that an event loop does not wait with it."""
    value = await asyncio.to_thread(context.__enter__)
    try:
        yield value
    except BaseException as error:
        if not await asyncio.to_thread(context.__exit__, type(error), error, error.__traceback__):
            raise
    else:
        await asyncio.to_thread(context.__exit__, None, None, None)


def publish(part: Path, folder: Path) -> None:
    """Give a folder of ``new_folder``, whose files are synced, its name; a folder that has it is left as it is.

    Raises:
        StorageError: the disk is full or read-only.
    """
    with storage_errors(folder):
        if not folder.exists():
            part.chmod(0o755)
            demand_here()
            part.rename(folder)


@contextmanager
def sole_use(folder: Path) -> Iterator[None]:
    """Make a folder where it is missing, and hold it for this process alone; the system frees it when that ends.

    Raises:
        BadInput: another process holds it.
        StorageError: it cannot be written.
    """
    with storage_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / ".lock").open("a")
    with lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise BadInput(f"another process writes to {folder}; wait for it, or name another folder") from error
        yield


def file_hash(path: Path) -> str:
    """Return the SHA-256 of a file, in hex."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
