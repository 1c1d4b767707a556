"""The report's page: everything a run has, nothing it has not, and no way out for what a model wrote."""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime
from functools import cache
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from state.calls import PurposeTally
from state.records import Answer, Check, GenerationRound, Outcome, Sample
from state.request import Judging, RunRequest
from tests.builders import candidate, judgement, sample
from tools.judging.decisions import AgainstPeople, Decided, against_people
from tools.people.raters import Agreement, GoldAccuracy
from tools.report.board import read_board
from tools.report.examples import LINES, LONGEST, SHOWN, ExamplePicker, shortened
from tools.report.facts import CallGroup, Costs, RunFacts, missing_parts
from tools.report.funnel import RowCounter, candidate_funnel, instruction_funnel, prompt_funnel, reason_head, stop_of
from tools.report.lineage import ROWS, LineageCounter, read_lineage, row_source
from tools.report.page import render
from tools.report.scores import ScoreCounter
from tools.report.timing import StepTime
from tools.report.training import read_training
from tools.statistics.bootstrap import Estimate

HOSTILE = '</pre></title><script>alert(1)</script><img src=x onerror=alert(1)>" onload="x'
NOW = datetime(2026, 1, 2, 12, 0, tzinfo=UTC)
VOID = {"meta", "br", "link", "img", "hr", "input"}


class Page(HTMLParser):
    """Collects a page's tags, attributes and text, and demands that what is opened is closed."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.open: list[str] = []
        self.text = ""
        self.feed(html)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in self.open:
            while self.open.pop() != tag:
                pass

    def handle_data(self, data: str) -> None:
        if self.open[-1:] != ["style"]:
            self.text += data

    def values(self, name: str) -> list[str]:
        return [value for key, value in self.attributes if key == name]


def comparison(metric: str, base: float, adapter: float, **changes: Any) -> dict[str, Any]:
    interval = {"value": adapter - base, "low": adapter - base - 0.1, "high": adapter - base + 0.1}
    row = {"metric": metric, "prompts": 48, "base": base, "adapter": adapter, "interval": interval}
    return row | {"p": 0.01, "p_corrected": 0.02} | changes


def scoreboard(**changes: Any) -> dict[str, Any]:
    board = {
        "prompts": 48,
        "base": {"model": "base", "answered": 48, "missing": 0},
        "adapter": {"model": "f" * 32, "answered": 48, "missing": 0},
        "comparisons": [comparison("guarded", 0.2, 0.4), comparison("words", 60.0, 50.0)],
        "by_kind": [{"name": "json", "count": 3, "base": 0.0, "adapter": 1.0}],
        "primary": "guarded",
        "verdict": "better",
        "words": "The adapter is better than its base.",
        "seed": 0,
        "win_rate": {"judge": "crew", "pairs": 24, "rate": {"value": 0.6, "low": 0.4, "high": 0.8}},
        "notes": ["the judge was never measured"],
    }
    return board | changes


def answer(of: Sample, model: str, text: str, ended: bool = True) -> Answer:
    return Answer(id=model + of.id, sample_id=of.id, model=model, text=text, ended=ended)


def examples(text: str = "One. Two.") -> Any:
    picker = ExamplePicker()
    checks = (Check(kind="max_words", value=4),)
    clean, long = text, "Far too many words for such a narrow limit, " + text
    for number, (before, after) in enumerate([(long, clean), (clean, long), (long, long), (clean, clean)]):
        one = sample(f"{text} {number}", split="heldout", checks=checks, category=text)
        picker.add(one, answer(one, "base", before), answer(one, "adapter", after))
    return picker.result(4)


@cache
def people(text: str) -> AgainstPeople:
    """Return a judge beside enough people's decisions for a measured band."""
    draw = random.Random(0)
    decided = [
        Decided(
            item_id=str(n), judge=text, overall=round(score, 1), confidence=0.5,
            scores=((text, score), ("clarity", 50.0)), good=score > 62.5, stars=3, rated=3 + n % 2,
        )
        for n, score in enumerate(draw.uniform(30, 95) for _ in range(60))
    ]  # fmt: skip
    found = against_people(decided, {one.overall: 1 for one in decided}, Judging(), [1.0, 0.0])
    assert found is not None
    return found


