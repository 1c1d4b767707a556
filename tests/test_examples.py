"""The examples, executed: those of the RLHF guide and the use cases, against the scripted server."""

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


def test_the_pipeline_up_to_its_training(server: ScriptedServer) -> None:
    policy = {"models": {"policy": {"base_url": server.url, "model": "scripted"}}, "preview": True}
    result = pipeline.main(PipelineConfig(context={"brand": "Northwind"}, settings=policy, num_variations=2))
    assert result.standing == "done" and result.stages.training is None
    assert result.stages.feedback and result.stages.feedback.num_judged > 0
    assert result.stages.dataset and result.stages.dataset.num_examples > 0


def test_the_monitor_without_a_key_for_langsmith() -> None:
    compared = monitor.main()
    assert compared.winner == "v2" and compared.rating_delta > 0


@pytest.mark.parametrize("name", CASES)
def test_a_use_case_tells_its_poor_answer(name: str) -> None:
    good, poor = judge(name, importlib.import_module(f"examples.use_cases.{name}").CASE)
    assert good.overall_score is not None and poor.overall_score is not None
    assert good.is_acceptable and good.overall_score > poor.overall_score
    assert any(check.passed is False for check in poor.checks)


def test_there_is_one_for_each_use_case() -> None:
    assert CASES == ["budgeting", "compliance", "creative", "data_quality", "strategic_planning"]


def test_a_tool_of_the_crews_says_how_alike_an_instruction_is() -> None:
    found = crew.use_tools()
    assert found["most_similar"][0]["text"] == "Name three rivers of Europe." and "0.80 at most" in found["summary"]
