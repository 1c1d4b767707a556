"""What follows from each kind of decision. The rest of Corral asks here, so that a new kind is written here alone."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal, assert_never, get_args

from state.names import POLICY
from state.records import DecisionKind, ItemKind, Outcome, Record, Review, ReviewTask, content_hash

DECISIONS: tuple[DecisionKind, ...] = get_args(DecisionKind)
BASIC: tuple[DecisionKind, ...] = ("approve", "edit", "reject")
"""What every client that renders LangChain's form knows."""
ITEM_DECISIONS: tuple[DecisionKind, ...] = (*BASIC, "cannot_judge", "skip")
PAIR_DECISIONS: tuple[DecisionKind, ...] = ("prefer_a", "prefer_b", "cannot_judge", "skip")


class Consequences(Record):
    """What follows from one kind of decision."""

    key: str
    """The key for it on a terminal."""
    past: str
    """Its past participle, for sentences."""
    agent_inbox: tuple[str, ...]
    """What Agent Inbox calls it."""
    agrees: bool
    """Whether what was asked is done, as it was asked or as it was edited."""
    rewrites: bool
    """Whether the person's own text takes the place of the model's."""
    outcome: Outcome | None
    """Of a reviewed item, as the model wrote it; ``None`` where the decision says nothing of it."""
    prefers: Literal[0, 1] | None = None
    """Which answer of a pair is the better one."""
    settles: bool = True
    """Whether it is an answer to the question; else the item goes on waiting."""


def consequences(kind: DecisionKind) -> Consequences:
    """Return what follows from a kind of decision."""
    match kind:
        case "approve":
            return Consequences(
                key="a",
                past="approved",
                agent_inbox=("accept",),
                agrees=True,
                rewrites=False,
                outcome=Outcome.ACCEPTED,
            )
        case "edit":
            return Consequences(
                key="e", past="edited", agent_inbox=("edit",), agrees=True, rewrites=True, outcome=Outcome.REJECTED
            )
        case "reject":
            return Consequences(
                key="r",
                past="rejected",
                agent_inbox=("ignore", "response"),
                agrees=False,
                rewrites=False,
                outcome=Outcome.REJECTED,
            )
        case "prefer_a":
            return Consequences(
                key="a", past="decided for A", agent_inbox=(), agrees=True, rewrites=False, outcome=None, prefers=0
            )
        case "prefer_b":
            return Consequences(
                key="b", past="decided for B", agent_inbox=(), agrees=True, rewrites=False, outcome=None, prefers=1
            )
        case "cannot_judge":
            return Consequences(
                key="c", past="called impossible to judge", agent_inbox=(), agrees=False, rewrites=False, outcome=None
            )
        case "skip":
            return Consequences(
                key="s", past="skipped", agent_inbox=(), agrees=False, rewrites=False, outcome=None, settles=False
            )
        case _:
            assert_never(kind)


def allowed_for(kind: ItemKind) -> tuple[DecisionKind, ...]:
    """Return what may be decided about an item of this kind."""
    return PAIR_DECISIONS if kind == "pair" else ITEM_DECISIONS


Decider = Literal["person", "crew", "check", "policy"]
"""Who decided on a row: a person; the judges' crew; a program, such as a gate or the guard; or a named policy of an
unattended run, which is nobody's judgement."""


def decider_of(reviewer: str) -> Decider:
    """Return what kind of reviewer a name stands for."""
    return "policy" if reviewer.startswith(POLICY) else "person"


def in_words(reviewer: str) -> str:
    """Return a reviewer's name for a sentence: ``the policy midpoint``, or the person's name."""
    return f"the policy {reviewer.removeprefix(POLICY)}" if decider_of(reviewer) == "policy" else reviewer


def decided_in_words(decider: str, reviewer: str) -> str:
    """Return who took an answer for good, such as ``by a person: ada``, for a card, a table or a page.

    Args:
        decider: a ``Decider``; anything else, such as what an earlier version left out, is called not recorded.
        reviewer: the name of the person or the policy; empty for the crew.
    """
    match decider:
        case "person":
            return f"by a person: {reviewer}" if reviewer else "by a person"
        case "policy":
            return f"by {in_words(reviewer)}"
        case "crew":
            return "by the judges"
        case "check":
            return "by checks"
        case _:
            return "not recorded"


def edited_id(item_id: str, text: str) -> str:
    """Return the id of the row that holds a person's own text in the place of an item's."""
    return content_hash("edited", item_id, text)


def reviews_by_row(reviews: Iterable[Review], tasks: Iterable[ReviewTask] = ()) -> dict[str, Review]:
    """Return each review by the row that it decided on, and by the row of the person's own text where it has one.

    Args:
        reviews: of rows, and of pairs of candidates. What was decided about a candidate itself counts before what
            was decided about its pair.
        tasks: the pairs.
    """
    by_item = {review.item_id: review for review in reviews}
    found: dict[str, Review] = {}
    for task in tasks:
        prefers = consequences(by_item[task.id].decision).prefers if task.id in by_item else None
        for rank, candidate in enumerate(task.candidates if prefers is not None else ()):
            decision: DecisionKind = "approve" if rank == prefers else "reject"
            found[candidate] = by_item[task.id].model_copy(update={"item_id": candidate, "decision": decision})
    for review in by_item.values():
        if consequences(review.decision).outcome is None and review.item_id in found:
            continue
        found[review.item_id] = review
        if review.text:
            found[edited_id(review.item_id, review.text)] = review
    return found


def reason_of(kind: DecisionKind, reviewer: str, comment: str) -> str:
    """Return the reason that stands on a reviewed row."""
    return f"{kind} by {reviewer}" + (f": {comment}" if comment else "")


def decided_head(reason: str) -> str:
    """Return what ``reason_of`` wrote, without the comment: ``rejected by the policy midpoint``; else nothing."""
    kind = decision_in(reason)
    return f"{consequences(kind).past} by {in_words(reviewer_in(reason))}" if kind else ""


def decision_in(reason: str) -> DecisionKind | None:
    """Return the kind of decision that ``reason_of`` wrote a reason for; ``None`` for every other reason."""
    return next((kind for kind in DECISIONS if reason.startswith(f"{kind} by ")), None)


def reviewer_in(reason: str) -> str:
    """Return who decided, as ``reason_of`` wrote it; empty for every other reason."""
    kind = decision_in(reason)
    name = reason.removeprefix(f"{kind} by ") if kind else ""
    if name.startswith(POLICY):
        return POLICY + name.removeprefix(POLICY).partition(": ")[0]
    return name.partition(": ")[0]
