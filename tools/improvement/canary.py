"""Which versions are served: ``current``, and the canary, which serves a share of the users beside it.

One small file in the registry says which version the canary is, so that every server sees it and none must be told.
"""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from pydantic import AwareDatetime, Field, ValidationError

from state.errors import BadInput, NothingDeployed
from state.records import Record
from tools.files import storage_errors, write_file
from tools.improvement.promotion import arm_of
from tools.registry import CURRENT, current, demand_version, record_of, versions
from tools.registry.card import named_base

CANARY = "canary.json"


class Canary(Record):
    """A version that is tried."""

    version: str
    against: str
    """What ``current`` was when it was opened."""
    share: float = Field(gt=0, lt=1)
    """Of the users that it serves."""
    opened_at: AwareDatetime


def open_canary(registry: Path, version: str, share: float) -> Canary | None:
    """Let a version serve a share of the users; ``None`` where it is the current one already.

    Raises:
        BadInput: the registry has no such version or no current one, or another one is being tried.
        StorageError: the disk is full or read-only.
    """
    demand_version(registry, version)
    standing, there = current(registry), read_canary(registry)
    if standing is None:
        raise BadInput(f"the registry {registry} has no current version that {version} could be tried against")
    if standing == version:
        return None
    if there is not None and there.version == version:
        return there
    if there is not None:
        raise BadInput(f"version {there.version} is being tried already; 'corral improve' says how far it is")
    canary = Canary(version=version, against=standing, share=share, opened_at=datetime.now(UTC))
    with storage_errors(registry):
        write_file(registry / CANARY, (canary.model_dump_json() + "\n").encode())
    return canary


def close_canary(registry: Path) -> None:
    """Serve ``current`` alone."""
    with storage_errors(registry):
        (registry / CANARY).unlink(missing_ok=True)


def read_canary(registry: Path) -> Canary | None:
    """Return the version that is tried; ``None`` where there is none, or ``current`` was changed since.

    Raises:
        BadInput: the file cannot be read.
    """
    place = registry / CANARY
    try:
        canary = Canary.model_validate(json.loads(place.read_text(encoding="utf-8")))
    except FileNotFoundError:
        return None
    except (OSError, ValueError, ValidationError) as error:
        why = str(error).splitlines()[0]
        raise BadInput(f"{place} cannot be read ({why}); remove it to serve the current version alone") from error
    if canary.against != current(registry) or canary.version not in versions(registry):
        return None
    # Who points at a version ends the trial, also where that is the one that it began against.
    pointed = (registry / CURRENT).lstat().st_mtime
    return canary if pointed <= canary.opened_at.timestamp() else None


def served_version(registry: Path, user: str) -> tuple[str | None, Literal["current", "canary", ""]]:
    """Return the version that a user who asks for ``current`` is served, and its arm; the same at each request.

    Args:
        registry: the registry's folder.
        user: who asks. One who gives no name is somebody new each time: give a random one.

    Returns:
        The version, ``None`` where none is deployed; the arm, empty where nothing is tried.
    """
    canary = read_canary(registry)
    if canary is None:
        return current(registry), ""
    arm = arm_of(user, canary.version, canary.share)
    return (canary.version if arm == "canary" else canary.against), arm


def deployed_version(registry: Path, base: str) -> str:
    """Return the version that is deployed.

    Raises:
        NothingDeployed: there is none.
        BadInput: its adapter is of another base.
    """
    version = current(registry)
    if version is None:
        raise NothingDeployed(
            f"the registry {registry} has no current version to improve on; 'corral run' makes the first"
        )
    of = str(record_of(registry, version).get("base") or base)
    if named_base(of) != named_base(base):
        raise BadInput(
            f"version {registry / version} is an adapter of {of}, and models.base is {base}; give the config of the "
            "run that made it, or name that base"
        )
    return version
