"""The branches: which step follows."""

from typing import Any

import pytest

from graph.routes import after_approve, after_evaluate, after_gate, after_review
from state.pipeline import Approval, NextRound
from state.request import RunRequest, Training
from tests.builders import verdict


@pytest.mark.parametrize(
    ("next_round", "accepted", "step"),
    [
        ({"action": "retry", "calls": 2, "batch_size": 20}, 0, "again"),
        ({"action": "shrink", "calls": 1, "batch_size": 5}, 9, "again"),
        ({"action": "wait", "wait_seconds": 2.0}, 0, "again"),
        ({"action": "proceed"}, 9, "enough"),
        ({"action": "stop"}, 1, "enough"),
        ({"action": "proceed"}, 0, "nothing"),
        ({"action": "stop"}, 0, "nothing"),
    ],
)
def test_after_gate(next_round: dict[str, Any], accepted: int, step: str) -> None:
    planned = NextRound.model_validate({"reason": "so"} | next_round)
    assert after_gate({"next_round": planned, "accepted": accepted}) == step


@pytest.mark.parametrize(("waiting", "step"), [(3, "waiting"), (0, "settled")])
def test_after_review(waiting: int, step: str) -> None:
    assert after_review({"waiting": waiting}) == step


@pytest.mark.parametrize(
    ("word", "trained", "rounds", "step"),
    [
        ("worse", 1, 2, "worse"),
        ("worse", 2, 2, "measured"),
        ("worse", 3, 2, "measured"),
        ("worse", 1, 1, "measured"),
        ("not shown", 1, 2, "measured"),
        ("better", 1, 2, "measured"),
    ],
)
def test_after_evaluate_trains_again_only_what_is_worse_and_not_for_ever(
    word: str, trained: int, rounds: int, step: str
) -> None:
    request = RunRequest(train=Training(rounds=rounds))
    assert after_evaluate({"verdict": verdict(word), "training_round": trained, "request": request}) == step


@pytest.mark.parametrize(("approved", "step"), [(True, "signed"), (False, "declined")])
def test_after_approve(approved: bool, step: str) -> None:
    assert after_approve({"approval": Approval(approved=approved, reviewer="ada")}) == step
