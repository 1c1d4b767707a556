"""A run of any size fits into memory: what reads its rows holds a page of them, and says the same as if it held all."""

from __future__ import annotations

import gc
import tracemalloc
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest

import graph.fanout
import nodes.review
import state.reading
import tools.gates.measures
from graph.accounts import account
from graph.fanout import fan_out
from graph.reporting import gather
from graph.services import Services, open_services
from nodes.assemble import make_assemble
from nodes.gate import gate_pipeline, judge_round, judged, kept_instructions
from nodes.judge import CandidatesToJudge
from nodes.respond import PromptsToAnswer
from nodes.review import borderline_items, make_review
from state.pipeline import BatchState, PipelineState
from state.records import Judgement, Outcome, Review, Sample
from state.request import RunRequest
from state.store import RecordStore
from tests.builders import NOON, candidate, judgement, sample
from tools.settings import Settings

PROMPTS, PAGE = 600, 20
MEGABYTES = 5
"""As objects, the rows below take some 15 MB. Reading them by pages took up to 3.1, the seed tasks among them."""


def text(number: int) -> str:
    """Return 1 KB in which nothing is repeated."""
    return f"The numbers near {number} are {', '.join(str(number * 997 + place * place) for place in range(120))}."


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    async with open_services(Settings(home=tmp_path)) as made:
        await made.store.open_run("run", RunRequest())
        yield made


async def fill(store: RecordStore, run_id: str = "run", prompts: int = PROMPTS) -> None:
    """Add prompts of 1 KB, each with two candidates and their judgements; half of these wait for a person."""
    for start in range(0, prompts, 100):
        rows = [sample(f"Name numbers: {text(number)}") for number in range(start, start + 100)]
        drawn = [candidate(row, text(start + n), draw=n) for row in rows for n in range(2)]
        drawn[1::2] = [row.model_copy(update={"outcome": Outcome.WAITING}) for row in drawn[1::2]]
        await store.add(run_id, rows)
        await store.add(run_id, drawn)
        await store.add(run_id, [judgement(row, 5 - row.draw, feedback=text(start)) for row in drawn])


@pytest.fixture
def garbage_looked_for_often() -> Iterator[None]:
    """What is held is counted here, and not what refers to itself and waits to be found."""
    seldom = gc.get_threshold()
    gc.set_threshold(700, 10, 10)
    yield
    gc.set_threshold(*seldom)


