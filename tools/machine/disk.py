"""The room that a run needs on the disk."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

from state.errors import StorageError
from tools.files import storage_errors

RUN_BYTES = 1_500_000_000
"""Bytes that a run of the embedded model takes at its highest, with half as much again to spare. The unpacked base has
270 MB, the default training takes 570 MB (``tools.training.estimate.disk_bytes``: checkpoints and adapters of rank 32),
and database, datasets, answers and the other round's adapter about 150 MB. A larger model needs more: what its training
takes is looked at again, from the model's own figures, before it begins."""


def demand_room(home: Path) -> int:
    """Return the free bytes of a folder's disk; the folder is made where it is missing.

    Raises:
        StorageError: it cannot be written, or has less than ``RUN_BYTES``.
    """
    with storage_errors(home):
        home.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=home) as file:
            file.write(b"corral")
        free = shutil.disk_usage(home).free
    if free < RUN_BYTES:
        raise StorageError(
            f"{home} has {free / 1e9:.1f} GB left and a run needs {RUN_BYTES / 1e9:.1f}; "
            "make room, or set CORRAL_HOME to another disk"
        )
    return free
