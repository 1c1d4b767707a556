"""Which of two answers is better, shown in both orders. Pure."""

from __future__ import annotations

from typing import Literal, assert_never

from state.records import Judgement, Outcome, Record
from tools.judging.answers import PairChoice


class Preference(Record):
    """A choice between two answers."""

    better: Literal[0, 1, 2] = 0
    """1 or 2; 0 for a tie, also where the two orders contradict each other."""
    flipped: bool = False
    """Whether swapping the order swapped the winner."""
    reason: str = ""
    unjudged: bool = False
    """Whether nothing can judge one of the two; it counts as a tie."""
    error: str = ""
    """Why there is no choice."""

    @property
    def points(self) -> float:
        """The second answer's points against the first: 1 for a win, 0.5 for a tie, 0 for a loss."""
        match self.better:
            case 0:
                return 0.5
            case 1:
                return 0.0
            case 2:
                return 1.0
            case _:
                assert_never(self.better)


def in_both_orders(straight: PairChoice, swapped: PairChoice) -> Preference:
    """Return the choice that stands in both orders.

    Args:
        straight: the choice where the first answer came first.
        swapped: the choice where it came second.
    """
    one, other = _better(straight, shown=(1, 2)), _better(swapped, shown=(2, 1))
    if one == other:
        return Preference(better=one, reason=straight.reason)
    flipped = 0 not in (one, other)
    reason = "the choice changed with the order" if flipped else "one of the two orders gave a tie"
    return Preference(better=0, flipped=flipped, reason=reason)


def _better(choice: PairChoice, shown: tuple[Literal[1, 2], Literal[1, 2]]) -> Literal[0, 1, 2]:
    match choice.better:
        case "first":
            return shown[0]
        case "second":
            return shown[1]
        case "tie":
            return 0
        case other:
            assert_never(other)


def by_rating(first: Judgement, second: Judgement) -> Preference:
    """Return the choice that follows from two judgements' overall scores."""
    failed = [judgement for judgement in (first, second) if judgement.outcome == Outcome.FAILED]
    if failed:
        return Preference(error="; ".join(failed[0].reasons))
    if first.overall is None or second.overall is None:
        return Preference(unjudged=True, reason="nothing can judge both answers")
    better: Literal[0, 1, 2] = 0 if first.overall == second.overall else 1 if first.overall > second.overall else 2
    return Preference(better=better, reason=f"overall {first.overall:g} against {second.overall:g}")
