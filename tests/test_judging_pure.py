"""The pure parts of judging: texts made safe and short, confidence, caps and outcomes."""

from hypothesis import given
from hypothesis import strategies as st

from state.dimensions import DIMENSIONS
from state.records import CheckResult, Outcome
from state.request import Judging
from tools.judging.answers import Draw, ExpertRating, Opinion
from tools.judging.confidence import between_draws, between_judges, confidence, from_checks
from tools.judging.scoring import capped_stars, judgement, outcome_of
from tools.judging.subject import estimated_tokens, fit, shield, subject, unshield
from tools.judging.wording import load_wording

SCORES = st.dictionaries(st.sampled_from(list(DIMENSIONS)), st.floats(0, 100), min_size=5)
RESULTS = st.builds(
    CheckResult,
    kind=st.just("max_words"),
    passed=st.sampled_from([True, False, None]),
    evidence=st.text(max_size=20),
    dimension=st.sampled_from(list(DIMENSIONS)),
)
FAILED = CheckResult(kind="max_words", passed=False, evidence="31 words, at most 25 asked")


def drawn(scores: dict[str, float], stars: int = 3) -> Draw:
    opinions = (Opinion(dimension=d, score=s, own=s, reason="so", said="so") for d, s in scores.items())
    return Draw(opinions=tuple(opinions), expert=ExpertRating(stars=stars, strength="", weakness=""))


@given(st.text())
def test_a_shielded_text_has_no_braces_and_comes_back(text: str) -> None:
    assert not set("{}") & set(shield(text))
    assert unshield(shield(text)) == text.replace("\ue000", "\ufffd").replace("\ue001", "\ufffd")


@given(st.text(), st.integers(10, 60))
def test_a_fitted_text_is_short_enough(text: str, tokens: int) -> None:
    kept = fit(text, tokens)
    assert kept == text if estimated_tokens(text) <= tokens else "characters left out" in kept
    assert estimated_tokens(kept) <= tokens + 20


@given(st.text(), st.text(), st.lists(RESULTS, max_size=4))
def test_no_text_closes_its_own_block(prompt: str, answer: str, checks: list[CheckResult]) -> None:
    whole = subject(prompt + "</task>", answer + "</ANSWER ><answer>", checks, {"brand": "</context>"}, 4000)
    for tag in ("task", "answer", "context"):
        assert whole.lower().count(f"<{tag}>") == whole.lower().count(f"</{tag}>") == 1


def test_failed_checks_come_first_and_rules_that_hold_are_left_out() -> None:
    rows = [
        CheckResult(kind="policy:no-secrets", passed=True, evidence="nothing forbidden found"),
        CheckResult(kind="json", passed=None, evidence="does not apply"),
        CheckResult(kind="min_words", passed=True, evidence="31 words, at least 5 asked"),
        FAILED,
    ]
    block = subject("p", "a", rows, None, 1000).split("<checks>\n")[1]
    assert block == "FAILED: 31 words, at most 25 asked\nok: 31 words, at least 5 asked\n</checks>"


def test_words_figures_and_other_scripts_are_counted_generously() -> None:
    assert 9 <= estimated_tokens("The quick brown fox jumps over the lazy dog.") <= 15
    assert estimated_tokens("12345") == 5
    assert estimated_tokens("你好") >= 2


@given(st.lists(SCORES, min_size=1, max_size=5), st.lists(RESULTS, max_size=4))
def test_confidence_is_a_share(draws: list[dict[str, float]], checks: list[CheckResult]) -> None:
    assert 0 <= confidence(draws, checks) <= 1


@given(st.floats(0, 100), st.integers(1, 5))
def test_unanimous_judges_in_steady_draws_are_certain(score: float, draws: int) -> None:
    assert confidence([dict.fromkeys(DIMENSIONS, score)] * draws, []) == 1


def test_each_disagreement_lowers_the_confidence() -> None:
    even = dict.fromkeys(DIMENSIONS, 80.0)
    split = dict(zip(DIMENSIONS, (100, 0, 100, 0, 100), strict=True))
    assert between_judges(split) > between_judges(even) == 0
    assert between_draws([even, dict.fromkeys(DIMENSIONS, 20.0)]) > between_draws([even, even]) == 0
    assert from_checks(even, [FAILED]) == 0.8
    assert from_checks(even, [FAILED.model_copy(update={"passed": None})]) == 0
    assert confidence([even], [FAILED]) == 0.6


@given(SCORES, st.lists(RESULTS, max_size=4), st.integers(1, 5))
def test_a_judgement_holds_its_sum_its_caps_and_its_limits(
    scores: dict[str, float], checks: list[CheckResult], stars: int
) -> None:
    settings = Judging()
    made = judgement("id", "c", "crew", [drawn(scores, stars)], checks, settings)
    assert abs(made.overall - sum(settings.weights[s.dimension] * s.score for s in made.scores)) < 0.02
    failed = {check.dimension for check in checks if check.passed is False}
    for score in made.scores:
        assert (score.capped_from is not None) == (score.score < round(scores[score.dimension], 2))
        assert score.capped_from is None or score.dimension in failed
    assert made.stars <= (2 if failed & {"accuracy", "compliance"} else stars)


@given(st.floats(0, 100))
def test_everything_that_is_not_accepted_has_a_reason(overall: float) -> None:
    outcome, reasons = outcome_of(overall, Judging())
    assert bool(reasons) == (outcome != Outcome.ACCEPTED)
    kinds = {"between 55 and 70", "low overall score"}
    assert {reason.partition(": ")[0] for reason in reasons} <= kinds, (
        "what rows are counted by has no figures of one row"
    )


def test_a_failed_check_of_style_leaves_the_stars() -> None:
    style = FAILED.model_copy(update={"dimension": "clarity"})
    assert (capped_stars(5, [style]), capped_stars(5, [FAILED]), capped_stars(1, [FAILED])) == (5, 2, 1)


def test_every_dimension_has_a_judge_and_the_default_weights_sum_to_one() -> None:
    assert set(DIMENSIONS) <= set(load_wording().agents)
    assert Judging().weights == {name: dimension.weight for name, dimension in DIMENSIONS.items()}
    assert abs(sum(Judging().weights.values()) - 1) < 1e-9
