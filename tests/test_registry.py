"""The adapter registry: versions that stay, and a pointer that always points at one of them."""

import json
import threading
from pathlib import Path

import pytest

from state.errors import BadInput, StorageError
from state.pipeline import AdapterRef
from tools.registry import current, deploy, point, versions


def adapter(folder: Path, id_: str, weights: bytes = b"weights") -> AdapterRef:
    place = folder / f"adapter-{id_}"
    (place / "sub").mkdir(parents=True)
    (place / "adapter_model.safetensors").write_bytes(weights)
    (place / "sub" / "config.json").write_text("{}")
    return AdapterRef(id=id_, folder=str(place))


FIRST, SECOND = "1f2e3d4c" + "0" * 24, "9a8b7c6d" + "0" * 24


def test_a_deployed_adapter_is_current_with_the_record_of_who_signed_it(tmp_path: Path) -> None:
    registry = tmp_path / "deep" / "registry"
    version = deploy(adapter(tmp_path, FIRST), registry, {"reviewer": "ada", "verdict": "better"})
    assert (version, current(registry), versions(registry)) == ("v1-1f2e3d4c", version, [version])
    served = registry / "current"
    assert (served / "adapter_model.safetensors").read_bytes() == b"weights"
    assert (served / "sub" / "config.json").read_text() == "{}"
    record = json.loads((served / "deployment.json").read_text())
    assert (record["reviewer"], record["verdict"], record["adapter"]) == ("ada", "better", FIRST)
    assert record["deployed_at"].endswith("+00:00")


def test_deploying_twice_makes_one_version_and_points_at_it_again(tmp_path: Path) -> None:
    registry, first, second = tmp_path / "registry", adapter(tmp_path, FIRST), adapter(tmp_path, SECOND)
    assert deploy(first, registry, {"reviewer": "ada"}) == "v1-1f2e3d4c"
    assert deploy(second, registry, {}) == "v2-9a8b7c6d"
    assert deploy(first, registry, {"reviewer": "grace"}) == "v1-1f2e3d4c"
    assert (versions(registry), current(registry)) == (["v1-1f2e3d4c", "v2-9a8b7c6d"], "v1-1f2e3d4c")
    assert json.loads((registry / "current" / "deployment.json").read_text())["reviewer"] == "ada"


def test_versions_are_ordered_by_number_and_go_on_from_the_last(tmp_path: Path) -> None:
    for name in ("v10-aaaaaaaa", "v9-bbbbbbbb"):
        (tmp_path / name).mkdir()
    assert versions(tmp_path) == ["v9-bbbbbbbb", "v10-aaaaaaaa"]
    assert deploy(adapter(tmp_path / "made", FIRST), tmp_path, {}) == "v11-1f2e3d4c"


def test_what_else_lies_there_is_no_version(tmp_path: Path) -> None:
    for name in ("vendor-models", "v-draft", "v1", ".part-xyz", "notes"):
        (tmp_path / name).mkdir()
    (tmp_path / "v2-readme.txt").touch()
    assert versions(tmp_path) == []
    assert deploy(adapter(tmp_path / "made", FIRST), tmp_path, {}) == "v1-1f2e3d4c"


def test_a_rollback_points_back(tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    first = deploy(adapter(tmp_path, FIRST), registry, {})
    deploy(adapter(tmp_path, SECOND), registry, {})
    point(registry, first)
    assert current(registry) == first
    assert sorted(path.name for path in registry.iterdir()) == ["current", "v1-1f2e3d4c", "v2-9a8b7c6d"]


@pytest.mark.parametrize("version", ["v3-00000000", "../elsewhere", "current", ""])
def test_an_unknown_version_is_refused_and_the_pointer_stays(tmp_path: Path, version: str) -> None:
    registry = tmp_path / "registry"
    first = deploy(adapter(tmp_path, FIRST), registry, {})
    with pytest.raises(BadInput, match=r"has no version .*; it has v1-1f2e3d4c"):
        point(registry, version)
    assert current(registry) == first


def test_an_empty_registry_has_no_version(tmp_path: Path) -> None:
    assert (versions(tmp_path / "none"), current(tmp_path / "none")) == ([], None)
    with pytest.raises(BadInput, match="has no version 'v1-1f2e3d4c'; it has none"):
        point(tmp_path / "none", "v1-1f2e3d4c")


def test_a_reader_of_the_pointer_always_finds_a_version(tmp_path: Path) -> None:
    registry = tmp_path / "registry"
    both = [deploy(adapter(tmp_path, id_), registry, {}) for id_ in (FIRST, SECOND)]
    missing, done = [], threading.Event()

    def read() -> None:
        while not done.is_set():
            try:
                (registry / "current" / "adapter_model.safetensors").read_bytes()
            except OSError as error:
                missing.append(error)

    reader = threading.Thread(target=read)
    reader.start()
    for number in range(200):
        point(registry, both[number % 2])
    done.set()
    reader.join()
    assert missing == []


def test_a_copy_that_fails_leaves_the_registry_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    registry = tmp_path / "registry"
    first = deploy(adapter(tmp_path, FIRST), registry, {})
    gone = AdapterRef(id=SECOND, folder=str(tmp_path / "gone"))
    with pytest.raises(StorageError, match="gone cannot be used: No such file or directory"):
        deploy(gone, registry, {})
    assert sorted(path.name for path in registry.iterdir()) == ["current", first]
    assert current(registry) == first


def test_a_registry_that_cannot_be_written_is_a_storage_error(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"registry cannot be used: Not a directory|file cannot be used"):
        deploy(adapter(tmp_path, FIRST), tmp_path / "file" / "registry", {})
