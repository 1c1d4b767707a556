"""The filters before the count of a common subsequence drop no pair that is too alike, whatever the order of words."""

from __future__ import annotations

import random
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score import rouge_scorer

from tools.gates import DiversityIndex
from tools.gates import diversity as diversity_module
from tools.gates import postings as postings_module
from tools.gates.postings import Postings
from tools.gates.rouge import f_measure
from tools.gates.signatures import Signatures

TEXTS = st.lists(st.text("abcdefg", min_size=1, max_size=16), min_size=1, max_size=10)
THRESHOLDS = st.sampled_from([0.05, 0.3, 0.5, 0.7, 0.9, 1.0]) | st.floats(0.01, 1.0)


def alike(one: str, other: str, threshold: float) -> bool:
    """Return whether rouge_score finds two texts, of a letter a word, above the threshold."""
    return f_measure(rouge_scorer._lcs_table(one, other)[-1][-1], len(one), len(other)) > threshold


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.text("abcdefg", min_size=1, max_size=16), THRESHOLDS, st.booleans(), st.sampled_from([0, 512]))
def test_no_filter_drops_what_is_too_alike(
    kept: list[str], text: str, threshold: float, packed: bool, many: int
) -> None:
    postings, signatures = Postings(threshold), Signatures(threshold)
    for position, old in enumerate(kept):
        signatures.add(old)
        postings.add(position, old)
    if packed:
        words = np.array([ord(word) for old in kept for word in old], np.uint32)
        lengths = np.array([len(old) for old in kept], np.uint32)
        postings.pack(words, lengths)
        signatures.renew(words, lengths)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(postings_module, "_MANY", many)
        patch.setattr(postings_module, "_FEW", many)
        found = postings.candidates(text)
    left = set(found[signatures.reachable(text, found)].tolist())
    assert {at for at, old in enumerate(kept) if alike(text, old, threshold)} <= left


@pytest.mark.parametrize(
    "limits", [{}, {"MOST": 9, "_PLACE_BITS": 2, "_LAST_PLACE": 3}], ids=["as it is", "at its limits"]
)
def test_an_index_that_renames_its_words_gives_the_verdicts_of_every_pair(
    monkeypatch: pytest.MonkeyPatch, limits: dict[str, int]
) -> None:
    monkeypatch.setattr(diversity_module, "_FIRST_ORDER", 5)
    monkeypatch.setattr(diversity_module, "_FEW", 0)
    monkeypatch.setattr(postings_module, "_MANY", 0)
    monkeypatch.setattr(postings_module, "_FEW", 0)
    monkeypatch.setattr(postings_module, "_BLOCK", 7)
    for name, value in limits.items():
        monkeypatch.setattr(postings_module, name, value)
    draw, index, kept = random.Random(1), DiversityIndex(), list[list[str]]()
    words = [f"w{number}" for number in range(60)]
    often = list(accumulate(1 / (1 + number) for number in range(60)))
    for _ in range(400):
        new = draw.choices(words, cum_weights=often, k=draw.randint(0, 14))
        if kept and draw.random() < 0.4:
            new = [word for word in draw.choice(kept) if draw.random() > 0.15]
        first = next((at for at, old in enumerate(kept) if rouge_scorer._score_lcs(new, old).fmeasure > 0.7), None)
        assert index.offer(" ".join(new)) == first
        if first is None:
            kept.append(new)
    assert index._order_at > len(kept) > 100


def test_matches_hold_when_the_words_are_renamed_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diversity_module, "_FIRST_ORDER", 3)
    index = DiversityIndex()
    index.add("rare words come first here")
    index.add("often often often often")
    found = index.matches("rare words come first")
    index.add("often again and again")
    assert list(found) == [0]
