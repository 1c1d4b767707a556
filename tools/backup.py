"""A consistent copy of a home in one archive, while runs are at work in it.

The database is copied first, by SQLite's own backup, as it is at one instant; then the files beside it. What
the database refers to is written before it does so and never changed, so that the copy has all of it.
"""

from __future__ import annotations

import os
import sqlite3
import tarfile
import tempfile
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

from state.database import Database
from state.errors import BadInput, StorageError
from state.records import Record
from tools.files import place_errors, storage_errors

DATABASE = "corral.db"
"""What the database is called in the archive: what ``CORRAL_HOME`` holds where ``CORRAL_DATABASE_URL`` is not set."""
FOLDERS = ("runs", "registry", "calibrations", "evaluations")
"""What a home holds beside the database. Without its calibrations no judge would be licensed in the copy."""
PASSING = (".part-", "checkpoint-", ".lock")
"""How the names of files and folders begin that are half written, or are a training's own: where a training is restored
without its checkpoints, it begins anew, which costs time and no answer."""


class Backup(Record):
    """What an archive holds."""

    runs: int
    answers: int
    """Answered calls."""
    files: int
    size: int
    """Bytes."""


def back_up(database: Database, home: Path, archive: Path) -> Backup:
    """Write an archive of a home; ``tar -xf ARCHIVE -C FOLDER`` makes a home of it again.

    Args:
        database: the home's.
        home: with the folders ``FOLDERS``.
        archive: where to write it; compressed if its name ends in ``gz``. One that is there is replaced, whole.

    Raises:
        BadInput: the database is PostgreSQL's.
        StorageError: the home cannot be read, the archive not be written, or the copy of the database is not whole.
    """
    if database.file is None:
        raise BadInput(
            f"the database {database.place} is PostgreSQL's, which has its own backup: pg_dump --format=custom "
            f"--file=FILE URL, and then a copy of the folders {', '.join(FOLDERS)} in {home}"
        )
    part = archive.with_name(f".part-{archive.name}")
    with place_errors(archive):
        beside = tempfile.TemporaryDirectory(dir=archive.parent, prefix=".part-")
    with storage_errors(archive), beside as folder:
        copy = Path(folder) / DATABASE
        try:
            runs, answers = _copy(database, copy)
        except sqlite3.Error as error:
            raise database.storage_error(error) from error
        try:
            with tarfile.open(part, "w:gz" if archive.suffix in (".gz", ".tgz") else "w") as tar:
                tar.add(copy, DATABASE)
                files = 1 + sum(_added(tar, home, path) for path in _files(home))
            os.replace(part, archive)
        finally:
            part.unlink(missing_ok=True)
    return Backup(runs=runs, answers=answers, files=files, size=archive.stat().st_size)


def _copy(database: Database, copy: Path) -> tuple[int, int]:
    """Copy the database, and return how many runs and answered calls the copy has."""
    assert database.file is not None
    with closing(database.file.connect()) as source, closing(sqlite3.connect(copy)) as target:
        source.backup(target)
        target.execute("PRAGMA journal_mode=DELETE")
        target.execute("PRAGMA user_version=0")
        (found,) = target.execute("PRAGMA quick_check(1)").fetchone()
        if found != "ok":
            raise StorageError(f"the database {database.place} is damaged ({found}); nothing was backed up")
        (runs,) = target.execute("SELECT count(*) FROM runs").fetchone()
        (answers,) = target.execute("SELECT count(*) FROM calls WHERE status = 'answered'").fetchone()
    return int(runs), int(answers)


def _files(home: Path) -> Iterator[Path]:
    for name in FOLDERS:
        for folder, below, files in os.walk(home / name):
            below[:] = sorted(one for one in below if not one.startswith(PASSING))
            links = [one for one in below if (Path(folder) / one).is_symlink()]
            yield from (Path(folder) / one for one in sorted([*files, *links]) if not one.startswith(PASSING))


def _added(tar: tarfile.TarFile, home: Path, path: Path) -> bool:
    # Gone meanwhile: what the database refers to stays.
    with suppress(FileNotFoundError):
        tar.add(path, path.relative_to(home), recursive=False)
        return True
    return False
