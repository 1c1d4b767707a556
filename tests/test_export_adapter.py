"""A run's adapter written elsewhere and pushed to a hub: as a folder that stands alone, merged, and as GGUF."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import pytest
from huggingface_hub import ModelCard, constants

from graph import standing
from graph.inputs import begin
from graph.services import Services, open_services
from state.pipeline import AdapterRef, DatasetRef, PipelineState
from state.request import RunRequest
from tests.builders import verdict
from tests.fake_hub import FakeHub
from tests.harness import Corral, refused
from tests.served_registry import tiny_adapter
from tests.test_evaluation_scoreboard import board
from tests.tiny_model import tiny_model
from tools.settings import load_settings
from tools.weights.loading import load_model


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    folder = tmp_path_factory.mktemp("trained")
    base = tiny_model(folder / "base")
    return base, tiny_adapter(folder / "adapter", base, 1)


@pytest.fixture
def run(trained: tuple[Path, Path], tmp_path: Path, corral: Corral, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run that has come as far as its adapter, in the command line's home."""
    base, adapter = trained
    request = RunRequest.model_validate({"models": {"base": str(base)}})
    dataset = tmp_path / "dataset"
    dataset.mkdir()
    for name in ("sft.jsonl", "lineage.jsonl"):
        (dataset / name).write_text("{}\n")
    (dataset / "README.md").write_text("---\nconfigs:\n- config_name: sft\n  data_files: sft.jsonl\n---\n# Dataset\n")
    scoreboard = tmp_path / "scoreboard.json"
    scoreboard.write_text(board(3, 0, 0).model_dump_json())
    state: PipelineState = {
        "request": request,
        "adapter": AdapterRef(id="1" * 32, folder=str(adapter)),
        "dataset": DatasetRef(version="d1", folder=str(dataset), sft_rows=1, dpo_rows=0, alpaca_rows=1),
        "verdict": verdict(scoreboard=str(scoreboard)),
    }

    async def begun() -> None:
        async with open_services(load_settings()) as services:
            await begin(services, "trial", request.model_copy(update={"sources": request.sources}))

    asyncio.run(begun())
    (load_settings().home / "runs" / "trial").mkdir(parents=True, exist_ok=True)

    async def state_of(services: Services, run_id: str) -> PipelineState:
        return state

    monkeypatch.setattr(standing, "state_of", state_of)
    return "trial"


def test_an_adapter_is_exported_in_three_forms(
    corral: Corral, run: str, trained: tuple[Path, Path], tmp_path: Path
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    for form, out in (("peft", "folder"), ("merged", "merged"), ("gguf", "adapter.gguf")):
        code, shown, error = corral("export", run, "--adapter", form, "--out", str(tmp_path / out))
        assert (code, shown.strip()) == (0, str(tmp_path / out)), error
    whole = load_model(*trained)
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "merged")
    ids = AutoTokenizer.from_pretrained(tmp_path / "merged")("Hello there.", return_tensors="pt").input_ids
    assert torch.allclose(merged(ids).logits.float(), whole(ids).logits.float(), atol=1e-4)
    card = ModelCard.load(tmp_path / "folder" / "README.md")
    assert card.data.to_dict()["library_name"] == "peft" and "dataset version `d1`" in card.text
    assert ModelCard.load(tmp_path / "merged" / "README.md").data.to_dict()["library_name"] == "transformers"
    assert (tmp_path / "adapter.gguf").read_bytes() == (tmp_path / "folder" / "adapter.gguf").read_bytes()
    assert not list((load_settings().home / "runs" / "trial").glob(".part-*"))


def test_bad_input_is_one_line(corral: Corral, run: str, tmp_path: Path) -> None:
    refused(corral("export", run), "--format", "--adapter")
    refused(corral("export", run, "--adapter", "peft", "--format", "sft"), "--format", "--adapter")
    refused(corral("export", run, "--adapter", "peft"), "--out", "a folder")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "file").touch()
    refused(corral("export", run, "--adapter", "peft", "--out", str(tmp_path / "full")), "exists already", "--yes")
    refused(corral("export", run, "--adapter", "gguf", "--out", str(tmp_path / "full")), "is a folder")
    for name, said in (("kettles", "OWNER"), ("ada/--kettles", "takes no name"), ("a/b/c", "owner and a name")):
        refused(corral("push", run, name), said.lower() if said == "OWNER" else said)


@pytest.fixture
def online(monkeypatch: pytest.MonkeyPatch) -> Callable[[FakeHub], None]:
    def connect(hub: FakeHub) -> None:
        monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
        monkeypatch.setattr(constants, "ENDPOINT", hub.url)
        monkeypatch.setenv("HF_TOKEN", "hub-token")

    return connect


def test_adapter_and_dataset_are_pushed_with_their_cards(
    corral: Corral, run: str, online: Callable[[FakeHub], None], capsys: pytest.CaptureFixture[str]
) -> None:
    with FakeHub(token="hub-token") as hub:
        online(hub)
        code, shown, error = corral("push", run, "ada/kettles")
        assert code == 0, error
        assert shown.split() == [f"{hub.url}/ada/kettles", f"{hub.url}/datasets/ada/kettles-dataset"]
    made = [(one["name"], one["visibility"]) for one in hub.repositories]
    assert made == [("kettles", "private"), ("kettles-dataset", "private")]
    assert {"README.md", "adapter_model.safetensors", "adapter.gguf", "tokenizer.json", "LICENSE"} <= set(
        hub.files["ada/kettles"]
    )
    assert set(hub.files["ada/kettles-dataset"]) == {"README.md", "lineage.jsonl", "sft.jsonl"}
    assert {"library_name: peft" in card for card in hub.cards} == {True, False}, "of both the cards are checked"
    assert "hub-token" not in shown + error


def test_a_hub_that_refuses_or_is_away_is_one_line(corral: Corral, run: str, online: Callable[[FakeHub], None]) -> None:
    with FakeHub(token="another") as hub:
        online(hub)
        refused(corral("push", run, "ada/kettles"), "refuses ada/kettles", "hf auth login")
    refused(corral("push", run, "ada/kettles"), "out of reach")
    assert hub.files == {}
