"""A SQLite file as one process uses it: how it is opened, who else has it open, and whether its log is whole."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import shutil
import sqlite3
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any, Literal

from state import wal
from state.errors import StorageError
from state.sqlite_connection import UninterruptedConnection

logger = logging.getLogger(__name__)

BUSY_SECONDS = 30
"""How long a writer waits for another before it gives up."""
START_SECONDS = 600
"""How long a starter waits for another that makes or migrates the tables."""
POLL_SECONDS = 0.02
LOG_PAGES = 256
"""Pages in the write-ahead log (1 MB) after which a commit moves them into the database file; SQLite's default is 1000.
What is only in the log is lost with it."""
Access = Literal["write", "read", "frozen"]
"""``read``: another process may write. ``frozen``: nobody can, so SQLite needs no other file beside it."""


class SqliteFile:
    """One database file.

    Args:
        path: of the file; it need not be there yet.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.unwritable = ""
        """Why nothing can be written; empty where it can."""
        self._access: Access = "write"
        self._opened = path
        self._copy: tempfile.TemporaryDirectory[str] | None = None
        self._lock: IO[bytes] | None = None
        self._marked = False
        self._damage = ""
        """What was wrong with the log when this process opened the file."""

    def connect(self, *_: Any, **__: Any) -> sqlite3.Connection:
        """Open a connection that any thread may use, one at a time.

        Raises:
            sqlite3.Error: it cannot be opened.
        """
        how = {"write": "mode=rwc", "read": "mode=ro", "frozen": "mode=ro&immutable=1"}[self._access]
        connection = sqlite3.connect(
            f"{self._opened.absolute().as_uri()}?{how}", uri=True, timeout=BUSY_SECONDS, check_same_thread=False
        )
        connection.text_factory = _read_text
        if self._access == "write":
            try:
                _set_up(connection)
            except BaseException:
                connection.close()
                raise
        return connection

    def connect_async(self, *_: Any, **__: Any) -> UninterruptedConnection:
        """Return a connection to await, for asyncio."""
        connection = UninterruptedConnection(self.connect, iter_chunk_size=64)
        # A process that ends never waits for the thread.
        connection.daemon = True
        return connection

    def open(self, make_tables: Callable[[], None]) -> None:
        """Make the file ready: look at its log, and make or migrate its tables.

        Of any number of starters one works at a time. Where nothing can be written, what is there can still be read.

        Args:
            make_tables: makes and migrates them, over connections of ``connect``; does nothing where they are right.

        Raises:
            StorageError: there is nothing to read either.
            sqlite3.Error, OSError: the file cannot be used.
        """
        self.unwritable = _why_unwritable(self.path)
        if not self.unwritable:
            try:
                self._open_to_write(make_tables)
                return
            except Exception as error:
                self.unwritable = _why_full(error, self.path)
                if not self.unwritable:
                    raise
        self._open_to_read()
        make_tables()

    def _open_to_write(self, make_tables: Callable[[], None]) -> None:
        with self._starting() as alone:
            self._damage = wal.damage(self.path) if alone else ""
            if self._damage:
                aside = wal.set_aside(self.path)
                kept = f"; what is left of it is kept as {aside.name}" if aside else ""
                logger.warning("%s: %s; what was written last may be gone%s", self.path, self._damage, kept)
            make_tables()

    def _open_to_read(self) -> None:
        if not self.path.exists():
            raise StorageError(f"{self.unwritable}, and there is no database in it; set CORRAL_HOME to another folder")
        log, memory = wal.log_of(self.path), wal.memory_of(self.path)
        if not log.exists() or not log.stat().st_size:
            self._access = "frozen"
        elif memory.exists():
            self._access = "read"
        else:
            # SQLite reads a log only with shared memory beside it, which it cannot make here.
            self._access = "write"
            self._copy = tempfile.TemporaryDirectory(prefix="corral-")
            for file in (self.path, log):
                shutil.copy(file, self._copy.name)
            self._opened = Path(self._copy.name) / self.path.name

    @contextmanager
    def _starting(self) -> Iterator[bool]:
        """Hold the file as a starter, and share it afterwards; yields whether nobody else had it open."""
        if self._lock is not None:
            yield False
            return
        lock = self.path.with_name(self.path.name + "-lock").open("ab")
        try:
            alone = _taken(lock, fcntl.LOCK_EX)
            deadline = time.monotonic() + START_SECONDS
            while not alone and not _taken(lock, fcntl.LOCK_SH) and time.monotonic() < deadline:
                time.sleep(POLL_SECONDS)
            yield alone
            _taken(lock, fcntl.LOCK_SH)
        except BaseException:
            lock.close()
            raise
        self._lock = lock

    @property
    def marked(self) -> bool:
        """Whether ``mark`` has nothing to do."""
        return self._marked or self._lock is None

    def mark(self) -> None:
        """Mark the file as in use, before the first write of this process.

        Raises:
            sqlite3.Error: it cannot be written.
        """
        if self.marked:
            return
        connection = self.connect()
        try:
            if connection.execute("PRAGMA user_version").fetchone()[0] != wal.IN_USE:
                connection.execute(f"PRAGMA user_version={wal.IN_USE}")
                _empty_log(connection)
        finally:
            connection.close()
        self._marked = True

    def rewrite(self) -> None:
        """Write the file anew, without the pages of rows that were removed: their bytes would stay in it for long."""
        connection = self.connect()
        try:
            connection.execute("VACUUM")
            _empty_log(connection)
        finally:
            connection.close()

    def shorten_log(self) -> None:
        """Move what is in the log into the database file, as far as nobody is in the way, and empty the log."""
        if self._access != "write" or self._copy:
            return
        connection = self.connect()
        try:
            _empty_log(connection)
        finally:
            connection.close()

    def close(self) -> None:
        """Let go of the file; its connections must be closed. The last process leaves everything in the file itself."""
        if self._copy is not None:
            self._copy.cleanup()
        if self._lock is None:
            return
        try:
            # The last connection of all has moved the log into the file, and removed it. If it could not, the log stays
            # and so does the mark; as does that of a loss which a process that only looked has noticed.
            whole = self._marked or not self._damage
            if whole and _taken(self._lock, fcntl.LOCK_EX) and not wal.log_of(self.path).exists():
                wal.mark_closed(self.path)
        finally:
            self._lock.close()
            self._lock, self._marked, self._damage = None, False, ""


