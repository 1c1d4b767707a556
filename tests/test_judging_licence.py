"""The licence, from labels through the calibration's file to the word that lets a run train, with planted judges."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from corral import standalone
from graph.estimates import unlicensed_judge
from nodes.assemble import judge_trust
from state.calls import CallStore
from state.errors import BadInput, TrainingError
from state.request import Endpoint, Judging, OwnDimension, RunRequest
from tests.builders import NOON
from tests.judging_support import FunctionEndpoint, fixed_answers
from tests.planted_judges import PLANTED, PlantedJudge, labelled_pairs, oracle
from tests.scripted_answers import answer_to
from tests.scripted_server import ScriptedServer
from tests.tiny_model import tiny_model
from tools.endpoint import open_endpoint
from tools.endpoint.spending import Spending
from tools.judging import calibrate, find_calibration, save_calibration
from tools.judging.calibration import Calibration
from tools.judging.fingerprint import fingerprint_of, same_model, which_model
from tools.judging.judge import CrewJudge, identity_of
from tools.judging.licence import licence_of
from tools.judging.scorecard import scorecard
from tools.judging.trust import calibrations_of, demand_untouched
from tools.report.judges import drawn
from tools.settings import Settings
from tools.sources.labels import ChosenPair, LabelSet, RatedItem
from tools.statistics.clustered import effective_rows, gain_interval, share_interval

NOWHERE = Path("none")
DEMANDED = RunRequest(judge=Judging(licence=0.2))
PAIRS = labelled_pairs(200)


def measured(planted: PlantedJudge, labels: list[ChosenPair] = PAIRS, **changes: Any) -> Calibration:
    """Return a judge's calibration."""
    return asyncio.run(calibrate(planted, labels)).model_copy(update=changes)


def gate(judge: PlantedJudge, home: Path, request: RunRequest = DEMANDED) -> str:
    """Return why a run may not train on a judge; empty where it may."""
    try:
        judge_trust([judge.identity], request, home)
    except TrainingError as error:
        return str(error)
    return ""


@pytest.mark.parametrize("name", list(PLANTED))
def test_every_planted_judge_is_caught_by_the_whole_gate(name: str, tmp_path: Path) -> None:
    judge = PLANTED[name](0)
    save_calibration(measured(judge), tmp_path)
    assert "judge.licence refuses" in gate(judge, tmp_path), name


def test_a_good_judge_is_licensed_and_one_that_was_never_measured_is_not(tmp_path: Path) -> None:
    judge = oracle(0.8)
    assert "never measured" in gate(judge, tmp_path)
    save_calibration(measured(judge), tmp_path)
    assert gate(judge, tmp_path) == ""
    assert gate(judge, tmp_path, RunRequest(judge=Judging(licence=0.9))), "as much is not shown"
    assert gate(oracle(0.0), tmp_path, RunRequest()) == "", "nobody asks for a licence"


def test_what_speaks_against_a_judge_is_told_before_anything_is_paid(tmp_path: Path) -> None:
    """A run with an unlicensed judge generated, sampled and judged first."""
    assert "never measured: corral calibrate" in unlicensed_judge(DEMANDED, Settings(home=tmp_path))
    assert unlicensed_judge(RunRequest(), Settings(home=tmp_path)) == ""
    identity = identity_of(DEMANDED.models.judge, DEMANDED.judge, tmp_path)
    save_calibration(measured(oracle(0.8), judge=identity), tmp_path)
    assert unlicensed_judge(DEMANDED, Settings(home=tmp_path)) == ""


def test_the_former_name_still_demands() -> None:
    assert Judging.model_validate({"min_kappa": 0.3}).licence == 0.3


def test_only_the_mode_that_is_used_must_hold(tmp_path: Path) -> None:
    judge = PLANTED["always first"](0)
    save_calibration(measured(judge), tmp_path)
    alone = RunRequest.model_validate({"judge": {"licence": 0.2}, "evaluate": {"judged_pairs": 0}})
    assert gate(judge, tmp_path, alone) == ""
    assert "turn with the order" in gate(judge, tmp_path)


def test_ratings_cannot_license_a_choice_between_two(tmp_path: Path) -> None:
    items = [item for pair in PAIRS for item in (pair.first, pair.second)]
    judge, rated = oracle(0.9), [RatedItem(item=item, rating=5 if "good" in item.output else 1) for item in items]
    found = asyncio.run(calibrate(judge, rated))
    save_calibration(found, tmp_path)
    assert "single ratings cannot say it" in gate(judge, tmp_path)
    assert [b.name for b in found.modes[0].baselines] == ["more stars to the longer", "random", "constant"]


