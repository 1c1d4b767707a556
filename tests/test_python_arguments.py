"""What a program gives to the Python API by mistake: one line before a model is asked, and no wait without end."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from corral import (
    AutomatedRLHFPipeline,
    DPODatasetBuilder,
    MultiAgentRLHF,
    PipelineConfig,
    RLHFMonitor,
    SyntheticFeedbackGenerator,
    open_runs,
)
from corral.automated import prompt_rows
from graph.inputs import demand_name
from state.errors import BadInput
from tests.judging_support import FunctionEndpoint, fixed_answers
from tools.settings import load_settings

PROMPT, ANSWER = "Name three rivers.", "The Rhine, the Ebro and the Po."
ROW: dict[str, Any] = {"prompt": PROMPT, "model_output": ANSWER}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CORRAL_HOME", str(tmp_path / "home"))
    return tmp_path


def asked_for_nothing(use: Callable[[SyntheticFeedbackGenerator], Any], fault: str) -> None:
    endpoint = FunctionEndpoint(fixed_answers(90))
    with pytest.raises(BadInput, match=fault) as refused:
        use(SyntheticFeedbackGenerator(endpoint=endpoint))
    assert "\n" not in str(refused.value) and not endpoint.calls


@pytest.mark.parametrize(
    ("examples", "fault"),
    [
        (ROW, "examples must be a list, not dict"),
        (PROMPT, "examples must be a list, not str"),
        (None, "examples must be a list, not NoneType"),
        ([PROMPT], "example 0: it must be a mapping"),
        ([ROW, (PROMPT, ANSWER)], "example 1: it must be a mapping"),
        ([ROW | {"prompt": ""}], "example 0: there is no 'prompt': it is empty"),
        ([ROW | {"prompt": 5}], "there is no 'prompt': it must be a text, not a number"),
        ([ROW, ROW | {"context": {"brand_terms": 7}}], "example 1: .*brand_terms"),
        ([ROW | {"context": {"brand": {"of": object()}}}], "example 0: context"),
    ],
)
def test_examples_that_cannot_be_judged(examples: Any, fault: str) -> None:
    asked_for_nothing(lambda generator: generator.generate_batch(examples), fault)


@pytest.mark.parametrize("context", ["Acme", ["Acme"]])
def test_a_context_that_is_no_mapping(context: Any) -> None:
    asked_for_nothing(lambda generator: generator.generate_feedback(PROMPT, ANSWER, context), "context")


@pytest.mark.parametrize("size", ["10", 1.5, None, True, 0])
def test_a_size_that_is_no_whole_number(size: Any) -> None:
    asked_for_nothing(lambda generator: generator.generate_batch([ROW], batch_size=size), "batch_size must be")
    asked_for_nothing(
        lambda generator: DPODatasetBuilder(generator).build_dataset([PROMPT], str.upper, size), "num_variations must"
    )


@pytest.mark.parametrize(
    ("prompts", "fault"),
    [
        (PROMPT, "prompts must be a list, not str"),
        ({"prompt": PROMPT}, "prompts must be a list, not dict"),
        ([PROMPT, 5], "prompt 1 must be a text or a mapping"),
    ],
)
def test_one_prompt_is_no_list_of_its_letters(prompts: Any, fault: str) -> None:
    asked_for_nothing(lambda generator: DPODatasetBuilder(generator).build_dataset(prompts, str.upper), fault)
    with pytest.raises(BadInput, match=fault):
        prompt_rows(prompts, (), 0.5)
    with pytest.raises(BadInput, match="heldout_prompts must be a list"):
        prompt_rows(["Name a lake.", "Name a river."], PROMPT, 0.5)


@pytest.mark.parametrize(
    ("make", "fault"),
    [
        (lambda: MultiAgentRLHF(weights=[1, 2]), "weights must be a mapping, not list"),  # type: ignore[arg-type]
        (lambda: MultiAgentRLHF(context={"of": object()}), "context"),
        (lambda: DPODatasetBuilder(None), "generator is a SyntheticFeedbackGenerator"),  # type: ignore[arg-type]
        (lambda: AutomatedRLHFPipeline("x"), "config must be a mapping, not str"),  # type: ignore[arg-type]
        (lambda: PipelineConfig(num_epochs=2, epochs=3), "it means the same as num_epochs"),
        (lambda: PipelineConfig(num_epoch=2), "unknown here; its fields are"),
        (lambda: RLHFMonitor(alert_below="low"), "a rating from 1 to 5, not 'low'"),  # type: ignore[arg-type]
        (lambda: RLHFMonitor().track_feedback_quality([4, 5]), "0 is no feedback"),  # type: ignore[list-item]
        (lambda: RLHFMonitor().compare_model_versions("v1", "v2", None, []), "v1 must be a list"),  # type: ignore[arg-type]
        (lambda: demand_name("-rf"), "begins with a letter or a digit"),
    ],
)
def test_what_an_object_is_made_of(make: Callable[[], Any], fault: str) -> None:
    with pytest.raises(BadInput, match=fault) as refused:
        make()
    assert "\n" not in str(refused.value)


async def test_chat_models_have_names() -> None:
    with pytest.raises(BadInput, match="chat_models must be a mapping of names to models"):
        async with open_runs(load_settings(), [str.upper]):  # type: ignore[arg-type]
            pass


def test_drafts_that_ran_out_cost_their_variations_and_nothing_waits_for_them() -> None:
    drafts: Iterator[str] = iter([ANSWER])
    generator = SyntheticFeedbackGenerator(endpoint=FunctionEndpoint(fixed_answers(90)))
    made = DPODatasetBuilder(generator).build_dataset([PROMPT], lambda _: next(drafts), 3, parallel=1)
    assert (made.judged, made.failures) == (1, 2) and "StopIteration" in made.failed[PROMPT]
    judged = SyntheticFeedbackGenerator(endpoint=lambda _: next(drafts)).generate_feedback(PROMPT, ANSWER)
    assert "StopIteration" in judged.error
