"""The room that a run needs on the disk: one figure for the preflight and the doctor."""

from __future__ import annotations

from pathlib import Path

import pytest

from state.errors import StorageError
from state.request import Training
from tools.machine.disk import RUN_BYTES, demand_room
from tools.training.estimate import BaseFacts, disk_bytes

UNPACKED = 270_000_000
"""The embedded model as a folder of bfloat16 weights."""


class Usage:
    total = used = 10**12

    def __init__(self, free: int) -> None:
        self.free = free


def test_a_folder_is_made_and_its_free_bytes_returned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(RUN_BYTES))
    assert demand_room(tmp_path / "home") == RUN_BYTES
    assert list((tmp_path / "home").iterdir()) == []


def test_too_little_room_says_where_how_much_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shutil.disk_usage", lambda path: Usage(RUN_BYTES - 1))
    with pytest.raises(StorageError, match=r"has 1\.5 GB left and a run needs 1\.5; make room, or set CORRAL_HOME"):
        demand_room(tmp_path)


def test_the_figure_holds_the_embedded_base_and_the_default_training() -> None:
    smollm2 = BaseFacts(
        parameters=134_515_008, width=576, layers=30, heads=9, vocabulary=49_152, adapted_widths=30 * 10_176
    )
    needed = UNPACKED + disk_bytes(smollm2, Training())
    assert needed < RUN_BYTES < 2 * needed