def test_history_is_kept_and_the_newest_of_each_set_counts(tmp_path: Path) -> None:
    judge = oracle(0.9)
    bad = measured(PLANTED["constant"](0), judge=judge.identity, source="a")
    good = measured(judge, source="a")
    save_calibration(bad, tmp_path)
    save_calibration(good, tmp_path)
    assert len(calibrations_of(judge.identity, tmp_path)) == 2
    assert find_calibration(judge.identity, tmp_path) == good and gate(judge, tmp_path) == ""
    other = measured(PLANTED["always longer"](0), labelled_pairs(80, 3), judge=judge.identity, source="b")
    save_calibration(other, tmp_path)
    assert "b: rating" in gate(judge, tmp_path), "every set that was measured counts"


def test_a_part_on_which_a_judge_is_worse_than_chance_is_not_averaged_away() -> None:
    pairs = [pair.model_copy(update={"source": "natural"}) for pair in labelled_pairs(200, 1, longer=0.95)]
    pairs += [pair.model_copy(update={"source": "adversarial"}) for pair in labelled_pairs(60, 2, longer=0.1)]
    found = measured(PLANTED["always longer"](0), pairs)
    parts = {part.name: part for part in found.modes[0].parts}
    assert parts["adversarial"].kappa.high < 0 < parts["natural"].kappa.low
    assert parts["people chose the shorter"].agreement.value == 0
    refused = licence_of(found.judge, [found], Judging(licence=0.2), ("rating",)).refusals
    assert any("worse than chance where adversarial" in why for why in refused)


def test_each_further_judge_of_one_model_on_the_same_labels_widens_the_interval() -> None:
    judge = oracle(0.5)
    own = measured(judge, labelled_pairs(120, 5))
    settings = Judging(licence=own.modes[0].kappa.low - 0.01)
    assert not [why for why in licence_of(judge.identity, [own], settings, ("rating",)).refusals if "kappa" in why]
    others = [own.model_copy(update={"judge": f"planted/oracle 0.5/general@{n}"}) for n in range(2, 30)]
    refused = licence_of(judge.identity, [own, *others], settings, ("rating",)).refusals
    assert any("after 29 judges of this model" in why for why in refused)


def test_what_was_tuned_on_licenses_nothing_and_cannot_be_reported(tmp_path: Path) -> None:
    labels, judge = LabelSet(name="l", labels=tuple(PAIRS)), oracle(0.9)
    halves = [
        {pair.first.prompt for pair in labels.part(split) if isinstance(pair, ChosenPair)}
        for split in ("tune", "report")
    ]
    assert not halves[0] & halves[1] and sum(map(len, halves)) == 200
    tuned = asyncio.run(calibrate(judge, labels.part("tune"), about=labels, split="tune"))
    save_calibration(tuned, tmp_path)
    assert "never measured" in gate(judge, tmp_path)
    with pytest.raises(BadInput, match="--split report"):
        demand_untouched(labels.id, "all", [tuned])
    demand_untouched(labels.id, "report", [tuned])


def test_a_model_that_changed_under_its_name_is_not_licensed() -> None:
    judge, settings = oracle(0.9), Judging(licence=0.2)
    before = measured(judge, fingerprint="a-b-c")
    assert licence_of(judge.identity, [before], settings, ("rating",), fingerprint="a-b-x").granted
    refused = licence_of(judge.identity, [before], settings, ("rating",), fingerprint="a-y-x").refusals
    assert "answers otherwise" in refused[0]
    after = before.model_copy(update={"fingerprint": "a-y-x"})
    assert licence_of(judge.identity, [before, after], settings, ("rating",), fingerprint="a-y-x").granted


async def test_a_fingerprint_follows_the_answers_and_the_ledger_is_not_asked() -> None:
    one, other = (FunctionEndpoint(fixed_answers(score)) for score in (80, 20))
    first, again = await fingerprint_of(one, NOON), await fingerprint_of(one, NOON)
    assert same_model(first, again) and same_model("", first)
    assert not same_model(first, await fingerprint_of(other, NOON))
    assert {call.draw for call in one.calls} == {int(NOON.timestamp())}


def test_the_server_is_part_of_the_identity() -> None:
    one, other = (Endpoint(base_url=f"http://127.0.0.1:{port}/v1", model="m") for port in (1, 2))
    assert identity_of(one, Judging(), NOWHERE) != identity_of(other, Judging(), NOWHERE)


async def test_a_judge_on_a_local_folder_is_known_before_it_is_opened(calls: CallStore, tmp_path: Path) -> None:
    """It was looked for without the hash of its files, so that no measurement of it was found."""
    settings = Settings(home=tmp_path)
    spec = Endpoint(base_url="weights", model=str(tiny_model(tmp_path / "base")))
    opened = await open_endpoint(spec, calls, "run", settings)
    assert CrewJudge(opened, Judging()).identity == identity_of(spec, Judging(), settings.cache)


