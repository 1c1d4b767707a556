"""A judge's calibrations, kept under its identity for good, and what its newest one says in a line."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

from pydantic import ValidationError

from state.errors import BadInput, StorageError
from state.names import Split
from state.records import content_hash
from tools.files import storage_errors, write_file
from tools.judging.calibration import Calibration

FOLDER = "calibrations"
"""In Corral's home: a folder for each judge, with a file for each of its calibrations."""


def save_calibration(calibration: Calibration, home: Path) -> Path:
    """Write a calibration as JSON beside the judge's earlier ones, and return its path; blocks.

    Raises:
        StorageError: the folder cannot be written.
    """
    at = calibration.made_at.strftime("%Y%m%dT%H%M%S.%f")
    text = calibration.model_dump_json(indent=2) + "\n"
    path = home / FOLDER / content_hash(calibration.judge) / f"{at}-{content_hash(text)[:8]}.json"
    write_file(path, text.encode())
    return path


def calibrations_of(judge: str, home: Path) -> list[Calibration]:
    """Return all calibrations of a judge, the oldest first; blocks.

    Args:
        judge: its identity.
        home: Corral's home.

    Raises:
        StorageError: a file is there and cannot be read.
    """
    name = content_hash(judge)
    return _read([home / FOLDER / f"{name}.json", *(home / FOLDER / name).glob("*.json")])


def all_calibrations(home: Path) -> list[Calibration]:
    """Return the calibrations of all judges, the oldest first; blocks. Errors as for ``calibrations_of``."""
    folder = home / FOLDER
    return _read([*folder.glob("*.json"), *folder.glob("*/*.json")])


def find_calibration(judge: str, home: Path) -> Calibration | None:
    """Return the newest calibration of a judge, or ``None`` if it was never measured; blocks.

    Raises:
        StorageError: a file is there and cannot be read.
    """
    found = [one for one in calibrations_of(judge, home) if one.split != "tune"]
    return found[-1] if found else None


def recalibration_of(judge: str, home: Path) -> Calibration | None:
    """Return a judge's newest calibration that says what its scores have meant; errors as for ``calibrations_of``."""
    found = [one for one in calibrations_of(judge, home) if one.recalibration is not None]
    return found[-1] if found else None


def demand_untouched(set_hash: str, split: Split, every: Sequence[Calibration]) -> None:
    """Refuse to report on labels that a judge was tuned on.

    Raises:
        BadInput: half of the set was there to tune on, and all of it is to be measured on.
    """
    if split == "all" and any(one.split == "tune" and one.set_hash == set_hash for one in every):
        raise BadInput("half of these labels were there to tune a judge on; measure it on the others: --split report")


def _read(paths: Sequence[Path]) -> list[Calibration]:
    found = [one for path in paths if (one := _calibration(path)) is not None]
    return sorted(found, key=lambda one: one.made_at)


def _calibration(path: Path) -> Calibration | None:
    """Return a file's calibration; ``None`` where there is no file. Earlier versions kept one file a judge."""
    try:
        with storage_errors(path):
            return Calibration.model_validate(json.loads(path.read_text("utf-8"))) if path.exists() else None
    except (ValueError, ValidationError, RecursionError) as error:
        raise StorageError(
            f"{path} is not a calibration: {error}. Delete it and run corral calibrate again."
        ) from error


def trust_note(judge: str, calibration: Calibration | None) -> str:
    """Return one line for a scoreboard: how the judge agreed with people, or that it was never measured."""
    if calibration is None:
        how = "corral calibrate LABELS.jsonl, or --decisions RUN for what people decided in a run"
        return f"{judge} was never measured against people's labels ({how})"
    kappa, share = calibration.kappa, calibration.agreement
    beaten = [b.name for mode in calibration.modes[:1] for b in mode.baselines if b.gain.low > 0]
    above = f"; shown better than {', '.join(beaten)}" if beaten else "; shown better than no trivial baseline"
    return (
        f"{judge} agreed with people on {share.value:.0%} of {calibration.labels - calibration.failed} "
        f"{calibration.kind}: kappa {kappa.value:.2f}, 95% interval {kappa.low:.2f} to {kappa.high:.2f}"
        f"{above if calibration.modes else ''}"
    )
