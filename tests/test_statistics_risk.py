"""The review band by risk control, and the recalibration of scores: laws, known cases, and simulated guarantees."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import isotonic_regression

from tools.statistics.isotonic import isotonic_curve, out_of_fold, squared_errors
from tools.statistics.risk_control import LEAST_LABELS, certain_part, more_labels

labelled = st.lists(st.tuples(st.integers(0, 12), st.booleans()), min_size=1, max_size=80)


def test_a_judge_that_is_always_right_decides_all_and_one_that_errs_nothing() -> None:
    certainty = [float(n) for n in range(60)]
    right = certain_part(certainty, [False] * 60, 0.1, 0.9)
    assert right is not None and (right.above, right.decided, right.wrong) == (0.0, 60, 0)
    assert certain_part(certainty, [True] * 60, 0.1, 0.9) is None
    assert certain_part(certainty, [n % 2 == 0 for n in range(60)], 0.1, 0.9) is None


def test_a_band_begins_where_the_judge_begins_to_err() -> None:
    certainty = [float(n) for n in range(200)]
    found = certain_part(certainty, [n < 100 and n % 2 == 0 for n in range(200)], 0.05, 0.9)
    assert found is not None and 80 <= found.above <= 110
    assert found.wrong / found.decided <= 0.05


def test_too_few_labels_show_nothing_and_it_is_said_how_many_do() -> None:
    few = LEAST_LABELS - 1
    assert certain_part([float(n) for n in range(few)], [False] * few, 0.4, 0.6) is None
    for rate, confidence in ((0.1, 0.9), (0.05, 0.95), (0.3, 0.8)):
        count = more_labels(rate, confidence)
        assert certain_part([float(n) for n in range(count)], [False] * count, rate, confidence) is not None
        if count > LEAST_LABELS:
            assert certain_part([float(n) for n in range(count - 1)], [False] * (count - 1), rate, confidence) is None


@pytest.mark.parametrize(("rate", "confidence"), [(0, 0.9), (1, 0.9), (0.1, 1), (0.1, 0)])
def test_a_rate_that_cannot_be_promised_is_refused(rate: float, confidence: float) -> None:
    with pytest.raises(ValueError, match="between 0 and 1"):
        certain_part([1.0], [False], rate, confidence)


def test_as_many_decisions_as_certainties() -> None:
    with pytest.raises(ValueError, match="2 certainties, 1 decisions"):
        certain_part([1.0, 2.0], [False], 0.1, 0.9)


@given(labelled, st.floats(0.05, 0.5), st.floats(0.5, 0.95))
def test_what_is_claimed_is_so_of_the_labels_and_never_splits_a_tie(
    rows: list[tuple[int, bool]], rate: float, confidence: float
) -> None:
    rows = rows * (1 + LEAST_LABELS // len(rows))
    certainty, wrong = [float(c) for c, _ in rows], [w for _, w in rows]
    found = certain_part(certainty, wrong, rate, confidence)
    if found is not None:
        part = [w for c, w in zip(certainty, wrong, strict=True) if c > found.above or found.decided == len(rows)]
        assert (len(part), sum(part)) == (found.decided, found.wrong)
        assert found.wrong / found.decided < rate
        turned = certain_part(certainty[::-1], wrong[::-1], rate, confidence)
        assert turned == found


@pytest.mark.parametrize("audited", [1.0, 0.2])
def test_the_stated_error_is_kept_with_the_stated_confidence(audited: float) -> None:
    """Also where what lies far from the turning point is labelled more seldom, as an audit does."""
    draw = np.random.default_rng(3)
    truth = np.linspace(0, 50, 20_001)
    chance = 0.5 * np.exp(-truth / 9)
    broken = shown = 0
    for _ in range(300):
        certainty = draw.uniform(0, 50, 250)
        certainty = certainty[(certainty < 10) | (draw.random(250) < audited)]
        wrong = draw.random(len(certainty)) < 0.5 * np.exp(-certainty / 9)
        weights = np.where(certainty < 10, 1, 1 / audited)
        found = certain_part(certainty.tolist(), wrong.tolist(), 0.1, 0.8, weights.tolist())
        if found is not None:
            shown += 1
            broken += chance[truth > found.above].mean() > 0.1
    assert shown > 100 and broken <= 0.2 * 300


@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 1)), min_size=1, max_size=60))
def test_the_isotonic_curve_is_scipys(rows: list[tuple[int, int]]) -> None:
    levels = sorted({score for score, _ in rows})
    of_level = [[hit for score, hit in rows if score == level] for level in levels]
    means, weights = [float(np.mean(hits)) for hits in of_level], [len(hits) for hits in of_level]
    expected = isotonic_regression(means, weights=weights).x
    curve = isotonic_curve([s for s, _ in rows], [h for _, h in rows])
    assert curve([float(level) for level in levels]) == pytest.approx(expected.tolist())
    assert list(curve.scores) == sorted(curve.scores) and list(curve.chances) == sorted(curve.chances)


@settings(max_examples=25)
@given(st.integers(2, 40), st.integers(0, 40), st.integers(0, 5))
def test_no_item_is_measured_on_a_curve_that_saw_it(count: int, at: int, seed: int) -> None:
    draw = np.random.default_rng(seed)
    scores, hits = draw.uniform(0, 100, count).tolist(), draw.integers(0, 2, count).tolist()
    before = out_of_fold(scores, hits, seed=seed)
    at %= count
    hits[at] = 1 - hits[at]
    assert out_of_fold(scores, hits, seed=seed)[at] == before[at]


def test_recalibration_mends_a_judge_that_is_too_sure() -> None:
    draw = np.random.default_rng(1)
    said = draw.uniform(0, 1, 400)
    hits = (draw.random(400) < 0.3 + 0.4 * said).astype(float).tolist()
    before = np.mean(squared_errors(said.tolist(), hits))
    after = np.mean(squared_errors(out_of_fold(said.tolist(), hits), hits))
    assert after < before
    with pytest.raises(ValueError, match="at least two"):
        out_of_fold([1.0], [1.0])


def test_labels_that_stand_for_many_count_for_many() -> None:
    certainty = [2.0 + n for n in range(40)] + [n / 100 for n in range(100)]
    wrong = [False] * 40 + [n % 3 == 0 for n in range(100)]
    assert certain_part(certainty, wrong, 0.2, 0.9).above > 0.9  # type: ignore[union-attr]  # there is one
    by_weight = certain_part(certainty, wrong, 0.2, 0.9, [10.0] * 40 + [1.0] * 100)
    assert by_weight is not None and by_weight.above == 0.0
    with pytest.raises(ValueError, match="2 weights"):
        certain_part([1.0], [True], 0.2, 0.9, [1.0, 1.0])
