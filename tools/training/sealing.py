"""Folders that are complete or ignored: a seal with every file's hash is written last, and checked before use.

A training's working folder bears its owner's name. Who goes on with the training renames it, so that a process that was
stopped meanwhile, and is continued, finds its place gone and can spoil nothing.
"""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from state.errors import TrainingError
from tools.files import file_hash

SEAL = "sealed.json"
TAKEN = "taken"
"""The mark of a working folder that has an owner."""


def take_folder(folder: Path, identity: str, owner: str) -> None:
    """Give the working folder of a job to a new owner, with all that earlier ones have left in it.

    Args:
        folder: holds the working folders.
        identity: the job's.
        owner: a name that nobody had before.
    """
    mine = own_folder(folder, identity, owner)
    # A folder without the mark is of the version before, or was made again by a process that had lost its own.
    *stale, last = [None, *sorted(folder.glob(f"{identity[:12]}*/"), key=lambda place: (place / TAKEN).exists())]
    for place in stale:
        if place is not None:
            shutil.rmtree(place, ignore_errors=True)
    if last is not None:
        last.rename(mine)
    mine.mkdir(parents=True, exist_ok=True)
    (mine / TAKEN).touch()


def own_folder(folder: Path, identity: str, owner: str) -> Path:
    """Return an owner's working folder for a job."""
    return folder / f"{identity[:12]}-{owner}"


def demand_taken(place: Path) -> None:
    """Do nothing while a working folder is its owner's.

    Raises:
        TrainingError: another process has taken it.
    """
    if not (place / TAKEN).exists():
        raise TrainingError(f"another process goes on with this training; it has taken {place}")


def seal(folder: Path, **facts: Any) -> None:
    """Write the hashes of all files under ``folder``, and ``facts``, as its seal; atomically."""
    hashes = {name: file_hash(folder / name) for name in _files(folder)}
    part = folder / f".{SEAL}.part"
    part.write_text(json.dumps({**facts, "files": hashes}, indent=2, sort_keys=True) + "\n")
    os.replace(part, folder / SEAL)


def read_seal(folder: Path) -> dict[str, Any] | None:
    """Return a folder's seal if every file still has its recorded hash, else ``None``."""
    try:
        record: dict[str, Any] = json.loads((folder / SEAL).read_text())
        whole = all(file_hash(folder / name) == digest for name, digest in record["files"].items())
    except (OSError, ValueError, KeyError, AttributeError):
        return None
    return record if whole else None


def last_whole_checkpoint(folder: Path) -> Path | None:
    """Return the newest complete ``checkpoint-N`` under ``folder``, or ``None``, and remove newer incomplete ones.

    A kill while a checkpoint is written, or while old ones are deleted, leaves a folder without a valid seal.
    """
    numbered = {
        int(match[1]): path for path in folder.glob("checkpoint-*") if (match := re.fullmatch(r"\D+(\d+)", path.name))
    }
    for number in sorted(numbered, reverse=True):
        if read_seal(numbered[number]) is not None:
            return numbered[number]
        shutil.rmtree(numbered[number], ignore_errors=True)
    return None


def _files(folder: Path) -> list[str]:
    names = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return sorted(name for name in names if not name.endswith((SEAL, f"{SEAL}.part")))