def facts(text: str = "One. Two.", **changes: Any) -> RunFacts:
    """Return a run that has every part, with ``text`` wherever a model or a stranger may write."""
    scores, rows, drawn, lines = ScoreCounter(), RowCounter(), RowCounter(), LineageCounter()
    of = sample(text, call=text)
    drawn_one = candidate(of, text, call=text)
    judged = judgement(drawn_one, judge=text)
    scores.add("accepted", 80.0, 4, 0.5, [one.model_dump() for one in judged.scores], text)
    rows.add("rejected", [text])
    rows.add("accepted", [])
    drawn.add("accepted", [])
    lines.add({"sample": of.id, "origin": "prompt", "chosen": drawn_one.id, "provenance": "sampled"})
    lineage = read_lineage(lines, {"version": text, "files": {text: {"rows": 1, "sha256": text}}}, text)
    source = row_source(1, lines.first[0], {of.id: of}, {drawn_one.id: drawn_one}, {drawn_one.id: judged})
    summary = {
        "phases": [{"phase": text, "losses": [2.0, 1.0], "flags": [text], "note": text}],
        "versions": {text: text},
    }
    decided = {"decision": {"action": text, "reason": text, "settled_by": text, "estimated_seconds": 90.0}}
    looked = {"before": [{"name": text, "outcome": text, "evidence": text}]}
    tally = PurposeTally(
        purpose=text, answered=1, failed=0, from_ledger=0, prompt_tokens=1, completion_tokens=1, cost=0.5
    )
    funnels = [instruction_funnel(rows), candidate_funnel(drawn, {}, 1, 0), prompt_funnel({text: 2})]
    board = scoreboard(words=text, notes=[text], primary="guarded")
    board["comparisons"].append(comparison(text, 0.1, 0.2))
    board["by_kind"].append({"name": text, "count": 1, "base": 0, "adapter": 1})
    given: dict[str, Any] = {
        "run_id": f"run {text}",
        "created_at": "2026-01-02T12:00:00+00:00",
        "written_at": NOW,
        "standing": text,
        "request": RunRequest.model_validate({"sources": {"seeds": text}}),
        "warnings": (text,),
        "board": read_board(board),
        "trainings": (read_training("round 1", summary, evaluated=True, decision=decided, checklist=looked),),
        "scores": scores.result(),
        "people": people(text),
        "funnels": tuple(funnel for funnel in funnels if funnel),
        "rounds": (GenerationRound(id="r", round=1, offered=2, accepted=1, novelty=0.5, decision=text, reason=text),),
        "costs": Costs(
            calls=(CallGroup(tally=tally, busy=1.0, latency=1.0),),
            stages=(),
            spent=0.5,
            cap=1.0,
            steps=(StepTime(step="judge", seconds=61.0),),
        ),
        "examples": examples(text),
        "lineage": lineage.model_copy(update={"shown": (source,)}),
    }
    return RunFacts.model_validate(given | changes)


ESTIMATE = Estimate(value=0.4, low=0.1, high=0.7)
EMPTY: dict[str, Any] = {
    **{name: None for name in ("board", "scores", "costs", "examples", "lineage", "people")},
    **{name: () for name in ("trainings", "funnels", "rounds", "warnings")},
}


def test_all_sections_stand_in_order_and_are_linked() -> None:
    page = Page(render(facts()))
    order = [
        "scoreboard",
        "training",
        "scores",
        "people",
        "funnel",
        "diversity",
        "cost",
        "examples",
        "lineage",
        "request",
    ]
    assert [one for one in page.values("id") if one in order] == order
    assert page.values("href") == [f"#{anchor}" for anchor in order]
    for words in ("Better than its base", "Base against adapter", "1 min 1 s", "The worst regressions", "$0.5000"):
        assert words in page.text
    assert "What this run does not have" not in page.text
    assert "the judge was never measured" in Page(render(facts(board=read_board(scoreboard())))).text


def test_what_models_wrote_is_text_and_nothing_else() -> None:
    tame = HOSTILE.translate(str.maketrans('<>"&', "[]'+"))
    plain, hostile = Page(render(facts(tame))), Page(render(facts(HOSTILE)))
    assert hostile.tags == plain.tags
    assert [name for name, _ in hostile.attributes] == [name for name, _ in plain.attributes]
    assert "<script>alert(1)</script>" in hostile.text


