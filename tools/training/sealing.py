"""Folders that are complete or ignored: a seal with every file's hash is written last, and checked before use."""

from __future__ import annotations

import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

from tools.files import file_hash

SEAL = "sealed.json"


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
