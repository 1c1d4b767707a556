"""The record store, over SQLite and PostgreSQL: idempotent writes, queries, sums, and texts of any kind."""

import asyncio
from collections import Counter

import pytest
from sqlalchemy import event

from state.errors import UnknownRun
from state.reading import CHUNK, PAGE
from state.records import (
    Answer,
    Candidate,
    Check,
    Draft,
    GenerationRound,
    Judgement,
    Outcome,
    Rating,
    Record,
    Review,
    Sample,
)
from state.request import RunRequest
from state.rows import TABLES
from state.store import RecordStore
from tests.builders import NOON, candidate, judgement, review, review_task, sample

ANSWER = Answer(id="a1", sample_id="s1", model="base", text="Ebro.", ended=True, tokens=3)
ROUND = GenerationRound(id="r1", round=1, offered=4, accepted=2, novelty=0.5, decision="proceed", reason="enough")
ONE_OF_EACH: list[Record] = [
    sample(checks=(Check(kind="must_include", value=("Rhine", "Ebro")), Check(kind="max_words", value=9)), score=0.5),
    candidate(sample()),
    judgement(candidate(sample())),
    review("x"),
    ANSWER,
    ROUND,
    review_task(candidate(sample())),
    Draft(item_id="x", rater="ada", decision="edit", text="Mine.", ratings={"overall": 4}, decided_at=NOON),
    Rating(item_id="x", rater="ada", decision="cannot_judge", decided_at=NOON),
]


def test_every_record_that_has_a_table_is_tried_here() -> None:
    assert {type(record) for record in ONE_OF_EACH} == set(TABLES)


@pytest.mark.parametrize("record", ONE_OF_EACH, ids=lambda record: type(record).__name__)
async def test_a_record_comes_back_as_it_went_in(store: RecordStore, record: Record) -> None:
    await store.add("run", [record])
    assert await store.find("run", type(record)) == [record]


async def test_adding_again_changes_nothing(store: RecordStore) -> None:
    first, other = sample(), sample(outcome=Outcome.REJECTED, reasons=("later",))
    await store.add("run", [first, first])
    await store.add("run", [other, sample("Another one.")])
    assert await store.find("run", Sample, ids=[first.id]) == [first]
    assert len(await store.find("run", Sample)) == 2


async def test_adding_at_once_from_many_tasks_keeps_one_of_each(store: RecordStore) -> None:
    rows = [sample(f"Task {number}") for number in range(20)]
    await asyncio.gather(*(store.add("run", rows[start:]) for start in range(10)))
    assert Counter(row.id for row in await store.find("run", Sample)) == Counter(row.id for row in rows)


async def test_adding_or_settling_nothing_is_nothing(store: RecordStore) -> None:
    await store.add("run", [])
    await store.settle("run", [])
    assert await store.find("run", Sample) == []


async def test_settling_replaces_body_and_columns(store: RecordStore) -> None:
    await store.add("run", [sample(outcome=Outcome.PENDING), sample("Another one.")])
    settled = sample(outcome=Outcome.WAITING, reasons=("unsure: 0.7",), score=0.7)
    await store.settle("run", [settled])
    await store.settle("run", [settled])
    assert await store.find("run", Sample, outcome=Outcome.WAITING) == [settled]
    assert await store.tally("run", Sample) == {("train", "waiting"): 1, ("train", "accepted"): 1}


async def test_what_is_written_at_once_shares_a_commit(store: RecordStore) -> None:
    made = [candidate(sample(), f"Ebro {number}.", outcome=Outcome.PENDING) for number in range(20)]
    await store.add("run", made)
    commits: list[object] = []
    event.listen(store.database.engine.sync_engine, "commit", commits.append)
    settled = [one.model_copy(update={"outcome": Outcome.ACCEPTED}) for one in made]
    judged = [judgement(one) for one in made]
    await asyncio.gather(
        *(store.write("run", added=[j], settled=[c]) for j, c in zip(judged, settled, strict=True)),
        store.settle("other", settled),
    )
    assert len(commits) <= 3
    assert {c.outcome for c in await store.find("run", Candidate)} == {Outcome.ACCEPTED}
    assert len(await store.find("run", Judgement)) == 20 and not await store.find("other", Candidate)


async def test_settling_what_was_never_added_adds_nothing(store: RecordStore) -> None:
    await store.settle("run", [sample()])
    assert await store.find("run", Sample) == []