def test_the_page_needs_nothing_but_itself() -> None:
    html = render(facts(HOSTILE))
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "object", "embed", "base", "form"} & set(page.tags)
    assert page.values("src") == [] and all(link.startswith("#") for link in page.values("href"))
    assert not [name for name, _ in page.attributes if name.startswith("on") or name == "style"]
    style = "".join(re.findall(r"<style>(.*?)</style>", html, re.DOTALL))
    assert "url(" not in style and "@import" not in style and "http" not in style
    assert "prefers-color-scheme" in style and "@media print" in style
    assert any("default-src 'none'" in policy for policy in page.values("content"))


def test_every_drawing_says_what_it_shows() -> None:
    page = Page(render(facts()))
    drawings = page.tags.count("svg")
    assert drawings >= 15
    assert page.tags.count("desc") == drawings == page.values("role").count("img")
    assert all(page.values("aria-label"))


def test_a_run_that_has_nothing_says_so() -> None:
    page = Page(render(facts(**EMPTY)))
    assert "No verdict" in page.text and "What this run does not have" in page.text
    for part in ("scoreboard", "training", "gate funnel", "diversity growth", "examples", "lineage"):
        assert part in page.text
    assert page.values("href") == ["#request"]


@pytest.mark.parametrize("part", list(EMPTY))
def test_each_part_may_be_missing(part: str) -> None:
    made = facts(**{part: EMPTY[part]})
    page = Page(render(made))
    assert len(missing_parts(made)) == (part != "warnings")
    assert ("What this run does not have" in page.text) == (part != "warnings")


def test_half_a_surrogate_pair_and_control_characters_are_kept_out_of_the_file() -> None:
    html = render(facts("a\ud800b \u202e\x00 c"))
    assert "a?b" in html
    html.encode("utf-8")


def test_settings_that_differ_are_told_apart() -> None:
    made = facts(request=RunRequest.model_validate({"train": {"epochs": 7}}))
    changed = [setting for setting in made.settings if setting.changed]
    assert [(one.name, one.value) for one in changed] == [("train.epochs", "7.0")]
    assert len(made.settings) > 60


def test_a_scoreboard_of_another_version_is_read_by_what_is_in_it() -> None:
    later = {"verdict": "worse", "primary": "guarded", "deep": {"comparisons": [comparison("guarded", 0.4, 0.2)]}}
    board = read_board(later | {"new": 3, "by_tone": [{"name": "calm", "base": 0.1, "adapter": 0.3}]})
    assert board is not None and board.verdict == "worse"
    assert [(group.title, group.metrics[0].decides) for group in board.groups] == [("deep", False)]
    assert [group.title for group in board.slices] == ["by tone"]
    assert ("measured with", (("new", "3"),)) in board.facts
    Page(render(facts(board=board)))
    assert read_board({}) is None and read_board({"verdict": "splendid"}) is None


def test_a_scoreboard_of_corral_0_1_is_read_whole() -> None:
    now = scoreboard()
    earlier = scoreboard(comparisons=[old_interval(row) for row in now["comparisons"]])
    assert "difference" in earlier["comparisons"][0]["interval"]
    assert read_board(earlier) == read_board(now)


def old_interval(row: dict[str, Any]) -> dict[str, Any]:
    """Return the comparison with the name that Corral 0.1 gave to the interval's value."""
    ends = dict(row["interval"])
    return row | {"interval": {"difference": ends.pop("value"), **ends}}


def test_counts_and_shares_are_told_on_their_own_scales() -> None:
    board = read_board(scoreboard(comparisons=[comparison("guarded", 0.2, 0.4), comparison("words", 0.5, 0.4)]))
    assert board is not None
    guarded, words = board.groups[0].metrics
    assert guarded.share and guarded.shown.value == pytest.approx(20)
    assert not words.share and words.shown.value == pytest.approx(-0.1)
    assert board.deciding == guarded
    broken = comparison("ended", 0.2, 0.4) | {"interval": {"value": float("nan"), "low": 0, "high": 1}}
    assert read_board(scoreboard(comparisons=[broken])).groups == ()  # type: ignore[union-attr]  # it is a scoreboard


