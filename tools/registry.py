"""The adapter registry: a folder with a sub-folder for each version, and an atomic ``current`` pointer."""

from __future__ import annotations

import json
import os
import re
import shutil
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from state.errors import BadInput
from state.lease import demand_here
from state.pipeline import AdapterRef
from tools.files import storage_errors, write_file

CURRENT = "current"
VERSION = re.compile(r"v(\d+)-[0-9a-f]{8}")


def deploy(adapter: AdapterRef, registry: Path, record: Mapping[str, Any]) -> str:
    """Copy an adapter into the registry and point ``current`` at it.

    Args:
        adapter: what was trained; its content hash is in the version's name, so deploying twice changes nothing.
        registry: the registry's folder, made where it is missing.
        record: who signed it, on what figures; kept as ``deployment.json`` beside the weights.

    Returns:
        The version's name, such as ``v3-1f2e3d4c``.

    Raises:
        StorageError: the disk is full or read-only.
    """
    with storage_errors(registry):
        registry.mkdir(parents=True, exist_ok=True)
        _demand_pointer(registry)
        version = next((v for v in versions(registry) if v.endswith(f"-{adapter.id[:8]}")), None)
        if version is None:
            version = f"v{1 + max(map(_number, versions(registry)), default=0)}-{adapter.id[:8]}"
            part = Path(tempfile.mkdtemp(dir=registry, prefix=".part-"))
            try:
                shutil.copytree(adapter.folder, part, dirs_exist_ok=True)
                now = datetime.now(UTC).isoformat(timespec="seconds")
                entry = dict(record) | {"adapter": adapter.id, "deployed_at": now}
                write_file(part / "deployment.json", (json.dumps(entry, indent=1) + "\n").encode())
                part.chmod(0o755)
                demand_here()
                part.rename(registry / version)
            except BaseException:
                shutil.rmtree(part, ignore_errors=True)
                raise
        point(registry, version)
        return version


def point(registry: Path, version: str) -> None:
    """Point ``current`` at a version, to end a deployment or to roll back.

    A reader of ``current`` sees the old version or the new one, never neither.

    Raises:
        BadInput: the registry has no such version.
        StorageError: the disk is full or read-only.
    """
    if version not in (there := versions(registry)):
        raise BadInput(f"the registry {registry} has no version {version!r}; it has {', '.join(there) or 'none'}")
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
