"""The checklists of a run as its folder keeps them."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from tools.checklists.items import Checklist
from tools.files import write_file

Stage = Literal["data", "training", "deployment"]
STAGES: tuple[Stage, ...] = ("data", "training", "deployment")
KEPT = "checklists.json"


def write_checklists(folder: Path, found: Mapping[Stage, Checklist]) -> None:
    """Write checklists into a run's folder, each with its score.

    Raises:
        StorageError: the disk is full or read-only.
    """
    kept = {stage: {"score": round(one.score, 4), **one.model_dump(mode="json")} for stage, one in found.items()}
    write_file(folder / KEPT, (json.dumps(kept, indent=1) + "\n").encode())


def read_checklists(folder: Path) -> dict[Stage, Checklist]:
    """Return the checklists that are kept in a run's folder; empty where there are none, or they cannot be read."""
    try:
        kept = json.loads((folder / KEPT).read_text(encoding="utf-8"))
        return {stage: Checklist.model_validate({"items": kept[stage]["items"]}) for stage in STAGES if stage in kept}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