@pytest.mark.usefixtures("garbage_looked_for_often")
async def test_what_reads_a_run_does_not_hold_its_rows(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(state.reading, "PAGE", PAGE)
    monkeypatch.setattr(nodes.review, "PAGE", PAGE)
    monkeypatch.setattr(tools.gates.measures, "SAMPLE_ROWS", PAGE)  # of rows of any number so many are drawn and held
    store = services.store
    request = RunRequest.model_validate({"unattended": True, "train": {"recipe": "sft", "seed_share": 0}})
    await store.open_run("small", request)

    async def assembled(run_id: str) -> None:
        made = await make_assemble(store, tmp_path, tmp_path)({"run_id": run_id, "request": request})
        assert made["dataset"].sft_rows > 0.9 * (PROMPTS if run_id == "run" else 100)

    readers = {
        "show": lambda run_id: account(services, run_id),
        "report": lambda run_id: gather(services, run_id, {}),
        "page of a review": lambda run_id: borderline_items(store, run_id, request, PROMPTS // 2, PAGE, NOON),
        "assemble": assembled,
        "review": lambda run_id: make_review(store)({"run_id": run_id, "request": request}),
    }
    await fill(store, "small", 100)
    for read in readers.values():
        await read("small")  # what is imported, or read from a lexicon, at the first call is no row
    await fill(store)
    peaks = {}
    for name, read in readers.items():
        tracemalloc.start()
        await read("run")
        peaks[name] = tracemalloc.get_traced_memory()[1] / 1e6
        tracemalloc.stop()
    assert len(await store.find("run", Review)) == PROMPTS, "all that waited was decided"
    assert max(peaks.values()) < MEGABYTES, peaks


async def test_a_round_is_judged_alike_however_it_is_cut_into_pages(
    store: RecordStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    things = "rivers lakes hills towns songs birds trees roads ships coins".split()
    rows = [
        sample(
            f"Write {one} short lines on {thing} near {place} for a child." if one != "bad" else f"{thing}, {place}",
            origin="generated",
            round=round_,
            call=f"call {thing}",
            output=f"The {thing} of {place} are old, and many people like them for that.",
            outcome=Outcome.PENDING,
        )
        for round_, place in ((1, "Bonn"), (2, "Cologne"))
        for thing in things
        for one in ("two", "seven", "bad")
    ]
    failed = sample("{", origin="generated", round=2, outcome=Outcome.FAILED, reasons=("parse: no task",))
    given = sample("Write two short lines on rivers near Cologne, please, for a small child.")
    await store.add("run", [*rows, failed, given])
    request, earlier = RunRequest(), [s for s in rows if s.round == 1]
    expected: dict[str, Sample] = {failed.id: failed, given.id: given}
    kept: list[Sample] = []
    for round_ in (1, 2):
        offered = sorted((s for s in rows if s.round == round_), key=lambda s: s.id)
        texts = [s.instruction for s in sorted(kept, key=lambda s: s.id)]
        decisions = gate_pipeline(request, texts, {}).judge(offered)
        made = [judged(s, d) for s, d in zip(offered, decisions, strict=True)]
        kept += [s for s in made if s.outcome in (Outcome.ACCEPTED, Outcome.WAITING)]
        expected |= {s.id: s for s in made}
    monkeypatch.setattr(state.reading, "PAGE", 4)
    counts = [await judge_round(store, _no_endpoint, "run", request, round_) for round_ in (1, 2)]
    assert {s.id: s for s in await store.find("run", Sample)} == expected
    assert [one.offered for one in counts] == [len(earlier), len(rows) - len(earlier)]
    accepted = [s for s in expected.values() if s.outcome == Outcome.ACCEPTED and s.origin == "generated"]
    assert sum(one.accepted for one in counts) == len(accepted) and 0 < len(accepted) < len(rows)
    first = sorted((s for s in kept if s.round == 1), key=lambda s: s.id)
    assert await kept_instructions(store, "run", 2) == [s.instruction for s in first]


async def _no_endpoint(*_: Any) -> Any:
    raise AssertionError("no opinion is asked for")


async def sent_by(services: Services, monkeypatch: pytest.MonkeyPatch, pending: Any, settle: Any) -> list[list[str]]:
    """Run a fan-out with waves of six ids, and return the batches of ids in the order in which they were worked on."""
    monkeypatch.setattr(graph.fanout, "BATCHES", 2)
    monkeypatch.setattr(graph.fanout, "LARGEST_BATCH", 3)
    monkeypatch.setattr(graph.fanout, "SMALLEST_BATCH", 3)
    monkeypatch.setattr(graph.fanout, "step", lambda node, _: node)
    batches: list[list[str]] = []

    async def work(state: BatchState) -> PipelineState:
        batches.append(state["ids"])
        await settle(state["ids"])
        return {}

    made = fan_out("judge", pending, work, services)
    await made.ainvoke({"run_id": "run", "request": RunRequest()})
    return batches


async def test_waves_send_every_pending_id_once_in_order_and_come_back_for_what_is_left(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = services.store
    drawn = [candidate(sample(), f"text {n}", draw=n, outcome=Outcome.PENDING) for n in range(20)]
    await store.add("run", drawn)
    by_id = {row.id: row for row in drawn}
    left = set(sorted(by_id)[3:5])

    async def settle(ids: list[str]) -> None:
        done = [by_id[id_] for id_ in ids if id_ not in left]
        left.difference_update(ids)
        await store.settle("run", [row.model_copy(update={"outcome": Outcome.ACCEPTED}) for row in done])

    expected = sorted(by_id) + sorted(left)
    batches = await sent_by(services, monkeypatch, CandidatesToJudge(store), settle)
    assert [id_ for batch in batches for id_ in batch] == expected
    assert all(len(batch) <= 3 for batch in batches)


async def test_prompts_that_lack_draws_are_sent_whether_they_were_accepted_or_wait(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = services.store
    rows = [sample(f"Ask {n}", outcome=list(Outcome)[n % 5]) for n in range(40)]
    await store.add("run", [*rows, sample("Held out.", split="heldout")])
    each = RunRequest().sampling.candidates
    answered = [row for row in rows if row.outcome == Outcome.ACCEPTED][:2]
    await store.add("run", [candidate(row, draw=draw) for row in answered for draw in range(each)])
    await store.add("run", [candidate(rows[2], draw=draw) for draw in range(each - 1)])

    async def settle(ids: list[str]) -> None:
        for draw in range(each):
            wanted = [row for row in rows if row.id in ids]
            await store.add("run", [candidate(row, f"again {draw}", draw=draw) for row in wanted])

    pending = PromptsToAnswer(store)
    usable = {row.id for row in rows if row.outcome in (Outcome.ACCEPTED, Outcome.WAITING)} - {s.id for s in answered}
    assert await pending.count({"run_id": "run", "request": RunRequest()}) == len(usable)
    batches = await sent_by(services, monkeypatch, pending, settle)
    assert [id_ for batch in batches for id_ in batch] == sorted(usable)
    assert len(await store.find("run", Judgement)) == 0
