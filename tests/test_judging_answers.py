"""What judges really answer is read for what it says, and what it does not say is not read out of it."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tools.endpoint.chat import Completion
from tools.endpoint.json_answers import one_object
from tools.endpoint.schema import read_answer
from tools.endpoint.spoken import spoken
from tools.judging.answers import REASON_CHARS, DimensionRating, ExpertRating, PairChoice, as_note, as_points
from tools.special_tokens import first_turn

SHAPES: list[dict[str, Any]] = json.loads((Path(__file__).parent / "data" / "verdict_shapes.json").read_text())


def said(text: str, finish_reason: str = "stop") -> Completion:
    return Completion(text=text, finish_reason=finish_reason, key="k")


@pytest.mark.parametrize("shape", SHAPES, ids=lambda shape: shape["name"])
def test_each_shape_of_a_verdict_has_its_score(shape: dict[str, Any]) -> None:
    found = read_answer(DimensionRating, said(shape["text"]))
    assert (found.score if isinstance(found, DimensionRating) else None) == shape["score"]


VERDICT = '{"score": 80, "reason": "clear"}'
WRAPPED = {
    "Kimi's thinking": '\u25c1think\u25b7{"score": 10}\u25c1/think\u25b7@',
    "Magistral's": '[THINK]hm {"score": 10}[/THINK]@',
    "gpt-oss's": '<|channel|>analysis<|message|>{"score": 10}<|end|>'
    "<|start|>assistant<|channel|>final<|message|>@<|return|>",
    "Sky-T1's": '<|begin_of_thought|>{"score": 1}<|end_of_thought|><|begin_of_solution|>@<|end_of_solution|>',
    "Command A's": '<|START_THINKING|>{"score": 1}<|END_THINKING|><|START_RESPONSE|>@<|END_RESPONSE|>',
    "thinking in its own space": '<seed:think>{"score": 1}</seed:think>@',
    "thinking with spaces": '< think >{"score": 1}</ think >@',
    "thinking within thinking": '<think>a <think>b</think> {"score": 10}</think>@',
    "a scratchpad": '<scratchpad>{"score": 1}</scratchpad>@',
    "a tagged answer": '<think>{"score": 10}</think><answer>@</answer>',
    "a tool call": '<tool_call>{"name": "verdict", "arguments": @}</tool_call>',
    "an object in another": '{"evaluation": @}',
    "as a schema's properties": '{"type": "object", "properties": @}',
    "behind the schema": '{"type": "object", "properties": {"score": {"type": "integer"}}}\n@',
    "braces of a template": "{@}",
    "a web page's quotes": "@".replace("@", VERDICT.replace('"', "&quot;")),
    "a word of Markdown": "json\n@",
    "bold": "**@**",
    "the next turn": '@<|im_end|>\n<|im_start|>user\n{"score": 3}',
    "another order, twice": '@\n{"reason": "clear", "score": 80}',
}
WRITTEN = {
    "no brace at its end": '{"score": 80, "reason": "clear"',
    "no brace at its start": '"score": 80, "reason": "clear"}',
    "full width": '{"score"\uff1a80\uff0c"reason"\uff1a"clear"}',
    "arrows": '{"score" => 80, "reason" => "clear"}',
    "no comma": '{"score": 80\n "reason": "clear"}',
    "no quotes": "{score: 80, reason: clear}",
    "points with a word behind": '{"score": "80 (good)"}',
    "points with a word before": '{"score": "Score: 80"}',
    "points in bold": '{"score": "**80**"}',
    "a decimal comma": '{"score": "79,6"}',
    "a bare fraction": '{"score": 8/10, "reason": "clear"}',
    "a reason with parts": '{"score": 80, "reason": {"text": "clear"}}',
    "no reason": '{"score": 80, "reason": false}',
}
SAYS_NOTHING = {
    "cut in its score": '{"reason": "clear", "score": 8',
    "two objects within one": '{"a": {"score": 10}, "b": {"score": 80}}',
    "two spellings of a key": '{"Score": 10, "score": 80}',
    "a range": '{"score": "80-85"}',
    "another whole": '{"score": "3/4"}',
    "a little too much": '{"score": 100.4}',
    "a little too little": '{"score": -0.4}',
    "a schema": '{"properties": {"score": {"type": "integer"}, "reason": {"type": "string"}}}',
    "a turn of its own": VERDICT + '\n\nUser: and this?\nAssistant: {"score": 3, "reason": "bad"}',
}


@pytest.mark.parametrize("text", [*(text.replace("@", VERDICT) for text in WRAPPED.values()), *WRITTEN.values()],
                         ids=[*WRAPPED, *WRITTEN])  # fmt: skip
def test_other_shapes_of_these_kinds_are_read(text: str) -> None:
    found = read_answer(DimensionRating, said(text))
    assert isinstance(found, DimensionRating) and found.score == 80


@pytest.mark.parametrize("text", SAYS_NOTHING.values(), ids=SAYS_NOTHING)
def test_nothing_is_guessed(text: str) -> None:
    assert isinstance(read_answer(DimensionRating, said(text)), str)


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
        ("Four.<|eom|><|endofturn|>", "Four.", False),
        ("<|im_start|>assistant\nFour.<|im_end|>", "Four.", False),
        ("So <think> is a tag.", "So <think> is a tag.", False),
        ("<think>a</think><answer>Four.</answer>", "Four.", True),
    ],
)
def test_thinking_and_end_tokens_are_no_part_of_an_answer(completion: str, text: str, thinking: bool) -> None:
    found = spoken(completion)
    assert (found.text, found.thinking) == (text, thinking)


@given(st.text(st.characters(exclude_characters="<[\uff5c"), max_size=100))
def test_plain_text_stays_as_it_is(text: str) -> None:
    assert spoken(text) == (text, False) and first_turn(text) == text


@pytest.mark.parametrize("text", ["<think>" * 15_000, "</s> " * 20_000 + "x", "\n" * 100_000 + "x", "< " * 50_000])
def test_what_a_text_repeats_costs_no_more_than_its_length(text: str) -> None:
    started = time.process_time()
    spoken(text)
    assert time.process_time() - started < 2
