"""Figures of diversity: exact on small sets, bounded on large ones, and a classifier that agrees with the seeds."""

from __future__ import annotations

import itertools
import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from state.records import Sample
from tools.gates import CATEGORIES, categorise, figures
from tools.gates import measures as measures_module
from tools.gates.categories import category_scores
from tools.gates.measures import corpus_distinct_n, entropy_bits, similarity_figures
from tools.gates.phrases import singular, verb_and_noun

SEEDS = Path(__file__).resolve().parents[1] / "seeds" / "seed_tasks.jsonl"


def samples(*instructions: str, given: str = "", output: str = "one two three") -> list[Sample]:
    return [Sample(id=str(n), instruction=text, input=given, output=output) for n, text in enumerate(instructions)]


@pytest.mark.parametrize(
    ("instruction", "expected"),
    [
        ("Write a short story about a dog.", ("write", "story")),
        ("Please write two stories.", ("write", "story")),
        ("Give three tips for staying healthy.", ("give", "tip")),
        ("Given two lists, compare their lengths.", ("compare", "length")),
        ("Come up with a name for a cat.", ("come up with", "name")),
        ("Pick out all the adjectives.", ("pick out", "adjective")),
        ("Can you describe the water cycle?", ("describe", "cycle")),
        ("Explain how rain forms.", ("explain", "")),
        ("What are the three primary colours?", ("what", "colour")),
        ("Connect the dots to a picture.", ("connect", "dot")),
        ("Add up this receipt.", ("add up", "receipt")),
        ("Name some people who changed physics.", ("name", "person")),
        ("Is 91 a prime number?", ("", "")),
        ("", ("", "")),
        ("?!", ("", "")),
    ],
)
def test_verb_and_noun(instruction: str, expected: tuple[str, str]) -> None:
    assert verb_and_noun(instruction) == expected


@pytest.mark.parametrize(
    ("noun", "expected"),
    [
        ("stories", "story"),
        ("boxes", "box"),
        ("glass", "glass"),
        ("children", "child"),
        ("series", "series"),
        ("ties", "tie"),
        ("bus", "bus"),
        ("analysis", "analysis"),
        ("sentences", "sentence"),
        ("gas", "gas"),
        ("watches", "watch"),
    ],
)
def test_singular(noun: str, expected: str) -> None:
    assert singular(noun) == expected


def test_the_classifier_agrees_with_the_seeds() -> None:
    tasks = [json.loads(line) for line in SEEDS.read_text(encoding="utf-8").split("\n") if line.strip()]
    agreed = [categorise(task["instruction"]) == task["category"] for task in tasks]
    assert sum(agreed) / len(agreed) >= 0.85
    assert {categorise(task["instruction"]) for task in tasks} == set(CATEGORIES)


@given(st.text(max_size=100))
def test_any_text_has_a_category_with_the_highest_score(text: str) -> None:
    scores = category_scores(text)
    category = categorise(text)
    assert set(scores) == set(CATEGORIES)
    assert scores[category] == max(scores.values())


def test_distinct_n_counts_different_over_all() -> None:
    assert corpus_distinct_n(["a b a", "A c"], 1) == 3 / 5
    assert corpus_distinct_n(["a b a", "A c", "a b"], 2) == 3 / 4
    assert corpus_distinct_n([], 1) == corpus_distinct_n(["", "a"], 2) == 0


@given(st.dictionaries(st.sampled_from(CATEGORIES), st.integers(0, 50)))
def test_entropy_is_bounded_and_highest_when_even(counts: dict[str, int]) -> None:
    filled = sum(count > 0 for count in counts.values())
    assert 0 <= entropy_bits(counts) <= (math.log2(filled) if filled else 0) + 1e-9
    assert entropy_bits(dict.fromkeys(CATEGORIES, 3)) == pytest.approx(math.log2(12))


@given(st.lists(st.lists(st.sampled_from("abcde"), max_size=6).map(" ".join), min_size=2, max_size=8))
def test_similarity_equals_scoring_every_pair(texts: list[str]) -> None:
    scorer = rouge_scorer.RougeScorer(["rougeL"])
    scores = [scorer.score(one, other)["rougeL"].fmeasure for one, other in itertools.combinations(texts, 2)]
    mean, most = similarity_figures(texts)
    assert mean == pytest.approx(sum(scores) / len(scores), abs=1e-9)
    assert most == pytest.approx(max(scores), abs=1e-9)


def test_figures_of_a_small_set() -> None:
    rows = samples("Write a poem.", "Write a story.", "Translate it into French.", given="four words are here")
    found = figures([*rows, Sample(id="x", instruction="Anything", category="planning", output="")])
    assert found.rows == 4
    assert [(pair.verb, pair.noun, pair.count) for pair in found.verb_nouns][:2] == [
        ("write", "poem", 1),
        ("write", "story", 1),
    ]
    assert (found.verbs, found.verb_noun_pairs) == (2, 3)
    assert found.categories["writing"] == 2 and found.categories["planning"] == 1 and found.categories["code"] == 0
    assert found.entropy == pytest.approx(1.5)
    assert found.balance == pytest.approx(1.5 / math.log2(12))
    assert found.max_similarity == pytest.approx(2 / 3)
    assert (found.instruction_words.least, found.instruction_words.median, found.instruction_words.most) == (1, 3, 4)
    assert (found.input_words.mean, found.output_words.mean, found.with_input) == (4, 3, 0.75)


def test_figures_of_nothing() -> None:
    found = figures([])
    assert (found.rows, found.entropy, found.balance, found.mean_similarity, found.with_input) == (0, 0, 0, 0, 0)


def test_large_sets_are_sampled_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(measures_module, "SAMPLE_ROWS", 50)
    monkeypatch.setattr(measures_module, "SIMILARITY_ROWS", 20)
    rows = samples(*(f"Write poem number {number} now." for number in range(500)))
    found = figures(rows)
    assert found == figures(rows)
    assert sum(found.categories.values()) == found.rows == 500
    assert found.distinct_1 == pytest.approx((50 + 4) / 250)
