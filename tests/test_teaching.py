"""What people's decisions teach: labels that nobody is asked for twice, and the band of the next run."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

from corral.cli.main import app
from graph.inputs import own_request
from graph.services import Services, open_services
from graph.teaching import BAND, against_people_in, decisions_on, judge_of
from state.errors import BadInput
from state.records import DecisionKind, DimensionScore, Judgement, Outcome, Review, ReviewTask
from state.request import Judging, RunRequest
from tools.judging.decisions import (
    Decided,
    against_people,
    calibration_by_decisions,
    decided_by_people,
    measured_band,
    preferred_by_people,
)
from tools.judging.quality import quality_report
from tools.judging.trust import find_calibration, trust_note
from tools.settings import Settings
from tools.sources.items import Item

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def judged(number: int, overall: float, judge: str = "judge", accuracy: float | None = None) -> Judgement:
    score = overall if accuracy is None else accuracy
    return Judgement(
        id=f"j{number:03}",
        candidate_id=f"c{number:03}",
        judge=judge,
        overall=overall,
        confidence=0.5,
        stars=3,
        scores=(
            DimensionScore(dimension="accuracy", score=score, reason=""),
            DimensionScore(dimension="clarity", score=50, reason=""),
        ),
        outcome=Outcome.WAITING,
    )


def decided_as(number: int, decision: str, reviewer: str = "ada") -> Review:
    given = {"decision": decision, "text": "t" * (decision == "edit"), "reviewer": reviewer, "decided_at": NOW}
    return Review.model_validate({"id": f"r{number:03}", "item_id": f"c{number:03}", "kind": "completion", **given})


def simulated(count: int, noise: float, seed: int = 0) -> list[Decided]:
    """A judge whose score is the truth with noise; people take what is 62.5 or better."""
    draw = np.random.default_rng(seed)
    truth = draw.uniform(20, 100, count)
    overalls = np.clip(truth + draw.normal(0, noise, count), 0, 100).round(2)
    return decided_by_people(
        [decided_as(n, "approve" if true >= 62.5 else "reject") for n, true in enumerate(truth)],
        [judged(n, float(overall)) for n, overall in enumerate(overalls)],
    )


def test_a_person_decides_and_a_policy_does_not() -> None:
    reviews = [
        *(decided_as(n, decision) for n, decision in enumerate(("approve", "edit", "reject"), 1)),
        decided_as(4, "approve", "policy:midpoint"),
    ]
    found = decided_by_people(reviews, [judged(n, 10.0 * n) for n in range(1, 6)])
    assert [(one.item_id, one.good) for one in found] == [("c001", True), ("c002", False), ("c003", False)]


def test_the_judge_is_told_apart_by_dimension() -> None:
    decided = simulated(120, 5)
    found = against_people(decided, {one.overall: 1 for one in decided}, Judging())
    assert found is not None and found.decisions == 120
    accuracy, clarity = found.dimensions
    assert accuracy.in_order.low > 0.9 and accuracy.taken > accuracy.declined
    assert (clarity.in_order.value, clarity.in_order.low, clarity.in_order.high) == (0.5, 0.5, 0.5)
    assert found.kappa.low > 0.5 and found.recalibration is not None
    assert found.recalibration.after.value < found.recalibration.before.value


def test_the_measured_band_stands_beside_the_fixed_one() -> None:
    decided = simulated(400, 6)
    overalls = {one.overall: 1 for one in decided}
    found = against_people(decided, overalls, Judging(review_from=30, accept=95))
    assert found is not None
    fixed, measured = found.bands
    assert (fixed.name, fixed.review_from, fixed.accept) == ("fixed", 30, 95)
    assert measured.sent < fixed.sent and measured.error is not None and measured.error.value <= 0.1
    assert measured.review_from + measured.accept == pytest.approx(125)
    assert measured.labels == sum(not measured.review_from <= one.overall < measured.accept for one in decided)


def test_few_decisions_leave_the_fixed_thresholds_and_say_how_many_are_missing() -> None:
    band, note = measured_band(simulated(20, 1), Judging())
    assert band is None and "13 more" in note
    band, note = measured_band(simulated(60, 60), Judging())
    assert band is None and "the fixed thresholds stay" in note
    assert against_people(simulated(9, 1), {}, Judging()) is None


def test_what_cannot_be_measured_is_refused() -> None:
    with pytest.raises(BadInput, match="people decided on 3 texts of this judge"):
        calibration_by_decisions(simulated(3, 1), Judging())
    one_sided = [one.model_copy(update={"good": True}) for one in simulated(20, 1)]
    with pytest.raises(BadInput, match="all of the texts or none"):
        calibration_by_decisions(one_sided, Judging())
    two = [*simulated(10, 5), *(one.model_copy(update={"judge": "other"}) for one in simulated(10, 5))]
    with pytest.raises(BadInput, match="2 judges"):
        calibration_by_decisions(two, Judging())


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    return Settings(home=tmp_path, database_url=f"sqlite:///{tmp_path}/corral.db")


def test_pairs_and_ratings_are_labels_too() -> None:
    tasks = [
        ReviewTask(
            id=f"p{n}", kind="pair", sample_id="s", candidates=(f"c{2 * n:03}", f"c{2 * n + 1:03}"),
            why=("human_share",), position=n, disagreement=0, machine=Outcome.ACCEPTED, opened_at=NOW,
        )
        for n in range(4)
    ]  # fmt: skip
    said: tuple[DecisionKind, ...] = ("prefer_a", "prefer_b", "cannot_judge", "prefer_a")
    reviews = [
        Review(id=t.id, item_id=t.id, kind="pair", decision=d, reviewer="a", decided_at=NOW)
        for t, d in zip(tasks, said, strict=True)
    ]  # fmt: skip
    overalls = (80, 60, 80, 60, 80, 60, 50, 50)
    assert preferred_by_people(tasks, reviews, [judged(n, o) for n, o in enumerate(overalls)]) == [1.0, 0.0, 0.5]
    rated = [one.model_copy(update={"rated": 1 + int(one.overall // 25), "stars": 1 + int(one.overall // 25)})
             for one in simulated(60, 5)]  # fmt: skip
    found = against_people(rated, {}, Judging(), [1.0, 0.0, 1.0])
    assert found is not None and found.stars is not None and found.stars.value == 1 and found.pairs == 3
    assert found.preferred is not None and found.preferred.value == pytest.approx(2 / 3)
    assert [one.good for one in decided_by_people([decided_as(1, "cannot_judge")], [judged(1, 60)])] == []


def test_what_people_decided_tells_of_other_outputs_how_likely_they_are_taken() -> None:
    found = calibration_by_decisions(simulated(200, 5), Judging())
    assert found.recalibration is not None
    items = [Item(prompt="p", output=f"o{n}") for n in range(3)]
    failed = judged(3, 0).model_copy(update={"outcome": Outcome.FAILED})
    told = quality_report("judge", items, [judged(1, 95), judged(2, 25), failed]).recalibrated(
        found.recalibration.curve
    )
    high, low, none = (row.taken for row in told.rows)
    assert high is not None and low is not None and high > 0.9 and low < 0.1 and none is None
    assert calibration_by_decisions(simulated(20, 5), Judging()).recalibration is None


def test_an_audited_text_stands_for_those_that_nobody_saw() -> None:
    reviews, judgements = [decided_as(n, "reject") for n in range(20)], [judged(n, 90.0) for n in range(20)]
    judgements += [judged(n, 20.0) for n in range(20, 40)]
    reviews += [decided_as(n, "reject") for n in range(20, 40)]
    decided = decided_by_people(reviews, judgements, {f"c{n:03}": 4.0 for n in range(20)})
    found = against_people([*decided, *simulated(10, 1)], {}, Judging(review_from=62.5, accept=62.5))
    plain = against_people(
        [*(d.model_copy(update={"stands_for": 1.0}) for d in decided), *simulated(10, 1)], {}, Judging()
    )
    assert found is not None and plain is not None
    weighted, unweighted = found.bands[0].error, plain.bands[0].error
    assert weighted is not None and unweighted is not None
    assert weighted.value == pytest.approx(80 / 110, abs=0.02) and unweighted.value < 0.45
    assert weighted.high - weighted.low > 0.15


async def filled(services: Services, run_id: str, request: RunRequest, count: int) -> str:
    """Add a run that a person has reviewed, and return its judge."""
    await services.store.open_run(run_id, request)
    judge = await judge_of(services, run_id)
    draw = np.random.default_rng(5)
    truth = draw.uniform(20, 100, count)
    await services.store.add(run_id, [judged(n, round(float(q), 2), judge) for n, q in enumerate(truth)])
    await services.store.add(run_id, [decided_as(n, "approve" if q > 62.5 else "reject") for n, q in enumerate(truth)])
    return judge


async def test_decisions_of_earlier_runs_set_the_band_of_a_new_one_and_then_it_stays(settings: Settings) -> None:
    request = RunRequest(judge=Judging(band="measured"))
    async with open_services(settings) as services:
        await services.store.open_run("early", request)
        early = await own_request(services, "early", request)
        assert (early.judge.review_from, early.judge.accept) == (55, 70)
        assert "0 decisions: too few" in json.loads((services.runs_folder / "early" / BAND).read_text())["note"]
        judge = await filled(services, "taught", RunRequest(), 80)
        assert len(await decisions_on(services.store, judge, ["taught", "early"])) == 80
        assert await decisions_on(services.store, "another judge", ["taught"]) == []
        await services.store.open_run("late", request)
        late = await own_request(services, "late", request)
        assert 62.5 - late.judge.review_from == pytest.approx(late.judge.accept - 62.5)
        assert late.judge.accept - late.judge.review_from < 15
        assert (await own_request(services, "early", request)).judge == early.judge
        fixed = await own_request(services, "taught", RunRequest())
        assert (fixed.judge.review_from, fixed.judge.accept) == (55, 70)
        found = await against_people_in(services, "taught")
        assert found is not None and found.decisions == 80 and len(found.bands) == 2


async def test_the_command_line_calibrates_by_decisions(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_services(settings) as services:
        judge = await filled(services, "taught", RunRequest(), 80)
    monkeypatch.setenv("CORRAL_HOME", str(settings.home))
    monkeypatch.setenv("CORRAL_DATABASE_URL", settings.database_url)
    for runs in ("taught", "all", "latest"):
        done = await asyncio.to_thread(CliRunner().invoke, app, ["calibrate", "--decisions", runs, "--json"])
        assert done.exit_code == 0, done.output
        found = json.loads(done.stdout)
        assert (found["judge"], found["kind"], found["labels"]) == (judge, "decisions", 80)
        assert [band["name"] for band in found["against_people"]["bands"]] == ["fixed", "measured"]
    kept = find_calibration(judge, Path(settings.home))
    assert kept is not None and "of 80 decisions" in trust_note(judge, kept)
    done = await asyncio.to_thread(CliRunner().invoke, app, ["calibrate", "--decisions", "taught"])
    assert "measured" in done.stdout and "sent to" in done.stdout and "accuracy" in done.stdout
    for wrong in ([], ["labels.jsonl", "--decisions", "taught"], ["--decisions", "taught", "--mapping", "0=1"]):
        done = await asyncio.to_thread(CliRunner().invoke, app, ["calibrate", *wrong])
        assert isinstance(done.exception, BadInput)
