"""decide: whether the feedback on the deployed version is a reason to retrain."""

from __future__ import annotations

from datetime import UTC, datetime

from state.feedback import FeedbackStore
from state.pipeline import Node, PipelineState
from tools.improvement.looking import look_at_feedback


def make_decide(feedback: FeedbackStore) -> Node:
    """Return the node; each look is recorded with its reason.

    Args:
        feedback: what people said of served answers.
    """

    async def decide(state: PipelineState) -> PipelineState:
        improvement = state["improvement"]
        rule = state["request"].improve
        decision = await look_at_feedback(feedback, improvement.version, rule, datetime.now(UTC))
        found = {"action": decision.action, "reason": decision.reason}
        return {"improvement": improvement.model_copy(update=found)}

    return decide
