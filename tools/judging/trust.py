"""A judge's calibrations, saved under its identity, and whether a run may rely on the judge."""

from __future__ import annotations

import json
from pathlib import Path

from pydantic import ValidationError

from state.errors import StorageError
from state.records import content_hash
from tools.files import storage_errors, write_file
from tools.judging.calibration import Calibration

FOLDER = "calibrations"
"""In Corral's home: one file for each judge, with its newest calibration."""


def save_calibration(calibration: Calibration, home: Path) -> Path:
    """Write a calibration as JSON, in place of the judge's earlier one, and return its path; blocks.

    Raises:
        StorageError: the folder cannot be written.
    """
    path = _path(calibration.judge, home)
    write_file(path, (calibration.model_dump_json(indent=2) + "\n").encode())
    return path


def find_calibration(judge: str, home: Path) -> Calibration | None:
    """Return the newest calibration of a judge, or ``None`` if it was never measured; blocks.

    Args:
        judge: its identity.
        home: Corral's home.

    Raises:
        StorageError: the file is there and cannot be read.
    """
    path = _path(judge, home)
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
    return (
        f"{judge} agreed with people on {share.value:.0%} of {calibration.labels - calibration.failed} "
        f"{calibration.kind}: kappa {kappa.value:.2f}, 95% interval {kappa.low:.2f} to {kappa.high:.2f}"
    )


def trust_refusal(judge: str, calibration: Calibration | None, min_kappa: float | None) -> str | None:
    """Return why a run must not train on this judge's scores, or ``None`` if it may.

    Args:
        judge: its identity.
        calibration: its newest, if it has one.
        min_kappa: what the lower bound of its kappa must reach; ``None`` for no demand.
    """
    if min_kappa is None:
        return None
    if calibration is None:
        return f"judge.min_kappa is {min_kappa:g}, but {trust_note(judge, None)}"
    if calibration.kappa.low < min_kappa:
        return f"judge.min_kappa is {min_kappa:g}, but {trust_note(judge, calibration)}"
    return None


def _path(judge: str, home: Path) -> Path:
    return home / FOLDER / f"{content_hash(judge)}.json"
