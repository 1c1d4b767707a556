"""The number format on a CPU: the faster one, measured within bounds, kept with the decision and in the identity."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from nodes.train import apply_answer, decided_job
from state.pipeline import TrainingDecision
from state.request import Training
from tests.test_training_decision import survey
from tools.people.questions import HumanAnswer
from tools.training import number_format, runner
from tools.training.decision import decide_training
from tools.training.job import TrainingJob
from tools.training.number_format import CLEARLY, MEASURED_SECONDS, faster_format
from tools.weights.number_format import NumberFormat


@pytest.mark.parametrize(
    ("narrow", "chosen"),
    [(0.5, "bfloat16"), (CLEARLY - 0.01, "bfloat16"), (CLEARLY, "float32"), (1.7, "float32"), (50.0, "float32")],
)
def test_the_faster_format_is_taken_and_float32_unless_the_other_is_clearly_faster(narrow: float, chosen: str) -> None:
    passes: list[tuple[NumberFormat, float]] = []

    def timed(one: NumberFormat) -> float:
        # Every second pass is disturbed: the fastest one counts.
        seconds = 0.01 * (narrow if one == "bfloat16" else 1.0) * (1 + len(passes) // 2 % 2)
        passes.append((one, seconds))
        return seconds

    assert faster_format(64, timed) == chosen
    turn = 0.02 * (1 + narrow)
    assert MEASURED_SECONDS <= sum(seconds for _, seconds in passes[2:]) < MEASURED_SECONDS + turn


def test_a_pass_that_takes_seconds_is_done_twice_at_most() -> None:
    passes: list[NumberFormat] = []

    def timed(one: NumberFormat) -> float:
        passes.append(one)
        return 5.0 if one == "bfloat16" else 0.01

    assert faster_format(64, timed) == "float32"
    assert passes.count("bfloat16") == 2


def test_both_formats_are_really_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(number_format, "MEASURED_SECONDS", 0.0)
    timed = number_format._timed_passes(16)
    assert timed("float32") > 0 and timed("bfloat16") > 0
    assert faster_format(16) in ("float32", "bfloat16")


@pytest.mark.parametrize(
    ("wide", "gpu", "kept"), [(True, None, "float32"), (False, None, "bfloat16"), (False, (40, 40), None)]
)
def test_the_decision_keeps_the_format_and_the_job_takes_it(
    tmp_path: Path, wide: bool, gpu: tuple[float, float] | None, kept: NumberFormat | None
) -> None:
    found = survey(gpu=gpu)
    machine = found.machine.model_copy(update={"wide": wide})
    decision = decide_training(found.model_copy(update={"machine": machine}), Training())
    assert decision.number_format == kept
    again = TrainingDecision.model_validate_json(decision.model_dump_json())
    job = TrainingJob(base="b", recipe="sft", dataset="d", out=str(tmp_path))
    assert decided_job(job, again).number_format == kept


def test_who_refuses_the_changes_keeps_the_format() -> None:
    decision = TrainingDecision(action="optimise", reason="memory is short", number_format="float32")
    answer = HumanAnswer.model_validate({"reviewer": "ann", "decisions": [{"type": "reject"}]})
    request = type("R", (), {"train": Training()})
    assert apply_answer(answer, decision, request).number_format == "float32"  # type: ignore[arg-type]  # its train alone is read


def test_the_adapter_s_identity_knows_the_format(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    (tmp_path / "sft.jsonl").write_text(json.dumps({"prompt": [], "completion": []}) + "\n")
    job = TrainingJob(base=str(tmp_path), recipe="sft", dataset=str(tmp_path), out=str(tmp_path / "out"))
    formats: tuple[NumberFormat | None, ...] = (None, "float32", "bfloat16")
    assert len({job.model_copy(update={"number_format": one}).identity() for one in formats}) == 3


@pytest.mark.parametrize("kept", ["float32", "bfloat16"])
def test_the_trainer_computes_in_the_format_of_the_job(monkeypatch: pytest.MonkeyPatch, kept: NumberFormat) -> None:
    def never() -> None:
        raise AssertionError("a decided format is not chosen again")

    monkeypatch.setattr(runner, "compute_dtype", never)
    job = TrainingJob(base="b", recipe="sft", dataset="d", out="o", number_format=kept)
    assert str(runner._dtype(job)) == f"torch.{kept}"
