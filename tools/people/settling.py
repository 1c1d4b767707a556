"""When the ratings of an item decide on it. Pure: the same ratings give the same review."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import median_low
from typing import get_args

from state.errors import AlreadyDecided
from state.records import Criterion, DecisionKind, Rating, Ratings, Review, ReviewTask, content_hash
from tools.people.decisions import consequences
from tools.visible import one_line


def review_of(task: ReviewTask, ratings: Sequence[Rating], raters: int) -> Review | None:
    """Return the decision on an item that its ratings make, or ``None`` where more people must be asked.

    Each item is rated by ``raters`` people. The decision that most of them took counts; in a tie one person after
    another is asked further until there is none. Of several edits the first text counts.

    Args:
        task: the item.
        ratings: of it, one a person.
        raters: people that are asked at least.
    """
    said = sorted((r for r in ratings if consequences(r.decision).settles), key=lambda r: (r.decided_at, r.rater))
    decision = _most_frequent(Counter(r.decision for r in said))
    if len(said) < raters or decision is None:
        return None
    agreeing = [r for r in said if r.decision == decision]
    return Review(
        id=content_hash("review", task.id),
        item_id=task.id,
        kind=task.kind,
        decision=decision,
        text=agreeing[0].text,
        comment="; ".join(dict.fromkeys(r.comment for r in agreeing if r.comment)),
        ratings=_medians(agreeing),
        reviewer=", ".join(r.rater for r in agreeing),
        decided_at=said[-1].decided_at,
    )


def _most_frequent(counts: Counter[DecisionKind]) -> DecisionKind | None:
    """Return the decision that was taken more often than any other."""
    best = counts.most_common(2)
    return best[0][0] if best and (len(best) == 1 or best[0][1] > best[1][1]) else None


def _medians(ratings: Sequence[Rating]) -> Ratings:
    criteria: tuple[Criterion, ...] = get_args(Criterion)
    given = {name: [r.ratings[name] for r in ratings if name in r.ratings] for name in criteria}
    return {name: median_low(stars) for name, stars in given.items() if stars}


def second(rating: Rating, before: ReviewTask, review: Review | None) -> str:
    """Return what to tell a person whose rating came second; nothing where it did not, or says the same.

    Args:
        rating: the person's.
        before: the item's task as it was when the rating came.
        review: what counts.
    """
    if before.standing == "open" or review is None:
        return ""
    if rating.decision == review.decision and rating.text == review.text:
        return ""
    said = AlreadyDecided(review.reviewer, review.decided_at, consequences(review.decision).past)
    return f"{one_line(before.head) or rating.item_id}: {said}"
