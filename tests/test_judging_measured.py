"""Agreement against known examples, labels, calibration, reports and comparisons, with judges that are functions."""

import json
import random
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from corral.feedback import SyntheticFeedback
from corral.monitor import RLHFMonitor
from state.dimensions import DIMENSIONS
from state.errors import BadInput
from state.records import Candidate, CheckResult, DimensionScore, Judgement, Outcome, Sample, content_hash
from tests.judging_support import number_in
from tests.planted_judges import PlantedJudge
from tools.judging import calibrate, compare, find_calibration, judge_quality
from tools.judging.answers import PairChoice
from tools.judging.calibration import Calibration
from tools.judging.comparing import comparison, matched
from tools.judging.pairwise import judge_pairs
from tools.judging.preference import Preference, by_rating, in_both_orders
from tools.judging.trust import save_calibration, trust_note
from tools.sources.items import Item, read_items
from tools.sources.labels import ChosenPair, RatedItem, checked_labels, read_labels

SHARED = Path(__file__).parent.parent.parent / "shared" / "data" / "llmbar_natural.json"


class ScriptedJudge:
    """Rates an answer by the number in it; text with ``broken`` cannot be judged."""

    identity = "scripted judge"

    def __init__(self, flips: bool = False, confidence: float = 0.8) -> None:
        self.flips, self.confidence = flips, confidence

    async def judge(self, sample: Sample, candidate: Candidate, context: Mapping[str, Any] | None = None) -> Judgement:
        broken = "broken" in candidate.text
        worth = 0 if broken else number_in(candidate.text)
        failed = CheckResult(kind="max_words", passed=False, evidence="too long") if worth < 50 else None
        return Judgement(
            id=content_hash(candidate.id),
            candidate_id=candidate.id,
            judge=self.identity,
            scores=() if broken else tuple(DimensionScore(dimension=d, score=worth, reason="so") for d in DIMENSIONS),
            overall=worth,
            stars=1 + min(4, worth // 20),
            confidence=self.confidence,
            checks=(failed,) if failed else (),
            outcome=Outcome.FAILED if broken else Outcome.ACCEPTED if worth >= 70 else Outcome.REJECTED,
            reasons=("no JSON",) if broken else (),
        )

    async def prefer(
        self, sample: Sample, first: Candidate, second: Candidate, context: Mapping[str, Any] | None = None
    ) -> Preference:
        if self.flips:
            return in_both_orders(PairChoice(better="first", reason=""), PairChoice(better="first", reason=""))
        ahead = number_in(first.text) > number_in(second.text)
        return in_both_orders(
            PairChoice(better="first" if ahead else "second", reason=""),
            PairChoice(better="second" if ahead else "first", reason=""),
        )


def item(worth: int, prompt: str = "Why?", more: str = "") -> Item:
    return Item(prompt=prompt, output=f"It is worth {worth}. {more}")


def test_an_order_that_changes_the_choice_is_a_flip_and_a_tie() -> None:
    first, second, tie = (PairChoice(better=b, reason="") for b in ("first", "second", "tie"))  # type: ignore[arg-type]  # all three are
    assert in_both_orders(first, second).better == 1 and in_both_orders(second, first).better == 2
    assert in_both_orders(first, first) == in_both_orders(second, second)
    assert (in_both_orders(first, first).better, in_both_orders(first, first).flipped) == (0, True)
    assert (in_both_orders(first, tie).better, in_both_orders(first, tie).flipped) == (0, False)


async def test_a_judge_that_agrees_with_people_is_measured_so() -> None:
    draw = random.Random(0)
    labels = [ChosenPair(first=item(90), second=item(10), label=1), ChosenPair(first=item(5), second=item(60), label=2)]
    found = await calibrate(ScriptedJudge(), labels * 10)
    assert (found.kappa.value, found.kappa.high, found.agreement.value, found.alpha.value) == (1, 1, 1, 1)
    assert found.kappa.low < 1 and found.agreement.low < 1, "few labels are no certainty"
    assert found.flips is not None and found.flips.value == 0 < found.flips.high and found.failed == 0
    rated = [RatedItem(item=item(w), rating=1 + min(4, w // 20)) for w in draw.choices(range(100), k=40)]
    stars = await calibrate(ScriptedJudge(), rated)
    assert (stars.kind, stars.kappa.value, stars.alpha.value) == ("ratings", 1, 1)


async def test_flips_and_failures_are_counted_apart() -> None:
    labels = [ChosenPair(first=item(90), second=item(10), label=1 + n % 2) for n in range(8)]
    labels.append(ChosenPair(first=Item(prompt="Why?", output="broken"), second=item(1), label=2))
    found = await calibrate(ScriptedJudge(flips=True), labels)
    assert (found.labels, found.failed) == (9, 1)
    assert found.flips is not None and found.flips.value == 1
    assert found.asked_agreement is not None and found.asked_agreement.value == 0
    assert found.agreement.value == 0.5 and sum(part.rows for part in found.curve) == 8


async def test_a_label_that_nothing_can_judge_is_no_tie_of_the_judge() -> None:
    """Checks alone, on labels without any, were said to have judged all of them and to see no difference."""

    class Silent(ScriptedJudge):
        async def judge(
            self, sample: Sample, candidate: Candidate, context: Mapping[str, Any] | None = None
        ) -> Judgement:
            made = await super().judge(sample, candidate, context)
            return made.model_copy(update={"overall": None, "stars": None}) if "silent" in sample.prompt else made

    silent = [Item(prompt="silent", output=f"worth {n}") for n in (1, 2)]
    labels = [ChosenPair(first=item(90), second=item(10), label=1 + n % 2) for n in range(4)]
    labels += [ChosenPair(first=silent[0], second=silent[1], label=0)] * 3
    found = await calibrate(Silent(), labels)
    assert (found.labels, found.failed, found.modes[0].labels, found.modes[0].ties) == (7, 3, 4, 0.0)
    assert "rows that could not be judged, and count in no figure: 3 of 7" in found.notes
    with pytest.raises(BadInput, match="no row of 3 could be judged; the first: nothing can judge"):
        await calibrate(Silent(), labels[4:])


async def test_labels_that_nothing_can_be_measured_on_are_refused() -> None:
    one_sided = [ChosenPair(first=item(1), second=item(2), label=1)] * 3
    same = [RatedItem(item=item(1), rating=4)] * 2
    for labels in ([], one_sided, same, [*one_sided, *same]):
        with pytest.raises(BadInput):
            checked_labels(labels, "labels.jsonl")
    broken = Item(prompt="Why?", output="broken")
    with pytest.raises(BadInput, match="no row of 2 could be judged"):
        await calibrate(ScriptedJudge(), [RatedItem(item=broken, rating=1), RatedItem(item=broken, rating=5)])


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("", "no rows"),
        ("{nonsense", "line 1: not JSON"),
        ("[]", "no rows"),
        ("3\n", "not an object but a number"),
        ('{"prompt": "p", "output": "o"}', "line 1: unrated"),
        ('{"prompt": "p", "output": "o", "rating": 9}', "rating"),
        ('{"prompt": "p", "rating": 3}', "there is no 'output'"),
        ('{"output": "o", "rating": 3}', "there is no 'prompt'"),
        ('{"prompt": "p", "output_1": "x", "output_2": "y", "label": 3}', "'label' is 1, 2 or 0"),
        ('{"prompt": "p", "output_1": "x", "label": 1}', "output_2: there is no 'output'"),
        ('{"prompt": "p", "output": "o", "rating": 3}\n{"prompt": "p", "output": "o", "rating": 3}', "one-sided"),
    ],
)
def test_a_broken_label_file_is_refused_by_its_line(text: str, fault: str, tmp_path: Path) -> None:
    path = tmp_path / "labels.jsonl"
    path.write_text(text)
    with pytest.raises(BadInput, match=fault):
        read_labels(path)


def test_labels_are_read_in_every_spelling(tmp_path: Path) -> None:
    rows = [
        {"prompt": "p", "output_1": "x", "output_2": "y", "label": "A"},
        {"input": "p", "output_1": "x", "output_2": "y", "label": 2},
        {"instruction": "p", "input": "q", "output_1": "x\u2028y", "output_2": "", "label": "tie"},
    ]
    path = tmp_path / "labels.jsonl"
    path.write_text("\n".join(json.dumps(row, ensure_ascii=False) for row in rows))
    labels = read_labels(path)
    assert [label.label for label in labels if isinstance(label, ChosenPair)] == [1, 2, 0]
    assert isinstance(labels[2], ChosenPair) and labels[2].first.prompt == "p\n\nq"
    path.write_text(json.dumps(rows))
    assert read_labels(path) == labels


@pytest.mark.skipif(not SHARED.exists(), reason="the shared labels are not here")
def test_llmbar_is_read_as_it_is() -> None:
    labels = read_labels(SHARED)
    assert len(labels) == 100 and all(isinstance(label, ChosenPair) for label in labels)


async def test_what_was_measured_is_found_again_and_decides_on_training(tmp_path: Path) -> None:
    labels = [ChosenPair(first=item(90), second=item(10), label=1 + (n % 4 == 0)) for n in range(40)]
    found = await calibrate(ScriptedJudge(), labels)
    assert find_calibration("scripted judge", tmp_path) is None
    note = trust_note("scripted judge", None)
    assert "never measured" in note and "LABELS.jsonl, or --decisions RUN" in note
    save_calibration(found, tmp_path)
    again = find_calibration("scripted judge", tmp_path)
    assert again == found and find_calibration("another", tmp_path) is None
    assert "75% of 40 pairs" in trust_note("scripted judge", again)
    assert "shown better than no trivial baseline" in trust_note("scripted judge", again), (
        "all first answers are better"
    )


def test_a_calibration_reads_back_from_its_json() -> None:
    one = {"value": 0.5, "low": 0.1, "high": 0.9}
    fields = {"judge": "j", "kind": "pairs", "labels": 2, "failed": 0, "agreement": one, "kappa": one, "alpha": one}
    made = Calibration.model_validate(
        fields | {"curve": [], "labels_hash": "h", "seconds": 1, "made_at": datetime(2026, 1, 1, tzinfo=UTC)}
    )
    assert Calibration.model_validate_json(made.model_dump_json()) == made


async def test_a_report_adds_up_and_names_what_falls_short() -> None:
    rows = [item(90), item(75), item(60), item(20), Item(prompt="Why?", output="broken")]
    report = await judge_quality(ScriptedJudge(), rows)
    assert report.accepted + report.waiting + report.rejected + report.failed == len(report.rows) == 5
    assert [row.row for row in report.short(70)] == [3, 4, 5]
    assert report.mean_overall == 61.25 and report.failed_checks == {"max_words": 1}
    assert set(report.dimensions) == set(DIMENSIONS)


async def test_a_report_where_nothing_could_be_judged_has_no_means() -> None:
    report = await judge_quality(ScriptedJudge(), [Item(prompt="Why?", output="broken")])
    assert (report.failed, report.mean_overall, report.dimensions) == (1, None, {})


async def test_the_better_of_two_is_named_with_its_interval() -> None:
    a = [item(30, f"p{n}") for n in range(20)]
    b = [item(80, f"p{n}") for n in reversed(range(20))] + [item(1, "only here")]
    found = await compare(ScriptedJudge(), a, b)
    assert (found.winner, found.wins_b, found.difference.value) == ("b", 20, 50.0)
    assert found.win_rate.low == pytest.approx(0.8389, abs=1e-4), "20 of 20 is no certainty"
    assert found.unmatched == 1 and found.summary.startswith("B is better")
    assert found.wins_a + found.wins_b + found.ties + found.failed == found.pairs


async def test_a_few_pairs_name_no_winner() -> None:
    for count, winner in ((1, "none"), (5, "none"), (6, "b")):
        found = await compare(
            ScriptedJudge(), [item(30, f"p{n}") for n in range(count)], [item(80, f"p{n}") for n in range(count)]
        )
        assert (found.winner, found.wins_b) == (winner, count)
        assert found.win_rate.low < found.win_rate.value == found.win_rate.high == 1.0


async def test_no_difference_is_said_where_none_is_shown() -> None:
    draw = random.Random(3)
    a, b = ([item(draw.randint(0, 99), f"p{n}") for n in range(12)] for _ in range(2))
    found = await compare(ScriptedJudge(), a, b)
    assert found.winner == "none" and found.summary.startswith("no difference shown")
    swayed = await compare(ScriptedJudge(flips=True), a, b)
    assert (swayed.ties, swayed.flips, swayed.winner) == (12, 12, "none")


def test_answers_to_other_prompts_cannot_be_compared() -> None:
    with pytest.raises(BadInput, match="no prompt is in both"):
        matched([item(1, "p")], [item(1, "q")])
    pairs = matched([item(1, "p"), item(2, "p")], [item(3, "p"), item(4, "p")])
    assert [(number_in(x.output), number_in(y.output)) for x, y in pairs] == [(1, 3), (2, 4)]


def test_items_carry_checks_and_context(tmp_path: Path) -> None:
    row = {"prompt": "p", "model_output": "o", "checks": [{"kind": "max_words", "value": 3}], "context": {"brand": "x"}}
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n\n")
    read = read_items(tmp_path / "rows.jsonl")[0]
    assert read.checks[0].value == 3 and read.context == {"brand": "x"}
    assert read.candidate.id != read.model_copy(update={"context": {}}).candidate.id
    with pytest.raises(BadInput, match=r"missing\.jsonl: cannot be read"):
        read_items(tmp_path / "missing.jsonl")


def feedback(rating: int | None) -> SyntheticFeedback:
    fields: dict[str, Any] = {
        "overall_rating": rating,
        "is_chosen": (rating or 0) >= 4,
        "confidence": 0.5,
        "judge": "j",
    }
    return SyntheticFeedback.model_validate(fields | {"reasons": (), "strengths": (), "weaknesses": ()})


def test_a_low_mean_raises_an_alert() -> None:
    monitor = RLHFMonitor()
    good = monitor.track_feedback_quality([feedback(4), feedback(5), feedback(2), feedback(None)])
    assert (good.alert, good.unjudged, good.ratings) == (None, 1, {2: 1, 4: 1, 5: 1})
    assert monitor.track_feedback_quality([feedback(3), feedback(3)]).alert == "the mean rating 3.00 is under 3.5"
    assert "could be judged" in (monitor.track_feedback_quality([feedback(None)]).alert or "")
    assert len(monitor.history) == 3
    with pytest.raises(BadInput):
        monitor.track_feedback_quality([])


def test_two_versions_are_compared_with_an_interval() -> None:
    monitor = RLHFMonitor()
    better = monitor.compare_model_versions([feedback(2)] * 20, [feedback(5)] * 15)
    assert (better.winner, better.difference.value) == ("b", 3.0)
    for count, winner in ((1, "none"), (3, "none"), (4, "b")):
        few = monitor.compare_model_versions([feedback(2)] * count, [feedback(5)] * count)
        assert few.winner == winner, "three ratings each differ so much by chance in one of ten cases"
    mixed = [feedback(r) for r in (1, 3, 5, 4, 2)]
    assert monitor.compare_model_versions(mixed, mixed[::-1]).winner == "none"
    with pytest.raises(BadInput, match="version b"):
        monitor.compare_model_versions(mixed, [feedback(None)])


async def test_a_pair_that_nothing_can_judge_is_no_tie() -> None:
    """Checks alone compared answers without any, and said that each wins half, from 50% to 50%."""
    judge = PlantedJudge("length", lambda _, text: float(len(text)))
    (known,) = await judge_pairs(judge, [(Item(prompt="p", output="a"), Item(prompt="p", output="bb"))])
    blank = known.first.model_copy(update={"overall": None, "stars": None})
    unknown = known.model_copy(update={"first": blank, "asked": by_rating(blank, known.second)})
    found = comparison("j", [known, unknown])
    assert (found.pairs, found.wins_b, found.ties, found.unjudged, found.failed) == (2, 1, 0, 1, 0)
    assert found.win_rate.value == 1.0
    with pytest.raises(BadInput, match="no pair of 1 can be judged: no check applies"):
        comparison("j", [unknown])
