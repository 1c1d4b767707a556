"""The scoreboard: metrics, missing answers, slices and the verdict."""

from __future__ import annotations

import json
import random
from typing import Any

import pytest

from state.errors import BadInput
from state.records import Answer, Check, Sample
from state.request import Evaluation
from tools.evaluation.scoreboard import Scoreboard, score_answers
from tools.evaluation.scoring import METRICS, YES_OR_NO, score_answer

QUICK = Evaluation(resamples=400)
SHORT = "The sea is wide and blue."
LONG = "The sea is wide and blue and full of fish that swim in the cold deep water."


def sample(index: int, **fields: object) -> Sample:
    given = {"id": f"s{index:03}", "instruction": f"Praise sea {index}.", "split": "heldout", "origin": "prompt"}
    return Sample.model_validate({**given, "checks": (Check(kind="max_words", value=8),), **fields})


def answer(to: Sample, text: str, model: str = "base", ended: bool = True) -> Answer:
    return Answer(id=f"{model}-{to.id}", sample_id=to.id, model=model, text=text, ended=ended)


def board(gained: int, lost: int, same: int, settings: Evaluation = QUICK) -> Scoreboard:
    """Return the scoreboard where the adapter passes ``gained`` prompts more, ``lost`` fewer, and ``same`` alike."""
    samples = [sample(index) for index in range(gained + lost + same)]
    base = [answer(s, LONG if i < gained else SHORT) for i, s in enumerate(samples)]
    adapter = [answer(s, LONG if gained <= i < gained + lost else SHORT, "adapter") for i, s in enumerate(samples)]
    return score_answers(samples, base, adapter, settings, seed=1)


def test_a_scoreboard_of_corral_0_1_is_read() -> None:
    """It called the value of an interval ``difference``."""
    found = board(gained=8, lost=1, same=11)
    raw = json.loads(found.model_dump_json())
    for row in (*raw["comparisons"], *raw["by_kind"]):
        row["interval"]["difference"] = row["interval"].pop("value")
    assert Scoreboard.model_validate_json(json.dumps(raw)) == found


def test_one_answer_has_every_metric_that_applies() -> None:
    full = sample(1, output="The sea is blue.", checks=(Check(kind="max_words", value=8), Check(kind="question")))
    scored = score_answer(full, answer(full, SHORT))
    assert set(scored.metrics) == set(METRICS)
    assert scored.metrics["guarded"] == 0.0 and scored.metrics["checks"] == 0.5
    assert scored.metrics["words"] == 6.0 and scored.metrics["ended"] == 1.0 and scored.metrics["distinct3"] == 1.0
    assert scored.metrics["rouge1"] == pytest.approx(0.8)
    assert scored.metrics["rougeL"] == pytest.approx(0.8)
    assert scored.metrics["rouge2"] == pytest.approx(0.5)


@pytest.mark.parametrize(
    ("text", "ended", "guarded"),
    [(SHORT, True, 1.0), (SHORT, False, 0.0), (LONG, True, 0.0), ("sea " * 8, True, 0.0), ("", True, 0.0)],
)
def test_guarded_means_all_checks_and_a_clean_text(text: str, ended: bool, guarded: float) -> None:
    one = sample(1)
    assert score_answer(one, answer(one, text, ended=ended)).metrics["guarded"] == guarded


def test_a_prompt_that_asks_to_be_repeated_is_guarded_where_it_is() -> None:
    asked = "Praise the wide and open sea in words."
    of = sample(1, instruction=asked, checks=(Check(kind="combination:repeat_prompt", value=asked),))
    assert score_answer(of, answer(of, f"{asked} {SHORT}")).metrics["guarded"] == 1
    assert score_answer(of, answer(of, SHORT)).metrics["guarded"] == 0
    copied = sample(1, instruction=asked, checks=(Check(kind="max_words", value=20),))
    assert score_answer(copied, answer(copied, f"{asked} {SHORT}")).metrics["guarded"] == 0


def test_a_prompt_without_checks_is_guarded_where_the_text_is_clean() -> None:
    bare = sample(1, checks=())
    assert score_answer(bare, answer(bare, LONG)).metrics["guarded"] == 1.0
    assert score_answer(bare, answer(bare, LONG, ended=False)).metrics["guarded"] == 0.0
    assert "checks" not in score_answer(bare, answer(bare, LONG)).metrics


def test_a_missing_answer_fails_every_metric() -> None:
    full = sample(1, output="The sea.", checks=(Check(kind="max_words", value=8), Check(kind="no_commas")))
    assert set(score_answer(full, None).metrics.values()) == {0.0}


def test_missing_answers_count_as_failures_and_are_told() -> None:
    samples = [sample(index) for index in range(20)]
    complete = [answer(s, SHORT) for s in samples]
    found = score_answers(samples, complete, [answer(s, SHORT, "adapter") for s in samples[:5]], QUICK, 0)
    assert (found.prompts, found.adapter.answered, found.adapter.missing, found.base.missing) == (20, 5, 15, 0)
    assert found.comparison("guarded").adapter == 0.25 and found.comparison("guarded").prompts == 20
    assert found.verdict == "worse"
    none = score_answers(samples, complete, [], QUICK, 0)
    assert none.adapter.model == "adapter" and none.comparison("guarded").adapter == 0.0


