"""Atomic files: written beside their place, synced, then moved into it; in a step, only while the run is ours."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from state.errors import BadInput, StorageError
from state.lease import demand_here


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


def write_file(path: Path, data: bytes) -> None:
    """Write ``data`` to ``path`` atomically, making its folder where it is missing.

    Raises:
        StorageError: the disk is full or read-only.
        LeaseLost: another process has taken over the run whose step writes this.
    """
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=".part-")
        try:
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, 0o644)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            demand_here()
            os.replace(name, path)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise


def write_out(path: Path, data: bytes) -> None:
    """Write ``data`` where a person said: atomically to a file, straight into a device or a pipe.

    A link is replaced, and what it points at stays as it is; a link to a device is followed.

    Raises:
        BadInput: the place is a folder.
        StorageError: it cannot be written.
    """
    if path.is_dir():
        raise BadInput(f"{path} is a folder; name a file in it")
    try:
        if path.exists() and not path.is_file():
            with storage_errors(path), path.open("wb") as stream:
                stream.write(data)
        else:
            write_file(path, data)
    except StorageError as error:
        why = getattr(error.__cause__, "strerror", None) or error
        raise StorageError(f"{path} cannot be written: {why}; name another place") from error


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Make ``folder`` with ``files`` in it, all or nothing; a folder that is there is left as it is.

    Raises:
        StorageError: the disk is full or read-only.
    """
    with storage_errors(folder):
        if folder.exists():
            return
        folder.parent.mkdir(parents=True, exist_ok=True)
        part = Path(tempfile.mkdtemp(dir=folder.parent, prefix=".part-"))
        try:
            for name, data in files.items():
                write_file(part / name, data)
            part.chmod(0o755)
            demand_here()
            part.rename(folder)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise


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
