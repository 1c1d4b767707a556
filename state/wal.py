"""Whether SQLite's write-ahead log holds all that was committed; SQLite drops without a word what it cannot read.

The formats are those of https://sqlite.org/fileformat2.html (database header, write-ahead log) and
https://sqlite.org/walformat.html (shared memory). Nobody may have the database open while it is looked at: closing a
file gives up the locks that the process holds on it.
"""

from __future__ import annotations

import shutil
import struct
import sys
import time
from pathlib import Path

USER_VERSION = 60
"""Where the database's header has what ``PRAGMA user_version`` sets: 4 bytes, big-endian."""
IN_USE = 1
"""Its value from a process's first write to the orderly end of the last one; 0 else. The mark is in the file itself, so
that a log that is missing is noticed wherever the file was copied to."""
LOG_HEADER, FRAME_HEADER = 32, 24
MAGIC = {0x377F0682: "<", 0x377F0683: ">"}
"""The log's first number, and the byte order of its checksums."""
LAST_FRAME, SALT, MOVED = 16, 32, 96
"""Where the shared memory has the number of committed frames, the log's salt, and how many frames are in the database
file already. Numbers are 4 bytes in the machine's order; the salt is 8 bytes as the log has them."""
SALT_IN_LOG = slice(16, 24)


def log_of(database: Path) -> Path:
    """Return where the log of a database is, while there is one."""
    return database.with_name(database.name + "-wal")


def memory_of(database: Path) -> Path:
    """Return where the file of shared memory is, while there is one."""
    return database.with_name(database.name + "-shm")


def damage(database: Path) -> str:
    """Return what is wrong with a database's log, in words; empty where nothing is.

    A log of which only the last, unfinished transaction cannot be read is whole: that was never committed.
    """
    if not database.exists():
        return ""
    log = log_of(database)
    if not log.exists():
        missing = (
            f"its write-ahead log {log.name} is missing: the last process of Corral's that wrote did not close it, "
            "and nothing is lost only if another program, such as sqlite3, has done so since"
        )
        return missing if _in_use(database) else ""
    data = log.read_bytes()
    whole, later = frames(data)
    expected = _expected_frames(database, data[SALT_IN_LOG])
    if whole < expected:
        return f"its write-ahead log {log.name} is cut or damaged: {whole} of {expected} pages can be read"
    return f"its write-ahead log {log.name} is damaged behind page {whole}" if later else ""


def mark_closed(database: Path) -> None:
    """Note that the file holds everything: in place, so that it needs no room on the disk."""
    if database.exists() and _in_use(database):
        with database.open("r+b") as file:
            file.seek(USER_VERSION)
            file.write(bytes(4))


def set_aside(database: Path) -> Path | None:
    """Copy a damaged log, since SQLite overwrites what it cannot read; return the copy, or ``None`` where none is."""
    log = log_of(database)
    if not log.exists():
        return None
    aside = log.with_name(f"{log.name}.damaged-{time.strftime('%Y%m%d-%H%M%S', time.gmtime())}")
    shutil.copyfile(log, aside)
    return aside


def frames(data: bytes) -> tuple[int, bool]:
    """Return how many frames of a log can be read, and whether one that was committed stands behind them.

    Args:
        data: the log.

    Returns:
        Committed frames in a row from the first, and whether a later frame of the same log ends a transaction. Frames
        of an earlier use of the file stand behind the last one, and are known by their salt.
    """
    if len(data) < LOG_HEADER:
        return 0, False
    magic, _version, size, _sequence, *salt = struct.unpack(">6I", data[:24])
    order = MAGIC.get(magic)
    total = LOG_HEADER
    sums = _checksum(data[:24], (0, 0), order) if order else (0, 0)
    if order is None or size < 512 or sums != struct.unpack(">2I", data[24:32]):
        return 0, any(data)
    whole = number = 0
    broken = False
    while total + FRAME_HEADER + size <= len(data):
        frame = data[total : total + FRAME_HEADER + size]
        _page, commit, *rest = struct.unpack(">6I", frame[:FRAME_HEADER])
        if rest[:2] != salt:
            break
        number += 1
        if not broken:
            sums = _checksum(frame[FRAME_HEADER:], _checksum(frame[:8], sums, order), order)
            broken = list(sums) != rest[2:]
        if broken and commit:
            return whole, True
        whole = number if commit and not broken else whole
        total += FRAME_HEADER + size
    return whole, False


def _checksum(data: bytes, sums: tuple[int, int], order: str) -> tuple[int, int]:
    first, second = sums
    words = struct.unpack(f"{order}{len(data) // 4}I", data)
    for one, other in zip(words[::2], words[1::2], strict=True):
        first = (first + one + second) & 0xFFFFFFFF
        second = (second + other + first) & 0xFFFFFFFF
    return first, second


def _in_use(database: Path) -> bool:
    with database.open("rb") as file:
        file.seek(USER_VERSION)
        return int.from_bytes(file.read(4), "big") == IN_USE


def _expected_frames(database: Path, salt: bytes) -> int:
    """Return how many frames were committed, by the shared memory that a killed process leaves.

    That is 0 where it is gone, is of an earlier use of the log, or says that the database file has all of them.
    """
    try:
        memory = memory_of(database).read_bytes()
    except OSError:
        return 0
    if len(memory) < MOVED + 4 or (salt and memory[SALT : SALT + 8] != salt):
        return 0
    last, moved = (int.from_bytes(memory[at : at + 4], sys.byteorder) for at in (LAST_FRAME, MOVED))
    return last if moved < last else 0