def test_what_decides_stands_alone_with_its_own_p_and_the_others_have_a_word_each() -> None:
    rows = [
        comparison("guarded", 0.2, 0.4, better="higher", detectable=0.15),
        comparison("checks", 0.2, 0.4, better="higher", interval={"value": 0.2, "low": 0.1, "high": 0.3}),
        comparison("words", 60.0, 50.0, better="neither", interval={"value": -10.0, "low": -12.0, "high": -8.0}),
    ]
    board = read_board(scoreboard(comparisons=rows))
    assert board is not None
    assert [[one.name for one in part] for part in board.groups[0].parts] == [["guarded"], ["checks", "words"]]
    assert [one.word for one in board.groups[0].metrics] == ["better", "better", "less"]
    page = Page(render(facts(board=board)))
    assert "what decides" in page.text and "a difference of 15.0 or more in 80% of the cases" in page.text
    assert "p (Holm)" in page.text and "its p stands for itself" in page.text


def test_every_series_of_a_training_is_a_curve() -> None:
    phase = {"phase": "dpo", "steps": 3, "losses": [0.69, 0.5, 0.4], "margins": [0, 1, 2], "seconds": 1.5}
    phase |= {"probe_steps": [0, 3], "probe_distinct3": [0.9, 0.8], "flags": ["it repeats"], "resumed": False}
    (read,) = read_training("round 2", {"phases": [phase, "?"]}, evaluated=False).phases
    assert [curve.name for curve in read.curves] == ["loss", "margins", "probe distinct3"]
    assert read.curves[2].line.points == ((0.0, 0.9), (3.0, 0.8))
    assert read.curves[0].marks and not read.curves[1].marks
    assert dict(read.facts) == {"steps": "3", "seconds": "1.5", "resumed": "no"}
    assert read.flags == ("it repeats",)


def test_a_training_is_told_with_its_decision_and_its_checklists() -> None:
    decided = {"action": "optimise", "reason": "memory is short", "settled_by": "ada", "memory_needed": 2_800_000_000}
    decided |= {"estimated_seconds": 450.0, "actual_seconds": 5.25, "max_length": 512}
    looked = {
        "before": [{"name": "rows are there", "outcome": "passed", "evidence": "387 rows"}, "?"],
        "after": [{"name": "the loss went down", "outcome": "failed", "evidence": "1.4, then 1.6"}],
        "during": None,
    }
    read = read_training("round 1", {}, evaluated=True, decision={"decision": decided}, checklist=looked)
    assert read.decision == (
        ("action", "optimise"),
        ("reason", "memory is short"),
        ("settled by", "ada"),
        ("estimated", "7 min 30 s"),
        ("took", "5.2 s"),
        ("memory", "2.8 GB"),
    )
    assert [(item.when, item.outcome) for item in read.checklist] == [("before", "passed"), ("after", "failed")]
    page = Page(render(facts(trainings=(read,))))
    assert "memory is short" in page.text and "after: the loss went down (1.4, then 1.6)" in page.text
    assert "fail" in page.values("class")
    killed = read_training("round 1", {}, evaluated=True, decision={"decision": decided | {"actual_seconds": None}})
    assert "took" not in dict(killed.decision)
    assert read_training("round 1", {}, evaluated=True, decision={"decision": "?"}).decision == ()


def test_an_instruction_ends_at_the_gate_of_its_first_fault() -> None:
    rows = RowCounter()
    for outcome, reason in [
        ("failed", "parse: no_output"),
        ("rejected", "keyword: asks for 'draw'"),
        ("rejected", "too_similar: ROUGE-L above 0.7 with 'A'"),
        ("rejected", "too_similar: ROUGE-L above 0.7 with 'B'"),
        ("rejected", "self_harm: found"),
        ("rejected", "repetition: 90% of the output"),
        ("rejected", "reject by ada: dull"),
    ]:
        rows.add(outcome, [reason])
    for outcome in ("accepted", "accepted", "waiting"):
        rows.add(outcome, [])
    funnel = instruction_funnel(rows)
    assert funnel is not None
    assert [int(stage.value) for stage in funnel.stages] == [10, 9, 8, 6, 5, 4, 3, 2]
    assert funnel.open == (("wait for a person", 1),)
    assert funnel.reasons[0] == ("too similar", 2)
    assert funnel.stages[-2].value == rows.outcomes[Outcome.ACCEPTED] + 1


def test_answers_are_counted_from_the_draw_to_the_row() -> None:
    rows = RowCounter()
    for outcome, count in {"accepted": 3, "rejected": 5, "failed": 2, "pending": 1}.items():
        for _ in range(count):
            rows.add(outcome, ["overall 11.5 is under 55"])
    funnel = candidate_funnel(rows, {"failed": 1, "rejected": 2, "pending": 1}, 2, 1)
    assert funnel is not None
    assert [int(stage.value) for stage in funnel.stages] == [11, 10, 8, 7, 3, 2, 1]
    assert funnel.reasons == (("overall \N{HORIZONTAL ELLIPSIS} is under \N{HORIZONTAL ELLIPSIS}", 7),)
    assert candidate_funnel(RowCounter(), {}, 0, 0) is None and instruction_funnel(RowCounter()) is None
    assert prompt_funnel({}) is None


