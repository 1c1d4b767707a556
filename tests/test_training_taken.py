"""A training's working folder belongs to one process: who goes on with it takes it from who was stopped meanwhile."""

from pathlib import Path

import pytest

from state.errors import TrainingError
from tools.training.sealing import demand_taken, last_whole_checkpoint, own_folder, seal, take_folder

JOB = "0123456789abcdef"


def checkpoint(folder: Path, step: int) -> Path:
    place = folder / "sft" / f"checkpoint-{step}"
    place.mkdir(parents=True)
    (place / "weights").write_text(str(step))
    seal(place)
    return place


def test_a_new_owner_has_what_the_one_before_left(tmp_path: Path) -> None:
    take_folder(tmp_path, JOB, "first")
    checkpoint(own_folder(tmp_path, JOB, "first"), 2)
    take_folder(tmp_path, JOB, "second")
    mine = own_folder(tmp_path, JOB, "second")
    assert last_whole_checkpoint(mine / "sft") == mine / "sft" / "checkpoint-2"
    assert [path.name for path in tmp_path.iterdir()] == [mine.name]


def test_a_folder_of_the_version_before_is_taken_too(tmp_path: Path) -> None:
    checkpoint(tmp_path / JOB[:12], 2)
    (tmp_path / f"job-{JOB[:12]}.json").touch()
    take_folder(tmp_path, JOB, "mine")
    assert last_whole_checkpoint(own_folder(tmp_path, JOB, "mine") / "sft") is not None


def test_who_was_stopped_finds_its_folder_gone(tmp_path: Path) -> None:
    take_folder(tmp_path, JOB, "stopped")
    stopped, mine = own_folder(tmp_path, JOB, "stopped"), own_folder(tmp_path, JOB, "mine")
    checkpoint(stopped, 2)
    demand_taken(stopped)
    take_folder(tmp_path, JOB, "mine")
    with pytest.raises(TrainingError, match="another process goes on with this training"):
        demand_taken(stopped)
    # Libraries make missing folders; what is written there is nobody's, and goes with the next owner.
    checkpoint(stopped, 4)
    with pytest.raises(TrainingError):
        demand_taken(stopped)
    demand_taken(mine)
    take_folder(tmp_path, JOB, "next")
    (left,) = tmp_path.iterdir()
    assert last_whole_checkpoint(left / "sft") == left / "sft" / "checkpoint-2"
