"""Whether a challenger that serves a share of the traffic takes the place of the current version. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

from state.feedback import Feedback
from state.records import Record, content_hash
from tools.improvement.retraining import HIGHEST, LOWEST, first_ratings
from tools.statistics.bootstrap import Estimate
from tools.statistics.sequences import confidence_sequence, matched_differences

LEAST_GAIN = 0.3
"""Stars. A challenger that is shown to gain less than this is not worth a longer look."""
MOST_RATINGS = 10_000
"""Of both versions: with more of them a gain of 0.3 stars would have been shown (benchmarks/promotion.py)."""
RANGE = HIGHEST - LOWEST

PromotionAction = Literal["promote", "roll back", "no difference shown", "wait"]


class PromotionDecision(Record):
    """What the ratings say of a challenger."""

    action: PromotionAction
    reason: str
    """One line for a person."""
    challenger: int
    """Raters of the challenger."""
    current: int
    """Raters of the current version."""
    difference: Estimate
    """Mean stars of the challenger less those of the current version, with an interval that holds at every look."""


def decide_promotion(challenger: Sequence[Feedback], current: Sequence[Feedback], share: float) -> PromotionDecision:
    """Return whether a challenger is promoted; it stays valid however often one looks.

    Args:
        challenger: feedback on its answers, in the order of time.
        current: feedback on the current version's answers while the challenger served, too.
        share: of the traffic that the challenger serves, in (0, 1).
    """
    ours, theirs = first_ratings(challenger), first_ratings(current)
    return decide_by_stars(ours, theirs, share)


def decide_by_stars(challenger: Sequence[float], current: Sequence[float], share: float) -> PromotionDecision:
    """Return the same of one rating from each rater."""
    found = confidence_sequence(matched_differences(challenger, current, share), -RANGE, RANGE)
    shown = (
        f"{found.value:+.2f} stars [{found.low:+.2f}, {found.high:+.2f}] by {len(challenger)} raters of the challenger "
        f"and {len(current)} of the current version"
    )
    action: PromotionAction = "wait"
    if found.low > 0:
        action, reason = "promote", f"the challenger is better: {shown}"
    elif found.high < 0:
        action, reason = "roll back", f"the challenger is worse: {shown}"
    elif found.high < LEAST_GAIN:
        action, reason = "no difference shown", f"a gain of {LEAST_GAIN} stars is ruled out: {shown}"
    elif len(challenger) + len(current) >= MOST_RATINGS:
        action, reason = "no difference shown", f"nothing is shown by {MOST_RATINGS:,} raters: {shown}"
    else:
        reason = f"not decided: {shown}"
    return PromotionDecision(
        action=action, reason=reason, challenger=len(challenger), current=len(current), difference=found
    )


def arm_of(user: str, challenger: str, share: float) -> Literal["current", "canary"]:
    """Return which version a user is served while a challenger stands: always the same, by a hash of both names.

    Args:
        user: who asks; one who gives no name is somebody new at each request, and is given a random one.
        challenger: the version that is tried; another one is tried on other users.
        share: of the users that it serves, in [0, 1].
    """
    return "canary" if int(content_hash("canary", challenger, user)[:13], 16) < share * 16**13 else "current"