def _read_text(data: bytes) -> str:
    """Return a text of the database; a field out of a row's JSON may hold a lone surrogate, which UTF-8 has not."""
    try:
        return data.decode("utf-8", "surrogatepass")
    except UnicodeDecodeError as error:
        raise sqlite3.OperationalError("a text in it is not UTF-8") from error


def _set_up(connection: sqlite3.Connection) -> None:
    connection.execute(f"PRAGMA busy_timeout={BUSY_SECONDS * 1000}")
    connection.execute("PRAGMA journal_mode=WAL")
    # FULL: an answer that was paid for survives a power cut too, not only a killed process.
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint={LOG_PAGES}")


def _empty_log(connection: sqlite3.Connection) -> None:
    connection.execute("PRAGMA busy_timeout=0")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()


def _taken(lock: IO[bytes], kind: int) -> bool:
    """Take a lock if it is free; a file system that has no locks always gives it for sharing, and never alone."""
    try:
        fcntl.flock(lock, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:
        return kind == fcntl.LOCK_SH
    return True


def _why_unwritable(path: Path) -> str:
    if not os.access(path.parent, os.W_OK):
        return f"the folder {path.parent} is read-only"
    return f"the file {path} is read-only" if path.exists() and not os.access(path, os.W_OK) else ""


def _why_full(error: Exception, path: Path) -> str:
    """Return why an existing file can only be read, where the disk is to blame; else nothing."""
    full = isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
    said = str(getattr(error, "orig", error))
    full = full or any(word in said for word in ("disk is full", "disk I/O error", "readonly database"))
    return f"nothing can be written to {path.parent} ({said})" if full and path.exists() else ""
