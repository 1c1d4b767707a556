"""Verdicts in words: tags, labelled lines, tables and sentences are read where they say one score, and else not."""

from __future__ import annotations

import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.test_judging_answers import said
from tools.endpoint.schema import read_answer
from tools.judging.answers import DimensionRating, ExpertRating, PairChoice

EIGHTY = [
    "<score>80</score>",
    "<score>80</score><reason>clear</reason>",
    "<verdict>\n<score> 80/100 </score>\n<reason>clear</reason>\n</verdict>",
    "<accuracy>80</accuracy>\n<reason>clear</reason>",
    '<verdict score="80" reason="clear"/>',
    "```xml\n<score>80</score>\n```",
    "<SCORE>8/10</SCORE>",
    "Score: 80/100. Reason: clear",
    "**Score:** 8/10",
    "**Score: 80**",
    "**Score**: 80\n\n**Reason**: clear",
    "### Score: 80\nClear.",
    "I'd give it 80 out of 100 because it is clear.",
    "I would rate this answer 80/100.",
    "I give this response a score of 80.",
    "I rate this 4/5",
    "80",
    "80/100",
    "**80/100** - clear",
    "8/10. Clear and short.",
    "80%",
    "Score = 80",
    "score: 80\nreason: clear",
    "- Score: 80\n- Reason: clear",
    "* **Score:** 80/100\n* **Reason:** clear",
    "1. Score: 80\n2. Reason: clear",
    "| Score | Reason |\n|---|---|\n| 80 | clear |",
    "| Criterion | Score | Reason |\n| --- | --- | --- |\n| Accuracy | 80/100 | clear |",
    "| | |\n|---|---|\n| Score | 80 |\n| Reason | clear |",
    "| Score | 80 |\n| Reason | clear |",
    "Overall score: 80",
    "My score is 80.",
    "The score is 80 out of 100.",
    "Final Score: 80/100",
    "Rating: 8/10",
    "Accuracy: 80/100\nClear.",
    "Accuracy score: 80",
    "The answer is clear and right.\n\nScore: 80",
    "The answer names 3 of 5 rivers, as 9/10 pupils do. Score: 80/100",
    "Score (0-100): 80",
    "Score: 8 (on a scale of 1 to 10)",
    "On a scale of 0 to 100, I'd give it 80.",
    "On a scale from 1-10, I would give this an 8.",
    "Score: 80 (good)",
    "Score: 79.6",
    "Score: 80.",
    "This answer deserves a score of 80.",
    "This response scores 80/100.",
    "It gets 8/10.",
    "<think>score: 10</think>Score: 80",
    "Score: 80<|im_end|>",
    "Score: 80/100 (i.e. 8/10). Score: 8/10",
    "Score - 80",
    "Score \u2014 80",
    "Points: 80",
    "Grade: 80/100",
    "**Rating**: 4 out of 5 stars",
    "> Score: 80",
    "Score for accuracy: 80",
    "Brand alignment: 80",
    "### Score\n80\n\n### Reason\nclear",
    "Though not perfect, I'd give it 80/100.",
    "Score: 80 of 100",
    "It isn't complete, but I would give it 80/100.",
    "Score: 80 points",
    "I'd rate it: 80",
    "SCORE:80 REASON:clear",
    "I assign a score of 80 to this answer.",
]
"""Each gives 80 of 100 points."""
NOTHING = [
    "On a scale of 0 to 100 I would rather not say.",
    "Score: 80-85",
    "Score: 80 to 90",
    "Score: 80 or 90",
    "Score: 0.8",
    "Score: 800",
    "Score: 80\nScore: 20",
    "Accuracy: 90\nClarity: 70",
    "The film got 9/10 and the answer says so.",
    "The answer says that its rating is 9/10.",
    "I would not give it 80/100.",
    "I'd give it 90/100 if it had sources.",
    "If it had sources, I'd give it 90/100.",
    "Score: high",
    "It has 80 words.",
    "In 1980, 8/10 people.",
    "| Criterion | Score |\n|---|---|\n| a | 80 |\n| b | 20 |",
    "<score>80</score><score>20</score>",
    "I give it less than 80.",
    "I can't give it 80/100",
    "Score: unknown (80 words)",
    "80 words are enough.",
    "Score: -5",
    "",
    "I cannot score this; 80 is too much",
    "It deserves between 70 and 80.",
    "Score: 3/4",
    "Score: 8 (scale 1-10, or 0-100)",
    "a score of 100 would need sources",
    "Score: 85/100 before, Score: 70/100 after",
    "Score: 101",
    "User gave a score: 80",
    "Score: 80 minus 20",
    "A score of 80 would be fair, I say 60",
    "Score: 120/100",
    "I give credit for naming 3 rivers.",
    "Accuracy: 3 errors are in it.",
    "Points: 3 rivers are named.",
    "I scored the facts: 9 of 9 right",
    "| Accuracy | 80 |\n| Clarity | 70 |",
    "| Accuracy | Clarity |\n|---|---|\n| 80 | 70 |",
    "I rate the 2 answers alike.",
    "Score:\n1. Clear\n2. Short",
    "I cannot give a score.",
    "Rated 80 by users",
]
"""Each gives no score, or none that nobody has to guess."""


