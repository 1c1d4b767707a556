"""What a person is asked about each item at an interrupt, and what becomes of the answer. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

from state.records import DecisionKind, Judgement, Rating, Review
from state.request import RunRequest
from tools.people.decisions import BASIC, allowed_for, consequences
from tools.people.items import WHY, Item
from tools.people.questions import Action, Decision, HumanAnswer
from tools.people.settling import review_of

EDITABLE = {"completion": "completion", "instruction": "instruction", "pair": "better"}
"""The argument of each kind of item that a person may edit."""
SAID_WITH_ITS_SCORE = ("between_thresholds", "not_judged")
"""Reasons why an item waits that stand in what the machines say of it."""
PREFERRED: dict[str, DecisionKind] = {"a": "prefer_a", "b": "prefer_b"}
"""What a client that knows no more than approve, edit and reject may write as a pair's ``better``."""


def review_actions(items: Sequence[Item], request: RunRequest) -> list[Action]:
    """Return what a person is asked about each item."""
    return [_action(item, request) for item in items]


def _action(item: Item, request: RunRequest) -> Action:
    kind = item.task.kind
    match kind:
        case "instruction":
            args = {"instruction": item.sample.instruction, "input": item.sample.input, "output": item.sample.output}
        case "completion":
            args = {"prompt": item.sample.prompt, "completion": item.texts[0]}
        case "pair":
            args = dict(zip(("prompt", "answer_a", "answer_b"), (item.sample.prompt, *item.texts), strict=True))
            args["better"] = ""
        case _:
            assert_never(kind)
    return Action(
        name=f"review_{kind}",
        args=args | {"comment": "", "ratings": ""},
        description=described(item, request),
        allowed=tuple(dict.fromkeys((*BASIC, *allowed_for(kind)))),
        editable=EDITABLE[kind],
        choices=tuple(PREFERRED) if kind == "pair" else (),
        rated=True,
    )


def described(item: Item, request: RunRequest) -> str:
    """Return what is known of an item, in words: why it waits, and what the machines say of it."""
    judgement = item.judgement
    why = "\n".join(f"It waits since {WHY[reason]}." for reason in item.task.why if reason not in SAID_WITH_ITS_SCORE)
    low, high = item.thresholds(request)
    match item.task.kind:
        case "pair":
            said = "Which of the two answers is the better one?"
        case "instruction":
            gates = item.score or 0.0
            said = f"The gates gave {gates:.2f}{_between(gates, low, high)}"
            said += f": {'; '.join(item.sample.reasons)}" if item.sample.reasons else ""
        case "completion" if judgement is not None:
            scores = ", ".join(f"{name} {score:.0f}" for name, score in judgement.scored)
            checks = "; ".join(f"{c.kind}: {c.evidence}" for c in judgement.checks if c.passed is not None)
            judged = f"\nScores: {scores}" if judgement.scored else ""
            said = f"{_given(judgement, low, high)}{judged}\nChecks: {checks or 'none apply'}"
            said += f"\n{item.caution}." if item.caution else ""
            said += f"\n{judgement.feedback}" if judgement.scored else ""
        case "completion":
            said = "Nobody judged it."
        case _:
            assert_never(item.task.kind)
    return f"{why}\n{said}" if why else said


def _given(judgement: Judgement, low: float, high: float) -> str:
    """Return what the judge gave a completion; why it gave nothing, where nothing could judge it."""
    if judgement.overall is None:
        return f"It has no score: {'; '.join(judgement.reasons) or 'it was not judged'}."
    return (
        f"The judge gave {judgement.overall:.0f} of 100{_between(judgement.overall, low, high)}, and {judgement.stars} "
        f"stars (confidence {judgement.confidence:.2f})."
    )


def _between(score: float, low: float, high: float) -> str:
    return f", between {low:g} and {high:g}" if low <= score < high else ""


def ratings_of(items: Sequence[Item], answer: HumanAnswer, now: datetime) -> list[Rating]:
    """Return a rating of each item. An edit without a changed text is an approval."""
    return [
        _rating(item, decision, answer.reviewer, now) for item, decision in zip(items, answer.decisions, strict=True)
    ]


def _rating(item: Item, decision: Decision, reviewer: str, now: datetime) -> Rating:
    args = decision.edited_action.args if decision.edited_action else {}
    given = args.get(EDITABLE[item.task.kind])
    kind, text = decided_by(item, decision.type, "" if given is None else str(given).strip())
    return Rating(
        item_id=item.id,
        rater=reviewer,
        decision=kind,
        text=text,
        comment=str(args.get("comment") or decision.message),
        ratings=decision.stars,
        decided_at=now,
    )


def decided_by(item: Item, kind: DecisionKind, text: str) -> tuple[DecisionKind, str]:
    """Return the decision that a person's words come to, and the text that it brings.

    Args:
        item: what is decided about.
        kind: the decision in the person's words; of a pair also approve or reject, which prefer neither answer.
        text: of an edit: the person's own text; for a pair ``a`` or ``b``.
    """
    rewrites = consequences(kind).rewrites
    if item.task.kind == "pair":
        if rewrites:
            return PREFERRED[text.lower()], ""
        return ("cannot_judge" if kind in BASIC else kind), ""
    changed = rewrites and bool(text) and text != item.texts[0]
    return ("approve" if rewrites and not changed else kind), text if changed else ""


def apply_review(items: Sequence[Item], answer: HumanAnswer, now: datetime) -> list[Review]:
    """Return the review of each item where this one answer decides on it; a skipped item has none."""
    ratings = ratings_of(items, answer, now)
    found = (review_of(item.task, [rating], 1) for item, rating in zip(items, ratings, strict=True))
    return [review for review in found if review is not None]


def answer_from(reviews: Sequence[Review]) -> dict[str, object]:
    """Return the answer to an interrupt whose items were decided elsewhere; their reviews stay as they are."""
    return {
        "decisions": [_decision(review) for review in reviews],
        "reviewer": ", ".join(dict.fromkeys(review.reviewer for review in reviews)),
    }


def _decision(review: Review) -> dict[str, object]:
    if not consequences(review.decision).rewrites:
        return {"type": review.decision, "message": review.comment}
    args = {EDITABLE[review.kind]: review.text, "comment": review.comment}
    return {"type": review.decision, "edited_action": {"name": f"review_{review.kind}", "args": args}}
