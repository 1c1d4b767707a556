"""Agreement against known examples and against the libraries that others use."""

from __future__ import annotations

import math
import random
from typing import Literal

import krippendorff
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from statsmodels.stats.inter_rater import cohens_kappa as statsmodels_kappa

from tools.statistics.agreement import cohens_kappa, krippendorffs_alpha, share_equal
from tools.statistics.bootstrap import bootstrap
from tools.statistics.reliability import confidence_curve

Level = Literal["nominal", "interval"]
LEVELS: tuple[Level, ...] = ("nominal", "interval")
ratings = st.one_of(st.none(), st.integers(-2, 6))
tables = st.integers(1, 25).flatmap(
    lambda units: st.lists(st.lists(ratings, min_size=units, max_size=units), min_size=2, max_size=4)
)


def test_cohens_kappa_of_the_textbook_table() -> None:
    ours = [1] * 20 + [1] * 5 + [0] * 10 + [0] * 15
    theirs = [1] * 20 + [0] * 5 + [1] * 10 + [0] * 15
    assert cohens_kappa(ours, theirs) == pytest.approx(0.4)
    assert cohens_kappa([1, 2, 3], [1, 2, 3], "interval") == 1
    assert cohens_kappa([1, 1], [1, 1]) == 0


def test_krippendorffs_alpha_of_his_example_with_gaps() -> None:
    a = [None, None, None, None, None, 3, 4, 1, 2, 1, 1, 3, 3, None, 3]
    b = [1, None, 2, 1, 3, 3, 4, 3, None, None, None, None, None, None, None]
    c = [None, None, 2, 1, 3, 4, 4, None, 2, 1, 1, 3, 3, None, 4]
    assert krippendorffs_alpha([a, b, c], "nominal") == pytest.approx(0.691, abs=1e-3)
    assert krippendorffs_alpha([a, b, c], "interval") == pytest.approx(0.811, abs=1e-3)


@given(st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=30))
def test_agreement_is_symmetric_and_at_most_one(pairs: list[tuple[int, int]]) -> None:
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    for level in ("nominal", "interval"):
        kappa = cohens_kappa(ours, theirs, level)  # type: ignore[arg-type]  # both are levels
        assert kappa <= 1 and kappa == pytest.approx(cohens_kappa(theirs, ours, level))  # type: ignore[arg-type]  # as above
        alpha = krippendorffs_alpha([ours, theirs], level)  # type: ignore[arg-type]  # as above
        assert alpha <= 1 and alpha == pytest.approx(krippendorffs_alpha([theirs, ours], level))  # type: ignore[arg-type]  # as above
    assert cohens_kappa(ours, ours) == (1 if len(set(ours)) > 1 else 0)


def test_random_raters_agree_by_chance_alone() -> None:
    draw = random.Random(2)
    ours, theirs = ([draw.randint(1, 2) for _ in range(400)] for _ in range(2))
    found = bootstrap(cohens_kappa, ours, theirs, resamples=300)
    assert found.low < 0 < found.high and found == bootstrap(cohens_kappa, ours, theirs, resamples=300)


@given(tables, st.sampled_from(LEVELS))
def test_alpha_is_that_of_the_krippendorff_package(table: list[list[int | None]], level: Level) -> None:
    found = float(krippendorffs_alpha(table, level))
    paired = [unit for unit in zip(*table, strict=True) if sum(value is not None for value in unit) > 1]
    if len({value for unit in paired for value in unit if value is not None}) < 2:
        assert found == 0, "where nothing differs, chance explains the agreement"
    else:
        data = np.array([[math.nan if value is None else value for value in row] for row in table], dtype=float)
        assert found == pytest.approx(krippendorff.alpha(data, level_of_measurement=level), abs=1e-9)


@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=30), st.sampled_from(LEVELS))
def test_kappa_is_that_of_statsmodels(pairs: list[tuple[int, int]], level: Level) -> None:
    ours, theirs = [a for a, _ in pairs], [b for _, b in pairs]
    found = float(cohens_kappa(ours, theirs, level))
    if len({*ours, *theirs}) == 1:
        assert found == 0
    else:
        table = [[pairs.count((a, b)) for b in range(5)] for a in range(5)]
        expected = statsmodels_kappa(table, wt=None if level == "nominal" else "quadratic", return_results=False)
        assert found == pytest.approx(expected, abs=1e-9)


@given(
    st.lists(st.tuples(st.integers(1, 5), st.integers(1, 5)), min_size=1, max_size=12),
    st.sampled_from(LEVELS),
    st.integers(0, 9),
)
@settings(max_examples=40)
def test_many_draws_at_once_are_as_one_by_one(pairs: list[tuple[int, int]], level: Level, seed: int) -> None:
    units = np.array(pairs, dtype=float).T
    drawn = units[:, np.random.default_rng(seed).integers(0, len(pairs), (7, len(pairs)))]
    for measure in (
        share_equal,
        lambda a, b: cohens_kappa(a, b, level),
        lambda a, b: krippendorffs_alpha(np.stack([a, b]), level),
    ):
        singly = [float(measure(ours, theirs)) for ours, theirs in zip(*drawn, strict=True)]
        assert measure(*drawn) == pytest.approx(singly, abs=1e-12)


@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=40))
def test_a_curve_holds_every_row_once_in_order(rows: list[tuple[float, bool]]) -> None:
    curve = confidence_curve([c for c, _ in rows], [r for _, r in rows])
    assert sum(part.rows for part in curve) == len(rows)
    assert [part.confidence for part in curve] == sorted(part.confidence for part in curve)
