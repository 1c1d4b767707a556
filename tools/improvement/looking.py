"""A look at the feedback, recorded with its reason."""

from __future__ import annotations

from datetime import datetime

from state.feedback import FeedbackStore, look_of
from state.request import Improving
from tools.improvement.retraining import RetrainDecision, decide_retraining


async def look_at_feedback(feedback: FeedbackStore, version: str, rule: Improving, now: datetime) -> RetrainDecision:
    """Return whether to retrain, and record that it was looked at.

    Args:
        feedback: what people said of served answers.
        version: the deployed version.
        rule: when to retrain.
        now: the time of the look.

    Raises:
        StorageError: the database cannot be read or written.
    """
    decision = decide_retraining(await feedback.feedback(version), rule, now)
    figures = decision.model_dump(exclude={"action", "reason"})
    await feedback.add_look(look_of("retrain", version, decision.action, decision.reason, **figures))
    return decision
