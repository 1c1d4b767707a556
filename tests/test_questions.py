"""Questions to a person and their answers: every form that a client sends, and every one that does not fit."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tools.people.questions import Action, HumanAnswer, answer_schema, question

ACTIONS = [
    Action(name="review_completion", args={"completion": "old", "comment": ""}, description="55 of 100"),
    Action(name="deploy_adapter", args={"adapter": "a"}, description="better", allowed=("approve", "reject")),
]
APPROVE: dict[str, Any] = {"type": "approve"}
REJECT: dict[str, Any] = {"type": "reject", "message": "too long"}
EDIT: dict[str, Any] = {
    "type": "edit",
    "edited_action": {"name": "review_completion", "args": {"completion": "new", "comment": "shorter"}},
}


def read(answer: Any, actions: list[Action] = ACTIONS) -> HumanAnswer:
    return answer_schema(actions).model_validate(answer)


def fault(answer: Any, actions: list[Action] = ACTIONS) -> str:
    with pytest.raises(ValidationError) as caught:
        read(answer, actions)
    assert caught.value.title == "HumanAnswer"
    return str(caught.value.errors()[0]["msg"])


def test_a_question_is_langchains_form_with_args_doubled_as_arguments() -> None:
    assert question(ACTIONS) == {
        "action_requests": [
            {
                "name": "review_completion",
                "args": {"completion": "old", "comment": ""},
                "arguments": {"completion": "old", "comment": ""},
                "description": "55 of 100",
            },
            {
                "name": "deploy_adapter",
                "args": {"adapter": "a"},
                "arguments": {"adapter": "a"},
                "description": "better",
            },
        ],
        "review_configs": [
            {"action_name": "review_completion", "allowed_decisions": ["approve", "edit", "reject"]},
            {"action_name": "deploy_adapter", "allowed_decisions": ["approve", "reject"]},
        ],
    }


def test_langchains_form() -> None:
    answer = read({"decisions": [EDIT, REJECT], "reviewer": "ada"})
    edit, reject = answer.decisions
    assert (edit.type, reject.type, reject.message) == ("edit", "reject", "too long")
    assert edit.edited_action is not None and edit.edited_action.args == {"completion": "new", "comment": "shorter"}
    assert answer.reviewer == "ada"
    assert read({"decisions": [APPROVE, APPROVE]}).reviewer == "unnamed"


@pytest.mark.parametrize("word", ["approve", "reject"])
def test_a_bare_word_decides_all(word: str) -> None:
    assert [decision.type for decision in read(word).decisions] == [word, word]


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ({"type": "accept"}, ("approve", "")),
        ({"type": "accept", "args": None}, ("approve", "")),
        ({"type": "accept", "args": {"action": "review_completion", "args": {"completion": "old"}}}, ("approve", "")),
        ({"type": "ignore", "args": None}, ("reject", "")),
        ({"type": "response", "args": "too long"}, ("reject", "too long")),
        (APPROVE, ("approve", "")),
        (REJECT, ("reject", "too long")),
    ],
)
def test_agent_inboxs_list(given: dict[str, Any], meant: tuple[str, str]) -> None:
    (decision,) = read([given], ACTIONS[:1]).decisions
    assert (decision.type, decision.message) == meant


def test_agent_inboxs_edit_carries_the_action_within_its_args() -> None:
    (decision,) = read(
        [{"type": "edit", "args": {"action": "review_completion", "args": {"completion": "new"}}}], ACTIONS[:1]
    ).decisions
    assert decision.edited_action is not None
    assert (decision.edited_action.name, decision.edited_action.args) == ("review_completion", {"completion": "new"})


def test_langchains_edit_within_a_list() -> None:
    (decision,) = read([EDIT], ACTIONS[:1]).decisions
    assert decision.edited_action is not None and decision.edited_action.args["completion"] == "new"


@pytest.mark.parametrize("decisions", [[], [APPROVE], [APPROVE] * 3])
def test_another_number_of_decisions_than_asked_is_refused(decisions: list[dict[str, Any]]) -> None:
    assert f"2 decisions asked, {len(decisions)} given" in fault({"decisions": decisions})
    assert f"2 decisions asked, {len(decisions)} given" in fault(decisions)


def test_a_decision_that_is_not_allowed_is_refused_with_its_number() -> None:
    assert "decision 2 must be one of approve, reject, not edit" in fault({"decisions": [APPROVE, EDIT]})
    assert "decision 2 must be one of approve, reject, not edit" in fault(
        [{"type": "accept"}, {"type": "edit", "args": {"action": "deploy_adapter", "args": {}}}]
    )


@pytest.mark.parametrize(
    "answer",
    [
        "edit",
        "maybe",
        "",
        None,
        7,
        {},
        {"decisions": None},
        {"decisions": [APPROVE, APPROVE], "reviewer": ""},
        {"decisions": [APPROVE, APPROVE], "colour": "blue"},
        {"decisions": [APPROVE, {"type": "maybe"}]},
        {"decisions": [APPROVE, {"type": "approve", "edited_action": {"name": "x", "args": {}}}]},
        {"decisions": [APPROVE, {"type": "edit"}]},
        {"decisions": [APPROVE, {"type": "reject", "why": "x"}]},
        [{"type": "accept"}, {"type": "edit", "args": None}],
        [{"type": "accept"}, "approve"],
        [None, None],
    ],
    ids=repr,
)
def test_what_does_not_fit_raises_so_that_it_can_be_answered_again(answer: Any) -> None:
    assert fault(answer)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.integers()
        | st.text(max_size=8)
        | st.sampled_from(["approve", "edit", "accept"]),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(st.sampled_from(["decisions", "type", "args", "message", "edited_action"]), inner)
        ),
        max_leaves=12,
    )
)
def test_any_answer_is_read_or_refused_and_never_breaks(answer: Any) -> None:
    try:
        decisions = read(answer).decisions
    except ValidationError:
        return
    assert all(decision.type in action.allowed for decision, action in zip(decisions, ACTIONS, strict=True))


def test_the_schema_says_what_is_asked() -> None:
    schema = answer_schema(ACTIONS).model_json_schema()
    assert set(schema["properties"]) == {"decisions", "reviewer"}
    assert schema["additionalProperties"] is False


def test_schemas_of_two_questions_do_not_mix() -> None:
    first, second = answer_schema(ACTIONS), answer_schema(ACTIONS[:1])
    assert len(first.model_validate("approve").decisions) == 2
    assert len(second.model_validate("approve").decisions) == 1
