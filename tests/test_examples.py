"""The examples, executed against the scripted server: those of the RLHF guide, the use cases, and a crew's tool.

``examples/crew.py --kickoff`` is executed in ``test_guide_alpaca``, where what it makes is compared, and
``examples/loop.py`` in ``test_loop_example``.
"""

from __future__ import annotations

import importlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from corral import CrewEvaluation, PipelineConfig
from examples import crew
from examples.rlhf import feedback, judges, monitor, pairs, pipeline
from examples.use_cases.case import judge
from tests.harness import ROOT
from tests.scripted_server import ScriptedServer
from tests.tiny_model import tiny_model

CASES = sorted(path.stem for path in (ROOT / "examples" / "use_cases").glob("*.py") if path.stem != "case")
POOR = ("Well. There are", "It is what it is", "Things happen")


def opinion(body: dict[str, Any]) -> str:
    """Judge as a person would who dislikes a few phrases; the checks do the rest. Write, where nothing is judged."""
    said = json.dumps(body)
    if "response_format" not in body:
        return "Northwind has what you need, made well and made to last. Come and see it."
    good = not any(phrase in said for phrase in POOR)
    if "stars" in json.dumps(body["response_format"]):
        return json.dumps({"stars": 5 if good else 1, "strength": "It is right.", "weakness": "It is short."})
    return json.dumps({"score": 88 if good else 20, "reason": "As asked."})


@pytest.fixture(autouse=True)
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ScriptedServer]:
    """A scripted server in the place of the environment's."""
    with ScriptedServer(answer=opinion) as running:
        given = {"CORRAL_HOME": str(tmp_path), "OPENAI_BASE_URL": running.url, "OPENAI_MODEL": "scripted"}
        for name, value in given.items():
            monkeypatch.setenv(name, value)
        yield running


def test_feedback_on_the_guides_first_example() -> None:
    right, wrong = feedback.main()
    assert right.is_chosen and right.overall_rating == 5
    assert not wrong.is_chosen and "2,900,000" in wrong.detailed_feedback


def test_judges_of_ones_own(capsys: pytest.CaptureFixture[str]) -> None:
    found = judges.main()
    assert found.is_acceptable and found.score_of("seasonality") == 88
    assert "seasonality" in capsys.readouterr().out


def test_a_dimension_that_nothing_speaks_to_has_no_score(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    evaluate = judges.MultiAgentRLHF.evaluate

    def without_clarity(*given: Any) -> CrewEvaluation:
        found = evaluate(*given)
        unjudged = found.scores["clarity"].model_copy(update={"score": None, "feedback": "not judged"})
        return found.model_copy(update={"scores": found.scores | {"clarity": unjudged}})

    monkeypatch.setattr(judges.MultiAgentRLHF, "evaluate", without_clarity)
    assert judges.main().clarity_score is None
    assert "clarity              -  not judged" in capsys.readouterr().out


def test_pairs(tmp_path: Path) -> None:
    made = pairs.main(tmp_path / "pairs.jsonl")
    assert len(made) == 2 and made.failures == 0
    assert len((tmp_path / "pairs.jsonl").read_text().splitlines()) == 2


@pytest.mark.usefixtures("in_this_process")
def test_the_pipeline_to_its_verdict_and_on_from_there(
    server: ScriptedServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """All of it, on a tiny model and few prompts."""
    monkeypatch.setattr(pipeline, "PROMPTS", pipeline.PROMPTS[:5])
    policy = {"models": {"policy": {"base_url": server.url, "model": "scripted"}}}
    few = {"evaluate": {"max_tokens": 12, "resamples": 200, "sampled_draws": 0, "judged_pairs": 0}}
    small = {"num_variations": 2, "num_epochs": 1, "lora_r": 4, "lora_alpha": 8, "eval_split": 0.2}
    settings = {**policy, **few, "train": {"seed_share": 0.0, "rounds": 1}}
    base = str(tiny_model(tmp_path / "base"))
    config = PipelineConfig(base_model=base, context={"brand": "Northwind"}, settings=settings, **small)
    result = pipeline.main(config)
    asked = len(server.requests)
    assert pipeline.main(config) == result and len(server.requests) == asked, "the same call goes on where it ended"
    stages = result.stages
    assert result.standing == "done" and stages.feedback and stages.feedback.num_judged > 0
    assert stages.dataset and stages.dataset.num_examples > 0 and stages.training and stages.evaluation
    assert stages.evaluation.verdict in ("better", "not shown", "worse") and stages.deployment is not None
    assert "'corral show northwind_v1' shows it" in capsys.readouterr().out


def test_the_monitor_without_a_key_for_langsmith() -> None:
    compared = monitor.main()
    assert compared.winner == "v2" and compared.rating_delta > 0


@pytest.mark.parametrize("name", CASES)
def test_a_use_case_tells_its_poor_answer(name: str) -> None:
    good, poor = judge(name, importlib.import_module(f"examples.use_cases.{name}").CASE)
    assert good.overall_score is not None and poor.overall_score is not None
    assert good.is_acceptable and good.overall_score > poor.overall_score
    assert any(check.passed is False for check in poor.checks)


EXECUTED = {
    "test_examples": ("rlhf/feedback", "rlhf/judges", "rlhf/pairs", "rlhf/pipeline", "rlhf/monitor", "use_cases/case"),
    "test_guide_alpaca": ("crew",),
    "test_loop_example": ("loop",),
}


def test_every_example_is_executed() -> None:
    there = {str(path.relative_to(ROOT / "examples").with_suffix("")) for path in (ROOT / "examples").rglob("*.py")}
    cases = {f"use_cases/{name}" for name in CASES}
    assert there == {name for names in EXECUTED.values() for name in names} | cases


def test_there_is_one_for_each_use_case() -> None:
    assert CASES == ["budgeting", "compliance", "creative", "data_quality", "strategic_planning"]


def test_a_tool_of_the_crews_says_how_alike_an_instruction_is() -> None:
    found = crew.use_tools()
    assert found["most_similar"][0]["text"] == "Name three rivers of Europe." and "0.80 at most" in found["summary"]
