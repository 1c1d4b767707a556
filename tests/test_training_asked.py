"""The train step in its graph, with a real look at the machine and a real training of the tiny model."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from langgraph.graph import START, StateGraph
from langgraph.types import Command

import nodes.train
from graph.services import open_services
from graph.standing import RunStatus, how_to_answer
from graph.training import training
from state.checkpoints import open_checkpointer
from state.errors import TrainingError
from state.pipeline import DatasetRef, PipelineState, TrainingDecision
from state.request import RunRequest
from tests.tiny_model import tiny_model
from tools.settings import Settings
from tools.training.decision import USABLE, decide_training
from tools.training.sealing import read_seal
from tools.training.survey import SurveyJob, SurveyResult, run_survey

CONFIG: Any = {"configurable": {"thread_id": "trial"}}
Bend = Callable[[SurveyResult], SurveyResult]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base"))


@pytest.fixture
def dataset(tmp_path: Path) -> DatasetRef:
    """Write twelve rows."""
    with (tmp_path / "sft.jsonl").open("w") as file:
        for number in range(12):
            prompt = [{"role": "user", "content": f"What comes after {number}?"}]
            file.write(
                json.dumps({"prompt": prompt, "completion": [{"role": "assistant", "content": f"{number + 1}."}]})
            )
            file.write("\n")
    return DatasetRef(version="v", folder=str(tmp_path), sft_rows=12, dpo_rows=0, alpaca_rows=0)


def request_for(base: Path, **changes: Any) -> RunRequest:
    settings = {"recipe": "sft", "epochs": 1, "batch_size": 4, "lora_rank": 4, "wait_minutes": 0}
    models = {"base": str(base), "policy": {"base_url": "embedded"}}
    return RunRequest.model_validate({"models": models, "train": settings} | changes)


@asynccontextmanager
async def step_alone(home: Path) -> AsyncIterator[Any]:
    """Yield the train step as a graph of its own, that keeps its state in a database."""
    async with (
        open_services(Settings(home=home, cache=home / "cache")) as services,
        open_checkpointer(services.database) as saver,
    ):
        services.runs_folder.mkdir(parents=True)
        alone = StateGraph(PipelineState)
        alone.add_node("train", training(services.store, services.runs_folder, services.cache, services))
        alone.add_edge(START, "train")
        yield alone.compile(checkpointer=saver)


def short_of_memory(found: SurveyResult) -> SurveyResult:
    """Take so much of the memory away that four rows do not go through at once."""
    needed = decide_training(
        found.survey, RunRequest().train.model_copy(update={"batch_size": 4, "lora_rank": 4})
    ).memory_needed
    room = int((needed - 10_000_000) / USABLE)
    return with_memory(found, room, room)


def with_memory(found: SurveyResult, free: int, total: int) -> SurveyResult:
    resources = found.survey.resources.model_copy(update={"memory_free": free, "memory_total": total})
    return found.model_copy(update={"survey": found.survey.model_copy(update={"resources": resources})})


@pytest.mark.usefixtures("in_this_process")
async def test_a_training_that_must_change_asks_and_keeps_what_was_answered(
    base: Path, dataset: DatasetRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looks: list[SurveyResult] = []

    async def looked(job: SurveyJob, folder: Path) -> SurveyResult:
        looks.append(short_of_memory(await run_survey(job, folder)))
        return looks[-1]

    monkeypatch.setattr(nodes.train, "run_survey", looked)
    async with step_alone(tmp_path / "home") as step:
        asked = await step.ainvoke({"request": request_for(base), "dataset": dataset}, CONFIG)
        question = asked["__interrupt__"][0].value
        assert question["action_requests"][0]["name"] == "optimise_training"
        assert "2 instead of 4 sft rows at once" in question["action_requests"][0]["description"]
        status = RunStatus(run_id="trial", created_at="", standing="waiting", step="train")
        assert how_to_answer(status) == "corral approve trial"
        answer = {"decisions": [{"type": "approve"}], "reviewer": "ada"}
        done = await step.ainvoke(Command(resume=answer), CONFIG)
    assert len(looks) == 1, "an answer is not asked for again, whatever the machine does meanwhile"
    decision = done["training_decision"]
    assert (decision.action, decision.settled_by, decision.rows_at_once) == ("optimise", "ada", {"sft": 2})
    assert decision.estimated_seconds > 0 and decision.actual_seconds > 0

    folder = tmp_path / "home" / "runs" / "trial" / "training" / "round-1"
    summary = json.loads((folder / "adapter" / "summary.json").read_text())
    assert read_seal(folder / "adapter") is not None and done["training_round"] == 1
    assert (summary["estimated_seconds"], summary["seconds"]) == (decision.estimated_seconds, decision.actual_seconds)
    kept = json.loads((folder / "decision.json").read_text())
    assert TrainingDecision.model_validate(kept["decision"]) == decision and kept["survey"]["work"]
    (job,) = (json.loads(path.read_text()) for path in folder.glob("job-*.json"))
    assert (job["rows_at_once"], job["gradient_checkpointing"]) == ({"sft": 2}, False)
    lists = json.loads((folder / "checklist.json").read_text())
    outcomes = {item["name"]: item["outcome"] for part in lists.values() for item in part}
    assert len(outcomes) >= 13 and all(lists[part] for part in ("before", "during", "after"))
    expected = {"the base is the policy": "failed"}
    assert {name: outcome for name, outcome in outcomes.items() if outcome == "failed"} == expected
    for name in ("the adapter loads onto its base", "its weights were changed", "sft losses are finite"):
        assert outcomes[name] == "passed"
    assert [line for line in done["warnings"] if "the base is the policy" in line]


@pytest.mark.usefixtures("in_this_process")
async def test_what_cannot_go_ends_in_one_line_and_goes_on_once_the_cause_is_gone(
    base: Path, dataset: DatasetRef, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = await run_survey(
        SurveyJob(
            job=nodes.train.training_job({"request": request_for(base), "dataset": dataset}, base, tmp_path), heldout=()
        ),
        tmp_path / "look",
    )
    bends: list[Bend] = [
        lambda found: with_memory(found, 10**9, 10**9),
        lambda found: with_memory(found, 10**9, 10**11),
        lambda found: with_memory(found, 10**11, 10**11),
    ]

    async def looked(job: SurveyJob, folder: Path) -> SurveyResult:
        return bends.pop(0)(real)

    async def no_training(*_: Any) -> Any:
        raise TrainingError("begun")

    monkeypatch.setattr(nodes.train, "run_survey", looked)
    monkeypatch.setattr(nodes.train, "launch_training", no_training)
    given: Any = {"request": request_for(base, unattended=True), "dataset": dataset}
    async with step_alone(tmp_path / "home") as step:
        for said in ("not trained: the training needs at least", "not trained after 0 minutes", "begun"):
            with pytest.raises(TrainingError, match=said) as refused:
                await step.ainvoke(given, CONFIG)
            assert "\n" not in str(refused.value)
            given = None
    assert bends == []