async def test_runs_do_not_see_each_other(store: RecordStore) -> None:
    await store.add("one", [sample(outcome=Outcome.PENDING)])
    await store.add("two", [sample(outcome=Outcome.PENDING)])
    await store.settle("one", [sample(outcome=Outcome.REJECTED)])
    assert [row.outcome for row in await store.find("two", Sample)] == [Outcome.PENDING]
    assert await store.ids("three", Sample) == []


async def test_finding_by_tag_outcome_parent_and_id(store: RecordStore) -> None:
    train, held = sample("Train."), sample("Held.", split="heldout")
    drawn = [candidate(s, f"text {draw}", draw=draw) for s in (train, held) for draw in range(3)]
    drawn[1] = drawn[1].model_copy(update={"outcome": Outcome.WAITING})
    await store.add("run", [train, held])
    await store.add("run", drawn)
    await store.add("run", [judgement(drawn[0])])
    await store.add("run", [review(drawn[1].id)])
    assert await store.find("run", Sample, tag="heldout") == [held]
    assert await store.find("run", Candidate, outcome=Outcome.WAITING) == [drawn[1]]
    assert set(await store.find("run", Candidate, parents=[held.id])) == set(drawn[3:])
    assert await store.find("run", Candidate, parents=[held.id], ids=[drawn[0].id, drawn[4].id]) == [drawn[4]]
    assert [j.candidate_id for j in await store.find("run", Judgement, parents=[c.id for c in drawn])] == [drawn[0].id]
    assert [r.item_id for r in await store.find("run", Review, parents=[drawn[1].id])] == [drawn[1].id]
    assert await store.ids("run", Sample, tag="train", outcome=Outcome.ACCEPTED) == [train.id]
    assert await store.find("run", Sample, ids=[]) == []
    assert await store.find("run", Candidate, parents=[]) == []


async def test_finding_more_than_one_statement_holds(store: RecordStore) -> None:
    rows = [sample(f"Task {number}") for number in range(2 * CHUNK + 7)]
    parents = [candidate(row) for row in rows]
    await store.add("run", list(reversed(rows)))
    await store.add("run", parents)
    wanted = sorted(rows, key=lambda row: row.id)
    assert await store.find("run", Sample, ids=[row.id for row in rows] * 2) == wanted
    assert await store.ids("run", Sample) == [row.id for row in wanted]
    children = await store.find("run", Candidate, parents=[row.id for row in rows], ids=[c.id for c in parents])
    assert children == sorted(parents, key=lambda c: c.id)


async def test_the_tally_adds_up(store: RecordStore) -> None:
    rows = [sample(f"Task {n}", split="heldout" if n % 3 == 0 else "train") for n in range(9)]
    drawn = [candidate(rows[n % 4], f"text {n}", draw=n, outcome=list(Outcome)[n % 5]) for n in range(10)]
    await store.add("run", rows)
    await store.add("run", drawn)
    assert await store.tally("run", Sample) == {("heldout", "accepted"): 3, ("train", "accepted"): 6}
    assert await store.tally("run", Candidate) == {("", str(outcome)): 2 for outcome in Outcome}
    assert await store.count("run", Sample) == 9 and await store.count("run", Sample, tag="heldout") == 3
    assert await store.count("run", Candidate, outcome=Outcome.FAILED) == 2


async def test_who_lacks_children_is_found_in_the_order_of_ids(store: RecordStore) -> None:
    rows = sorted((sample(f"Task {n}") for n in range(9)), key=lambda row: row.id)
    drawn = [candidate(rows[n % 4], f"text {n}", draw=n) for n in range(10)]
    await store.add("run", rows)
    await store.add("run", drawn)
    await store.add("other", [candidate(rows[8], draw=n) for n in range(3)])
    for least, lacking in ((0, []), (1, rows[4:]), (3, rows[2:]), (4, rows)):
        wanted = [row.id for row in lacking]
        assert await store.ids("run", Sample, fewer_than=(least, Candidate)) == wanted
        assert await store.count("run", Sample, fewer_than=(least, Candidate)) == len(wanted)
    assert await store.ids("run", Sample, fewer_than=(1, Candidate), after=rows[4].id, limit=2) == [
        row.id for row in rows[5:7]
    ]


