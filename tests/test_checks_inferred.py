"""Inferred checks: policies, brand, tone, readability; and what a failure leaves of a score."""

# ruff: noqa: RUF001 - typographic characters are what is tested

from __future__ import annotations

from pathlib import Path

import pytest

from state.dimensions import DIMENSIONS
from state.errors import BadInput
from state.records import CheckResult
from state.request import Judging
from tools.checks import cap
from tools.checks.inferred import TASK_TYPES, inferred_checks
from tools.checks.policy import load_policy, policy_checks
from tools.checks.style import style_checks
from tools.shipped import POLICIES


def by_kind(results: tuple[CheckResult, ...]) -> dict[str, CheckResult]:
    return {result.kind: result for result in results}


def test_every_task_type_has_a_valid_policy() -> None:
    assert len(TASK_TYPES) == 6
    for task_type in TASK_TYPES:
        assert len(load_policy(POLICIES / f"{task_type}.yaml").rules) >= 4


@pytest.mark.parametrize(
    ("task_type", "prompt", "text", "kind", "passed", "dimension"),
    [
        ("budgeting", "Invest $5K.", "This is a guaranteed return.", "policy:no-promised-returns", False, "compliance"),
        ("budgeting", "Invest $5K.", "Returns are not guaranteed.", "policy:no-promised-returns", True, "compliance"),
        ("budgeting", "Allocate the budget.", "Spend it well.", "policy:names-an-amount", False, "actionability"),
        ("budgeting", "Allocate the budget.", "Spend 60% on ads.", "policy:names-an-amount", True, "actionability"),
        ("budgeting", "Say hello.", "Hello.", "policy:names-an-amount", None, "actionability"),
        ("creative", "An ad for tea", "A miracle cure!", "policy:no-absolute-claims", False, "compliance"),
        ("compliance", "Audit?", "Skip the audit.", "policy:no-evasion", False, "compliance"),
        ("compliance", "Audit?", "Never skip the audit.", "policy:no-evasion", True, "compliance"),
        ("data_quality", "Fill gaps", "Invent values.", "policy:no-invented-values", False, "accuracy"),
        ("strategy", "Our roadmap", "Grow and win.", "policy:says-what-comes-next", False, "actionability"),
        ("strategy", "Our roadmap", "Launch in Q2.", "policy:says-what-comes-next", True, "actionability"),
        ("general", "Praise tea.", "Take ten pills.", "policy:points-to-a-professional", None, "compliance"),
        ("general", "What dosage is right?", "Take ten.", "policy:points-to-a-professional", False, "compliance"),
        ("general", "What dosage is right?", "Ask a doctor.", "policy:points-to-a-professional", True, "compliance"),
    ],
)
def test_policy_rules_apply_by_task_type(
    task_type: str, prompt: str, text: str, kind: str, passed: bool | None, dimension: str
) -> None:
    result = by_kind(inferred_checks(prompt, text, task_type))[kind]
    assert (result.passed, result.dimension) == (passed, dimension), result.evidence


def test_a_breach_says_why() -> None:
    policy = load_policy(POLICIES / "strategy.yaml")
    result = by_kind(policy_checks(policy, "Grow", "We buy reviews."))["policy:no-deception"]
    assert result.evidence == "'buy reviews' found: a strategy that needs a lie fails when it is found out"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("rules: []", "rules"),
        ("rules: [{id: a, why: b}]", "needs either 'forbid' or 'require'"),
        ("rules: [{id: a, why: b, forbid: [x], require: [y]}]", "needs either"),
        ("rules: [{id: a, why: b, require: [x], unless: [y]}]", "'unless', which goes with 'forbid'"),
        ("rules: [{id: a, why: b, forbid: [' ']}]", "empty phrase"),
        ("rules: [{id: a, why: b, forbid: [x]}, {id: a, why: b, forbid: [x]}]", "more than once"),
        ("rules: [{id: a, why: b, forbids: [x]}]", "rules.0.forbids"),
        (
            "rules: [{id: a, why: b, forbid: [x], dimension: taste}]",
            r"rules.0.dimension: .*'taste' is no dimension: choose from accuracy, compliance",
        ),
        ("rules: [", "is no YAML"),
        ("- x", "at the top"),
    ],
)
def test_a_wrong_policy_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "policy.yaml"
    path.write_text(text)
    with pytest.raises(BadInput, match=message) as caught:
        load_policy(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_a_missing_policy_and_an_unknown_task_type_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="cannot read the policy"):
        load_policy(tmp_path / "none.yaml")
    with pytest.raises(BadInput, match="unknown task type 'poetry': choose from general"):
        inferred_checks("p", "t", "poetry")


