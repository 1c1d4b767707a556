"""The trainer's figures may go to a service: its package is asked for before anything is spent."""

from __future__ import annotations

import importlib.util
import json
import os
from pathlib import Path

import pytest

from graph.preflight import check_request
from state.errors import BadInput
from state.request import RunRequest, Training
from tests.tiny_model import tiny_model
from tools.training.job import TrainingJob
from tools.training.runner import report_into, run


def request(service: str) -> RunRequest:
    return RunRequest.model_validate({"train": {"report_to": service}})


@pytest.mark.parametrize("service", ["wandb", "tensorboard", "mlflow"])
def test_a_service_without_its_package_is_refused_before_anything_is_spent(
    service: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("graph.preflight.find_spec", lambda name: None)
    with pytest.raises(BadInput, match=f"train.report_to {service} needs the package {service}: pip install {service}"):
        check_request(request(service))
    monkeypatch.undo()
    check_request(request("none"))


def test_it_changes_no_adapter(tmp_path: Path) -> None:
    base = tmp_path / "base"
    base.mkdir()
    (base / "config.json").write_text("{}")
    (tmp_path / "sft.jsonl").write_text("{}\n")
    jobs = [
        TrainingJob(base=str(base), recipe="sft", dataset=str(tmp_path), out="o", settings=request(service).train)
        for service in ("none", "wandb")
    ]
    assert jobs[0].identity() == jobs[1].identity()


def test_a_service_writes_into_the_trainings_folder_unless_it_is_told_elsewhere(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("WANDB_DIR", "WANDB_PROJECT", "WANDB_SILENT", "TENSORBOARD_LOGGING_DIR", "MLFLOW_TRACKING_URI"):
        monkeypatch.setenv(name, "elsewhere")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "mine")
    monkeypatch.delenv("WANDB_DIR")
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    for service in ("none", "wandb", "tensorboard", "mlflow"):
        report_into(service, tmp_path)
    assert os.environ["WANDB_DIR"] == str(tmp_path) and os.environ["WANDB_PROJECT"] == "elsewhere"
    assert os.environ["MLFLOW_TRACKING_URI"] == (tmp_path / "mlruns").as_uri()
    assert os.environ["TENSORBOARD_LOGGING_DIR"] == "elsewhere"


@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not importlib.util.find_spec("wandb"), reason="wandb is 62 MB, and no part of the extra dev")
def test_wandb_offline_gets_each_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    base = tiny_model(tmp_path / "base")
    prompt, answer = ([{"role": role, "content": "Hello there."}] for role in ("user", "assistant"))
    row = json.dumps({"prompt": prompt, "completion": answer})
    (tmp_path / "sft.jsonl").write_text(f"{row}\n" * 4)
    monkeypatch.setenv("WANDB_MODE", "offline")
    for name in ("WANDB_DIR", "WANDB_PROJECT", "WANDB_SILENT"):
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    settings = Training(epochs=2, batch_size=2, lora_rank=4, report_to="wandb")
    folder = tmp_path / "run-1" / "training" / "round-1"
    job = TrainingJob(
        base=str(base), recipe="sft", dataset=str(tmp_path), out=str(folder / "adapter"), settings=settings
    )
    run(job, folder, lambda **fields: None)
    (kept,) = folder.glob("wandb/offline-run-*/run-*.wandb")
    logged = kept.read_bytes()
    assert b"train/loss" in logged and b"run-1-sft" in logged
