"""How often machines were wrong in what they decided alone, as far as people looked at a random sample of it. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import get_args

from state.records import ItemKind, Record, Review, ReviewTask
from tools.people.decisions import consequences
from tools.statistics.significance import wilson_interval


class AuditedError(Record):
    """The error of the machines' own decisions on one kind of item."""

    kind: ItemKind
    checked: int
    """Decisions that people took, too; what they could not judge is left out."""
    wrong: int
    """Of these, how many people decided otherwise. A completion that was accepted and that a person rewrote is one."""
    low: float
    """Lower end of the 95% interval of the share that is wrong (Wilson)."""
    high: float

    @property
    def in_words(self) -> str:
        """The error as a line."""
        share = f"{self.wrong / self.checked:.1%} [{self.low:.1%}, {self.high:.1%}]"
        return (
            f"{self.kind}s that the machines decided alone: wrong by people's word: {self.wrong} of "
            f"{self.checked} in the random sample, {share}"
        )


def audited_errors(tasks: Iterable[ReviewTask], reviews: Iterable[Review]) -> tuple[AuditedError, ...]:
    """Return the machines' error by kind of item; nothing of a kind that nobody has checked.

    Args:
        tasks: of a run, or of several.
        reviews: the decisions on them.
    """
    by_item = {review.item_id: consequences(review.decision).outcome for review in reviews}
    right: dict[ItemKind, list[bool]] = {kind: [] for kind in get_args(ItemKind)}
    for task in tasks:
        if "audit" in task.why and (said := by_item.get(task.id)) is not None:
            right[task.kind].append(said == task.machine)
    return tuple(_error(kind, found) for kind, found in right.items() if found)


def _error(kind: ItemKind, right: list[bool]) -> AuditedError:
    wrong = right.count(False)
    low, high = wilson_interval(wrong, len(right))
    return AuditedError(kind=kind, checked=len(right), wrong=wrong, low=low, high=high)
