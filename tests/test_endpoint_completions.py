"""How servers that call themselves compatible differ: each answer is read for what it says, or is a failure."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.errors import CallFailed, CallRefused, EndpointFailing
from tools.endpoint.completions import read_completion
from tools.endpoint.failures import TryAgain
from tools.endpoint.transport import Reply

URL = "http://x/v1"
BODY = {"messages": [{"role": "user", "content": "Say one."}]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from(["choices", "message", "content", "usage", "text", "finish_reason", "tool_calls", "error"]),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def read(message: Any = None, usage: Any = None, **choice: Any) -> Reply:
    said = {"message": {"role": "assistant", "content": "One."} | (message or {})} | choice
    return read_completion({"choices": [said]} | ({} if usage is None else {"usage": usage}), BODY, URL)


@pytest.mark.parametrize(
    ("word", "ended"),
    [
        *(
            (word, "stop")
            for word in (None, "", "stop", "STOP", "eos_token", "end_turn", "stop_sequence", "tool_calls")
        ),
        *((word, "length") for word in ("length", "max_tokens", "MAX_TOKENS", "max_length")),
        *((word, "content_filter") for word in ("content_filter", "SAFETY")),
        ("a word of its own", "a word of its own"),
    ],
)
def test_words_for_an_end(word: str | None, ended: str) -> None:
    assert read(finish_reason=word).finish_reason == ended


@pytest.mark.parametrize(
    ("message", "text"),
    [
        ({"content": [{"type": "text", "text": "One"}, {"type": "text", "text": " two."}]}, "One two."),
        ({"content": ["One", " two."]}, "One two."),
        ({"content": [{"type": "thinking", "thinking": "hm"}, {"type": "text", "text": "One."}]}, "One."),
        ({"content": "One.", "reasoning_content": "hm"}, "One."),
        ({"content": None, "tool_calls": [{"function": {"arguments": '{"score": 1}'}}]}, '{"score": 1}'),
        ({"content": None, "tool_calls": [{"function": {"arguments": {"score": 1}}}]}, '{"score": 1}'),
    ],
)
def test_where_the_text_stands(message: dict[str, Any], text: str) -> None:
    assert read(message).text == text


def test_the_older_api_has_its_text_in_the_choice() -> None:
    assert read_completion({"choices": [{"text": "One."}]}, BODY, URL).text == "One."


@pytest.mark.parametrize(
    "usage",
    [None, {}, [], "many", {"completion_tokens": None}, {"completion_tokens": -5}, {"completion_tokens": True}],
    ids=repr,
)
def test_tokens_are_estimated_where_no_count_is_reported(usage: Any) -> None:
    reply = read(usage=usage)
    assert (reply.text, reply.completion_tokens) == ("One.", 1) and reply.prompt_tokens > 0


@pytest.mark.parametrize(("told", "count"), [(7, 7), (7.0, 7), ("7", 7), (0, 0)])
def test_counts_are_read_as_they_are_written(told: Any, count: int) -> None:
    assert read(usage={"completion_tokens": told, "prompt_tokens": 3}).completion_tokens == count


@pytest.mark.parametrize("message", [{"content": ""}, {"content": None}, {"content": []}, {"content": " \n"}])
def test_a_model_that_ends_at_once_has_answered(message: dict[str, Any]) -> None:
    assert read(message, usage={"completion_tokens": 0}, finish_reason="stop").text.strip() == ""


def test_reasoning_without_an_answer_is_named() -> None:
    for name in ("reasoning_content", "reasoning"):
        with pytest.raises(CallRefused, match="reasoned and gave no answer; raise max_tokens"):
            read({"content": None, name: "hm"}, usage={"completion_tokens": 90}, finish_reason="length")


def test_what_a_filter_took_is_named() -> None:
    with pytest.raises(CallRefused, match="content filter"):
        read({"content": ""}, finish_reason="content_filter")
    assert read({"content": "Half of"}, finish_reason="content_filter").finish_reason == "content_filter"


@pytest.mark.parametrize(
    "answer",
    [
        {"error": {"message": "overloaded"}},
        {"error": "overloaded", "choices": None},
        {"choices": [{"message": {"content": "On"}, "finish_reason": "error", "error": {"message": "overloaded"}}]},
    ],
)
def test_an_error_with_status_200_is_a_failure_with_the_servers_words(answer: dict[str, Any]) -> None:
    with pytest.raises(TryAgain, match="overloaded") as caught:
        read_completion(answer, BODY, URL)
    assert type(caught.value.error) is EndpointFailing


@given(st.dictionaries(st.sampled_from(["choices", "error", "usage"]), JSON))
def test_any_json_is_a_reply_or_one_failure(answer: dict[str, Any]) -> None:
    try:
        reply = read_completion(answer, BODY, URL)
    except (TryAgain, CallFailed) as error:
        assert "\n" not in str(error)
    else:
        assert reply.completion_tokens >= 0 and reply.prompt_tokens >= 0
