"""What so many prompts can show: the power of McNemar's test by counting, and what is said of it before a run."""

from __future__ import annotations

import random

import pytest

from tools.evaluation.planning import shown_in_words
from tools.statistics.power import detectable_difference, detectable_mean, mcnemar_power, prompts_needed
from tools.statistics.significance import mcnemar


def test_the_power_is_what_repeated_comparisons_find() -> None:
    draw, found = random.Random(1), 0
    for _ in range(400):
        pairs = [(draw.random() < 0.25, draw.random() < 0.8) for _ in range(60)]
        base = [differs and not better for differs, better in pairs]
        adapter = [differs and better for differs, better in pairs]
        found += mcnemar(base, adapter) <= 0.05 and sum(adapter) > sum(base)
    assert mcnemar_power(60, 0.25 * 0.6, 0.25) == pytest.approx(found / 400, abs=0.07)


def test_sixty_prompts_find_ten_points_in_fewer_than_half_of_the_cases() -> None:
    assert 0.35 < mcnemar_power(60, 0.10, 0.15) < 0.45 and mcnemar_power(306, 0.10, 0.15) > 0.99
    least = detectable_difference(60, 0.15)
    assert least is not None and 0.13 < least < 0.16
    assert prompts_needed(least, 0.15) <= 60
    usual = detectable_difference(150, 0.2)
    assert usual is not None and mcnemar_power(150, usual, 0.2) == pytest.approx(0.8, abs=0.03)
    assert detectable_difference(5, 0.15) is None and detectable_difference(60, 0.0) is None


def test_no_difference_is_found_as_seldom_as_the_level_says() -> None:
    for prompts, discordant in ((24, 0.3), (60, 0.15), (150, 0.2)):
        assert mcnemar_power(prompts, 0.0, discordant) <= 0.025


def test_a_mean_is_told_by_its_spread() -> None:
    assert detectable_mean([0.0, 1.0] * 50) == pytest.approx(2.8 * 0.5025 / 10, rel=0.01)
    assert detectable_mean([1.0, 1.0]) is None and detectable_mean([]) is None


def test_what_can_be_shown_is_said_before_the_run() -> None:
    assert "prompts would do so in 90%" in shown_in_words(60) and "would do" not in shown_in_words(150)
    assert "too few to show any gain" in shown_in_words(4)
