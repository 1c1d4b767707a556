"""Recipes and phases: unknown ones are refused before anything is spent, and each phase says all that it needs."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from graph.preflight import check_request
from state.checkpoints import ClosedSerializer
from state.errors import BadInput
from state.pipeline import DatasetRef, TrainingDecision
from state.request import RunRequest, Training
from tools.dataset.files import FILES
from tools.training.phase import Phase
from tools.training.recipe import PHASES, phases_of

ROOT = Path(__file__).parent.parent
EVERY_PHASE = pytest.mark.parametrize("phase", PHASES.values(), ids=PHASES)


@given(st.permutations(sorted(PHASES)), st.integers(1, len(PHASES)))
def test_a_recipe_is_its_phases_in_order(names: list[str], count: int) -> None:
    recipe = "+".join(names[:count])
    assert [phase.name for phase in phases_of(Training(recipe=recipe).recipe)] == names[:count]


@pytest.mark.parametrize(
    ("recipe", "words"),
    [
        ("dop", ("there is no phase 'dop'; did you mean", "dpo")),
        ("sft+ftt", ("there is no phase 'ftt'; did you mean", "sft")),
        ("reinforce", ("there is no phase 'reinforce'; the phases are", *PHASES)),
        ("sft+dpo+sft", ("sft+dpo+sft names sft twice",)),
    ],
)
def test_a_recipe_that_cannot_be_trained_is_refused_before_a_run(recipe: str, words: tuple[str, ...]) -> None:
    request = RunRequest(train=Training(recipe=recipe))
    with pytest.raises(BadInput) as refused:
        check_request(request)
    message = str(refused.value)
    assert message.startswith("train.recipe: ") and "\n" not in message
    assert all(word in message for word in words)


@pytest.mark.parametrize("recipe", ["", "+", "sft+", "SFT", "sft dpo", "sft++dpo"])
def test_a_malformed_recipe_is_no_request(recipe: str) -> None:
    with pytest.raises(ValidationError):
        Training(recipe=recipe)


@EVERY_PHASE
def test_a_phase_fits_the_request_and_the_dataset(phase: Phase) -> None:
    assert phase.rate_setting in Training.model_fields and 0 < phase.learning_rate(Training()) < 1
    assert phase.rows_file in FILES
    assert phase.starts.keys() <= phase.series.keys() and phase.sequences >= 1
    assert phase.rows_in(DatasetRef(version="v", folder="f", sft_rows=0, dpo_rows=0, alpaca_rows=9)) == 0


def test_the_phases_are_known_without_the_libraries_that_train() -> None:
    code = "import sys, tools.training.recipe; print([n for n in ('torch', 'trl', 'transformers') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


OLDER = bytes.fromhex(
    "c7ee0594ae73746174652e706970656c696e65b0547261696e696e674465636973696f6e8aa6616374696f6ea86f7074696d697365a672"
    "6561736f6eaf6d656d6f72792069732073686f7274b07366745f726f77735f61745f6f6e636502b064706f5f726f77735f61745f6f6e63"
    "6500b66772616469656e745f636865636b706f696e74696e67c2aa6d61785f6c656e67746840ad6d656d6f72795f6e656564656400b165"
    "7374696d617465645f7365636f6e6473cb0000000000000000ae61637475616c5f7365636f6e6473c0aa736574746c65645f6279a36164"
    "61b36d6f64656c5f76616c69646174655f6a736f6e"
)
"""A decision as the version with one field a phase wrote it into a checkpoint: 2 rows of SFT at once, DPO's at 0."""


def test_a_checkpoint_of_the_version_before_keeps_its_decision() -> None:
    found = ClosedSerializer().loads_typed(("msgpack", OLDER))
    assert isinstance(found, TrainingDecision)
    assert (found.action, found.rows_at_once, found.settled_by) == ("optimise", {"sft": 2}, "ada")
    assert TrainingDecision.model_validate(found.model_dump()) == found
    both = TrainingDecision.model_validate(
        {"action": "proceed", "reason": "", "sft_rows_at_once": 4, "dpo_rows_at_once": 1}
    )
    assert both.rows_at_once == {"sft": 4, "dpo": 1}


def test_a_decision_without_rows_is_refused() -> None:
    with pytest.raises(ValidationError):
        TrainingDecision(action="proceed", reason="", rows_at_once={"sft": 0})