@pytest.mark.parametrize(
    ("gained", "lost", "same", "verdict"),
    [
        (30, 4, 60, "better"),
        (4, 30, 60, "worse"),
        (10, 10, 60, "not shown"),
        (0, 0, 30, "not shown"),
        (4, 0, 56, "not shown"),
        (1, 0, 0, "not shown"),
        (6, 0, 0, "better"),
    ],
)
def test_the_verdict_follows_interval_and_test(gained: int, lost: int, same: int, verdict: str) -> None:
    found = board(gained, lost, same)
    primary = found.comparison("guarded")
    assert found.verdict == verdict
    assert primary.interval.value == pytest.approx((gained - lost) / (gained + lost + same))
    if verdict == "better":
        assert primary.interval.low > 0 and primary.p <= 0.05
    opening = {"better": "The adapter is better", "worse": "The adapter is worse", "not shown": "No difference between"}
    assert found.words.startswith(opening[verdict]) and "95% interval" in found.words


def test_the_scoreboard_survives_json_and_gives_the_runs_verdict() -> None:
    found = board(30, 4, 60)
    assert Scoreboard.model_validate_json(found.model_dump_json()) == found
    verdict = found.record("runs/x/scoreboard.json")
    assert (verdict.verdict, verdict.metric, verdict.prompts) == ("better", "guarded", 94)
    assert verdict.low == found.comparison("guarded").interval.low and verdict.scoreboard.endswith("scoreboard.json")


def test_equal_input_gives_an_equal_scoreboard_in_any_order() -> None:
    samples = [sample(index) for index in range(30)]
    chance = random.Random(0)
    base = [answer(s, chance.choice([SHORT, LONG])) for s in samples]
    adapter = [answer(s, chance.choice([SHORT, LONG]), "adapter") for s in samples]
    first = score_answers(samples, base, adapter, QUICK, 5)
    again = score_answers(samples[::-1], chance.sample(base, 30), chance.sample(adapter, 30), QUICK, 5)
    assert again == first


def test_slices_by_kind_and_by_category() -> None:
    both = (Check(kind="max_words", value=8), Check(kind="question"))
    samples = [sample(0, checks=both, category="a"), sample(1, category="a"), sample(2)]
    base = [answer(s, LONG) for s in samples]
    adapter = [answer(s, SHORT, "adapter") for s in samples]
    found = score_answers(samples, base, adapter, QUICK, 0)
    assert [(s.name, s.count, s.base, s.adapter) for s in found.by_kind] == [
        ("max_words", 3, 0.0, 1.0),
        ("question", 1, 0.0, 0.0),
    ]
    assert [(s.name, s.count, s.base, s.adapter) for s in found.by_category] == [("a", 2, 0.0, 0.5)]


def test_metrics_cover_only_the_prompts_they_apply_to() -> None:
    samples = [sample(0), sample(1, checks=(), output="The sea."), sample(2)]
    found = score_answers(samples, [answer(s, SHORT) for s in samples], [answer(s, SHORT) for s in samples], QUICK, 0)
    assert {one.metric: one.prompts for one in found.comparisons} == {
        "guarded": 3,
        "checks": 2,
        "checks_loose": 2,
        "rouge1": 1,
        "rouge2": 1,
        "rougeL": 1,
        "distinct3": 3,
        "ended": 3,
        "words": 3,
    }
    assert all(one.p <= one.p_corrected <= 1 for one in found.comparisons)
    assert {one.metric for one in found.comparisons} >= YES_OR_NO


def test_the_primary_metric_decides() -> None:
    samples = [sample(i, output=SHORT, checks=()) for i in range(20)]
    base = [answer(s, LONG) for s in samples]
    adapter = [answer(s, SHORT, "adapter") for s in samples]
    assert score_answers(samples, base, adapter, QUICK, 0).verdict == "not shown"
    by_rouge = QUICK.model_copy(update={"primary": "rougeL"})
    assert score_answers(samples, base, adapter, by_rouge, 0).verdict == "better"


def test_bad_input_is_refused_in_one_line() -> None:
    one, two = sample(1), sample(2)
    right = [answer(one, SHORT)]
    cases: list[tuple[tuple[Any, ...], str]] = [
        (([], [], [], QUICK, 0), "no held-out prompts"),
        (([one], [answer(two, SHORT)], right, QUICK, 0), "to a prompt that is not evaluated"),
        (([one], right * 2, right, QUICK, 0), "two answers to prompt s001"),
        (([one], right, right, QUICK.model_copy(update={"primary": "rougeL"}), 0), "primary is 'rougeL'"),
        (
            ([sample(1, checks=())], right, right, QUICK.model_copy(update={"primary": "checks"}), 0),
            "primary is 'checks'",
        ),
    ]
    for arguments, message in cases:
        with pytest.raises(BadInput, match=message) as caught:
            score_answers(*arguments)
        assert "\n" not in str(caught.value)


def test_a_model_against_its_own_resampling_is_seldom_called_better() -> None:
    """The A/A test: two samplings of one answerer over 50 seeds, at most 5% of them called better."""
    samples = [sample(index) for index in range(60)]
    called = 0
    for seed in range(50):
        chance = random.Random(seed)
        base = [answer(s, SHORT if chance.random() < 0.3 else LONG) for s in samples]
        adapter = [answer(s, SHORT if chance.random() < 0.3 else LONG, "adapter") for s in samples]
        called += score_answers(samples, base, adapter, QUICK, seed).verdict == "better"
    assert called <= 2
