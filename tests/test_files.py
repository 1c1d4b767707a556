"""Files and folders are whole or not there, and a disk that will not take them is one clear error."""

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import Any

import pytest

from state.errors import StorageError
from tools.files import file_hash, new_folder, publish, storage_errors, write_file


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def fill_the_disk(monkeypatch: pytest.MonkeyPatch, after: int = 0) -> None:
    """Let so many files be synced; then the disk is full."""
    synced = 0

    def fsync(handle: Any) -> None:
        nonlocal synced
        synced += 1
        if synced > after:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", fsync)


def write_folder(folder: Path, files: dict[str, bytes]) -> None:
    with new_folder(folder.parent) as part:
        for name, data in files.items():
            write_file(part / name, data)
        publish(part, folder)


def test_a_file_and_its_folders_are_made(tmp_path: Path) -> None:
    path = tmp_path / "a" / "b" / "file.bin"
    write_file(path, b"\x00\xff\r\n")
    assert path.read_bytes() == b"\x00\xff\r\n"
    assert names(path.parent) == ["file.bin"]
    assert file_hash(path) == hashlib.sha256(b"\x00\xff\r\n").hexdigest()


def test_a_file_is_replaced(tmp_path: Path) -> None:
    write_file(tmp_path / "file", b"old and long")
    write_file(tmp_path / "file", b"new")
    assert (tmp_path / "file").read_bytes() == b"new"


def test_others_may_read_what_is_written(tmp_path: Path) -> None:
    """A server reads what the trainer wrote, often as another user."""
    write_folder(tmp_path / "version", {"file": b"x"})
    write_file(tmp_path / "file", b"x")
    assert stat.S_IMODE((tmp_path / "version").stat().st_mode) == 0o755
    assert stat.S_IMODE((tmp_path / "version" / "file").stat().st_mode) == 0o644
    assert stat.S_IMODE((tmp_path / "file").stat().st_mode) == 0o644


def test_on_a_full_disk_the_old_file_stays_and_nothing_beside_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_file(tmp_path / "file", b"old")
    fill_the_disk(monkeypatch)
    with pytest.raises(StorageError, match=r"cannot be used: No space left on device. Check the disk's space"):
        write_file(tmp_path / "file", b"new")
    assert names(tmp_path) == ["file"] and (tmp_path / "file").read_bytes() == b"old"


def test_a_folder_is_written_whole_and_never_again(tmp_path: Path) -> None:
    write_folder(tmp_path / "v1", {"a": b"1", "b": b"2"})
    write_folder(tmp_path / "v1", {"a": b"changed", "c": b"3"})
    assert {p.name: p.read_bytes() for p in (tmp_path / "v1").iterdir()} == {"a": b"1", "b": b"2"}
    assert names(tmp_path) == ["v1"]


def test_a_folder_that_the_disk_does_not_take_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    fill_the_disk(monkeypatch, after=1)
    with pytest.raises(StorageError, match="No space left on device"):
        write_folder(tmp_path / "v1", {"a": b"1", "b": b"2"})
    assert names(tmp_path) == []


def test_an_interruption_leaves_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(_handle: int) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", interrupted)
    with pytest.raises(KeyboardInterrupt):
        write_folder(tmp_path / "v1", {"a": b"1"})
    with pytest.raises(KeyboardInterrupt):
        write_file(tmp_path / "file", b"x")
    assert names(tmp_path) == []


def test_a_place_that_cannot_be_is_a_storage_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    place = tmp_path / "file" / "below"
    for write in (lambda: write_file(place, b"x"), lambda: write_folder(place, {"a": b"x"})):
        with pytest.raises(StorageError, match=r"file.* cannot be used: .*(Not a directory|File exists)"):
            write()
    with pytest.raises(StorageError, match=f"{tmp_path} cannot be used: Is a directory"):
        write_file(tmp_path, b"x")


def test_other_errors_pass_as_they_are(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mine"), storage_errors(tmp_path):
        raise ValueError("mine")


def test_what_a_killed_writer_left_is_removed_by_the_next(tmp_path: Path) -> None:
    (tmp_path / ".part-killed").mkdir()
    (tmp_path / ".part-killed" / "half").write_bytes(b"x")
    with new_folder(tmp_path) as part:
        assert names(tmp_path) == [part.name]
    assert names(tmp_path) == []
