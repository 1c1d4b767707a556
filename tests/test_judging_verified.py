"""Checks and likelihood filter: the judge without a key. What verifies decides, and nothing else is made up."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.dimensions import DIMENSIONS
from state.records import Check, CheckResult, Judgement, Outcome, Sample
from state.request import Endpoint, Judging
from tests.builders import candidate, sample
from tests.judging_support import FunctionEndpoint, fixed_answers
from tests.memory_ledger import MemoryLedger
from tools.endpoint import open_endpoint
from tools.endpoint.chat import Likelihood, LikelihoodCall
from tools.endpoint.embedded import EmbeddedTransport
from tools.judging import CrewJudge, topic, verified
from tools.judging import judge as judge_module
from tools.judging.judge import judge_identity
from tools.judging.preference import by_rating
from tools.judging.scoring import SCORING
from tools.judging.size import LEAST, stated_parameters, too_small_to_write
from tools.judging.topic import OFF_TOPIC, topic_check
from tools.judging.verified import NAME, NOT_JUDGED, NOTHING_SPEAKS, VERSION, verified_judgement
from tools.settings import load_settings

RIVERS = sample("Name three rivers of Europe, in at most ten words.", checks=(Check(kind="max_words", value=10),))
RAIN = sample("Explain how rain forms.")
BUDGET = sample("Allocate $2.5M over Amazon, Walmart and Target.")
ADDS_UP, DOES_NOT = "Amazon $1.2M, Walmart $800K, Target $500K", "Amazon $1.2M, Walmart $800K, Target $600K"


class WithLikelihoods(FunctionEndpoint):
    """An endpoint that can do what the embedded one can; an answer gains so much by its prompt."""

    def __init__(self, gain: float = 1.0, model: str = "smollm2-135m-instruct") -> None:
        super().__init__(fixed_answers(), model=model)
        self.can = EmbeddedTransport.can
        self.gain, self.measured = gain, 0

    async def likelihood(self, call: LikelihoodCall) -> Likelihood:
        self.measured += 1
        asked = any(turn["content"] for turn in call.messages)
        return Likelihood(log_likelihood=10 * self.gain if asked else 0.0, tokens=10, next_words=())


def judged(of: Sample, text: str, *, gain: float = 1.0, attended: bool = True, **changes: Any) -> tuple[Judgement, int]:
    """Return the judgement of an answer, and how many likelihoods it took."""
    endpoint = WithLikelihoods(gain)
    crew = CrewJudge(endpoint, Judging(**changes), attended=attended)
    made = asyncio.run(crew.judge(of, candidate(of, text)))
    assert not endpoint.calls, "no model is asked for its opinion"
    return made, endpoint.measured


def test_the_guides_budget_is_accepted_and_a_wrong_sum_is_not() -> None:
    good, _ = judged(BUDGET, ADDS_UP, task_type="budgeting")
    assert good.outcome == Outcome.ACCEPTED and (good.overall, good.stars) == (100.0, 5)
    accuracy = good.scores[0]
    assert accuracy.dimension == "accuracy" and accuracy.score == 100 and "$2.5M" in accuracy.reason
    assert accuracy.reason == "Verified: $1.2M + $800K + $500K = $2.5M."
    bad, measured = judged(BUDGET, DOES_NOT, task_type="budgeting")
    assert bad.outcome == Outcome.REJECTED and bad.stars is not None and bad.stars <= 2 and measured == 0
    assert "2,600,000" in "; ".join(bad.reasons)


def test_what_no_check_speaks_to_says_so_and_its_weight_goes_to_the_others() -> None:
    made, _ = judged(RIVERS, "The Rhine, the Danube and the Ebro.")
    scores = {one.dimension: one.score for one in made.scores}
    assert scores == dict.fromkeys(DIMENSIONS) | {"compliance": 100.0}
    assert all(one.reason == NOT_JUDGED for one in made.scores if one.score is None)
    assert (made.overall, made.stars, made.outcome) == (100.0, 5, Outcome.ACCEPTED)
    assert made.confidence == DIMENSIONS["compliance"].weight, "as much as was judged"


def test_what_nothing_can_judge_waits_and_has_no_score() -> None:
    made, measured = judged(RAIN, "Warm air rises and cools, and its vapour falls as rain.")
    assert made.outcome == Outcome.WAITING and made.reasons == (NOTHING_SPEAKS,)
    assert made.overall is None and made.stars is None and measured == 2
    assert all(one.score is None for one in made.scores) and "not judged" in made.feedback
    alone, measured = judged(RAIN, "Warm air rises and cools, and its vapour falls as rain.", attended=False)
    assert alone.outcome == Outcome.WAITING and measured == 0, "nobody will look, so nothing is asked"


def test_what_is_off_the_topic_is_rejected_whatever_else_passes() -> None:
    for asked in (RIVERS, RAIN):
        made, _ = judged(asked, "My bicycle has a flat tyre.", gain=OFF_TOPIC - 0.01)
        assert made.outcome == Outcome.REJECTED and made.stars is not None and made.stars <= 2
        assert "off the topic" in "; ".join(made.reasons)
    assert topic_check(OFF_TOPIC).passed and not topic_check(OFF_TOPIC - 0.001).passed


def test_only_what_may_be_imitated_is_filtered() -> None:
    long = "The Rhine, the Danube, the Ebro, the Elbe, the Oder, the Loire and the Po are rivers."
    for text in (long, "the rhine " * 3):
        made, measured = judged(RIVERS, text, attended=False)
        assert made.outcome == Outcome.REJECTED and measured == 0
    assert judged(RIVERS, "The Rhine, the Danube and the Ebro.", attended=False)[1] == 2


@pytest.mark.parametrize(
    ("origin", "reference", "text", "outcome"),
    [
        ("prompt", "Paris", "It is Paris.", Outcome.ACCEPTED),
        ("prompt", "Paris", "It is Berlin.", Outcome.REJECTED),
        ("prompt", "4", "It is 5.", Outcome.REJECTED),
        ("prompt", "4", "It is four.", Outcome.WAITING),
        ("prompt", "A river is a stream of water that flows.", "Water in a bed.", Outcome.WAITING),
        ("generated", "Paris", "It is Paris.", Outcome.WAITING),
    ],
)
def test_a_reference_speaks_where_it_is_short_and_no_model_wrote_it(
    origin: str, reference: str, text: str, outcome: Outcome
) -> None:
    made, _ = judged(sample("Which one?", output=reference, origin=origin), text)
    assert made.outcome == outcome, made.reasons


def test_a_degenerate_answer_is_rejected() -> None:
    made, _ = judged(RAIN, "It rains and rains. " * 12)
    assert made.outcome == Outcome.REJECTED and any("repetition" in why for why in made.reasons)


def test_two_answers_are_told_apart_only_where_both_are_judged() -> None:
    good, bad = judged(RIVERS, "The Rhine, the Danube and the Ebro.")[0], judged(RIVERS, "one two " * 9)[0]
    unknown = judged(RAIN, "Warm air rises and cools.")[0]
    assert by_rating(good, bad).better == 1
    assert by_rating(unknown, bad).better == 0 and not by_rating(unknown, bad).error


@given(st.lists(st.tuples(st.sampled_from(sorted(DIMENSIONS)), st.booleans()), max_size=8))
def test_scores_follow_from_the_checks_alone(found: list[tuple[str, bool]]) -> None:
    checks = [CheckResult(kind="max_words", passed=ok, evidence="so", dimension=name) for name, ok in found]
    made = verified_judgement("i", "c", "j", checks, Judging())
    spoken = {name for name, _ in found}
    assert {one.dimension for one in made.scores if one.score is not None} == spoken
    assert (made.overall is None) == (not found) == (made.outcome == Outcome.WAITING and made.stars is None)
    wrong = any(not ok for name, ok in found if name in ("accuracy", "compliance"))
    if made.overall is not None and made.stars is not None:
        assert 0 <= made.overall <= 100 and (not wrong or (made.outcome == Outcome.REJECTED and made.stars <= 2))
        assert made.overall == 100 or any(not ok for _, ok in found)


def test_the_transport_decides_and_never_the_name() -> None:
    assert CrewJudge(WithLikelihoods(model="gpt-4o"), Judging()).identity.startswith(f"{NAME}/gpt-4o/")
    with pytest.warns(UserWarning, match="too small to judge"):
        crew = CrewJudge(FunctionEndpoint(fixed_answers(), model="smollm2-135m-instruct"), Judging())
    made = asyncio.run(crew.judge(RAIN, candidate(RAIN)))
    assert made.judge.startswith("crew below 1B/smollm2-135m-instruct/") and made.overall is not None


@pytest.mark.parametrize(("module", "name"), [(verified, "VERSION"), (topic, "OFF_TOPIC"), (judge_module, "SCORING")])
def test_another_version_of_the_scoring_is_another_judge(
    module: object, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = CrewJudge(WithLikelihoods(), Judging()).identity
    monkeypatch.setattr(module, name, 9)
    assert CrewJudge(WithLikelihoods(), Judging()).identity != before
    assert (VERSION, SCORING) == (1, 1)


def test_a_renamed_schema_leaves_the_identity_as_it_was() -> None:
    """Calibrations are filed under the identity, and the schemas that are part of it carry a title."""
    assert judge_identity("gpt-4o-mini", Judging(), by_checks=False) == "crew/gpt-4o-mini/general@36c8d11a5d5f"


@pytest.mark.parametrize(
    ("model", "parameters"),
    [
        ("smollm2-135m-instruct", 135e6),
        ("smollm2:135m", 135e6),
        ("Qwen/Qwen2.5-0.5B-Instruct", 0.5e9),
        ("llama-3.2-1b", 1e9),
        ("Qwen3-30B-A3B", 30e9),
        ("meta-llama/Llama-3.1-8B-Instruct-1M", 8e9),
        ("gpt-4o-mini", None),
        ("claude-b2", None),
        ("model-128k", None),
        ("", None),
    ],
)
def test_the_size_is_read_from_the_name(model: str, parameters: float | None) -> None:
    assert stated_parameters(model) == parameters
    assert too_small_to_write(model) == (parameters is not None and parameters < LEAST)


def test_a_model_that_is_large_or_states_no_size_writes_its_scores(recwarn: pytest.WarningsRecorder) -> None:
    for model in ("llama-3.1-8b", "gpt-4o-mini"):
        judge = CrewJudge(FunctionEndpoint(fixed_answers(), model=model), Judging())
        assert judge.identity.startswith(f"crew/{model}/")
    assert not recwarn.list


async def test_the_real_weights_tell_an_answer_from_one_that_is_off_the_topic() -> None:
    async def once() -> list[Judgement]:
        ledger = MemoryLedger()
        crew = CrewJudge(await open_endpoint(Endpoint(), ledger, "run", load_settings()), Judging())
        texts = (
            "Warm air rises and cools, its vapour condenses into drops, and heavy drops fall as rain.",
            "The stock market opened higher on Tuesday after the bank kept its interest rate.",
        )
        made = await asyncio.gather(*(crew.judge(RAIN, candidate(RAIN, text)) for text in texts))
        assert {call.purpose for call in ledger.calls.values()} == {"judge.likelihood"}
        return made

    rain, stocks = await once()
    assert rain.outcome == Outcome.WAITING and rain.judge.startswith(f"{NAME}/smollm2-135m-instruct/")
    assert stocks.outcome == Outcome.REJECTED
    assert [rain, stocks] == await once()
