"""One question, every door: LangChain's form, Agent Inbox's list, a bare word, Python's own, and two people at once."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from langgraph.types import Command

from graph.reviews import Reviews
from graph.runs import Runs, open_runs
from state.errors import BadInput, StorageError
from state.records import Candidate, Draft, Outcome, Rating, Review
from state.reviewing import ReviewStore
from tests.builders import NOON, candidate, sample
from tests.waiting import PROMPT, advance, waiting_run
from tools.settings import Settings


@pytest.fixture
async def runs(tmp_path: Path) -> AsyncIterator[Runs]:
    async with open_runs(Settings(home=tmp_path / "home")) as opened:  # type: ignore[call-arg]  # by name
        yield opened


async def decisions(runs: Runs, ids: list[str]) -> list[tuple[str, str, dict[str, int]]]:
    found = {r.item_id: r for r in await runs.services.store.find("mine", Review, parents=ids)}
    return [(found[id_].decision, found[id_].reviewer, dict(found[id_].ratings)) for id_ in ids]


def langchain(*kinds: str, **more: Any) -> dict[str, Any]:
    args = {"completion": "Rhine, Ebro, Po.", "comment": "mine", "ratings": "overall 5, honesty 4"}
    edit = {"type": "edit", "edited_action": {"name": "review_completion", "args": args}}
    return {"decisions": [edit if kind == "edit" else {"type": kind} for kind in kinds], "reviewer": "ada"} | more


INBOX = [
    {"type": "accept", "args": None},
    {"type": "response", "args": "too short"},
    {"type": "ignore", "args": None},
    {
        "type": "edit",
        "args": {"action": "review_completion", "args": {"completion": "Rhine, Ebro, Po.", "ratings": {"overall": 5}}},
    },
]


@pytest.mark.parametrize(
    ("answer", "kinds"),
    [
        (langchain("approve", "reject", "edit", "cannot_judge"), ("approve", "reject", "edit", "cannot_judge")),
        (INBOX, ("approve", "reject", "reject", "edit")),
        ("approve", ("approve",) * 4),
    ],
    ids=["langchain", "agent inbox", "word"],
)
async def test_a_page_is_answered_in_each_form(answer: Any, kinds: tuple[str, ...], runs: Runs) -> None:
    ids = await waiting_run(runs)
    assert (await runs.status("mine")).standing == "waiting"
    await advance(runs, answer=answer)
    assert tuple(kind for kind, _, _ in await decisions(runs, ids)) == kinds
    assert (await runs.status("mine")).step == "assemble"
    outcomes = {c.outcome for c in await runs.services.store.find("mine", Candidate)}
    assert Outcome.WAITING not in outcomes


async def test_ratings_come_with_a_decision_and_with_an_edits_arguments(runs: Runs) -> None:
    ids = await waiting_run(runs, number=2)
    rated = {"type": "reject", "ratings": {"overall": 2, "harmlessness": 5}}
    await advance(runs, answer={"decisions": [rated, langchain("edit")["decisions"][0]], "reviewer": "ada"})
    assert await decisions(runs, ids) == [
        ("reject", "ada", {"harmlessness": 5, "overall": 2}),
        ("edit", "ada", {"honesty": 4, "overall": 5}),
    ]


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        ({"decisions": [{"type": "approve", "ratings": {"overall": 6}}]}, "less than or equal to 5"),
        ({"decisions": [{"type": "approve", "ratings": {"beauty": 3}}]}, "rate instruction_following"),
        ({"decisions": [{"type": "prefer_a"}]}, "must be one of approve"),
        (
            {"decisions": [{"type": "edit", "edited_action": {"args": {"completion": "x", "ratings": "lots"}}}]},
            "decision 1 cannot be read: ratings",
        ),
        ({"decisions": []}, "1 decision asked, 0 given"),
    ],
    ids=lambda value: str(value)[:40],
)
async def test_an_answer_that_does_not_fit_leaves_the_item_waiting(answer: Any, said: str, runs: Runs) -> None:
    await waiting_run(runs, number=1)
    with pytest.raises(BadInput, match=said):
        await advance(runs, answer=answer)
    assert (await runs.status("mine")).standing == "waiting"
    await advance(runs, answer="reject")
    assert (await runs.status("mine")).step == "assemble"


async def test_what_people_sent_elsewhere_is_the_answer(runs: Runs) -> None:
    ids, reviews = await waiting_run(runs, number=5, page=2), Reviews(runs)
    for id_ in ids:
        await reviews.save("mine", Draft(item_id=id_, rater="bob", decision="reject", comment="no", decided_at=NOON))
    assert await reviews.answer_of("mine") is None, "drafts are no decisions"
    sent = await reviews.send("mine", "bob")
    assert (sent.sent, sent.settled, sent.complete) == (5, 5, True)
    answer = await reviews.answer_of("mine")
    assert answer is not None and len(answer["decisions"]) == 2
    await advance(runs, answer=answer)
    assert (await runs.status("mine")).step == "assemble", "the pages that follow are decided, too"
    assert {kind for kind, _, _ in await decisions(runs, ids)} == {"reject"}
    candidates = await runs.services.store.find("mine", Candidate)
    assert {(c.outcome, c.reasons) for c in candidates} == {(Outcome.REJECTED, ("reject by bob: no",))}


async def test_an_answer_to_what_others_have_decided_is_refused_with_who_and_when(runs: Runs) -> None:
    ids, reviews = await waiting_run(runs, number=2), Reviews(runs)
    for id_ in ids:
        await reviews.save("mine", Draft(item_id=id_, rater="bob", decision="reject", decided_at=NOON))
    await reviews.send("mine", "bob")
    (question,) = await runs.interrupts("mine")
    late: list[Any] = ["approve", {question.id: "approve"}, langchain("reject", "approve")]
    for answer in late:
        with pytest.raises(BadInput, match="was rejected by bob at 2026-01-02 12:00:00 UTC"):
            await runs.pipeline.ainvoke(Command(resume=answer), {"configurable": {"thread_id": "mine"}})
    assert (await runs.status("mine")).standing == "waiting"
    await advance(runs, answer="reject")  # says the same
    assert await decisions(runs, ids) == [("reject", "bob", {})] * 2


async def test_where_some_were_decided_the_others_count_and_a_warning_says_so(runs: Runs) -> None:
    ids, reviews = await waiting_run(runs, number=2), Reviews(runs)
    await reviews.save("mine", Draft(item_id=ids[0], rater="bob", decision="reject", decided_at=NOON))
    await reviews.send("mine", "bob")
    await advance(runs, answer=langchain("approve", "approve"))
    assert await decisions(runs, ids) == [("reject", "bob", {}), ("approve", "ada", {})]
    (told,) = (await runs.state("mine"))["warnings"]
    assert "was rejected by bob" in told


async def test_what_is_skipped_is_asked_again_behind_the_rest(runs: Runs) -> None:
    ids = await waiting_run(runs, number=3, page=2)
    await advance(runs, answer=langchain("skip", "approve"))
    assert (await runs.state("mine"))["asked"] == [ids[2], ids[0]]
    await advance(runs, answer=langchain("reject", "skip"))
    assert (await runs.state("mine"))["asked"] == [ids[0]] and (await runs.state("mine"))["reviewed"] == 2
    await advance(runs, answer="approve")
    assert [kind for kind, _, _ in await decisions(runs, ids)] == ["approve", "approve", "reject"]


async def test_two_raters_answer_one_after_the_other(runs: Runs) -> None:
    ids = await waiting_run(runs, number=1, raters=2)
    await advance(runs, answer=langchain("approve"))
    assert (await runs.status("mine")).standing == "waiting"
    await advance(runs, answer=langchain("approve"))  # the same person again: nothing is counted twice
    assert (await runs.status("mine")).standing == "waiting"
    await advance(runs, answer=langchain("approve", reviewer="bob"))
    assert await decisions(runs, ids) == [("approve", "ada, bob", {})]


PAIR_ANSWERS: list[tuple[Any, str]] = [
    ({"type": "prefer_b"}, "prefer_b"),
    ({"type": "edit", "edited_action": {"args": {"better": "A"}}}, "prefer_a"),
    ({"type": "reject"}, "cannot_judge"),
    ({"type": "approve"}, "cannot_judge"),
]


@pytest.mark.parametrize(("decision", "meant"), PAIR_ANSWERS, ids=str)
async def test_a_pair_is_compared_by_every_client(decision: Any, meant: str, runs: Runs) -> None:
    asked = sample(PROMPT, checks=[{"kind": "max_words", "value": 5}])
    rows = [
        candidate(asked, "Rhine, Ebro, Po."),
        candidate(asked, "Go away now.", draw=1, outcome=Outcome.REJECTED),
    ]
    await waiting_run(runs, rows=rows, human_share=1.0)
    (question,) = await runs.interrupts("mine")
    (action,) = question.value["action_requests"]
    assert action["name"] == "review_pair" and {action["args"]["answer_a"], action["args"]["answer_b"]} == {
        row.text for row in rows
    }
    with pytest.raises(BadInput, match="one of a, b"):
        wrong = {"type": "edit", "edited_action": {"args": {"better": "C"}}}
        await advance(runs, answer={"decisions": [wrong]})
    await advance(runs, answer={"decisions": [decision], "reviewer": "ada"})
    (task,) = await ReviewStore(runs.services.database).tasks("mine")
    assert [kind for kind, _, _ in await decisions(runs, [task.id])] == [meant]
    if meant != "cannot_judge":
        better = {c.id for c in await runs.services.store.find("mine", Candidate) if c.outcome == Outcome.ACCEPTED}
        assert better == {task.candidates["prefer_b" == meant]}


async def test_a_failure_between_the_ratings_and_the_checkpoint_loses_and_repeats_nothing(
    runs: Runs, monkeypatch: pytest.MonkeyPatch
) -> None:
    ids = await waiting_run(runs, number=2)

    async def failing(*_: Any) -> None:
        raise StorageError("the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr("nodes.review.settle_decided", failing)
        with pytest.raises(StorageError):
            await advance(runs, answer=langchain("approve", "edit"))
    assert len(await runs.services.store.find("mine", Rating)) == 2
    status = await runs.status("mine")
    await advance(runs, answer=await Reviews(runs).answer_of("mine") if status.standing == "waiting" else None)
    assert [kind for kind, _, _ in await decisions(runs, ids)] == ["approve", "edit"]
    outcomes = sorted(c.outcome for c in await runs.services.store.find("mine", Candidate))
    assert outcomes == [Outcome.ACCEPTED, Outcome.ACCEPTED, Outcome.REJECTED]
    assert (await runs.state("mine")).get("warnings", []) == []