def test_reasons_are_held_in_a_bounded_number() -> None:
    rows = RowCounter()
    for number in range(5000):
        rows.add("rejected", [f"because of {chr(0x4E00 + number)}"])
    assert len(rows.reasons) <= 2001 and sum(rows.reasons.values()) == 5000
    assert len(reason_head("x" * 5000)) <= 80
    assert stop_of("rejected", "a rule of somebody's own: found") == "safety"


def test_the_clearest_examples_are_kept_and_all_are_counted() -> None:
    picker = ExamplePicker()
    for number in range(40):
        one = sample(f"Say {number}.", split="heldout", checks=(Check(kind="max_words", value=3),))
        words = "one two three four " * (1 + number % 3)
        picker.add(one, answer(one, "base", words.strip()), answer(one, "adapter", "Just this."))
        lost = sample(f"Tell {number}.", split="heldout", checks=(Check(kind="max_words", value=3),))
        picker.add(lost, answer(lost, "base", "Just this."), None)
    found = picker.result(100)
    assert found is not None and found.counts == {"gained": 40, "lost": 40}
    assert (len(found.gained), len(found.lost), len(found.neither)) == (SHOWN["gained"], SHOWN["lost"], 0)
    assert (found.looked_at, found.heldout) == (80, 100)
    assert all(one.adapter.guarded and not one.base.guarded for one in found.gained)
    assert found.lost[0].adapter.checks[0].passed is False and not found.lost[0].adapter.ended
    assert ExamplePicker().result(0) is None


def test_long_texts_are_cut_and_what_is_left_out_is_told() -> None:
    assert shortened("short") == ("short", 0)
    assert shortened("x" * (LONGEST + 7)) == ("x" * LONGEST, 7)
    short, cut = shortened("\n".join(["y"] * 100))
    assert short.count("\n") == LINES - 1 and len(short) + cut == 199


def test_lineage_counts_all_rows_and_shows_the_first(tmp_path: Path) -> None:
    lines = [f'{{"sample": "{n}", "origin": "prompt", "provenance": "sampled", "rejected": null}}' for n in range(90)]
    lines += ["torn {", "[]", '{"origin": "generated", "provenance": "edited", "rejected": "r"}']
    (tmp_path / "lineage.jsonl").write_text("\n".join(lines))
    counter = LineageCounter()
    counter.read(tmp_path / "lineage.jsonl")
    counter.read(tmp_path / "missing.jsonl")
    assert (counter.rows, counter.paired, len(counter.first)) == (91, 1, ROWS)
    counter.add({"origin": "prompt", "provenance": "sampled", "decider": "policy", "reviewer": "policy:midpoint"})
    counter.add({"origin": "prompt", "provenance": "edited", "decider": "person", "reviewer": "ada"})
    assert counter.counts == (
        ("prompt", "sampled", "not recorded", 90),
        ("generated", "edited", "not recorded", 1),
        ("prompt", "sampled", "by the policy midpoint", 1),
        ("prompt", "edited", "by a person: ada", 1),
    )
    lost = row_source(1, counter.first[0], {}, {}, {})
    assert (lost.instruction, lost.judgement, lost.calls) == ("", "", ())


def test_a_large_run_is_a_small_page() -> None:
    scores, drawn = ScoreCounter(), RowCounter()
    one = [{"dimension": "accuracy", "score": 55.0, "capped_from": 80.0}]
    for number in range(20_000):
        scores.add("rejected", number % 101, 1 + number % 5, 0.5, one, "crew")
        drawn.add("rejected", [f"overall {number} is under 55"])
    made = scores.result()
    assert made is not None and made.judged == 20_000 == sum(made.overall.counts) == sum(made.stars)
    assert made.dimensions[0].capped == 20_000
    rounds = [
        GenerationRound(id=str(n), round=n, offered=60, accepted=50, novelty=0.8, decision="proceed", reason="so")
        for n in range(1, 1001)
    ]
    funnel = candidate_funnel(drawn, {}, 0, 0)
    html = render(facts(scores=made, rounds=tuple(rounds), funnels=(funnel,)))
    assert len(html) < 200_000
    page = Page(html).text
    assert "the 8 most frequent of" not in page and "The first 50 of 1000 rounds" in page


