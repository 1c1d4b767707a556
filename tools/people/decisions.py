"""What follows from each kind of decision. The rest of Corral asks here, so that a new kind is written here alone."""

from __future__ import annotations

from typing import assert_never, get_args

from state.records import DecisionKind, Outcome, Record

DECISIONS: tuple[DecisionKind, ...] = get_args(DecisionKind)


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
    outcome: Outcome
    """Of a reviewed item, as the model wrote it."""


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
        case _:
            assert_never(kind)


def reason_of(kind: DecisionKind, reviewer: str, comment: str) -> str:
    """Return the reason that stands on a reviewed row."""
    return f"{kind} by {reviewer}" + (f": {comment}" if comment else "")


def decision_in(reason: str) -> DecisionKind | None:
    """Return the kind of decision that ``reason_of`` wrote a reason for; ``None`` for every other reason."""
    return next((kind for kind in DECISIONS if reason.startswith(f"{kind} by ")), None)