def test_intervals_hold_at_the_borders_and_for_clusters() -> None:
    perfect = share_interval([1.0] * 16, range(16))
    assert perfect.value == perfect.high == 1 and perfect.low < 0.9, "16 of 16 is no certainty"
    assert effective_rows([1.0, 0.0] * 20, [n // 2 for n in range(40)]) == 40
    assert effective_rows([1.0] * 8 + [0.0] * 8, [0] * 8 + [1] * 8) < 3, "rows of two prompts that are all alike"
    assert gain_interval([1.0] * 4, [1.0] * 4, range(4)).low == 0
    ahead = gain_interval([1.0] * 30 + [0.0] * 10, [0.0] * 30 + [1.0] * 10, range(40))
    assert ahead.value == 0.5 and 0 < ahead.low < 0.5 < ahead.high


def test_the_scorecard_tells_each_judge_beside_what_costs_nothing() -> None:
    made = [measured(judge, source="set") for judge in (oracle(0.9), PLANTED["always longer"](0))]
    found = scorecard(made)
    assert len(found) == 4 and {entry.mode for entry in found} == {"rating", "asked"}
    assert {entry.judge: entry.better for entry in found} == {made[0].judge: True, made[1].judge: False}
    picture = drawn(found)
    assert picture.startswith("<svg xmlns") and "oracle 0.9, set, asked" in picture


def test_raters_are_put_together_and_say_how_far_people_agree() -> None:
    pairs = []
    for n, pair in enumerate(PAIRS):
        third = 3 - pair.label if n % 4 == 0 else pair.label
        pairs.append(pair.model_copy(update={"raters": (pair.label, pair.label, third)}))
    ceiling = measured(oracle(0.8), pairs).ceiling
    assert ceiling is not None and ceiling.pairs == 200 and 0.85 < ceiling.agreement.value < 0.95
    assert measured(oracle(0.8)).ceiling is None


def test_a_judge_that_refuses_what_it_cannot_judge_is_not_licensed(tmp_path: Path) -> None:
    """What it judges, it judges well."""
    judge = oracle(0.9)
    whole = measured(judge)
    assert whole.failed == 0 and not licence_of(judge.identity, [whole], DEMANDED.judge, ("rating",)).refusals
    for failed, refused in ((20, False), (21, True), (150, True)):
        some = whole.model_copy(update={"failed": failed})
        found = licence_of(judge.identity, [some], DEMANDED.judge, ("rating",)).refusals
        assert bool(found) == refused
        assert all(f"it judged {200 - failed} of 200 labels" in why for why in found)


def test_a_judge_that_always_says_the_same_is_told() -> None:
    found = measured(PLANTED["constant"](0))
    assert any("says the same of 100%" in note for note in found.notes)


def test_each_model_that_came_under_a_name_has_its_number() -> None:
    assert which_model("a-b-c", []) == 0 and which_model("a-b-x", ["a-b-c"]) == 0
    assert which_model("x-y-z", ["a-b-c", "a-b-x"]) == 1
    assert which_model("a-b-c", ["a-b-c", "x-y-z"]) == 0, "the first one is back"
    assert which_model("", ["a-b-c"]) == 0


def test_a_model_that_came_under_the_name_is_measured_by_its_own_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The ledger's answers of the model before it were measured anew, for nothing, and licensed the new one."""
    seconds = iter(range(100))
    monkeypatch.setattr(
        standalone, "fingerprint_of", lambda model, _: fingerprint_of(model, NOON + timedelta(seconds=next(seconds)))
    )
    given, settings = LabelSet(name="l", labels=tuple(labelled_pairs(2))), Settings(home=tmp_path)
    model = "one"

    def answer(body: dict[str, Any]) -> str:
        return answer_to(body) if "response_format" in body else f"This is model {model}."

    with ScriptedServer(answer=answer) as server:
        judging = Judging(licence=0.2, dimensions={"use": OwnDimension(weight=1.0, rubric="90: of use. 10: not.")})
        spec = Endpoint(base_url=server.url, model="scripted")
        request = RunRequest(judge=judging, models=RunRequest().models.model_copy(update={"judge": spec}))

        def calibrated() -> tuple[Calibration, int]:
            before = len(server.requests)
            found = asyncio.run(standalone.measured_judge(request, given, "all", settings, Spending(cap=None)))
            save_calibration(found, tmp_path)
            return found, len(server.requests) - before

        first, asked = calibrated()
        again, asked_again = calibrated()
        assert (
            again.fingerprint == first.fingerprint
            and asked_again == 3 < asked
            and standalone.CHANGED not in again.notes
        )
        model = "two"
        other, asked_other = calibrated()
        assert (
            asked_other == asked
            and standalone.CHANGED in other.notes
            and not same_model(other.fingerprint, first.fingerprint)
        )
        assert calibrated()[1] == 3