@pytest.mark.parametrize("text", EIGHTY)
def test_one_score_is_read_in_every_form(text: str) -> None:
    found = read_answer(DimensionRating, said(text))
    assert isinstance(found, DimensionRating) and found.score == 80


@pytest.mark.parametrize("text", NOTHING)
def test_no_score_is_guessed(text: str) -> None:
    assert isinstance(read_answer(DimensionRating, said(text)), str)


def test_a_text_that_was_cut_off_is_not_read() -> None:
    assert isinstance(read_answer(DimensionRating, said("Score: 8", "length")), str)


@pytest.mark.parametrize(
    "text",
    [
        "Score: 80/100. Reason: clear",
        "<score>80</score><reason>clear</reason>",
        "**Score:** 80\n**Reason:** clear",
        "SCORE:80 REASON:clear",
        "- Score: 80\n- Explanation: clear",
    ],
)
def test_the_reason_stands_behind_its_label(text: str) -> None:
    assert read_answer(DimensionRating, said(text)) == DimensionRating(score=80, reason="clear")


@pytest.mark.parametrize(
    "text",
    [
        "Stars: 4\nStrength: plain\nWeakness: long",
        "**Stars:** 4/5\n**Strengths:** plain\n**Weaknesses:** long",
        "<stars>4</stars><strength>plain</strength><weakness>long</weakness>",
        "Rating: \u2605\u2605\u2605\u2605\u2606\nStrength: plain\nWeakness: long",
        "I'd give it 4 out of 5 stars.\nStrength: plain\nWeakness: long",
    ],
)
def test_an_experts_words_are_read(text: str) -> None:
    assert read_answer(ExpertRating, said(text)) == ExpertRating(stars=4, strength="plain", weakness="long")


@pytest.mark.parametrize("text", ["Stars: 6", "Stars: 4\nStars: 2", "Stars: many", "4 rivers are named"])
def test_an_expert_who_gives_no_stars_is_not_read(text: str) -> None:
    assert isinstance(read_answer(ExpertRating, said(text)), str)


@pytest.mark.parametrize(
    ("text", "better"),
    [
        ("Better: first", "first"),
        ("<better>second</better><reason>shorter</reason>", "second"),
        ("[[A]]", "first"),
        ("The second is longer. [[C]]", "tie"),
        ("The second answer is better because it is shorter.", "second"),
        ("Answer 1 is clearly better.", "first"),
        ("I prefer the first answer.", "first"),
        ("**Winner:** Answer 2", "second"),
        ("Verdict: tie", "tie"),
        ("First", "first"),
        ("The first answer is better. The second answer is better.", None),
        ("The first answer is not better.", None),
        ("[[A]] or [[B]]", None),
        ("The first answer is long.", None),
        ("Both are good.", None),
    ],
)
def test_a_choice_in_words_is_read(text: str, better: str | None) -> None:
    found = read_answer(PairChoice, said(text))
    assert (found.better if isinstance(found, PairChoice) else None) == better


@given(
    st.lists(st.sampled_from(["Score", ":", " ", "\n", "80", "/", "100", "|", "<score>", "</score>", "I give it", "."]))
)
def test_any_words_are_a_score_or_none(parts: list[str]) -> None:
    found = read_answer(DimensionRating, said("".join(parts)))
    assert isinstance(found, str) or 0 <= found.score <= 100


@pytest.mark.parametrize(
    "text",
    [
        "score ",
        " ",
        "\n",
        "I give ",
        "<a>",
        "the ",
        "| score ",
        "|a|\n",
        "Score: 8 (scale ",
        "Score: 8\n",
        "0 to ",
        "<score a ",
    ],
)
def test_what_a_verdict_repeats_costs_no_more_than_its_length(text: str) -> None:
    started = time.process_time()
    for model in (DimensionRating, ExpertRating, PairChoice):
        read_answer(model, said(text * (20_000 // len(text))))
    assert time.process_time() - started < 2