@pytest.mark.parametrize("count", [0, 1, PAGE - 1, PAGE, PAGE + 1, 2 * PAGE + 7])
async def test_pages_hold_every_row_once_in_the_order_of_ids(store: RecordStore, count: int) -> None:
    rows = [sample(f"Task {number}", origin="generated", round=number % 2 + 1) for number in range(count)]
    await store.add("run", rows)
    await store.add("other", [sample("Not of this run.")])
    pages = [page async for page in store.pages("run", Sample)]
    assert [row for page in pages for row in page] == sorted(rows, key=lambda row: row.id)
    assert all(len(page) == PAGE for page in pages[:-1]) and all(0 < len(page) <= PAGE for page in pages)
    first = [row async for page in store.pages("run", Sample, tag="train", round=1) for row in page]
    assert first == sorted((row for row in rows if row.round == 1), key=lambda row: row.id)


async def test_a_row_that_is_settled_between_two_pages_is_not_read_twice(store: RecordStore) -> None:
    await store.add("run", [sample(f"Task {number}", outcome=Outcome.PENDING) for number in range(PAGE + 5)])
    seen = []
    async for page in store.pages("run", Sample, outcome=Outcome.PENDING):
        seen += [row.id for row in page]
        await store.settle("run", [row.model_copy(update={"outcome": Outcome.ACCEPTED}) for row in page])
    assert len(seen) == len(set(seen)) == PAGE + 5


async def test_rows_are_counted_by_the_kind_of_their_first_reason(store: RecordStore) -> None:
    reasons = ["too_short: 2 words", "too_short: 3 words", "parse: no output", "cut \ud83d\x00: so", "x" * 500, "plain"]
    rows = [
        sample(f"Task {n}", origin="generated", outcome=Outcome.REJECTED, reasons=(reason, "another: one"))
        for n, reason in enumerate(reasons)
    ]
    await store.add("run", [*rows, sample("Given."), sample("Held.", split="heldout")])
    kinds = {"too_short": 2, "parse: no output": 1, "cut \ufffd\ufffd": 1, "x" * 120: 1, "plain": 1}
    expected = {("train", "generated", "rejected", kind): count for kind, count in kinds.items()}
    expected |= {("train", "prompt", "accepted", ""): 1, ("heldout", "prompt", "accepted", ""): 1}
    assert {tuple(row[:4]): row[4] async for row in store.reasons("run", Sample)} == expected
    await store.settle("run", [rows[0].model_copy(update={"reasons": ("approve by ada: fine",)})])
    assert ("train", "generated", "rejected", "approve by ada", 1) in [
        row async for row in store.reasons("run", Sample)
    ]
    await store.add("run", [candidate(rows[0], outcome=Outcome.FAILED, reasons=("Timeout: 3 s",))])
    assert [row async for row in store.reasons("run", Candidate)] == [("", "", "failed", "Timeout", 1)]


async def test_the_calls_that_wrote_samples_are_counted_once_each(store: RecordStore) -> None:
    written = [sample(f"Task {n}", origin="generated", round=1, call=f"call {n // 3}") for n in range(7)]
    await store.add("run", [*written, sample("Given.")])
    assert await store.count_parents("run", Sample) == 3


async def test_a_run_keeps_the_request_it_started_with(store: RecordStore) -> None:
    first = RunRequest(name="first", seed=7)
    assert await store.open_run("run", first) == first
    assert await store.open_run("run", RunRequest(seed=8)) == first
    assert await store.request_of("run") == first
    assert [run_id for run_id, _ in await store.run_ids()] == ["run"]


async def test_an_unknown_run_names_the_nearest(store: RecordStore) -> None:
    with pytest.raises(UnknownRun, match="there is no run 'demo'; 'corral runs' lists them"):
        await store.request_of("demo")
    await store.open_run("demo-20260102", RunRequest())
    with pytest.raises(UnknownRun, match=r"there is no run 'demo-20260103'; did you mean demo-20260102\?"):
        await store.request_of("demo-20260103")


@pytest.mark.parametrize(
    "text",
    ["nul \x00 byte", "lone \ud83d surrogate", "\udc80", "\u2028 line \u2029 and \x85", "emoji \U0001f600", "\\u0000"],
    ids=ascii,
)
async def test_any_text_is_kept_as_it_is(store: RecordStore, text: str) -> None:
    row = sample(text, outcome=Outcome.PENDING)
    await store.add("run", [row, sample("plain")])
    await store.settle("run", [row.model_copy(update={"outcome": Outcome.REJECTED, "reasons": (text,)})])
    (found,) = await store.find("run", Sample, outcome=Outcome.REJECTED)
    assert (found.instruction, found.reasons) == (text, (text,))
