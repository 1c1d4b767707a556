"""What judges really answer is read for what it says, and what it does not say is not read out of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tools.endpoint.chat import Completion
from tools.endpoint.json_answers import one_object
from tools.endpoint.schema import read_answer
from tools.endpoint.spoken import end_token_within, spoken
from tools.judging.answers import REASON_CHARS, DimensionRating, ExpertRating, PairChoice, as_note, as_points

SHAPES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "verdict_shapes.json").read_text())


def said(text: str, finish_reason: str = "stop") -> Completion:
    return Completion(text=text, finish_reason=finish_reason, key="k")


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape["name"])
def test_each_shape_of_a_verdict_has_its_score(shape: dict[str, Any]) -> None:
    found = read_answer(DimensionRating, said(shape["text"]))
    assert (found.score if isinstance(found, DimensionRating) else None) == shape["score"]


@pytest.mark.parametrize(
    ("written", "stars"),
    [(4, 4), (4.0, 4), (4.5, 5), ("4", 4), ("4/5", 4), ("8/10", 4), ("80/100", 4), ("4 stars", 4), ("\u2605" * 4, 4)],
    ids=repr,
)
def test_stars_are_read_in_every_spelling(written: Any, stars: int) -> None:
    found = read_answer(ExpertRating, said(json.dumps({"stars": written, "strength": "plain", "weakness": None})))
    assert found == ExpertRating(stars=stars, strength="plain", weakness="")


@pytest.mark.parametrize(
    "written", [True, None, 0, 6, "7/7", "9/5", "many", "", 0.5, "0.5", [4], float("nan")], ids=repr
)
def test_what_is_no_number_of_stars_is_not_read(written: Any) -> None:
    assert isinstance(read_answer(ExpertRating, said(json.dumps({"stars": written}))), str)


@pytest.mark.parametrize(
    ("written", "better"),
    [("First", "first"), ("answer 2", "second"), (1, "first"), ("The second answer.", "second"), ("neither", "tie")],
)
def test_a_choice_is_read_in_every_spelling(written: Any, better: str) -> None:
    found = read_answer(PairChoice, said(json.dumps({"better": written, "reason": ["it is", "shorter"]})))
    assert isinstance(found, PairChoice) and found.better == better and found.reason == "it is; shorter"


@given(st.text(max_size=600))
def test_a_note_is_one_line_and_never_too_long(text: str) -> None:
    note = as_note(text, REASON_CHARS)
    assert len(note) <= REASON_CHARS and "\n" not in note
    DimensionRating(score=1, reason=note)


@given(st.integers(0, 100), st.sampled_from(["{}", "{}/100", "{}%", "{}.0", " {} out of 100 points "]))
def test_points_come_back_as_written(points: int, form: str) -> None:
    assert as_points(form.format(points), 100) == points == as_points(points, 100)


@given(
    st.recursive(st.none() | st.booleans() | st.floats() | st.text(max_size=8), lambda part: st.lists(part, max_size=3))
)
def test_any_value_is_points_or_refused(value: Any) -> None:
    try:
        found = DimensionRating.model_validate({"score": value})
    except ValidationError:
        return
    assert 0 <= found.score <= 100


@given(st.text(max_size=300))
def test_looking_for_an_object_never_fails(text: str) -> None:
    found = one_object(text, {"score"})
    assert found is None or "score" in found


@pytest.mark.parametrize("text", ["{" * 50_000, '{"a":' * 20_000, "[" * 100_000, '{"score": ' + "9" * 5_000 + "}"])
def test_deep_or_long_answers_do_not_fail(text: str) -> None:
    assert isinstance(read_answer(DimensionRating, said(text)), str)


@pytest.mark.parametrize(
    ("completion", "text", "thinking"),
    [
        ("<think>two and two</think>\n\nFour.", "Four.", True),
        ("two and two\n</think>\nFour.", "Four.", True),
        ("<think>two and two, and then", "", True),
        ("<thinking>a</thinking>Four.<thinking>b</thinking>", "Four.", True),
        ("  Four.", "  Four.", False),
        ("Four.<|im_end|>", "Four.", False),
        ("Four.</s></s>\n", "Four.", False),
        ("Four. [/INST] <end_of_turn>", "Four.", False),
    ],
)
def test_thinking_and_end_tokens_are_no_part_of_an_answer(completion: str, text: str, thinking: bool) -> None:
    found = spoken(completion)
    assert (found.text, found.thinking) == (text, thinking)
    assert found.end_tokens == (not thinking and text != completion)


@given(st.text(st.characters(exclude_characters="<[\uff5c"), max_size=100))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert spoken(text) == (text, False, False) and end_token_within(text) is None


def test_an_end_token_within_is_found() -> None:
    assert end_token_within("Four.<|eot_id|>User: and five?") == "<|eot_id|>"
