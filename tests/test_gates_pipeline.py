"""Four gates in order, one decision a row: scores, severities, thresholds and what joins the index."""

from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.errors import EndpointError
from state.records import Outcome, Sample
from state.request import Gates
from tools.gates import (
    GATE_CLASSES,
    GATES,
    GatePipeline,
    Issue,
    SafetyPolicy,
    Severity,
    pass_rates,
    reason_code,
    round_diversity,
)
from tools.gates.results import decide_row, result_of

SETTINGS = Gates()
POLICY = SafetyPolicy.model_validate(
    {"name": "test", "rules": [{"code": "tea", "severity": "medium", "detail": "no tea", "terms": ["tea"]}]}
)


def sample(number: int, instruction: str, output: str = "A fitting answer.", **fields: Any) -> Sample:
    return Sample(id=f"s{number}", instruction=instruction, output=output, **fields)


def issue(severity: Severity) -> Issue:
    return Issue(code="fault", detail="seen", severity=severity)


def test_rows_meet_the_gates_in_order_and_stop_at_a_critical_fault() -> None:
    pipeline = GatePipeline(SETTINGS, ["Name three large rivers of Europe."], policy=POLICY)
    decisions = pipeline.judge(
        [
            sample(1, "Draw a large house for a family."),
            sample(2, "Name three large rivers of Asia."),
            sample(3, "Explain why people drink tea in winter."),
            sample(4, "Summarise the following article in one line."),
            sample(5, "Describe how glass is made from sand."),
        ]
    )
    assert [decision.sample_id for decision in decisions] == ["s1", "s2", "s3", "s4", "s5"]
    outcomes = [decision.outcome for decision in decisions]
    assert outcomes == [Outcome.REJECTED, Outcome.REJECTED, Outcome.WAITING, Outcome.WAITING, Outcome.ACCEPTED]
    assert [len(decision.results) for decision in decisions] == [1, 2, 4, 4, 4]
    assert [decision.score for decision in decisions] == [0, 0, 0.7, 0.7, 1]
    codes = [[reason_code(reason) for reason in decision.reasons] for decision in decisions]
    assert codes == [["keyword"], ["too_similar"], ["tea"], ["missing_input"], []]
    assert "Europe" in decisions[1].reasons[0]
    assert tuple(result.gate for result in decisions[4].results) == GATES


def test_only_accepted_rows_join_the_index() -> None:
    pipeline = GatePipeline(SETTINGS, ["One seed that is kept."], policy=POLICY)
    waiting = sample(1, "Explain why people drink tea in winter.")
    accepted = sample(2, "Describe how glass is made from sand.")
    again = pipeline.judge([waiting, waiting, accepted, accepted])
    assert [d.outcome.value for d in again] == ["waiting", "waiting", "accepted", "rejected"]
    assert len(pipeline) == 2
    assert pipeline.judge([accepted])[0].outcome is Outcome.REJECTED


def test_a_batch_is_judged_as_its_rows_one_by_one() -> None:
    rows = [sample(n, f"Explain item {n % 7} of list {n % 3} to a new friend.") for n in range(40)]
    one, other = (GatePipeline(SETTINGS, [], policy=POLICY) for _ in range(2))
    assert one.judge(rows) == [decision for row in rows for decision in other.judge([row])]


def test_faults_multiply_across_gates() -> None:
    decision = GatePipeline(SETTINGS, [], policy=POLICY).judge(
        [sample(1, "Summarise the following article about tea.")]
    )[0]
    assert decision.score == pytest.approx(0.49)
    assert decision.outcome is Outcome.REJECTED
    safety = decision.result("safety")
    assert safety is not None and not safety.passed and safety.severity is Severity.MEDIUM


@given(
    st.lists(st.lists(st.sampled_from(Severity), max_size=3), min_size=1, max_size=4), st.floats(0, 1), st.floats(0, 1)
)
def test_the_decision_follows_score_and_severity(faults: list[list[Severity]], one: float, other: float) -> None:
    settings = Gates(review_from=min(one, other), accept=max(one, other))
    results = [
        result_of(gate, [issue(severity) for severity in severities], settings)
        for gate, severities in zip(GATES, faults, strict=False)
    ]
    decision = decide_row("s", results, settings)
    flat = [severity for severities in faults for severity in severities]
    assert decision.score == pytest.approx(math.prod(1 - severity.penalty for severity in flat), abs=1e-5)
    if Severity.CRITICAL in flat or decision.score < settings.review_from:
        assert decision.outcome is Outcome.REJECTED
    elif decision.score < settings.accept:
        assert decision.outcome is Outcome.WAITING
    else:
        assert decision.outcome is Outcome.ACCEPTED
    assert len(decision.reasons) == len(flat)


