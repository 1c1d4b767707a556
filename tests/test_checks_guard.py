"""The guard: degenerate texts are named, good ones are left alone."""

# ruff: noqa: RUF001 - typographic characters are what is tested

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tools.checks.guard import MIN_DISTINCT, distinct_n, guard

PROMPT = "Write a short text about the sea and its tides. Use at most 40 words."
GOOD = "The sea rises and falls twice a day. The moon pulls the water, and the shore moves with it."


def test_a_good_answer_is_clean() -> None:
    assert guard(PROMPT, GOOD, True) == ()
    assert guard("What is the capital of France?", "Paris.", True) == ()
    assert guard("Give an emoji for night.", "🌃", True) == ()


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "empty"),
        (" \n ... !", "empty"),
        ("the sea is big and " * 12, "repetition"),
        ("I like the sea. " * 3 + "It is blue and wide and old.", "repetition"),
        ("a" * 40, "repetition: 'a' over and over"),
        ("The sea " + "ha" * 20, "repetition"),
        ("海" * 30, "repetition"),
        (PROMPT, "begins with the whole prompt"),
        (f"{PROMPT} The sea is blue.", "begins with the whole prompt"),
        ("write a short text about the sea and its tides. use at most", "copied"),
        ("Write a short text about the sea and its tides.", "copied"),
        ("I'm sorry, but I can't help with that.", "refusal"),
        ("I’m sorry, I cannot write that.", "refusal"),
        ("As an AI language model, I have no opinion on the sea.", "refusal"),
        ("I am unable to provide a text about the sea.", "refusal"),
        ("The sea is blue.<|im_end|>", "'<|im_end|>' is left"),
        ("### Response: The sea is blue.", "is left"),
        ("<noinput>", "is left"),
    ],
)
def test_degenerate_answers_are_named(text: str, reason: str) -> None:
    reasons = guard(PROMPT, text, True)
    assert any(reason in found for found in reasons), reasons


def test_an_unfinished_answer_is_degenerate() -> None:
    assert guard(PROMPT, GOOD, False) == ("the answer did not end by itself",)
    assert len(guard(PROMPT, "the sea " * 30, False)) == 2


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (
            "Write an apology to a customer.",
            "Dear customer, I am sorry that your parcel arrived broken. We will replace it.",
        ),
        ("Write a love letter.", "I can't help but smile when I think of you."),
        ("Insert a period: I ate a sandwich for lunch", "I ate a sandwich for lunch."),
        ("What is the third word here: one two three?", "three"),
        ("Put it in a table", "| a | b |\n|---|---|\n|---------|---------|\n| 1 | 2 |"),
        ("How big is it?", "About 10000000000000 to 1."),
    ],
)
def test_what_only_looks_degenerate_passes(prompt: str, text: str) -> None:
    assert guard(prompt, text, True) == ()


CHICKENS = "Write about keeping chickens in the backyard. Do not use any digits. Write numbers as words."


@pytest.mark.parametrize(
    "text",
    [
        "Keep chickens in the backyard. Do not use any digits. Write numbers as words.",
        "Chickens are birds. Do not use any digits. Write numbers as words.",
        "- Do not use any digits.\n- Write numbers as words.\n- Eggs are good.",
    ],
)
def test_an_answer_of_the_prompts_sentences_is_a_copy(text: str) -> None:
    assert any("repeats the prompt" in reason for reason in guard(CHICKENS, text, True))


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        (CHICKENS, "Keeping chickens in the backyard is easy. Three hens need four square metres and fresh water."),
        ("What is the sum of the first 30 positive integers?", "The sum of the first 30 positive integers is 465."),
        (
            'Add commas: "The small black dog chased a squirrel over it."',
            "The small black dog chased a squirrel over it.",
        ),
        (
            "Remove the adverbs.\n\nThe big dog ran over the old bridge to us.",
            "The big dog ran over the old bridge to us.",
        ),
    ],
)
def test_an_answer_that_takes_up_the_question_is_none(prompt: str, text: str) -> None:
    assert not [reason for reason in guard(prompt, text, True) if "repeats the prompt" in reason]


def test_distinct_n_counts_what_repeats() -> None:
    assert distinct_n("a b c d", 3) == 1.0
    assert distinct_n("A b, a B", 1) == 0.5
    assert distinct_n("one two", 3) == 1.0
    assert distinct_n("x y x y x y", 2) == pytest.approx(2 / 5)


@given(st.text(max_size=400), st.text(max_size=200), st.booleans(), st.integers(1, 4))
def test_any_text_gets_an_answer(text: str, prompt: str, ended: bool, n: int) -> None:
    assert 0 < distinct_n(text, n) <= 1
    reasons = guard(prompt, text, ended)
    assert all(reason and "\n" not in reason for reason in reasons)
    assert ended or reasons


@given(st.lists(st.sampled_from("sea sky sun sand salt ship".split()), min_size=1, max_size=6), st.integers(11, 30))
def test_a_loop_is_always_found(piece: list[str], times: int) -> None:
    text = " ".join(piece * times)
    assert distinct_n(text, 3) < MIN_DISTINCT
    assert any("repetition" in reason for reason in guard("Say something.", text, True))


def test_few_real_answers_are_flagged() -> None:
    """Of Stanford's generated rows at most 1% are called degenerate, and those left-over markers among them rightly."""
    path = Path(__file__).resolve().parents[2] / "shared" / "data" / "regen_gold.json"
    if not path.exists():
        pytest.skip("the shared data is not here")
    rows = json.loads(path.read_text(encoding="utf-8"))
    flagged = [row for row in rows if guard(f"{row['instruction']}\n\n{row['input']}".strip(), row["output"], True)]
    assert len(flagged) <= 0.01 * len(rows)
