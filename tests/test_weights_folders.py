"""The base model: unpacked once and whole, checked on reuse, and really the model it says it is."""

from pathlib import Path
from typing import cast

import pytest

from state.errors import BadInput, StorageError
from tests.tiny_model import tiny_model
from tools.settings import load_settings
from tools.weights import folders as base_model
from tools.weights.folders import base_folder


@pytest.fixture
def unpacked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Path]:
    """Put a small file in the GGUF's place, and count how often it is unpacked."""
    calls: list[Path] = []
    gguf = tmp_path / "Small.gguf"
    gguf.write_bytes(b"blocks")

    def unpack(source: Path, folder: Path) -> None:
        calls.append(folder)
        (folder / "model.safetensors").write_bytes(source.read_bytes() * 2)

    monkeypatch.setattr(base_model, "embedded_model", lambda: gguf)
    monkeypatch.setattr(base_model, "_unpack", unpack)
    return calls


def test_the_embedded_model_is_unpacked_once(unpacked: list[Path], tmp_path: Path) -> None:
    cache = tmp_path / "cache"
    folder = base_folder("embedded", cache)
    assert base_folder("embedded", cache) == folder
    assert len(unpacked) == 1
    assert [path.name for path in cache.iterdir()] == [folder.name]


def test_a_damaged_folder_is_unpacked_again(unpacked: list[Path], tmp_path: Path) -> None:
    weights = base_folder("embedded", tmp_path / "cache") / "model.safetensors"
    weights.write_bytes(b"damaged")
    base_folder("embedded", tmp_path / "cache")
    assert weights.read_bytes() == b"blocksblocks"
    (tmp_path / "Small.gguf").write_bytes(b"newer blocks")
    assert base_folder("embedded", tmp_path / "cache") != weights.parent
    assert len(unpacked) == 3


def test_a_failed_unpacking_leaves_nothing(
    unpacked: list[Path], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    def half(_: Path, folder: Path) -> None:
        (folder / "model.safetensors").write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(base_model, "_unpack", half)
    with pytest.raises(StorageError, match="No space left"):
        base_folder("embedded", tmp_path / "cache")
    assert list((tmp_path / "cache").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(StorageError, match="cannot be written"):
        base_folder("embedded", tmp_path / "file")


def test_a_file_that_is_no_gguf_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wrong = tmp_path / "Wrong.gguf"
    wrong.write_bytes(b"not a model")
    monkeypatch.setattr(base_model, "embedded_model", lambda: wrong)
    with pytest.raises(StorageError, match=r"Wrong\.gguf could not be unpacked"):
        base_folder("embedded", tmp_path / "cache")


def test_folders_and_names_are_checked(tmp_path: Path) -> None:
    model = tiny_model(tmp_path / "tiny")
    assert base_folder(str(model), tmp_path) == model
    (model / "chat_template.jinja").unlink()
    assert base_folder(str(model), tmp_path) == model, "such a base is trained in Alpaca's format"
    (model / "model.safetensors").unlink()
    with pytest.raises(BadInput, match=r"no weights"):
        base_folder(str(model), tmp_path)
    with pytest.raises(BadInput, match="neither a folder here nor a name"):
        base_folder(str(tmp_path / "missing"), tmp_path)
    with pytest.raises(BadInput, match="could not be fetched from the hub"):
        base_folder("nobody/nothing", tmp_path)


def test_the_embedded_model_answers(tmp_path: Path) -> None:
    """The unpacked weights, tokenizer and chat template belong together: it knows the capital of France, and ends."""
    from transformers import AutoConfig, AutoTokenizer

    from tools.weights.protocol import Draw, Drawn
    from tools.weights.worker import Model

    folder = base_folder("embedded", load_settings().cache)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.eos_token == "<|im_end|>"
    assert tokenizer.eos_token_id == tokenizer.pad_token_id == AutoConfig.from_pretrained(folder).eos_token_id
    assert not hasattr(AutoConfig.from_pretrained(folder), "quantization_config")
    asked = [
        Draw(number=n, turns=({"role": "user", "content": text},), temperature=0, top_p=1, max_tokens=40)
        for n, text in enumerate(("What is the capital of France?", "Say hello."))
    ]
    found: dict[int, Drawn] = {}
    Model(folder, None, "float32").answer(asked, lambda reply: found.update({reply.number: cast(Drawn, reply)}))
    assert "Paris" in found[0].text and found[0].ended
    assert "<|" not in found[0].text + found[1].text