def test_two_blemishes_pass_and_one_question_waits_at_the_default_thresholds() -> None:
    def outcome(*severities: Severity) -> Outcome:
        return decide_row("s", [result_of("coherence", [issue(s) for s in severities], SETTINGS)], SETTINGS).outcome

    assert outcome(Severity.LOW, Severity.LOW) is Outcome.ACCEPTED
    assert outcome(Severity.LOW, Severity.LOW, Severity.LOW) is Outcome.WAITING
    assert outcome(Severity.MEDIUM) is Outcome.WAITING
    assert outcome(Severity.HIGH) is Outcome.REJECTED


def test_a_critical_fault_rejects_whatever_the_thresholds() -> None:
    open_door = Gates(accept=0.0, review_from=0.0)
    assert (
        decide_row("s", [result_of("content", [issue(Severity.CRITICAL)], open_door)], open_door).outcome
        is Outcome.REJECTED
    )


def test_a_models_opinion_is_a_factor_of_coherence() -> None:
    opinions = {"s1": (0.75, "vague"), "s2": (7.0, "over the top")}
    pipeline = GatePipeline(SETTINGS, [], policy=POLICY, opinion=lambda row: opinions.get(row.id))
    first, second, third = pipeline.judge(
        [
            sample(1, "Describe how glass is made from sand."),
            sample(2, "Name four birds that cannot fly."),
            sample(3, "Explain how a lock on a canal works."),
        ]
    )
    assert (first.score, first.outcome, first.reasons) == (0.75, Outcome.WAITING, ("model_opinion: 0.75, vague",))
    assert (second.score, third.score, third.reasons) == (1, 1, ())


def test_what_the_opinion_raises_passes_through() -> None:
    def opinion(row: Sample) -> tuple[float, str]:
        raise EndpointError("no answer")

    with pytest.raises(EndpointError):
        GatePipeline(SETTINGS, [], policy=POLICY, opinion=opinion).judge([sample(1, "Describe how glass is made.")])


def test_round_diversity_is_the_share_kept_of_what_was_offered() -> None:
    pipeline = GatePipeline(SETTINGS, [], policy=POLICY)
    rows = [sample(n, "Name three large rivers of Europe.") for n in range(4)] + [sample(9, "Too short")]
    assert round_diversity(pipeline.judge(rows)) == 0.25
    assert round_diversity(pipeline.judge([sample(9, "Too short")])) == 1.0
    assert round_diversity([]) == 1.0


def test_pass_rates_count_who_met_and_who_passed() -> None:
    pipeline = GatePipeline(SETTINGS, [], policy=POLICY)
    rows = [sample(n, "Explain why people drink tea in winter.") for n in range(2)] + [sample(9, "Too short")]
    rates = pass_rates(pipeline.judge(rows))
    assert {name: (rate.met, rate.passed) for name, rate in rates.items()} == {
        "content": (3, 2),
        "diversity": (2, 2),
        "safety": (2, 0),
        "coherence": (2, 2),
        "overall": (3, 0),
    }
    assert rates["content"].rate == pytest.approx(2 / 3)
    assert pass_rates([])["overall"].rate == 1.0


@given(st.lists(st.tuples(st.text(max_size=80), st.text(max_size=40), st.text(max_size=40)), max_size=6))
def test_no_row_makes_it_raise(rows: list[tuple[str, str, str]]) -> None:
    pipeline = GatePipeline(SETTINGS, [], policy=POLICY)
    decisions = pipeline.judge(
        [Sample(id=str(n), instruction=i, input=g, output=o) for n, (i, g, o) in enumerate(rows)]
    )
    assert len(decisions) == len(rows)
    assert all(0 <= decision.score <= 1 for decision in decisions)
    codes = {gate.name: gate.codes for gate in GATE_CLASSES if gate.codes}
    found = [result for decision in decisions for result in decision.results if result.gate in codes]
    assert all(reason_code(reason) in codes[result.gate] for result in found for reason in result.reasons)
