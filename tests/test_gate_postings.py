"""The filters before the count of a common subsequence drop no pair that is too alike, whatever the order of words."""

from __future__ import annotations

import random
from collections import Counter
from itertools import accumulate

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rapidfuzz.distance import LCSseq
from rouge_score import rouge_scorer

from tools.gates import DiversityIndex
from tools.gates import diversity as diversity_module
from tools.gates import postings as postings_module
from tools.gates.postings import _MOST, _NOTE, _NOTES, LONGEST, Postings
from tools.gates.rouge import f_measure
from tools.gates.signatures import bits_of, signatures

TEXTS = st.lists(st.text("abcdefg", min_size=1, max_size=16), min_size=1, max_size=10)
THRESHOLDS = st.sampled_from([0.05, 0.3, 0.5, 0.7, 0.9, 1.0]) | st.floats(0.01, 1.0)


def alike(one: str, other: str, threshold: float) -> bool:
    """Return whether rouge_score finds two texts, of a letter a word, above the threshold."""
    return f_measure(rouge_scorer._lcs_table(one, other)[-1][-1], len(one), len(other)) > threshold


def words_of(texts: list[str]) -> tuple[NDArray[np.uint32], NDArray[np.uint32]]:
    """Return the code points of texts, of a letter a word, and how many each has."""
    lengths = np.array([len(text) for text in texts], np.uint32)
    return np.array([ord(word) for text in texts for word in text], np.uint32), lengths


@settings(max_examples=150, deadline=None)
@given(TEXTS, st.text("abcdefg", min_size=1, max_size=16), THRESHOLDS, st.booleans(), st.booleans())
def test_no_filter_drops_what_is_too_alike(
    kept: list[str], text: str, threshold: float, packed: bool, always: bool
) -> None:
    postings = Postings(threshold)
    for position, old in enumerate(kept):
        postings.add(position, old)
    if packed:
        postings.pack(*words_of(kept))
    with pytest.MonkeyPatch.context() as patch:
        if always:
            patch.setattr(postings_module, "_LONG", 0)
            patch.setattr(postings_module, "_FEW", 0)
            patch.setattr(postings_module, "_DENSE", 0)
        found = set(postings.candidates(text))
    assert {at for at, old in enumerate(kept) if alike(text, old, threshold)} <= found


@given(st.text("abcdefghijklmnop", max_size=90), st.text("abcdefghijklmnop", max_size=90))
def test_two_texts_share_no_more_tokens_than_bits_and_what_their_bits_hide(one: str, other: str) -> None:
    bits, others = (signatures(sorted(text))[-1] if text else 0 for text in (one, other))
    shared = (Counter(one) & Counter(other)).total()
    assert shared <= (bits & others).bit_count() + len(one) - bits.bit_count()


@given(st.text("abcdefg", min_size=1))
def test_bits_are_the_same_by_text_and_by_block(text: str) -> None:
    ordered = sorted(text)
    words = np.array([ord(word) for word in ordered], np.int64)
    occurrences = np.array([ordered[:at].count(word) for at, word in enumerate(ordered)], np.int64)
    assert np.bitwise_or.accumulate(bits_of(words, occurrences)).tolist() == signatures(ordered)


@given(TEXTS, THRESHOLDS)
def test_packing_changes_the_order_of_notes_alone(kept: list[str], threshold: float) -> None:
    postings, words = Postings(threshold), sorted({word for old in kept for word in old})
    for position, old in enumerate(kept):
        postings.add(position, old)
    added = {word: sorted(_NOTE.iter_unpack(notes)) for word, notes in postings._added.items()}
    postings.pack(*words_of(kept))
    notes_by_word, starts = np.frombuffer(postings._packed, _NOTES), [*postings._starts, *[postings._starts[-1]] * 200]
    packed = {word: notes_by_word[starts[ord(word)] : starts[ord(word) + 1]] for word in words}
    assert {word: sorted(notes.tolist()) for word, notes in packed.items() if len(notes)} == added
    assert all((np.diff(notes["length"].astype(int)) >= 0).all() for notes in packed.values())


@pytest.mark.parametrize("packed", [False, True])
def test_no_filter_drops_a_long_text(monkeypatch: pytest.MonkeyPatch, packed: bool) -> None:
    monkeypatch.setattr(postings_module, "_LONG", 0)
    monkeypatch.setattr(postings_module, "_FEW", 0)
    draw, vocabulary = random.Random(2), [chr(97 + number) for number in range(400)]
    first = draw.choices(vocabulary, k=2 * LONGEST)
    kept = ["".join(first[: draw.randint(LONGEST // 2, 2 * LONGEST)]) for _ in range(60)]
    postings = Postings(0.7)
    for position, old in enumerate(kept):
        postings.add(position, old)
    if packed:
        postings.pack(*words_of(kept))
    pairs = 0
    for text in ["".join(first[:length]) for length in (150, 240, LONGEST - 1, LONGEST, LONGEST + 1, 400, 510)]:
        repeated = {
            at for at, old in enumerate(kept) if f_measure(LCSseq.similarity(text, old), len(text), len(old)) > 0.7
        }
        assert repeated <= set(postings.candidates(text))
        pairs += len(repeated)
    assert 7 * 60 > pairs > 60


@pytest.mark.parametrize(("longest", "most"), [(LONGEST, _MOST), (9, 12)], ids=["as it is", "at its limits"])
def test_an_index_that_renames_its_words_gives_the_verdicts_of_every_pair(
    monkeypatch: pytest.MonkeyPatch, longest: int, most: int
) -> None:
    postings_module.limits_of.cache_clear()
    postings_module.bits_to_share.cache_clear()
    monkeypatch.setattr(postings_module, "LONGEST", longest)
    monkeypatch.setattr(postings_module, "_MOST", most)
    monkeypatch.setattr(postings_module, "_DENSE", 0)
    monkeypatch.setattr(diversity_module, "_FIRST_ORDER", 5)
    monkeypatch.setattr(postings_module, "_LONG", 0)
    monkeypatch.setattr(postings_module, "_FEW", 0)
    monkeypatch.setattr(postings_module, "_BLOCK", 7)
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
    postings_module.limits_of.cache_clear()
    postings_module.bits_to_share.cache_clear()


def test_matches_hold_when_the_words_are_renamed_before_they_are_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(diversity_module, "_FIRST_ORDER", 3)
    index = DiversityIndex()
    index.add("rare words come first here")
    index.add("often often often often")
    found = index.matches("rare words come first")
    index.add("often again and again")
    assert list(found) == [0]
