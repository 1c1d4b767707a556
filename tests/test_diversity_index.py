"""The index gives rouge_score's verdict, pair by pair and over a stream, ties and odd texts among them."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from state.errors import CorralError
from tools.gates import DiversityIndex
from tools.gates import diversity as diversity_module
from tools.gates import postings as postings_module
from tools.gates.rouge import f_measure, least_lcs, least_shared, tokens

SCORER = rouge_scorer.RougeScorer(["rougeL"])
ODD = [
    "",
    "?!",
    "İstanbul",
    "Kelvin K",
    "\ufb01ne",
    "ß",
    "É",
    "naïve",
    "a",
    "A",
    "\x00",
    "\ud800",
    "日本 2",
    "\u2028a",
    "it's",
]


def rouge(one: str, other: str) -> float:
    return float(SCORER.score(one, other)["rougeL"].fmeasure)


def repeats(one: str, other: str, threshold: float = 0.7) -> bool:
    index = DiversityIndex(threshold)
    index.add(other)
    return index.match(one) is not None


def pair_of_shape(draw: random.Random, m: int, n: int, shared: int) -> tuple[str, str]:
    """Return texts of ``m`` and ``n`` words whose longest common subsequence has ``shared`` words."""
    common = [f"c{i}" for i in range(shared)]

    def spread(length: int, name: str) -> str:
        places = set(draw.sample(range(length), shared))
        words = iter(common)
        return " ".join(next(words) if place in places else f"{name}{place}" for place in range(length))

    return spread(m, "x"), spread(n, "y")


def ties(draw: random.Random) -> Iterator[tuple[str, str]]:
    """Every shape up to 60 words in sum that scores exactly 0.7, and its neighbours one word away, several times."""
    for total in (20, 40, 60):
        exact = total * 7 // 20
        for m in range(exact, total - exact + 1):
            for shared in (exact - 1, exact, exact + 1):
                if shared <= min(m, total - m):
                    for _ in range(12):
                        yield pair_of_shape(draw, m, total - m, shared)


def small_vocabulary(draw: random.Random, count: int) -> Iterator[tuple[str, str]]:
    """Texts of few different words, so that repeats abound; the second is often a mutation of the first."""
    for _ in range(count):
        vocabulary = [f"w{i}" for i in range(draw.choice((1, 2, 3, 5, 9)))]
        one = [draw.choice(vocabulary) for _ in range(draw.randint(0, 9))]
        other = [draw.choice(vocabulary) for _ in range(draw.randint(0, 9))]
        if draw.random() < 0.7:
            other = [word for word in one if draw.random() < 0.85] + other[: draw.randint(0, 2)]
        yield " ".join(one), " ".join(other)


def odd_texts(draw: random.Random, count: int) -> Iterator[tuple[str, str]]:
    for _ in range(count):
        one = [draw.choice(ODD) for _ in range(draw.randint(0, 7))]
        other = [word.upper() if draw.random() < 0.3 else word for word in one if draw.random() < 0.9]
        yield draw.choice((" ", ",", "-")).join(one), " ".join(other)


def long_texts(draw: random.Random, count: int) -> Iterator[tuple[str, str]]:
    """Around 300 words, changed by about as much as the threshold bears."""
    for _ in range(count):
        one = [f"w{draw.randrange(80)}" for _ in range(draw.randint(280, 320))]
        change = draw.uniform(0.1, 0.45)
        other = [word if draw.random() > change else f"n{draw.randrange(80)}" for word in one]
        yield " ".join(one), " ".join(other)


@pytest.mark.parametrize("count", [15_000, 100_000])
def test_verdicts_equal_rouge_score(count: int) -> None:
    if count > 15_000 and not os.environ.get("SLOW_TESTS"):
        pytest.skip("20 CPU-seconds: SLOW_TESTS=1 runs it")
    draw = random.Random(7)
    parts = small_vocabulary(draw, count * 91 // 100), odd_texts(draw, count * 8 // 100), long_texts(draw, count // 800)
    pairs = [pair for part in (ties(draw), *parts) for pair in part]
    assert len(pairs) >= count
    kinds = {True: 0, False: 0}
    for one, other in pairs:
        expected = rouge(one, other) > 0.7
        assert repeats(one, other) == expected, (one, other)
        kinds[expected] += 1
    assert min(kinds.values()) > count // 10


def test_a_tie_that_floats_above_the_threshold_is_a_repeat() -> None:
    one, other = pair_of_shape(random.Random(0), 9, 11, 7)
    assert rouge(one, other) > 0.7
    assert repeats(one, other)
    one, other = pair_of_shape(random.Random(0), 10, 10, 7)
    assert rouge(one, other) == 0.7
    assert not repeats(one, other)


def test_a_stream_equals_the_plain_loop() -> None:
    draw = random.Random(11)
    vocabulary = [f"w{i}" for i in range(40)]
    items: list[str] = []
    while len(items) < 2_000:
        if items and draw.random() < 0.8:
            words = [word if draw.random() < 0.87 else draw.choice(vocabulary) for word in draw.choice(items).split()]
        else:
            words = [vocabulary[min(39, int(draw.expovariate(0.08)))] for _ in range(draw.randint(0, 12))]
        items.append(" ".join(words))
    index = DiversityIndex()
    kept: list[list[str]] = []
    repeated = 0
    for item in items:
        words = tokens(item)
        first = next((at for at, old in enumerate(kept) if rouge_scorer._score_lcs(words, old).fmeasure > 0.7), None)
        assert index.offer(item) == first
        if first is None:
            kept.append(words)
        else:
            repeated += 1
    assert len(index) == len(kept)
    assert repeated > 300 and len(kept) > 300


WORDS = st.lists(st.sampled_from([*"abcdef", "İ", "K", "-"]), max_size=14).map(" ".join)


@settings(max_examples=300, deadline=None)
@given(st.lists(WORDS, max_size=12), WORDS, st.sampled_from([0.05, 0.3, 0.5, 0.7, 0.9, 1.0]), st.sampled_from([0, 24]))
def test_any_threshold_and_many_kept_texts(kept: list[str], text: str, threshold: float, few: int) -> None:
    index = DiversityIndex(threshold)
    for position, old in enumerate(kept):
        assert index.add(old) == position
    expected = next((at for at, old in enumerate(kept) if rouge(text, old) > threshold), None)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postings_module, "_FEW", few)
        assert index.match(text) == expected
    assert len(index) == len(kept)


@settings(max_examples=200, deadline=None)
@given(st.lists(WORDS, max_size=12), st.lists(WORDS, max_size=3), st.integers(1, 12))
def test_most_similar_equals_scoring_every_pair(kept: list[str], texts: list[str], k: int) -> None:
    index = DiversityIndex()
    for old in kept:
        index.add(old)
    for text, found in zip(texts, index.most_similar(texts, k), strict=True):
        scores = [rouge(text, old) for old in kept]
        assert list(found.scores) == sorted(scores, reverse=True)[:k]
        assert [scores[at] for at in found.positions] == list(found.scores)
        assert found.mean == pytest.approx(sum(scores) / len(scores) if scores else 0.0, abs=1e-12)


@given(st.text())
def test_tokens_equal_rouge_scores(text: str) -> None:
    from rouge_score.tokenizers import DefaultTokenizer

    assert tokens(text) == DefaultTokenizer(False).tokenize(text)


@given(st.integers(1, 60), st.integers(1, 60), st.floats(0.01, 1.0))
def test_the_least_lcs_is_the_first_above_the_threshold(m: int, n: int, threshold: float) -> None:
    first = next((lcs for lcs in range(min(m, n) + 1) if f_measure(lcs, m, n) > threshold), None)
    least = least_lcs(m, n, threshold)
    assert least == first if first is not None else least > min(m, n)


@given(st.integers(1, 60), st.floats(0.01, 1.0))
def test_no_partner_gets_by_with_fewer_shared_words(m: int, threshold: float) -> None:
    least = least_shared(m, threshold)
    reachable = [least_lcs(m, n, threshold) for n in range(1, 300) if least_lcs(m, n, threshold) <= min(m, n)]
    assert min(reachable, default=m + 1) == least


def test_a_text_without_words_is_always_new() -> None:
    index = DiversityIndex()
    assert [index.offer(text) for text in ("", "", "!?", "a", "A.")] == [None, None, None, None, 3]
    assert len(index) == 4


def test_words_beyond_the_first_plane_and_around_the_surrogates() -> None:
    index = DiversityIndex()
    for start in range(0, 66_000, 100):
        index.add(" ".join(f"v{i}" for i in range(start, start + 100)))
    for number in (0, 55_200, 55_300, 57_300, 65_500, 65_900):
        start = number // 100 * 100
        assert index.match(" ".join(f"v{i}" for i in range(start + 5, start + 90))) == start // 100
        assert index.match(" ".join(f"v{i}" for i in range(start + 50, start + 150))) is None


def test_a_full_vocabulary_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diversity_module, "MAX_WORDS", 3)
    index = DiversityIndex()
    index.add("one two three")
    with pytest.raises(CorralError, match="full"):
        index.add("four")


@pytest.mark.parametrize("threshold", [0.0, -1.0, 1.1])
def test_a_threshold_out_of_range_is_refused(threshold: float) -> None:
    with pytest.raises(ValueError, match="threshold"):
        DiversityIndex(threshold)
