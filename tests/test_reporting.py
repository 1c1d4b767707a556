"""A run's report over a real store: what is read, when it is written, and that it never costs a run anything."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

import graph.reporting
from graph.reported import reported
from graph.reporting import gather, standing_of, write_report
from graph.services import Services, open_services
from graph.step_times import STEP_TIMES, read_step_times
from state.calls import CallStore
from state.errors import UnknownRun
from state.pipeline import AdapterRef, Approval, DatasetRef, PipelineState
from state.records import Answer, Candidate, Check, GenerationRound, Judgement, Outcome, Sample
from state.request import RunRequest
from state.store import RecordStore
from tests.builders import NOON, call, candidate, judgement, sample, verdict
from tools.report import REPORT
from tools.report.timing import Busy, step_times
from tools.settings import Settings

HOSTILE = "<script>alert(1)</script>"
ADAPTER = "ab" * 16


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    """Services over a database of their own, with a run that has no rows yet."""
    async with open_services(Settings(home=tmp_path)) as made:
        await made.store.open_run("run", RunRequest.model_validate({"sources": {"seeds": "moved.jsonl"}}))
        yield made


def heldout(number: int) -> Sample:
    return sample(f"Ask {number}? {HOSTILE}", split="heldout", checks=(Check(kind="max_words", value=3),))


def write_dataset(folder: Path, chosen: list[Candidate]) -> DatasetRef:
    """Write what the report reads of a dataset: its manifest, and a line of lineage for each row."""
    folder.mkdir(parents=True)
    rows = [{"sample": c.sample_id, "origin": "prompt", "chosen": c.id, "provenance": c.provenance} for c in chosen]
    (folder / "lineage.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    manifest = {"version": "v", "prompts": {"offered": 4}, "files": {"sft.jsonl": {"rows": 4, "sha256": "0"}}}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    return DatasetRef(version="v", folder=str(folder), sft_rows=4, dpo_rows=0, alpaca_rows=4)


async def fill(services: Services) -> PipelineState:
    """Write a whole small run to store and disk, and return its state."""
    store, folder = services.store, services.runs_folder / "run"
    prompts = [sample(f"Say something about {n}.{HOSTILE}") for n in range(3)]
    generated = sample("Tell a tale.", origin="generated", round=1, call="w", outcome=Outcome.ACCEPTED)
    refused = sample("Draw it.", origin="generated", outcome=Outcome.REJECTED, reasons=("keyword: 'draw'",))
    tests = [heldout(n) for n in range(4)]
    await store.add("run", [*prompts, generated, refused, *tests])
    good = [candidate(one, f"Fine words on {n}.", call=f"c{n}") for n, one in enumerate([*prompts, generated])]
    cut = candidate(prompts[0], "and on", draw=1, outcome=Outcome.REJECTED, reasons=("the answer did not end",))
    await store.add("run", [*good, cut])
    judged = [judgement(one, judge=HOSTILE) for one in good]
    await store.add("run", judged)
    await store.add(
        "run", [GenerationRound(id="1", round=1, offered=2, accepted=1, novelty=1, decision="stop", reason="r")]
    )
    for model, text in (("base", "far too many words here"), (ADAPTER, "Three fine words.")):
        answers = [Answer(id=model + t.id, sample_id=t.id, model=model, text=text, ended=True) for t in tests]
        other = Answer(id=model + "drawn", sample_id=tests[0].id, model=model, text="drawn", ended=True, draw=1)
        await store.add("run", [*answers, other])
    for number in range(4):
        done = call(f"c{number}", finished_at=NOON + timedelta(seconds=2))
        await services.calls.put(done)
        await services.calls.use("run", done.key, "respond")
    dataset = write_dataset(folder / "datasets" / "v", good)
    adapter = folder / "training" / "round-1" / "adapter"
    adapter.mkdir(parents=True)
    (adapter / "summary.json").write_text(json.dumps({"phases": [{"phase": "sft", "losses": [2.0, float("nan")]}]}))
    (adapter.parent / "decision.json").write_text(json.dumps({"decision": {"action": "proceed"}}))
    (adapter.parent / "checklist.json").write_text(json.dumps({"before": [{"name": "rows", "outcome": "passed"}]}))
    board = folder / "scoreboard.json"
    interval = {"value": 1.0, "low": 0.5, "high": 1.0}
    metric = {"metric": "guarded", "prompts": 4, "base": 0, "adapter": 1, "interval": interval, "p": 0.01}
    board.write_text(json.dumps({"verdict": "better", "primary": "guarded", "prompts": 4, "comparisons": [metric]}))
    return {
        "run_id": "run",
        "dataset": dataset,
        "adapter": AdapterRef(id=ADAPTER, folder=str(adapter)),
        "verdict": verdict(scoreboard=str(board)),
        "warnings": ["look twice"],
    }


async def test_all_that_a_run_has_is_read(services: Services) -> None:
    state = await fill(services)
    (services.runs_folder / "run" / STEP_TIMES).write_text(
        '{"step": "train", "began": 5, "ended": 65}\n{"step": "ask", "began": 5, "ended": 900}\n{"step": "jud'
    )
    stopped = services.runs_folder / "run" / "training" / "round-2" / "stopped.json"
    stopped.parent.mkdir()
    stopped.write_text(json.dumps({"phases": [{"phase": "sft", "losses": [2.0, 9.0]}], "flags": ["the loss climbs"]}))
    facts = await gather(services, "run", state)
    assert [(one.name, one.evaluated) for one in facts.trainings] == [("round 1", True), ("round 2", False)]
    assert facts.trainings[1].flags == ("the loss climbs",)
    assert facts.board is not None and facts.board.verdict == "better"
    assert [curve.name for curve in facts.trainings[0].phases[0].curves] == ["loss"] and facts.trainings[0].evaluated
    assert facts.trainings[0].decision == (("action", "proceed"),) and facts.trainings[0].checklist[0].name == "rows"
    assert facts.scores is not None and facts.scores.judged == 4 and facts.scores.judges == ((HOSTILE, 4),)
    written, drawn, prompts = facts.funnels
    assert [int(stage.value) for stage in written.stages][:3] == [2, 2, 1]
    assert [int(stage.value) for stage in drawn.stages] == [5, 5, 4, 4, 4, 4, 0]
    assert prompts.stages[0].value == 4
    assert facts.costs is not None and facts.costs.stages == (), "the sources are not there any more"
    assert "not known" in facts.costs.note and "moved.jsonl" in facts.costs.note
    assert [(group.tally.purpose, group.busy, group.latency) for group in facts.costs.calls] == [("respond", 2.0, 2.0)]
    assert [(step.step, step.seconds) for step in facts.costs.steps] == [("respond", 2.0), ("train", 60.0)]
    assert facts.examples is not None and facts.examples.counts == {"gained": 4}
    assert facts.lineage is not None and facts.lineage.rows == 4 and facts.lineage.adapter == ADAPTER
    assert {row.provenance for row in facts.lineage.shown} == {"sampled"} and all(
        r.judgement for r in facts.lineage.shown
    )
    assert sorted(len(row.calls) for row in facts.lineage.shown) == [1, 1, 1, 2]
    path = await write_report(services, "run", state)
    html = path.read_text(encoding="utf-8")
    assert path == services.runs_folder / "run" / REPORT and HOSTILE not in html and "look twice" in html


async def test_a_run_without_anything_has_a_report(services: Services, tmp_path: Path) -> None:
    out = tmp_path / "elsewhere" / "page.html"
    assert await write_report(services, "run", {}, out=out, standing="not begun") == out
    html = out.read_text(encoding="utf-8")
    assert "not begun" in html and "What this run does not have" in html
    with pytest.raises(UnknownRun):
        await write_report(services, "nobody", {})


async def test_an_adapter_without_its_files_is_told_without_them(services: Services, tmp_path: Path) -> None:
    state = await fill(services)
    gone = {
        "adapter": AdapterRef(id="0" * 32, folder=str(tmp_path / "gone")),
        "verdict": verdict(scoreboard="gone.json"),
    }
    facts = await gather(services, "run", {**state, **gone})  # type: ignore[typeddict-item]  # parts of a state
    assert facts.board is None and not facts.trainings[0].evaluated
    assert facts.examples is not None and facts.examples.counts == {"neither": 4}, (
        "its answers are missing, so they fail"
    )


async def test_a_node_is_followed_by_a_report_of_what_it_found(services: Services) -> None:
    state = await fill(services)

    async def approve(state: PipelineState) -> PipelineState:
        return {"approval": Approval(approved=True, reviewer="ada")}

    node = reported(approve, services)
    assert node.__name__ == "approve"  # type: ignore[attr-defined]  # a node is a function
    assert await node(state) == {"approval": Approval(approved=True, reviewer="ada")}
    assert "signed by ada" in (services.runs_folder / "run" / REPORT).read_text(encoding="utf-8")


async def test_a_report_that_cannot_be_written_costs_a_warning(services: Services) -> None:
    state = await fill(services)
    (services.runs_folder / "run" / REPORT).mkdir()

    async def deploy(state: PipelineState) -> PipelineState:
        return {"deployed": "v1", "warnings": ["first"]}

    update = await reported(deploy, services)(state)
    assert update["deployed"] == "v1" and update["warnings"][0] == "first"
    assert "the report was not written" in update["warnings"][1] and "corral report run" in update["warnings"][1]


async def test_what_a_node_raises_is_raised(services: Services) -> None:
    async def evaluate(state: PipelineState) -> PipelineState:
        raise KeyError("its own")

    with pytest.raises(KeyError, match="its own"):
        await reported(evaluate, services)({"run_id": "run"})
    assert not (services.runs_folder / "run" / REPORT).exists()


async def test_what_a_report_reads_is_read_alike_from_both_databases(store: RecordStore, calls: CallStore) -> None:
    one = sample(reasons=("a", "b"))
    await store.add("run", [one, heldout(1)])
    judged, waiting = candidate(one), candidate(one, draw=1, outcome=Outcome.PENDING)
    await store.add("run", [judged, waiting, candidate(one, draw=2, outcome=Outcome.REJECTED)])
    await store.add("run", [judgement(judged)])
    rows = [row async for row in store.scan("run", Sample, "origin", "reasons", "score", tag="train")]
    assert rows == [("prompt", ["a", "b"], None)]
    assert [row async for row in store.scan("nobody", Sample, "id", "split")] == []
    assert await store.childless("run", Candidate, Judgement) == {"pending": 1, "rejected": 1}
    for run_id in ("run", "later"):
        done = call(run_id, run_id, finished_at=NOON + timedelta(seconds=2))
        await calls.put(done)
    for key in ("run", "later"):
        await calls.use("run", key, "respond")
    assert [row async for row in calls.times("run")] == [("respond", NOON, NOON + timedelta(seconds=2))]


@pytest.mark.parametrize(
    ("state", "words"),
    [
        ({}, "not measured yet"),
        ({"verdict": verdict()}, "measured, not signed yet"),
        ({"approval": Approval(approved=False, reviewer="ada")}, "not deployed, decided by ada"),
        ({"approval": Approval(approved=True, reviewer="ada"), "deployed": "v1"}, "deployed as v1"),
    ],
)
def test_how_far_a_run_is(state: Any, words: str) -> None:
    assert standing_of(state) == words


def test_work_side_by_side_counts_once_and_a_pause_not_at_all() -> None:
    busy = Busy()
    for start, end in [(100, 110), (0, 10), (5, 20), (20.5, 30), (104, 106)]:
        busy.add(start, end)
    assert busy.seconds == 40 and len(busy) == 2
    calls = {"judge.accuracy": busy, "judge.clarity": busy}
    found = step_times([("judge", 110, 120), ("next_wave", 0, 500), ("train", 7, 3)], calls)
    assert [(one.step, one.seconds) for one in found] == [("judge", 50), ("train", 0)]


def test_a_torn_note_of_a_steps_time_is_passed_over(tmp_path: Path) -> None:
    assert list(read_step_times(tmp_path)) == []
    (tmp_path / STEP_TIMES).write_text('{"step": "gate", "began": 1, "ended": 2}\n[]\n{"step": "gate"}\n{"st')
    assert list(read_step_times(tmp_path)) == [("gate", 1.0, 2.0)]


async def test_examples_are_looked_for_among_a_bounded_number_of_prompts(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = await fill(services)
    monkeypatch.setattr(graph.reporting, "PROMPTS", 3)
    monkeypatch.setattr(graph.reporting, "CHUNK", 2)
    found = (await gather(services, "run", state)).examples
    assert found is not None and (found.looked_at, found.heldout) == (3, 4)
