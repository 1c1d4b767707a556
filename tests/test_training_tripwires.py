"""Tripwires and flags on recorded figures: each holds where it should and lets a healthy training pass."""

import math
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.request import Training
from tools.training.dpo import FORGOTTEN_NATS
from tools.training.recipe import PHASES
from tools.training.tripwires import GRADIENT_BY, START, WINDOW, flags, tripped

NAN, INF = float("nan"), float("inf")
LN2 = math.log(2)
SFT, DPO = PHASES["sft"], PHASES["dpo"]


def step(loss: float, gradient: float = 1.0) -> dict[str, float]:
    return {"loss": loss, "grad_norm": gradient}


def dpo_step(loss: float, margin: float = 0.0, chosen: float = -100.0, reward: float = 0.0) -> dict[str, float]:
    return step(loss) | {"rewards/margins": margin, "logps/chosen": chosen, "rewards/chosen": reward}


@pytest.mark.parametrize(
    ("phase", "steps", "reason"),
    [
        ("sft", [step(2.0)] * 6 + [step(NAN)], "sft step 7: the loss is nan; lower train.learning_rate"),
        ("sft", [step(2.0), step(INF)], "sft step 2: the loss is inf"),
        ("sft", [step(1.0, INF)], "sft step 1: the gradient is inf"),
        ("sft", [step(1.0, 0.0)] * GRADIENT_BY, "the gradient is still 0 at step 3"),
        ("sft", [step(1.0, 0.0)] * (GRADIENT_BY - 1), None),
        ("sft", [step(1.0, 0.1), step(1.0, 0.0), step(1.0, 0.0)], None),
        ("sft", [step(4.0)], None),
        ("dpo", [dpo_step(NAN)], "dpo step 1: the loss is nan; lower train.dpo_learning_rate"),
        ("dpo", [dpo_step(0.6931)], None),
        ("dpo", [dpo_step(0.9)], "its reference is not the model it starts from"),
        ("dpo", [dpo_step(0.6931, margin=0.3)], "its reference is not the model it starts from"),
        ("dpo", [dpo_step(0.6931), dpo_step(0.5, margin=0.3)], None),
    ],
)
def test_a_broken_step_stops_a_training(phase: str, steps: list[dict[str, float]], reason: str | None) -> None:
    found = tripped(PHASES[phase], steps, Training())
    assert (found is None) if reason is None else (found is not None and reason in found)


def test_a_loss_that_climbs_stops_a_training_and_one_bad_batch_does_not() -> None:
    calm = [step(2.0)] * START
    found = tripped(SFT, [*calm, *[step(4.1)] * WINDOW], Training())
    assert found is not None and "the loss climbs, from 2.000 over the first 2 steps to 4.100" in found
    assert tripped(SFT, [*calm, *[step(3.9)] * WINDOW], Training()) is None
    assert tripped(SFT, [*calm, *[step(2.0)] * (WINDOW - 1), step(11.0)], Training()) is None
    assert tripped(SFT, [*calm, *[step(9.0)] * (WINDOW - 1)], Training()) is None


@pytest.mark.parametrize(
    ("start", "fall", "stopped"),
    [(100.0, 99.0, False), (100.0, 101.0, True), (1.0, FORGOTTEN_NATS - 1, False), (300.0, 120.0, False)],
)
def test_chosen_answers_that_collapse_stop_dpo(start: float, fall: float, stopped: bool) -> None:
    """Against the reference on the same rows; answers known by heart may double at little cost."""
    beta = 0.2
    steps = [dpo_step(LN2, chosen=-start)] + [dpo_step(0.1, 5.0, -start - fall, -beta * fall)] * WINDOW
    found = tripped(DPO, steps, Training(dpo_beta=beta))
    assert (found is not None and "chosen answers collapse" in found) if stopped else found is None
    assert tripped(DPO, steps[:-1], Training(dpo_beta=beta)) is None


@given(st.lists(st.floats(0, 1), min_size=WINDOW, max_size=40), st.floats(0.01, 2))
def test_a_dpo_that_lowers_its_loss_and_keeps_its_chosen_answers_is_never_stopped(
    falls: Sequence[float], beta: float
) -> None:
    steps = [dpo_step(LN2)]
    for fall in falls:
        steps.append(dpo_step(steps[-1]["loss"] * (1 - fall / 2), 1.0, -100 - 90 * fall, -beta * 90 * fall))
        assert tripped(DPO, steps, Training(dpo_beta=beta)) is None


def test_a_loss_that_does_not_fall_is_flagged() -> None:
    noisy = [step(2.0 + 0.1 * (number % 3)) for number in range(24)]
    assert flags(SFT, noisy, []) == ["sft: the loss did not fall: 2.100 in the first half, 2.100 in the second"]
    falling = [step(2.0 + 0.1 * (number % 3) - 0.02 * number) for number in range(24)]
    assert flags(SFT, falling, []) == []
    assert flags(SFT, [step(2.0)] * 7, []) == []


def test_growing_repetition_is_flagged() -> None:
    falling = [step(2.0 - 0.1 * number) for number in range(9)]
    assert flags(DPO, falling, [0.8, 0.5, 0.7, 0.66]) == []
    found = flags(DPO, falling, [0.8, 0.8, 0.7, 0.64])
    assert len(found) == 1 and found[0].startswith("dpo: answers repeat themselves more") and "0.80 to 0.64" in found[0]
    assert flags(DPO, falling, [0.4]) == []


def test_a_probe_is_of_a_few_prompts_and_taken_a_few_times() -> None:
    from tools.training.probe import PROMPTS, probe_prompts, probe_steps

    assert probe_steps(84) == {42, 84}
    assert probe_steps(1) == {1}
    asked = [[number % 20, 7] for number in range(60)]
    assert len(probe_prompts(asked)) == PROMPTS
    assert probe_prompts(asked) == probe_prompts(asked[::-1])
    assert sorted(probe_prompts(asked[:3])) == asked[:3]
