"""Several raters: agreement beyond chance by criterion, and each one's accuracy on gold items."""

from __future__ import annotations

from dataclasses import dataclass, field

import krippendorff
import numpy as np
import pytest

from state.records import Criterion, DecisionKind
from tools.people.raters import agreements, gold_accuracy, side_of
from tools.statistics.significance import wilson_interval


@dataclass(frozen=True)
class Said:
    item_id: str
    rater: str
    decision: DecisionKind = "approve"
    ratings: dict[Criterion, int] = field(default_factory=dict)


def test_agreement_is_krippendorffs_over_the_items_that_two_rated() -> None:
    draw = np.random.default_rng(0)
    table = draw.integers(1, 6, (3, 30)).astype(float)
    table[1] = np.clip(table[0] + draw.integers(-1, 2, 30), 1, 5)
    table[draw.random((3, 30)) < 0.2] = np.nan
    said = [
        Said(f"item-{unit}", f"rater-{rater}", ratings={"overall": int(table[rater, unit])})
        for rater in range(3)
        for unit in range(30)
        if not np.isnan(table[rater, unit])
    ]
    decision, overall = agreements([*said, Said("alone", "rater-0", ratings={"overall": 1})])
    assert overall.alpha.value == pytest.approx(krippendorff.alpha(table, level_of_measurement="interval"))
    assert overall.alpha.low < overall.alpha.value < overall.alpha.high
    assert (decision.criterion, overall.criterion) == ("decision", "overall")
    assert overall.items == decision.items < 31 and overall.raters == 3
    assert agreements(reversed(said)) == agreements(said)


def test_decisions_agree_by_what_they_say_of_the_item() -> None:
    said = [
        Said("1", "ada", "approve"), Said("1", "bob", "approve"),
        Said("2", "ada", "reject"), Said("2", "bob", "edit"),
        Said("3", "ada", "skip"), Said("3", "bob", "approve"),
        Said("4", "ada", "cannot_judge"), Said("4", "bob", "reject"),
    ]  # fmt: skip
    (decision,) = agreements(said)
    assert (decision.items, decision.alpha.value) == (2, 1.0)
    assert {side_of(word) for word in ("skip", "cannot_judge")} == {""}
    assert side_of("prefer_a") != side_of("prefer_b")


def test_one_rater_alone_agrees_with_nobody() -> None:
    assert agreements([Said("1", "ada"), Said("2", "ada")]) == ()
    assert agreements([]) == ()


def test_each_rater_is_measured_on_gold_items() -> None:
    gold: dict[str, DecisionKind] = {"g1": "approve", "g2": "reject", "g3": "prefer_a"}
    said = [
        Said("g1", "ada"), Said("g2", "ada", "edit"), Said("g3", "ada", "prefer_b"), Said("other", "ada", "reject"),
        Said("g1", "bob", "reject"), Said("g2", "bob", "skip"), Said("g3", "cy", "cannot_judge"),
    ]  # fmt: skip
    ada, bob = gold_accuracy(said, gold)
    assert (ada.rater, ada.items, ada.undecided, ada.accuracy.value) == ("ada", 3, 0, pytest.approx(2 / 3))
    assert (ada.accuracy.low, ada.accuracy.high) == wilson_interval(2, 3)
    assert (bob.rater, bob.items, bob.undecided, bob.accuracy.value) == ("bob", 1, 1, 0.0)
