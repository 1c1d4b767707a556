"""The call ledger, over SQLite and PostgreSQL: nothing answered is lost, nothing is counted twice."""

import asyncio
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import event

from state.calls import CallStore
from state.database import Database
from state.errors import StorageError
from state.request import Budget, RunRequest
from state.store import RecordStore
from tests.builders import call, failed_call


async def test_an_answer_comes_back_as_it_went_in(calls: CallStore) -> None:
    assert await calls.get("k") is None
    await calls.put(call())
    assert await calls.get("k") == call()


async def test_an_answer_replaces_a_failure_and_never_the_other_way_round(calls: CallStore) -> None:
    await calls.put(failed_call())
    await calls.put(call(text="at last"))
    await calls.put(failed_call())
    await calls.put(call(text="too late"))
    kept = await calls.get("k")
    assert kept is not None and (kept.status, kept.text) == ("answered", "at last")


async def test_a_failure_is_replaced_by_a_later_failure(calls: CallStore) -> None:
    await calls.put(failed_call(error="503"))
    await calls.put(failed_call(error="429"))
    kept = await calls.get("k")
    assert kept is not None and kept.error == "429"


async def test_a_failure_and_an_answer_of_one_commit_leave_the_answer(calls: CallStore) -> None:
    await asyncio.gather(calls.put(failed_call()), calls.put(call()), calls.put(failed_call()))
    kept = await calls.get("k")
    assert kept is not None and kept.status == "answered"


async def test_answers_that_arrive_together_share_a_commit(calls: CallStore) -> None:
    commits = []
    event.listen(calls.database.engine.sync_engine, "commit", commits.append)
    await asyncio.gather(*(calls.put(call(f"k{n}")) for n in range(100)))
    await asyncio.gather(*(calls.use("run", f"k{n}", "respond") for n in range(100)))
    assert 2 <= len(commits) <= 6
    assert (await calls.tally("run"))[0].answered == 100


async def test_calls_that_are_looked_up_together_share_a_statement(calls: CallStore) -> None:
    await asyncio.gather(*(calls.put(call(f"k{n}")) for n in range(40)))
    asked: list[str] = []
    engine = calls.database.engine.sync_engine
    event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    found = await asyncio.gather(*(calls.get(f"k{n}") for n in range(50)))
    assert found == [*(call(f"k{n}") for n in range(40)), *[None] * 10]
    assert sum("SELECT calls.key" in statement for statement in asked) <= 2


async def test_an_answer_is_on_disk_when_put_returns(calls: CallStore, database_url: str) -> None:
    await calls.put(call())
    other = Database(database_url)
    assert await CallStore(other).get("k") == call()
    await other.close()


async def test_a_waiting_put_that_is_cancelled_still_writes(calls: CallStore) -> None:
    waiting = [asyncio.create_task(calls.put(call(f"k{n}"))) for n in range(5)]
    await asyncio.sleep(0)
    for task in waiting:
        task.cancel()
    ended = await asyncio.gather(*waiting, return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in ended)
    await calls.put(call("after"))
    assert [await calls.get(f"k{n}") for n in range(5)] == [call(f"k{n}") for n in range(5)]


async def test_a_failed_commit_is_told_to_everyone_who_waits_for_it_and_the_next_one_works(
    calls: CallStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    commit, told = calls._commit, []

    async def full(items: list[Any]) -> None:
        told.append(len(items))
        raise StorageError("the disk is full")

    monkeypatch.setattr(calls, "_commit", full)
    ended = await asyncio.gather(*(calls.put(call(f"k{n}")) for n in range(3)), return_exceptions=True)
    assert [str(result) for result in ended] == ["the disk is full"] * 3 and told == [3]
    monkeypatch.setattr(calls, "_commit", commit)
    await calls.put(call("k0"))
    assert await calls.get("k0") == call("k0")


async def test_spending_is_each_runs_own(calls: CallStore) -> None:
    assert await calls.spent("run") == 0.0
    await asyncio.gather(calls.put(call("a")), calls.put(call("b")), calls.put(call("c", "other")))
    await calls.use("run", "c", "respond")
    assert (await calls.spent("run"), await calls.spent("other")) == (1.0, 0.5)


async def test_the_cap_is_the_requests_until_it_is_raised(store: RecordStore, calls: CallStore) -> None:
    assert await calls.cap("unknown") is None
    await store.open_run("free", RunRequest())
    await store.open_run("run", RunRequest(budget=Budget(dollars=2.5)))
    assert (await calls.cap("free"), await calls.cap("run")) == (None, 2.5)
    await calls.raise_cap("run", 4.0)
    await store.open_run("run", RunRequest(budget=Budget(dollars=1)))
    assert (await calls.cap("free"), await calls.cap("run")) == (None, 4.0)


async def test_the_tally_adds_up(calls: CallStore) -> None:
    await asyncio.gather(
        calls.put(call("mine-1", cost=0.25)),
        calls.put(call("mine-2", cost=0.5)),
        calls.put(failed_call("mine-3")),
        calls.put(call("theirs", "other", cost=9.0)),
        calls.put(call("unused", "other", cost=9.0)),
    )
    uses = [("mine-1", "judge.clarity"), ("mine-2", "respond"), ("mine-3", "respond"), ("theirs", "respond")]
    for key, purpose in uses + uses:
        await calls.use("run", key, purpose)
    judged, responded = await calls.tally("run")
    assert (judged.purpose, judged.answered, judged.failed, judged.from_ledger) == ("judge.clarity", 1, 0, 0)
    assert (responded.purpose, responded.answered, responded.failed, responded.from_ledger) == ("respond", 2, 1, 1)
    assert (responded.prompt_tokens, responded.completion_tokens, responded.cost) == (3, 2, 0.5)
    assert sum(t.answered + t.failed for t in (judged, responded)) == len(uses)
    assert judged.cost + responded.cost == await calls.spent("run")
    assert await calls.tally("nobody") == []


async def test_a_call_with_any_text_is_kept(calls: CallStore) -> None:
    text = "nul \x00, lone \ud83d surrogate, \u2028"
    odd = call(text=text, request={"messages": [{"role": "user", "content": text}]})
    await asyncio.gather(calls.put(odd), calls.put(call("plain")))
    assert await calls.get("k") == odd
    assert await calls.get("plain") == call("plain")


async def test_the_ledger_goes_on_after_its_writer_was_cancelled(calls: CallStore) -> None:
    first = asyncio.create_task(calls.put(call("k0")))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert calls._writes._drained is not None
    calls._writes._drained.cancel()
    with suppress(asyncio.CancelledError, StorageError):
        await first
    await calls.put(call("k1"))
    assert await calls.get("k1") == call("k1")


async def test_why_an_answer_could_not_be_used_is_kept_with_it(calls: CallStore) -> None:
    await calls.put(call(text="eight of ten"))
    await calls.use("run", "k", "judge.accuracy")
    await calls.note_unusable("run", call(text="eight of ten"), "no JSON")
    kept = await calls.get("k")
    assert kept is not None and (kept.status, kept.text, kept.error) == ("answered", "eight of ten", "no JSON")
    assert [(one.answered, one.failed) for one in await calls.tally("run")] == [(1, 0)]
