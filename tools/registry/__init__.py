"""The adapter registry: a folder with a sub-folder for each version, and an atomic ``current`` pointer."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from state.errors import BadInput
from state.lease import demand_here
from state.pipeline import AdapterRef
from tools.files import storage_errors, write_file

CURRENT = "current"
RECORD = "deployment.json"
VERSION = re.compile(r"v(\d+)-[0-9a-f]{8}")
Fill = Callable[[Path, str], Mapping[str, Any]]
"""Writes a version, of which it is told the name, into an empty folder; returns what its record has in addition."""


def deploy(adapter: AdapterRef, registry: Path, record: Mapping[str, Any], fill: Fill | None = None) -> str:
    """Put an adapter into the registry and point ``current`` at it; see ``add`` and ``point``."""
    version = add(adapter, registry, record, fill)
    point(registry, version)
    return version


def add(adapter: AdapterRef, registry: Path, record: Mapping[str, Any], fill: Fill | None = None) -> str:
    """Put an adapter into the registry; ``current`` stays where it is.

    Args:
        adapter: what was trained; its content hash is in the version's name, so adding it twice changes nothing.
        registry: the registry's folder, made where it is missing.
        record: who signed it, on what figures; kept as ``deployment.json`` beside the weights.
        fill: writes the version into an empty folder and may return what the record has in addition; by default it
            copies the adapter's folder.

    Returns:
        The version's name, such as ``v3-1f2e3d4c``.

    Raises:
        StorageError: the disk is full or read-only.
    """
    with storage_errors(registry):
        registry.mkdir(parents=True, exist_ok=True)
        _demand_pointer(registry)
        version = next((v for v in versions(registry) if v.endswith(f"-{adapter.id[:8]}")), None)
        if version is not None:
            return version
        version = f"v{1 + max(map(_number, versions(registry)), default=0)}-{adapter.id[:8]}"
        part = Path(tempfile.mkdtemp(dir=registry, prefix=".part-"))
        try:
            more = fill(part, version) if fill else _copy(Path(adapter.folder), part)
            now = datetime.now(UTC).isoformat(timespec="seconds")
            entry = {**record, **more, "adapter": adapter.id, "deployed_at": now}
            write_file(part / RECORD, (json.dumps(entry, indent=1) + "\n").encode())
            part.chmod(0o755)
            demand_here()
            part.rename(registry / version)
        except BaseException:
            shutil.rmtree(part, ignore_errors=True)
            raise
        return version


def record_of(registry: Path, version: str) -> dict[str, Any]:
    """Return what is recorded of a version: who signed it, on what figures, and what was found since.

    Raises:
        BadInput: the registry has no such version, or its record cannot be read.
    """
    demand_version(registry, version)
    place = registry / version / RECORD
    try:
        found = json.loads(place.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{place} cannot be read: {error}") from error
    return found if isinstance(found, dict) else {}


def note(registry: Path, version: str, **facts: Any) -> None:
    """Add facts to a version's record.

    Raises:
        BadInput: as for ``record_of``.
        StorageError: the disk is full or read-only.
    """
    entry = record_of(registry, version) | facts
    write_file(registry / version / RECORD, (json.dumps(entry, indent=1) + "\n").encode())


def demand_version(registry: Path, version: str) -> None:
    """Refuse a name that is no version of the registry.

    Raises:
        BadInput: one line that names those that there are.
    """
    if version not in (there := versions(registry)):
        raise BadInput(f"the registry {registry} has no version {version!r}; it has {', '.join(there) or 'none'}")


def _copy(folder: Path, part: Path) -> dict[str, Any]:
    shutil.copytree(folder, part, dirs_exist_ok=True)
    return {}


def point(registry: Path, version: str) -> None:
    """Point ``current`` at a version, to end a deployment or to roll back.

    A reader of ``current`` sees the old version or the new one, never neither.

    Raises:
        BadInput: the registry has no such version.
        StorageError: the disk is full or read-only.
    """
    demand_version(registry, version)
    _demand_pointer(registry)
    with storage_errors(registry):
        link = registry / f".{CURRENT}-{os.getpid()}"
        link.unlink(missing_ok=True)
        demand_here()
        link.symlink_to(version, target_is_directory=True)
        os.replace(link, registry / CURRENT)


def _demand_pointer(registry: Path) -> None:
    place = registry / CURRENT
    if place.exists() and not place.is_symlink():
        raise BadInput(f"{place} is no pointer of a registry and is not overwritten; move it, or name another registry")


def versions(registry: Path) -> list[str]:
    """Return the versions in the registry, oldest first."""
    if not registry.is_dir():
        return []
    return sorted((p.name for p in registry.iterdir() if VERSION.fullmatch(p.name)), key=_number)


def current(registry: Path) -> str | None:
    """Return the version that ``current`` points at, or ``None``."""
    link = registry / CURRENT
    return os.readlink(link) if link.is_symlink() else None


def _number(version: str) -> int:
    return int(version[1:].split("-")[0])
