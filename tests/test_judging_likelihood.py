"""The likelihood judge: the embedded model's real weights through the crew, its formula, and who is judged so."""

from __future__ import annotations

import asyncio

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.records import Check, CheckResult, Judgement, Outcome
from state.request import Endpoint, Judging
from tests.builders import candidate, sample
from tests.judging_support import FunctionEndpoint, fixed_answers
from tests.memory_ledger import MemoryLedger
from tools.endpoint import open_endpoint
from tools.endpoint.embedded import EmbeddedTransport
from tools.judging import CrewJudge, likelihood_backend
from tools.judging import judge as judge_module
from tools.judging.judge import judge_identity
from tools.judging.likelihood import Likelihoods
from tools.judging.likelihood_backend import FORMULA, doubt, expert_rating, likelihood_parts, own_score, stars_of
from tools.judging.scoring import SCORING
from tools.judging.size import LEAST, stated_parameters, too_small_to_write
from tools.settings import load_settings

RIVERS = sample("Name three rivers of Europe, in at most ten words.", checks=(Check(kind="max_words", value=10),))
RAIN = sample("Explain how rain forms.")
TEXTS = [
    (RIVERS, "The Rhine, the Danube and the Ebro."),
    (RIVERS, "My bicycle has a flat tyre, so I am walking to the bakery, where there is fresh bread every day."),
    (RAIN, "Warm air rises and cools, its vapour condenses into drops, and heavy drops fall as rain."),
    (RAIN, "The stock market opened higher on Tuesday after the bank kept its interest rate."),
]


@pytest.fixture(scope="module")
def judged() -> tuple[list[Judgement], list[Judgement]]:
    """Judge the texts twice with the real weights, each time from an empty ledger."""
    return asyncio.run(_judge_all()), asyncio.run(_judge_all())


async def _judge_all() -> list[Judgement]:
    ledger = MemoryLedger()
    crew = CrewJudge(await open_endpoint(Endpoint(), ledger, "run", load_settings()), Judging())
    made = await asyncio.gather(*(crew.judge(asked, candidate(asked, text)) for asked, text in TEXTS))
    assert {call.purpose for call in ledger.calls.values()} == {"judge.likelihood"}
    return made


def embedded() -> FunctionEndpoint:
    """Return an endpoint that can do what the embedded one can, for what asks it nothing."""
    endpoint = FunctionEndpoint(fixed_answers(), model="smollm2-135m-instruct")
    endpoint.can = EmbeddedTransport.can
    return endpoint


def test_the_real_weights_judge_every_text(judged: tuple[list[Judgement], list[Judgement]]) -> None:
    for made in judged[0]:
        assert made.outcome != Outcome.FAILED, made.reasons
        assert made.judge.startswith("likelihood judge/smollm2-135m-instruct/")
        assert 0 <= made.overall <= 100 and 0 <= made.confidence <= 1
        assert 1 <= made.stars <= 5
        assert all(0 <= score.score <= 100 for score in made.scores) and len(made.scores) == 5
        assert "likelihood judge" in made.feedback


def test_the_real_weights_say_the_same_twice(judged: tuple[list[Judgement], list[Judgement]]) -> None:
    assert judged[0] == judged[1]


def test_an_answer_beats_one_that_is_off_the_topic(judged: tuple[list[Judgement], list[Judgement]]) -> None:
    rivers, bicycle, rain, stocks = judged[0]
    assert rivers.overall > bicycle.overall and rivers.stars > bicycle.stars
    assert rain.overall > stocks.overall


def test_a_failed_check_carries_the_likelihood_judge(judged: tuple[list[Judgement], list[Judgement]]) -> None:
    rivers, bicycle = judged[0][:2]
    assert (rivers.scores[1].score, bicycle.scores[1].score) == (100.0, 0.0), "compliance is what the check found"
    assert any("at most 10" in weakness for weakness in bicycle.weaknesses) and bicycle.stars <= 2


def failed(kind: str) -> CheckResult:
    return CheckResult(kind=kind, passed=False, evidence="no", dimension="compliance")


