"""``corral forget``: a withdrawn text is nowhere in the database, and what it reached before is told."""

from __future__ import annotations

import asyncio
import json
import sqlite3
from pathlib import Path
from typing import Any

import pytest

import graph.forgetting
import tests.waiting
from graph.forgetting import forget_text, holds
from graph.reviews import Reviews
from graph.runs import open_runs
from graph.served import give_feedback, record_answer
from graph.services import Services, open_services
from state.errors import RunBusy, UnknownAnswer
from state.feedback import Feedback
from state.pipeline import AdapterRef
from state.records import Candidate, Draft, Judgement, Review, Sample
from state.request import RunRequest
from tests.builders import NOON, call, candidate, judgement
from tests.waiting import answers, waiting_run
from tools.improvement.rows import feedback_rows, feedback_sample
from tools.registry import add
from tools.settings import Settings

SECRET, ANSWER = "Write to my neighbour at 12 Elm Street, please.", "Dear neighbour of Elm Street, good morning."
CORRECTED = "Dear neighbour, I wish you a good morning from Elm Street."
OTHER = "Name three rivers of Europe."


async def taken_up(services: Services, run_id: str = "improve-1") -> None:
    """Serve two answers, rate them, and let a run take both up and use calls with them."""
    for id_, asked, text in (("mine", SECRET, ANSWER), ("other", OTHER, "The Rhine.")):
        turns = [{"role": "user", "content": asked}]
        await record_answer(services, id_, version="v1-00000000", messages=turns, text=text, user=id_)
    await give_feedback(services, "mine", "ada", stars=1, corrected=CORRECTED, comment="Not what I meant by Elm Street")
    await give_feedback(services, "other", "bob", stars=5)
    answers = await services.feedback.answers(["mine", "other"])
    rows = feedback_rows(answers.values(), await services.feedback.feedback(), [])
    await services.store.open_run(run_id, RunRequest())
    await services.store.add(run_id, rows.samples)
    await services.store.add(run_id, rows.candidates)
    await services.store.add(run_id, rows.reviews)
    mine = next(one for one in rows.samples if one.instruction == SECRET)
    drawn = candidate(mine, "Dear Elm Street.")
    await services.store.add(run_id, [drawn])
    await services.store.add(run_id, [judgement(drawn)])
    for key, said in (("k1", f"1. Instruction: {SECRET}\n"), ("k2", OTHER)):
        body = {"messages": [{"role": "user", "content": said}]}
        await services.calls.put(call(key, run_id, request=body))
        await services.calls.use(run_id, key, "respond")
    folder = services.runs_folder / run_id
    (folder / "datasets" / "d1").mkdir(parents=True)
    (folder / "datasets" / "d1" / "sft.jsonl").write_text(json.dumps({"completion": [{"content": CORRECTED}]}) + "\n")
    (folder / "training" / "round-1" / "adapter").mkdir(parents=True)
    for name, facts in (("a", {"run": run_id}), ("b", {"improves": "v1-aaaaaaaa"}), ("c", {"run": "another"})):
        ref = AdapterRef(id=name * 32, folder=str(folder / "training" / "round-1" / "adapter"))
        add(ref, services.registry, facts)


def everything(home: Path) -> str:
    with sqlite3.connect(home / "corral.db") as database:
        return "\n".join(database.iterdump())


async def test_an_answer_with_all_that_came_of_it_is_forgotten(tmp_path: Path) -> None:
    async with open_services(Settings(home=tmp_path)) as services:
        await taken_up(services)
        lines = await forget_text(services, "mine")
        assert lines[0] == (
            "the answer, its prompt and what was said of it are gone; so are 7 rows and the texts of 1 call of 1 "
            "run; a rating still counts"
        )
        told = "\n".join(lines[1:])
        assert "datasets/d1" in told and "training/round-1/adapter" in told
        assert "version v1-aaaaaaaa" in told and "version v2-bbbbbbbb" in told, "also what goes on with it"
        assert "v3-cccccccc" not in told
        assert [one.instruction for one in await services.store.find("improve-1", Sample)] == [OTHER]
        assert len(await services.store.find("improve-1", Candidate)) == 1
        assert await services.store.find("improve-1", Judgement) == []
        assert len(await services.store.find("improve-1", Review)) == 1
        assert await services.calls.spent("improve-1") == 1.0, "what was paid stays paid"
        assert await services.feedback.stars_by_version() != [], "the rating still counts"
        assert (await forget_text(services, "mine"))[0] == "the texts of mine are gone already"
    assert "Elm Street" not in everything(tmp_path) and OTHER in everything(tmp_path)
    left = b"".join(path.read_bytes() for path in tmp_path.glob("corral.db*"))
    assert b"Elm Street" not in left, "nor in pages that are free again"


async def test_what_requests_share_of_a_text_is_forgotten_with_them(tmp_path: Path) -> None:
    async with open_services(Settings(home=tmp_path)) as services:
        await taken_up(services)
        roles = [f"You are the {name} judge. {'Score only what is asked. ' * 9}" for name in ("accuracy", "clarity")]
        for number, role in enumerate(roles):
            told = f"{'What follows is judged. ' * 9}\n\n{SECRET}\n\n{ANSWER * 5}\n\n{role}"
            request = {"messages": [{"role": "user", "content": told}]}
            await services.calls.put(call(f"judge-{number}", "improve-1", request=request))
            await services.calls.use("improve-1", f"judge-{number}", "judge.accuracy")
        other = call("other", "another", request={"messages": [{"role": "user", "content": f"{OTHER}\n\n{roles[1]}"}]})
        await services.calls.put(other.model_copy(update={"request": {"messages": [*other.request["messages"]] * 2}}))
        assert everything(tmp_path).count(ANSWER * 5) == 1, "it stands there once"
        assert "the texts of 3 calls" in (await forget_text(services, "mine"))[0]
    left = everything(tmp_path)
    assert "Elm Street" not in left and "the accuracy judge" not in left
    assert "the clarity judge" in left, "another call needs it"


