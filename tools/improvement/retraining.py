"""Whether to retrain, by what people said of the deployed version. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from statistics import fmean
from typing import Literal, assert_never

from state.feedback import Feedback
from state.records import Record
from state.request import Improving
from state.wording import number_of
from tools.statistics.sequences import confidence_sequence

LOWEST, HIGHEST = 1.0, 5.0
"""Stars."""


class RetrainDecision(Record):
    """Whether to retrain, and why."""

    action: Literal["retrain", "wait"]
    reason: str
    """One line for a person."""
    ratings: int
    """That count, by the rule."""
    raters: int
    mean: float | None = None
    """Of the ratings that count; ``None`` where there are none."""
    low: float | None = None
    """Lower end of the mean's interval; ``None`` where the rule asks for none."""
    high: float | None = None


def decide_retraining(feedback: Sequence[Feedback], rule: Improving, now: datetime) -> RetrainDecision:
    """Return whether to retrain.

    Args:
        feedback: on the answers of the deployed version, in the order of time; what was said of a version that is gone
            says nothing of this one.
        rule: ``guide``: so many ratings in so many days, and their mean below the threshold. ``interval``: the first
            rating of each of so many raters, and the upper end of the mean's confidence sequence below the threshold.
            That stays valid however often one looks, and no rater counts twice.
        now: the time of the look.
    """
    match rule.rule:
        case "guide":
            return _by_the_guide(feedback, rule, now)
        case "interval":
            return _by_the_interval(feedback, rule)
        case _:
            assert_never(rule.rule)


def _by_the_guide(feedback: Sequence[Feedback], rule: Improving, now: datetime) -> RetrainDecision:
    since = now - timedelta(days=rule.days)
    counted = [one for one in feedback if one.stars is not None and since <= one.given_at <= now]
    stars = [one.stars for one in counted if one.stars is not None]
    mean = fmean(stars) if stars else None
    found = f"{number_of(len(stars), 'rating')} in {rule.days:g} days"
    action: Literal["retrain", "wait"] = "wait"
    if mean is None or len(stars) < rule.ratings:
        reason = f"{found}, fewer than {rule.ratings}"
    elif mean >= rule.below:
        reason = f"{found}, and their mean {mean:.2f} is not below {rule.below:g}"
    else:
        action, reason = "retrain", f"{found}, and their mean {mean:.2f} is below {rule.below:g}"
    return RetrainDecision(
        action=action, reason=reason, ratings=len(stars), raters=len({one.rater for one in counted}), mean=mean
    )


def _by_the_interval(feedback: Sequence[Feedback], rule: Improving) -> RetrainDecision:
    stars = first_ratings(feedback)
    interval = confidence_sequence(stars, LOWEST, HIGHEST)
    mean = interval.value if stars else None
    shown = f"the mean of {len(stars)} raters is {interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"
    action: Literal["retrain", "wait"] = "wait"
    if len(stars) < rule.raters:
        reason = f"{len(stars)} raters, fewer than {rule.raters}"
    elif interval.high >= rule.below:
        reason = f"{shown}, not shown to be below {rule.below:g}"
    else:
        action, reason = "retrain", f"{shown}, shown to be below {rule.below:g}"
    return RetrainDecision(
        action=action,
        reason=reason,
        ratings=len(stars),
        raters=len(stars),
        mean=mean,
        low=interval.low,
        high=interval.high,
    )


def first_ratings(feedback: Sequence[Feedback]) -> list[int]:
    """Return each rater's first rating, in the order of time.

    One rater's ratings depend on each other, so that only one of them counts in an interval.
    """
    found: dict[str, int] = {}
    for one in feedback:
        if one.stars is not None:
            found.setdefault(one.rater, one.stars)
    return list(found.values())
