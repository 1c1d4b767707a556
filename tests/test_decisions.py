"""What follows from a decision: one place, in which every kind is told apart."""

from __future__ import annotations

from typing import Any, cast, get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from state.records import ItemKind, Outcome
from tools.dataset.pairing import CHOSEN_STARS, REJECTED_STARS, reviewed_stars
from tools.people.decisions import (
    DECISIONS,
    allowed_for,
    consequences,
    decided_head,
    decided_in_words,
    decider_of,
    decision_in,
    reason_of,
    reviewer_in,
)
from tools.people.questions import HumanAnswer
from tools.report.funnel import reason_head, stop_of

kinds = st.sampled_from(DECISIONS)


def test_every_kind_has_a_key_and_words_of_its_own() -> None:
    found = [consequences(kind) for kind in DECISIONS]
    words = [word for one in found for word in one.agent_inbox]
    assert len({one.past for one in found}) == len(DECISIONS)
    assert len(set(words)) == len(words)
    for kind in get_args(ItemKind):
        allowed = allowed_for(kind)
        assert len({consequences(one).key for one in allowed}) == len(allowed)


def test_an_unknown_kind_is_an_error_and_no_rejection() -> None:
    with pytest.raises(AssertionError):
        consequences(cast(Any, "maybe"))
    with pytest.raises(AssertionError):
        reviewed_stars(3, cast(Any, "maybe"))


@given(kinds, st.text(min_size=1, max_size=20), st.text(max_size=20))
def test_the_reason_on_a_row_tells_its_decision(kind: Any, reviewer: str, comment: str) -> None:
    reason = reason_of(kind, reviewer, comment)
    assert decision_in(reason) == kind
    assert stop_of("rejected", reason) == "review"


@pytest.mark.parametrize("reason", ["too_similar: 0.8", "rejected by ada", "edited", "reject", ""])
def test_another_reason_is_no_decision(reason: str) -> None:
    assert decision_in(reason) is None


def test_a_rewritten_instruction_ends_at_its_review_and_not_at_the_safety_gate() -> None:
    assert stop_of("rejected", "edit by ada: too dull") == "review"
    assert reason_head("edit by ada: too dull") == "edited by ada"
    assert reason_head("reject by policy:midpoint: unattended") == "rejected by policy:midpoint"


@given(st.integers(1, 5), st.sampled_from(Outcome))
def test_only_what_was_accepted_or_rejected_has_other_stars(stars: int, outcome: Outcome) -> None:
    found = reviewed_stars(stars, outcome)
    if outcome == Outcome.ACCEPTED:
        assert found == max(stars, CHOSEN_STARS)
    elif outcome == Outcome.REJECTED:
        assert found == min(stars, REJECTED_STARS)
    else:
        assert found == stars


@pytest.mark.parametrize(
    ("reviewer", "comment", "who"),
    [
        ("ada", "", "by a person: ada"),
        ("ada", "good: very", "by a person: ada"),
        ("policy:midpoint", "unattended, score 60, 4 stars", "by the policy midpoint"),
        ("policy:approve", "", "by the policy approve"),
    ],
)
def test_a_reason_names_who_decided(reviewer: str, comment: str, who: str) -> None:
    name = reviewer_in(reason_of("approve", reviewer, comment))
    assert name == reviewer and decided_in_words(decider_of(name), name) == who


@pytest.mark.parametrize(
    ("reason", "head"),
    [
        ("reject by policy:midpoint: unattended, score 60", "rejected by the policy midpoint"),
        ("reject by policy:midpoint", "rejected by the policy midpoint"),
        ("edit by ada: too dull", "edited by ada"),
        ("nothing can judge it: no check applies", ""),
    ],
)
def test_a_count_of_decisions_says_who_took_them(reason: str, head: str) -> None:
    assert decided_head(reason) == head


def test_no_person_takes_a_policys_name() -> None:
    with pytest.raises(ValidationError, match="cannot begin with 'policy:'"):
        HumanAnswer.model_validate({"decisions": [{"type": "approve"}], "reviewer": "policy:midpoint"})
    assert reviewer_in("overall 40 is under 55") == "" and decided_in_words("", "") == "not recorded"