@pytest.mark.parametrize(
    ("context", "text", "kind", "passed"),
    [
        ({"brand": "AcmeTea"}, "Try AcmeTea today.", "brand", True),
        ({"brand": "AcmeTea"}, "Try acmetea today.", "brand", False),
        ({"brand": "AcmeTea"}, "TRY ACMETEA TODAY.", "brand", None),
        ({"brand": "AcmeTea"}, "Try our tea.", "brand", None),
        ({"brand_terms": ["fresh", "leaf to cup"]}, "Fresh, from leaf  to cup.", "brand_terms", True),
        ({"brand_terms": ["fresh", "leaf to cup"]}, "Fresh.", "brand_terms", False),
        ({"avoid_terms": "cheap"}, "Cheap and good.", "avoid_terms", False),
        ({"avoid_terms": "cheap"}, "Cheaper and good.", "avoid_terms", True),
        ({"tone": "formal"}, "We do not recommend it.", "tone:formal", True),
        ({"tone": "formal"}, "We don’t recommend it.", "tone:formal", False),
        ({"tone": "formal"}, "Great news!", "tone:formal", False),
        ({"tone": "formal"}, "The team’s results are good.", "tone:formal", True),
        ({"tone": "professional"}, "Hey, that's awesome", "tone:professional", False),
        ({"tone": "Friendly"}, "We are glad you came.", "tone:Friendly", True),
        ({"tone": "friendly"}, "The shop opens at nine.", "tone:friendly", False),
        ({"tone": "confident"}, "Maybe this works.", "tone:confident", False),
        ({"tone": ["confident", "whimsical"]}, "This works.", "tone:whimsical", None),
    ],
)
def test_brand_and_tone(context: dict[str, object], text: str, kind: str, passed: bool | None) -> None:
    result = by_kind(style_checks(text, context))[kind]
    assert result.passed is passed, result.evidence
    assert result.dimension == "brand_alignment"


PLAIN = "The tea is good. We drink it at home. It is warm and sweet. You can buy it in the shop near the park. " * 3
MIDDLING = "The committee recommends that every department reviews its budget before the end of the month. " * 4
HEAVY = (
    "Notwithstanding multitudinous organizational interdependencies, comprehensive implementation "
    "of interdisciplinary methodological considerations necessitates extraordinarily sophisticated "
    "institutional infrastructural transformations incorporating unprecedented administrative responsibilities "
    "throughout geographically decentralized departmental constituencies, simultaneously counterbalancing "
    "internationally standardized environmental accountability requirements, characteristically underestimated."
)


def test_readability_grades_prose_alone() -> None:
    assert by_kind(style_checks(PLAIN, None))["readability"].passed is True
    middling = by_kind(style_checks(MIDDLING, None))["readability"]
    assert middling.passed is True and middling.evidence == "reads at US grade 11, at most 24 asked"
    assert by_kind(style_checks(MIDDLING, {"reading_grade": 5}))["readability"].passed is False
    heavy = by_kind(style_checks(f"{HEAVY} {HEAVY}", None))["readability"]
    assert heavy.passed is False and heavy.dimension == "clarity"
    for text in ("Short.", '{"a": "' + PLAIN + '"}', "日本語の文章です。" * 30, ""):
        assert by_kind(style_checks(text, None))["readability"].passed is None


def test_a_list_is_not_one_endless_sentence() -> None:
    listed = "\n".join(f"- Put the red box number {n} on the shelf" for n in range(20))
    assert by_kind(style_checks(listed, {"reading_grade": 8}))["readability"].passed is True


@pytest.mark.parametrize(
    "context", [{"tone": 3}, {"brand_terms": [1]}, {"brand": [" "]}, {"reading_grade": "low"}, {"reading_grade": 0}]
)
def test_a_context_of_the_wrong_type_is_refused(context: dict[str, object]) -> None:
    with pytest.raises(BadInput, match=f"context '{next(iter(context))}'"):
        style_checks("text", context)


def test_inferred_checks_name_known_dimensions_only() -> None:
    context = {"brand": "X", "tone": "formal", "brand_terms": "a", "avoid_terms": "b"}
    for task_type in TASK_TYPES:
        results = inferred_checks("Split $10.", "A $4, B $6.", task_type, context)
        assert {result.dimension for result in results} <= set(DIMENSIONS)
        assert by_kind(results)["arithmetic"].passed is True


def result(dimension: str, passed: bool | None) -> CheckResult:
    return CheckResult(kind="k", passed=passed, evidence="e", dimension=dimension)


def test_a_failed_check_caps_its_own_dimension() -> None:
    assert all(0 < dimension.cap < Judging().accept for dimension in DIMENSIONS.values())
    failed = result("accuracy", False)
    assert cap(90, "accuracy", [result("accuracy", True), failed]) == (40, failed)
    assert cap(90, "clarity", [failed]) == (90, None)
    assert cap(90, "accuracy", [result("accuracy", None)]) == (90, None)
    assert cap(12, "accuracy", [failed]) == (12, None)
