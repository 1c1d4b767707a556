"""Sampled answers, slices with intervals, perplexity and the judge's win rate on the scoreboard."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from corral.cli.outcome import board_lines
from state.errors import BadInput, BudgetExceeded, EndpointUnreachable
from state.records import Answer, Candidate, Check, Sample
from state.request import Evaluation
from tests.test_evaluation_scoreboard import LONG, QUICK, SHORT, answer, sample
from tools.evaluation.asking import Passage, PassageScore
from tools.evaluation.perplexity import LEAST_WORDS, has_text_of, heldout_passages, paired_nats, texts_of
from tools.evaluation.scoreboard import Scoreboard, score_answers
from tools.evaluation.winning import in_words, measure_win_rate, pairs_to_judge, win_rate
from tools.judging.preference import Preference
from tools.sources.seeds import SeedInstance, SeedTask

TEXT = " ".join(f"word{number}" for number in range(LEAST_WORDS))


def drawn(to: Sample, draw: int, text: str, model: str = "base") -> Answer:
    return answer(to, text, model).model_copy(update={"id": f"{model}-{to.id}-{draw}", "draw": draw})


def test_sampled_answers_are_means_over_their_draws_beside_the_greedy_ones() -> None:
    samples = [sample(index) for index in range(12)]
    base = [answer(s, LONG) for s in samples] + [drawn(s, d, LONG) for s in samples for d in (1, 2)]
    adapter = [answer(s, SHORT, "a") for s in samples]
    adapter += [drawn(s, d, SHORT if d == 1 else LONG, "a") for s in samples for d in (1, 2)]
    found = score_answers(samples, base, adapter, QUICK, 0)
    assert found.sampled_draws == 2 and (found.adapter.answered, found.adapter.sampled) == (12, 24)
    assert (found.comparison("guarded").adapter, found.comparison("guarded_sampled").adapter) == (1.0, 0.5)
    assert found.comparison("checks_sampled").base == 0.0 and found.comparison("ended_sampled").adapter == 1.0
    assert found.comparison("words_sampled").better == "neither"
    fewer = score_answers(samples, base, adapter[:-12], QUICK, 0)
    assert fewer.comparison("guarded_sampled").adapter < 0.5, "a draw that is missing fails"
    assert fewer.comparison("guarded") == found.comparison("guarded")
    with pytest.raises(BadInput, match="two answers to prompt s000, draw 1"):
        score_answers(samples, [*base, base[12]], adapter, QUICK, 0)


def test_slices_have_an_interval_where_there_are_members_enough() -> None:
    samples = [sample(index, category="new kinds" if index < 4 else "known kinds") for index in range(24)]
    base, adapter = [answer(s, LONG) for s in samples], [answer(s, SHORT, "a") for s in samples]
    found = score_answers(samples, base, adapter, QUICK, 0)
    (kind,) = found.by_kind
    assert kind.interval is not None and kind.interval.value == kind.adapter - kind.base == 1.0
    assert [(part.name, part.interval is None) for part in found.by_category] == [
        ("known kinds", False),
        ("new kinds", True),
    ]
    assert found.length_ratio == pytest.approx(len(SHORT.split()) / len(LONG.split()))


def test_perplexity_is_lower_is_better_and_its_ratio_is_the_exponential_of_the_difference() -> None:
    samples = [sample(index) for index in range(6)]
    same = [answer(s, SHORT) for s in samples]
    nats = [(2.0 + 0.1 * k, 2.1 + 0.1 * k + 0.01 * (k % 2)) for k in range(20)]
    found = score_answers(samples, same, same, QUICK, 0, nats=nats)
    one, measured = found.comparison("nats"), found.perplexity
    assert one.better == "lower" and one.interval.low > 0 and measured is not None
    assert measured.base == pytest.approx(math.exp(np.mean([b for b, _ in nats])))
    assert measured.ratio == pytest.approx(measured.adapter / measured.base)
    assert 1 < measured.low <= measured.ratio <= measured.high and measured.note.endswith("worse.")
    better = score_answers(samples, same, same, QUICK, 0, nats=[(a, b) for b, a in nats]).perplexity
    assert better is not None and better.ratio == pytest.approx(1 / measured.ratio) and better.note.endswith("better.")
    assert found.verdict == "not shown", "the primary metric alone decides"
    assert Scoreboard.model_validate_json(found.model_dump_json()) == found
    assert board_lines(found)[0] == measured.note and board_lines(found)[-1] == found.words


def test_a_scoreboard_written_before_is_still_read() -> None:
    samples = [sample(index) for index in range(6)]
    written = score_answers(samples, [answer(s, LONG) for s in samples], [], QUICK, 0).model_dump(mode="json")
    for name in ("sampled_draws", "length_ratio", "perplexity", "win_rate"):
        del written[name]
    for part in written["by_kind"]:
        del part["interval"]
    for one in written["comparisons"]:
        del one["better"]
    assert Scoreboard.model_validate(written).prompts == 6


def task(number: int, output: str, text: str = "") -> SeedTask:
    instruction = f"Do thing {number}."
    return SeedTask(
        id=f"t{number}", name="t", instruction=instruction, instances=(SeedInstance(input=text, output=output),)
    )


def test_passages_are_long_unused_and_in_one_order() -> None:
    reference = sample(1, output=f"{TEXT} reference")
    seeds = [task(1, TEXT, "given"), task(2, "too short"), task(3, f"{TEXT} used"), task(4, f"{TEXT} shown")]
    training = [
        sample(2, output=f"  {TEXT.upper()} USED"),
        Sample(id="x", instruction="Do THING 4.", output="other", split="train"),
    ]
    found = heldout_passages([reference, sample(5)], seeds, training)
    assert [(one.prompt, one.input, one.text) for one in found] == [
        (reference.prompt, "", f"{TEXT} reference"),
        ("Do thing 1.\n\ngiven", "given", TEXT),
    ]
    many = [task(number, f"{TEXT} {number}") for number in range(100)]
    chosen = heldout_passages([], many, [])
    assert len(chosen) == 64 and heldout_passages([], many[::-1], []) == chosen
    assert heldout_passages([], many, [], limit=3) == chosen[:3]


def test_scores_pair_up() -> None:
    read = {name: PassageScore(id=name, nats=3.0 * k, tokens=3) for k, name in enumerate("cab", start=1)}
    passages = [Passage(id="b", prompt="p", text="t"), Passage(id="c", prompt="p", text="t")]
    assert paired_nats(passages, read, read) == [(3.0, 3.0), (1.0, 1.0)]


class LikesLonger:
    """Prefers the longer of two answers."""

    identity = "likes longer"

    def __init__(self, error: Exception | None = None) -> None:
        self.error, self.asked = error, 0

    async def judge(self, sample: Sample, candidate: Candidate, context: Mapping[str, Any] | None = None) -> Any:
        raise NotImplementedError

    async def prefer(
        self, sample: Sample, first: Candidate, second: Candidate, context: Mapping[str, Any] | None = None
    ) -> Preference:
        self.asked += 1
        if self.error:
            raise self.error
        return Preference(better=1 if len(first.text) > len(second.text) else 2)


async def test_the_judge_compares_greedy_answers_and_equal_ones_are_ties() -> None:
    samples = [sample(index) for index in range(10)]
    base = [answer(s, SHORT) for s in samples] + [drawn(s, 1, LONG) for s in samples]
    adapter = [answer(s, LONG if i else SHORT, "a") for i, s in enumerate(samples[:9])]
    pairs = pairs_to_judge(samples, base, adapter, 50)
    assert len(pairs) == 9 and pairs_to_judge(samples[::-1], base, adapter, 4) == pairs[:4]
    assert pairs_to_judge(samples, base, adapter, 0) == []
    judge, done = LikesLonger(), []
    found = await measure_win_rate(judge, pairs, lambda: done.append(1))
    assert judge.asked == 8 and len(done) == 9
    assert (found.pairs, found.wins, found.losses, found.ties, found.failed) == (9, 8, 0, 1, 0)
    assert found.rate is not None and found.rate.value == pytest.approx(8.5 / 9)
    assert "prefers the adapter in 94% of 9 pairs" in in_words(found)


@pytest.mark.parametrize("error", [BudgetExceeded(1.0, 1.0), EndpointUnreachable("nobody answers")])
async def test_a_judge_that_cannot_be_asked_costs_the_win_rate_alone(error: Exception) -> None:
    samples = [sample(index) for index in range(3)]
    base, adapter = [answer(s, SHORT) for s in samples], [answer(s, LONG, "a") for s in samples]
    found = await measure_win_rate(LikesLonger(error), pairs_to_judge(samples, base, adapter, 9), lambda: None)
    assert found.rate is None and found.missing == str(error) and found.failed == 3
    assert in_words(found) == f"The judge's win rate is missing: {error}"
    board = score_answers(samples, base, adapter, QUICK, 0, win_rate=found)
    assert board.win_rate == found


def test_pairs_that_could_not_be_judged_count_in_no_rate() -> None:
    good, bad = Preference(better=2), Preference(error="unreadable")
    found = win_rate("j", [good, bad, Preference(flipped=True)], [("a", "b c")] * 3)
    assert (found.wins, found.ties, found.flips, found.failed) == (1, 1, 1, 1)
    assert found.rate is not None and found.rate.value == 0.75
    open_pair = Preference(unjudged=True)
    some = win_rate("j", [good, open_pair], [("a", "b c")] * 2)
    assert (some.wins, some.ties, some.unjudged, some.failed) == (1, 0, 1, 0) and "of 1 pair " in in_words(some)
    nothing = win_rate("j", [open_pair], [("a", "b")])
    assert nothing.rate is None and "nothing can judge any" in in_words(nothing)
    none = win_rate("j", [bad], [("a", "b")])
    assert none.rate is None and none.missing == "unreadable"


def test_one_sampling_against_another_is_seldom_called_better_with_draws() -> None:
    """The A/A test over 50 seeds where prompts differ in difficulty and both sides are sampled, too."""
    samples = [sample(index, checks=(Check(kind="max_words", value=8),)) for index in range(40)]
    quick = Evaluation(resamples=100)
    called = 0
    for seed in range(50):
        chance = np.random.default_rng(seed)
        ease = chance.beta(1, 2, len(samples))
        sides = [
            [
                drawn(s, draw, SHORT if chance.random() < hard else LONG, name)
                for s, hard in zip(samples, ease, strict=True)
                for draw in (0, 1)
            ]
            for name in ("base", "a")
        ]
        board = score_answers(samples, sides[0], sides[1], quick, seed)
        one = board.comparison("guarded_sampled")
        called += board.verdict == "better"
        assert one.prompts == 40 and 0 < one.p <= 1
    assert called <= 2


def test_only_training_rows_that_take_over_a_text_have_to_be_held() -> None:
    heldout = [sample(1, output=f"{TEXT} one"), sample(2, output=f"{TEXT} two")]
    seeds = [task(3, f"{TEXT} three"), task(4, f"{TEXT} four", "given"), task(5, f"{TEXT} five")]
    taken = [
        sample(10, output=f"{TEXT} TWO"),
        Sample(id="x", instruction="Do  thing 3.", output="other", split="train"),
        Sample(id="y", instruction="do thing 4.", output="other", split="train"),
    ]
    others = [sample(20 + number, output=f"{TEXT} {number}") for number in range(5)]
    texts = texts_of(heldout, seeds)
    held = [one for one in (*taken, *others) if has_text_of(one, texts)]
    assert held == taken
    found = heldout_passages(heldout, seeds, held)
    assert found == heldout_passages(heldout, seeds, [*taken, *others])
    assert {one.text for one in found} == {f"{TEXT} one", f"{TEXT} five"}