def test_what_is_shown_of_how_many_is_said() -> None:
    drawn, scores, lines = RowCounter(), ScoreCounter(), LineageCounter()
    for number in range(30):
        drawn.add("rejected", [f"because of {chr(0x4E00 + number)}"], 1000)
        scores.add("rejected", 10.0, 1, 0.5, [], f"judge {chr(0x4E00 + number)}")
    for _ in range(444_000):
        lines.rows += 1
    lineage = read_lineage(lines, {}, "").model_copy(update={"shown": facts().lineage.shown})
    many = facts().examples.model_copy(update={"counts": {"gained": 1234}})
    funnel = candidate_funnel(drawn, {}, 0, 0)
    page = Page(render(facts(funnels=(funnel,), scores=scores.result(), lineage=lineage, examples=many))).text
    assert "the 8 most frequent of 30 reasons" in page and "and 22 other judges" in page
    assert "The first 1 of 444,000 rows" in page and f"{len(many.gained)} of 1,234" in page


def test_the_judge_stands_beside_people_by_dimension_and_by_band() -> None:
    known = GoldAccuracy(rater=HOSTILE, accuracy=ESTIMATE, items=7)
    told = Agreement(criterion="overall", alpha=ESTIMATE, items=9, raters=2)
    page = Page(render(facts(agreements=(told,), gold=(known,))))
    for words in (
        "Each on gold items",
        HOSTILE + " (7)",
        "fixed",
        "measured",
        "sent to people",
        "of 2 pairs",
        "By dimension",
        "overall: 9 items by 2 people",
    ):
        assert words in page.text
    assert "Squared error of the score" in page.text and "people decided 0 of the" in page.text


def test_dimensions_that_were_scored_alike_are_one_measure_and_drawn_once() -> None:
    counter = ScoreCounter()
    for score, other in ((70.0, 70.0), (40.0, 40.0), (55.0, 20.0)):
        scores = [{"dimension": d, "score": score, "capped_from": None} for d in ("accuracy", "clarity")]
        scores.append({"dimension": "compliance", "score": other})
        scores.append({"dimension": "brand_alignment", "score": min(score, 50.0), "capped_from": score})
        counter.add("accepted", score, 3, 0.5, scores, "judge")
    found = counter.result()
    assert found is not None and [spread.name for spread in found.drawn] == [
        "accuracy, clarity, brand_alignment", "compliance",
    ]  # fmt: skip
    page = Page(render(facts(scores=found)))
    assert "accuracy, clarity, brand alignment: one measure, mean 55.0" in page.text
    assert Page(render(facts())).text.count("one measure") == 1


def test_perplexity_and_win_rate_are_pictures_and_kinds_have_intervals() -> None:
    board = scoreboard()
    board["perplexity"] = {"ratio": 1.02, "low": 0.99, "high": 1.04, "note": "n"}
    board["win_rate"] = {"rate": {"value": 0.6, "low": 0.5, "high": 0.7}, "controlled": None, "pairs": 20}
    interval = {"value": 0.3, "low": 0.1, "high": 0.5}
    board["by_kind"] = [{"name": "max_words", "count": 9, "base": 0.2, "adapter": 0.5, "interval": interval}]
    html = render(facts(board=read_board(board)))
    assert "perplexity 1.02, 95% interval 0.99 to 1.04" in html and "1.020  [0.990, 1.040]" in html
    assert "win rate 60, 95% interval 50 to 70" in html and "at most 1.05" in html
    assert "max_words: base 20, adapter 50 of 100, 95% interval of the difference 10 to 50" in html
    heads = [word for word in ("difference", "95% interval", "base", "adapter") if f'<th class="n">{word}</th>' in html]
    assert sorted(heads, key=lambda word: html.index(f'<th class="n">{word}</th>')) == heads


def test_charts_have_a_form_whose_labels_can_be_read_on_a_phone() -> None:
    html = render(facts())
    assert html.count('<div class="wide">') == html.count('<div class="slim">') > 4
    boxes = {float(box.split()[2]) for box in re.findall(r'<div class="slim"><svg role="img" viewBox="([^"]+)"', html)}
    assert boxes == {360.0}