async def test_one_person_takes_back_what_that_person_said(tmp_path: Path) -> None:
    async with open_services(Settings(home=tmp_path)) as services:
        await taken_up(services)
        (said,) = await services.feedback.feedback_on("mine")
        lines = await forget_text(services, said.id)
        assert lines[0].startswith("the comment and the corrected answer are gone; so are 2 rows")
        assert "datasets/d1" in lines[1]
    kept = everything(tmp_path)
    assert CORRECTED not in kept and "Not what I meant" not in kept and SECRET in kept


@pytest.mark.parametrize("late", ["before the removal", "after it"])
async def test_what_is_said_while_a_text_is_forgotten_does_not_outlive_it(
    tmp_path: Path, database_url: str, monkeypatch: pytest.MonkeyPatch, late: str
) -> None:
    async with open_services(Settings(home=tmp_path, database_url=database_url)) as services:
        await taken_up(services)
        withdraw, add_feedback = services.feedback.withdraw, services.feedback.add_feedback
        said = {"stars": 2, "comment": "The one of Elm Street"}

        async def withdraw_late(*given: Any) -> None:
            if late == "before the removal":
                await give_feedback(services, "mine", "eve", **said)
            await withdraw(*given)

        async def add_late(given: Feedback) -> Feedback:
            await forget_text(services, "mine")  # in full, once the answer was found and before its feedback is kept
            return await add_feedback(given)

        monkeypatch.setattr(services.feedback, "withdraw", withdraw_late)
        if late == "after it":
            monkeypatch.setattr(services.feedback, "add_feedback", add_late)
            with pytest.raises(UnknownAnswer, match="withdrawn"):
                await give_feedback(services, "mine", "eve", **said)
        else:
            await forget_text(services, "mine")
        kept = await services.feedback.feedback()
        assert not any(one.comment or one.corrected for one in kept if one.answer_id == "mine")
        assert ("eve" in {one.rater for one in kept}) == (late == "before the removal"), "a rating still counts"


async def test_what_somebody_else_asked_too_stays(tmp_path: Path) -> None:
    async with open_services(Settings(home=tmp_path)) as services:
        await taken_up(services)
        turns = [{"role": "user", "content": SECRET}]
        await record_answer(services, "same", version="v1-00000000", messages=turns, text="Hello.", user="grace")
        await forget_text(services, "mine")
        assert SECRET in [one.instruction for one in await services.store.find("improve-1", Sample)]
        assert ANSWER not in [one.text for one in await services.store.find("improve-1", Candidate)]


async def test_nothing_is_removed_from_a_run_that_is_worked_on_and_nothing_unknown(tmp_path: Path) -> None:
    async with open_services(Settings(home=tmp_path)) as services:
        await taken_up(services)
        with pytest.raises(UnknownAnswer, match="no answer or feedback 'nobody'"):
            await forget_text(services, "nobody")
        with sqlite3.connect(tmp_path / "corral.db") as database:
            database.execute("UPDATE runs SET lease_owner = 'elsewhere:1', lease_until = 9e9")
        with pytest.raises(RunBusy):
            await forget_text(services, "mine")
        assert not (await services.feedback.answers(["mine"]))["mine"].withdrawn, "it can be asked for again"


@pytest.mark.parametrize(
    ("body", "texts", "found"),
    [
        ({"a": [{"b": f"before {SECRET} after"}]}, [SECRET], True),
        ({"a": "yes"}, ["yes"], True),
        ({"a": "yes, of course"}, ["yes"], False),
        ({"a": 1, "b": None}, ["1"], False),
    ],
)
def test_a_short_text_is_no_part_of_a_longer_one(body: object, texts: list[str], found: bool) -> None:
    assert holds(body, texts) == found


async def test_one_that_was_killed_is_done_again_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with open_services(Settings(home=tmp_path)) as services:
        await taken_up(services)

        async def killed(*_: object, **__: object) -> int:
            raise asyncio.CancelledError

        for step in ("_empty_calls", "_remove_rows"):
            with monkeypatch.context() as patched:
                patched.setattr(graph.forgetting, step, killed)
                with pytest.raises(asyncio.CancelledError):
                    await forget_text(services, "mine")
        assert "7 rows and the texts of" in (await forget_text(services, "mine"))[0]
    assert "Elm Street" not in everything(tmp_path)


async def test_a_run_that_waits_with_a_withdrawn_text_goes_on_without_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with open_runs(Settings(home=tmp_path)) as runs:
        asked = feedback_sample(SECRET)
        turns = [{"role": "user", "content": SECRET}]
        await record_answer(runs.services, "mine", version="v1-00000000", messages=turns, text=ANSWER, user="u")
        monkeypatch.setattr(tests.waiting, "sample", lambda *_, **__: asked)
        ids = await waiting_run(runs, rows=answers(asked, 3))
        reviews = Reviews(runs)
        await reviews.save("mine", Draft(item_id=ids[0], rater="ada", decision="approve", decided_at=NOON))
        await forget_text(runs.services, "mine")
        assert (await reviews.drafts("ada"))[0] == () and (await reviews.queue("ada")).items == ()
        assert await reviews.answer_of("mine") is not None, "nothing is left of what it asks"
