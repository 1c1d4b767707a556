"""The branches: pure functions from the state to the name of the next step."""

from __future__ import annotations

from typing import Literal, assert_never

from state.pipeline import PipelineState


def after_gate(state: PipelineState) -> Literal["again", "enough", "nothing"]:
    """Generate again if the gate decided so; else go on, unless nothing was accepted and nothing waits."""
    if state["next_round"].calls or state["next_round"].wait_seconds:
        return "again"
    return "enough" if state["accepted"] or state.get("waiting") else "nothing"


def after_review(state: PipelineState) -> Literal["waiting", "settled"]:
    """Review again while borderline items wait."""
    return "waiting" if state["waiting"] else "settled"


def after_evaluate(state: PipelineState) -> Literal["worse", "measured"]:
    """Train again if the adapter is worse than its base and the request has rounds left."""
    rounds_left = state["training_round"] < state["request"].train.rounds
    verdict = state["verdict"].verdict
    match verdict:
        case "worse":
            return "worse" if rounds_left else "measured"
        case "better" | "not shown":
            return "measured"
        case _:
            assert_never(verdict)


def after_decide(state: PipelineState) -> Literal["retrain", "wait"]:
    """Retrain where the feedback is a reason to."""
    return "retrain" if state["improvement"].action == "retrain" else "wait"


def after_pipeline(state: PipelineState) -> Literal["made", "nothing"]:
    """Compare what was trained; nothing was where no prompt was accepted."""
    return "made" if state.get("verdict") else "nothing"


def after_approve(state: PipelineState) -> Literal["signed", "declined"]:
    """Deploy an adapter that was signed."""
    return "signed" if state["approval"].approved else "declined"
