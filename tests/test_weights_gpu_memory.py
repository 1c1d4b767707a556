"""GPU memory that runs out is told in one line, and large models are decoded in as many rows as fit."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from tools.training import survey
from tools.training import worker as training_worker
from tools.training.job import TrainingJob
from tools.weights import gpu_memory, worker
from tools.weights.decoding import CACHE_SHARE, sizes_in

SAID = (
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 68.00 MiB. GPU 0 has a total capacity of ..."),
    RuntimeError("CUDA error: out of memory\nSearch for `cudaErrorMemoryAllocation' in ..."),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
)


@pytest.fixture
def full_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "mem_get_info", lambda *_: (60_000_000, 150_100_000_000))
    monkeypatch.setattr(torch.cuda, "memory_reserved", lambda *_: 1_300_000_000)


@pytest.mark.usefixtures("full_gpu")
@pytest.mark.parametrize("error", SAID)
def test_it_is_told_with_who_holds_it(error: Exception) -> None:
    told = "the GPU's memory ran out: of 150.1 GB this process held 1.3 and everything else 148.7"
    assert gpu_memory.in_one_line(error) == told
    failed: list[Any] = []

    def answer(*_: object) -> None:
        raise error

    worker.answer_each([worker.Draw(turns=(), temperature=0, top_p=1, max_tokens=1)], answer, failed.append)
    assert [one.failed for one in failed] == [told]


def test_it_is_told_where_cuda_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    def silent(*_: object) -> None:
        raise RuntimeError("CUDA error: out of memory")

    monkeypatch.setattr(torch.cuda, "mem_get_info", silent)
    assert gpu_memory.in_one_line(SAID[1]) == "the GPU's memory ran out"
    assert gpu_memory.in_one_line(RuntimeError("shapes differ")) is None
    assert gpu_memory.in_one_line(MemoryError("CUDA out of memory")) is None


@pytest.mark.usefixtures("full_gpu")
def test_a_training_that_runs_out_of_it_ends_with_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    from tools.training import runner

    def run(*_: object) -> None:
        raise SAID[0]

    monkeypatch.setattr(training_worker, "die_with_parent", lambda: None)
    monkeypatch.setattr(runner, "run", run)
    lines: list[dict[str, Any]] = []
    monkeypatch.setattr(
        training_worker, "JsonLines", lambda: SimpleNamespace(write=lambda **fields: lines.append(fields))
    )
    (tmp_path / "job.json").write_text(TrainingJob(base="b", recipe="sft", dataset="d", out="o").model_dump_json())
    assert training_worker.main(tmp_path / "job.json", "me") == 1
    assert lines[-1]["event"] == "stopped" and lines[-1]["reason"].startswith("the GPU's memory ran out: of 150.1 GB")
    assert "resume" in lines[-1]["reason"] and "\n" not in json.dumps(lines[-1])


def test_a_gpu_that_others_fill_is_surveyed_as_full(monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise SAID[1]

    monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _: SimpleNamespace(name="H", total_memory=9))
    monkeypatch.setattr(torch.cuda, "mem_get_info", full)
    monkeypatch.setattr(survey, "_pace", full)
    assert survey._gpu(0).free == 0 and survey._pace_of_gpu(8, torch.bfloat16) == survey.BUSY_GPU_PACE


def test_on_a_gpu_as_many_rows_are_decoded_as_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    config = SimpleNamespace(num_key_value_heads=32, num_hidden_layers=32, head_dim=128)
    model: Any = SimpleNamespace(
        device=torch.device("cuda"),
        dtype=torch.bfloat16,
        config=SimpleNamespace(get_text_config=lambda: config),
    )
    row = 2 * 32 * 32 * 128 * 2 * 1000
    for rows, sizes in ((100, [96]), (50, [50]), (0.5, [1])):
        memory = int(rows * row / CACHE_SHARE) + 9
        monkeypatch.setattr(torch.cuda, "get_device_properties", lambda _, m=memory: SimpleNamespace(total_memory=m))
        assert list(sizes_in(model, 1000, (96, 768))) == sizes
