"""Several people on the same items: how far they agree beyond chance, and how often each is right on gold items."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from state.records import Criterion, DecisionKind, Record
from state.wording import number_of
from tools.people.decisions import consequences
from tools.statistics.bootstrap import RESAMPLES, Estimate, bootstrap
from tools.statistics.significance import wilson_interval

if TYPE_CHECKING:
    from tools.statistics.agreement import Level

DECISION = "decision"
"""The criterion of the decision itself, beside the criteria that are rated from 1 to 5."""


class Rated(Protocol):
    """What one person said of one item, such as a ``Rating``."""

    @property
    def item_id(self) -> str:
        """The item."""
        ...

    @property
    def rater(self) -> str:
        """The person."""
        ...

    @property
    def decision(self) -> DecisionKind:
        """Such as ``approve``, or ``prefer_a`` for a pair."""
        ...

    @property
    def ratings(self) -> Mapping[Criterion, int]:
        """From 1 to 5 by criterion."""
        ...


class Agreement(Record):
    """How far people agree on one criterion."""

    criterion: str
    """``decision``, ``overall`` or another that was rated."""
    alpha: Estimate
    """Krippendorff's alpha, with its interval over items: 1 is perfect, 0 is chance."""
    items: int
    """Items that two people or more rated."""
    raters: int
    """People who rated any of these."""


class GoldAccuracy(Record):
    """How often one person is right on items whose answer is known."""

    rater: str
    accuracy: Estimate
    """Share of right decisions, with Wilson's interval."""
    items: int
    """Gold items decided."""
    undecided: int = 0
    """Gold items skipped, or left as not to be judged; they count in no share."""

    @property
    def in_words(self) -> str:
        """The figure as a line."""
        share = f"{self.accuracy.value:.0%} [{self.accuracy.low:.0%}, {self.accuracy.high:.0%}]"
        right = round(self.accuracy.value * self.items)
        return f"{self.rater}: right on {right} of {number_of(self.items, 'item')} whose answer is known, {share}"


def side_of(decision: DecisionKind) -> str:
    """Return what a decision says of the item as it was asked; empty where it says nothing.

    An edit declines the model's own text, as a rejection does; of a pair it is the one preferred.
    """
    follows = consequences(decision)
    if follows.prefers is not None:
        return decision
    return follows.outcome or ""


def agreements(ratings: Iterable[Rated], *, resamples: int = RESAMPLES, seed: int = 0) -> tuple[Agreement, ...]:
    """Return how far people agree: on the decision, and on every criterion that two people rated on one item.

    Decisions differ or do not (nominal); ratings lie apart by their distance (interval).

    Args:
        ratings: any number; of two by one person on one item the last counts.
        resamples: draws of the bootstrap over items.
        seed: of the draws.
    """
    said: dict[str, dict[tuple[str, str], str | int]] = {}
    for one in ratings:
        if side := side_of(one.decision):
            said.setdefault(DECISION, {})[one.item_id, one.rater] = side
        for criterion, points in one.ratings.items():
            said.setdefault(criterion, {})[one.item_id, one.rater] = points
    order = sorted(said, key=lambda name: ({DECISION: 0, "overall": 1}.get(name, 2), name))
    found = (_agreement(name, said[name], resamples, seed) for name in order)
    return tuple(one for one in found if one is not None)


def _agreement(
    criterion: str, said: Mapping[tuple[str, str], str | int], resamples: int, seed: int
) -> Agreement | None:
    by_item: dict[str, dict[str, str | int]] = {}
    for (item, rater), value in said.items():
        by_item.setdefault(item, {})[rater] = value
    shared = [by_item[item] for item in sorted(by_item) if len(by_item[item]) > 1]
    raters = sorted({rater for given in shared for rater in given})
    if not shared:
        return None
    words = sorted({value for given in shared for value in given.values() if isinstance(value, str)})
    columns = [[_number(given.get(rater), words) for given in shared] for rater in raters]
    from tools.statistics.agreement import krippendorffs_alpha

    level: Level = "nominal" if criterion == DECISION else "interval"
    alpha = bootstrap(lambda *drawn: krippendorffs_alpha(list(drawn), level), *columns, resamples=resamples, seed=seed)
    return Agreement(criterion=criterion, alpha=alpha, items=len(shared), raters=len(raters))


def _number(value: str | int | None, words: Sequence[str]) -> float:
    if value is None:
        return math.nan
    return float(words.index(value) if isinstance(value, str) else value)


def gold_accuracy(ratings: Iterable[Rated], gold: Mapping[str, DecisionKind]) -> tuple[GoldAccuracy, ...]:
    """Return how often each person was right on gold items, by name.

    Args:
        ratings: what people said, of gold items and others.
        gold: the known decision by item; approve, reject, or which of a pair is better.
    """
    right: dict[str, list[bool]] = {}
    undecided: dict[str, int] = {}
    for one in ratings:
        if one.item_id not in gold:
            continue
        side = side_of(one.decision)
        if side:
            right.setdefault(one.rater, []).append(side == side_of(gold[one.item_id]))
        else:
            undecided[one.rater] = undecided.get(one.rater, 0) + 1
    return tuple(_accuracy(rater, right[rater], undecided.get(rater, 0)) for rater in sorted(right))


def _accuracy(rater: str, right: Sequence[bool], undecided: int) -> GoldAccuracy:
    low, high = wilson_interval(sum(right), len(right))
    share = Estimate(value=sum(right) / len(right), low=low, high=high)
    return GoldAccuracy(rater=rater, accuracy=share, items=len(right), undecided=undecided)