def test_the_formula_is_the_one_that_its_version_names() -> None:
    """A change that moves a figure here must raise ``FORMULA``, and then the figures."""
    found = Likelihoods(yes=0.9, gain=0.5)
    checks = (failed("max_words"), failed("min_words").model_copy(update={"passed": True}))
    figures = [own_score("clarity", found, ()), own_score("clarity", found, checks), round(doubt(found), 4)]
    figures += [own_score("compliance", found, checks), *(stars_of(score) for score in (29, 49, 64, 79, 81))]
    assert (FORMULA, SCORING) == (3, 1)
    assert figures == [38.8, 44.4, 0.4188, 50.0, 1, 2, 3, 4, 5]


def test_a_renamed_schema_leaves_the_identity_as_it_was() -> None:
    """Calibrations are filed under the identity, and the schemas that are part of it carry a title."""
    assert judge_identity("gpt-4o-mini", Judging(), by_likelihood=False) == "crew/gpt-4o-mini/general@36c8d11a5d5f"


@pytest.mark.parametrize(("module", "name"), [(likelihood_backend, "FORMULA"), (judge_module, "SCORING")])
def test_another_version_of_the_scoring_is_another_judge(
    module: object, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = CrewJudge(embedded(), Judging()).identity
    monkeypatch.setattr(module, name, 9)
    assert CrewJudge(embedded(), Judging()).identity != before
    assert likelihood_parts()[0] in (FORMULA, 9)


@pytest.mark.parametrize(("gain", "stars"), [(0.5, 5), (0.05, 5), (0.04, 2), (-0.4, 2)])
def test_an_answer_that_its_prompt_makes_no_likelier_is_off_the_topic(gain: float, stars: int) -> None:
    said = expert_rating(95.0, Likelihoods(yes=1.0, gain=gain))
    assert said.stars == stars and said.weakness.startswith("off the topic") == (stars == 2)
    assert expert_rating(10.0, Likelihoods(yes=1.0, gain=gain)).stars == 1


@given(st.floats(-50, 50), st.floats(-50, 50), st.lists(st.booleans(), max_size=6))
def test_scores_and_doubt_stay_in_range(yes: float, gain: float, passed: list[bool]) -> None:
    found = Likelihoods(yes=yes, gain=gain)
    checks = [failed("max_words").model_copy(update={"passed": good}) for good in passed]
    assert 0 <= doubt(found) <= 1
    assert all(0 <= own_score(dimension, found, checks) <= 100 for dimension in ("accuracy", "compliance"))


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


async def test_a_servers_model_of_the_embedded_ones_name_is_asked_itself() -> None:
    endpoint = FunctionEndpoint(fixed_answers(), model="smollm2-135m-instruct")
    with pytest.warns(UserWarning, match="too small to judge"):
        crew = CrewJudge(endpoint, Judging())
    made = await crew.judge(RAIN, candidate(RAIN))
    assert made.judge.startswith("crew below 1B/smollm2-135m-instruct/") and len(endpoint.calls) == 6


async def test_a_small_model_behind_a_url_writes_its_scores_and_is_named_too_small() -> None:
    endpoint = FunctionEndpoint(fixed_answers(), model="qwen2.5-0.5b-instruct")
    with pytest.warns(UserWarning, match="'qwen2.5-0.5b-instruct' is too small to judge"):
        crew = CrewJudge(endpoint, Judging())
    made = await crew.judge(RAIN, candidate(RAIN))
    assert made.judge.startswith("crew below 1B/qwen2.5-0.5b-instruct/general@") and len(endpoint.calls) == 6


def test_a_model_that_is_large_or_states_no_size_writes_its_scores(recwarn: pytest.WarningsRecorder) -> None:
    for model in ("llama-3.1-8b", "gpt-4o-mini"):
        judge = CrewJudge(FunctionEndpoint(fixed_answers(), model=model), Judging())
        assert judge.identity.startswith(f"crew/{model}/")
    assert not recwarn.list
