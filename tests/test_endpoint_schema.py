"""Strict schemas, the reading of answers, and the second question."""

import json
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from tools.endpoint.chat import ChatCall, Completion
from tools.endpoint.schema import read_answer, second_question, strict_schema


class Inner(BaseModel):
    title: str = "none"
    kind: Literal["a", "b"] = "a"


class Answer(BaseModel):
    """What a judge says."""

    score: int = Field(50, ge=0, le=100, title="Score")
    properties: list[Inner] = []
    default: Inner | None = None


def said(text: str, finish_reason: str = "stop") -> Completion:
    return Completion(text=text, finish_reason=finish_reason, key="k")


def objects_of(schema: object) -> list[dict[str, object]]:
    if isinstance(schema, list):
        return [found for part in schema for found in objects_of(part)]
    if not isinstance(schema, dict):
        return []
    own = [schema] if schema.get("type") == "object" else []
    return own + [found for part in schema.values() for found in objects_of(part)]


def test_every_object_is_closed_and_all_its_fields_are_required() -> None:
    schema = strict_schema(Answer)
    objects = objects_of(schema)
    assert len(objects) == 2
    for found in objects:
        assert found["additionalProperties"] is False
        assert found["required"] == list(found["properties"])  # type: ignore[call-overload]  # an object's properties
    assert schema["properties"]["score"] == {"type": "integer", "minimum": 0, "maximum": 100}


def test_fields_may_bear_the_names_of_keywords() -> None:
    assert list(strict_schema(Answer)["properties"]) == ["score", "properties", "default"]
    assert list(strict_schema(Answer)["$defs"]["Inner"]["properties"]) == ["title", "kind"]


@pytest.mark.parametrize(
    "text", ['{"score": 3}', ' \n{"score": 3}\n', '```json\n{"score": 3}\n```', '```\n{"score": 3}```']
)
def test_an_answer_is_read_with_or_without_a_fence(text: str) -> None:
    assert read_answer(Answer, said(text)) == Answer(score=3)


class Rated(BaseModel):
    """What must be given whole."""

    score: int = Field(50, ge=0, le=100)
    reason: str = "none"


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("{'score': 85, 'reason': 'sound'}", "sound"),
        ('{"score": 85, "reason": "sound",}', "sound"),
        ('{"score": 85 "reason": "sound"}', "sound"),
        ('{"score": 85, // fine\n "reason": "sound"}', "sound"),
        ('{score: 85, reason: "it is "sound" here"}', 'it is "sound" here'),
        ('{"score": 85, "reason": "two\nlines"}', "two\nlines"),
        ('Here is my answer: {"score": 85, "reason": "sound"}. I hope it helps.', "sound"),
        ('<think>It adds up.</think>\n```json\n{"score": 85, "reason": "sound"}\n```', "sound"),
    ],
)
def test_small_faults_of_the_json_are_mended(text: str, reason: str) -> None:
    assert read_answer(Rated, said(text)) == Rated(score=85, reason=reason)


@pytest.mark.parametrize(
    "text",
    [
        '{"score": 8',  # of 85?
        '{"score": 85, "reason": "so',
        "{'score': 850, 'reason': 'sound'}",
        '{"score": 85, "reason": "sound"} or {"score": 20, "reason": "weak"}',
        '{"score": , "reason": "sound"}',
        "{eight of ten}",
        "[{'score': 85, 'reason': 'sound'}, {'score': 20, 'reason': 'weak'}]",
    ],
)
def test_what_an_answer_does_not_say_is_not_guessed(text: str) -> None:
    assert isinstance(read_answer(Rated, said(text)), str)


def test_an_answer_that_was_cut_off_is_not_mended() -> None:
    assert "shorter" in str(read_answer(Rated, said("{'score': 85, 'reason': 'sound'}", "length")))


@pytest.mark.parametrize(
    ("completion", "problem"),
    [
        (said('{"score": 300}'), "score: Input should be less than or equal to 100"),
        (said('{"score": "many", "default": 3}'), "score: "),
        (said("Eight of ten."), "no JSON object of the schema"),
        (said('{"score": 3', "length"), "shorter"),
        (said("I cannot help.", "refusal"), "refusal"),
        (said(""), "no JSON object of the schema"),
    ],
)
def test_a_wrong_answer_is_said_in_words(completion: Completion, problem: str) -> None:
    found = read_answer(Answer, completion)
    assert isinstance(found, str) and problem in found and "\n" not in found and "pydantic" not in found


@given(st.text(), st.sampled_from(["stop", "length", "refusal"]))
def test_reading_never_fails(text: str, finish_reason: str) -> None:
    assert isinstance(read_answer(Answer, said(text, finish_reason)), str | Answer)


def test_the_second_question_shows_the_answer_and_the_problem_and_is_a_call_of_its_own() -> None:
    call = ChatCall(
        purpose="judge", messages=({"role": "user", "content": "Grade it."},), json_schema={"type": "object"}
    )
    second = second_question(call, said("x" * 5000), "score: too large")
    assert [m["role"] for m in second.messages] == ["user", "assistant", "user"]
    assert len(second.messages[1]["content"]) == 1000 and "score: too large" in second.messages[2]["content"]
    assert second.key("e", "m") != call.key("e", "m")
    assert second.json_schema == call.json_schema
    json.dumps(second.model_dump())
