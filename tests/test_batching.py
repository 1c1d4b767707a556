"""Calls in batches: sent once whatever is killed, taken as they come, at half the price, never without the lease."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import select

from graph import batching
from graph.batching import send_wanted, take_ended
from graph.services import Services, make_services
from state import batches as noted
from state.batches import AT_ONCE, FREE, WANTED, BatchStore, split
from state.errors import BudgetExceeded, CallDeferred, CorralError, EndpointRefused, LeaseLost
from state.lease import Leases
from state.request import Batch, Budget, Endpoint, Models, RunRequest
from state.tables import runs
from tests.scripted_batches import ScriptedBatches
from tests.scripted_server import MODEL, ScriptedServer
from tools.endpoint import batching as sending
from tools.endpoint import retries
from tools.endpoint.batch_api import BatchApi
from tools.endpoint.batching import Batches
from tools.endpoint.chat import ChatCall, ChatEndpoint, Completion
from tools.settings import Settings

RUN = "run"


@pytest.fixture(autouse=True)
def no_waits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retries, "BACKOFF", lambda state: 0.0)
    monkeypatch.setattr(sending, "SETTLE_SECONDS", 0.01)


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    made = make_services(Settings(home=tmp_path))
    await made.database.create()
    yield made
    await made.database.close()


def request_for(server: ScriptedServer, *, dollars: float | None = None, after: int = 2, **spec: Any) -> RunRequest:
    prices = {"input_price": 1.0, "output_price": 2.0}
    made = Endpoint.model_validate(
        {"base_url": server.url, "model": MODEL, "batch": Batch(after=after)} | prices | spec
    )
    return RunRequest(models=Models(generator=made, policy=made, judge=made), budget=Budget(dollars=dollars))


def asked(number: int, word: str = "river") -> ChatCall:
    text = f"What is {word} number {number}?"
    return ChatCall(purpose="respond", messages=({"role": "user", "content": text},), max_tokens=64)


def usable(completion: Completion) -> str:
    return ""


async def ask(endpoint: ChatEndpoint, calls: list[ChatCall]) -> list[Completion | BaseException]:
    """Ask all at once, after the first: what comes of each."""
    first = await asyncio.gather(endpoint.complete(calls[0], usable), return_exceptions=True)
    rest = await asyncio.gather(*(endpoint.complete(call, usable) for call in calls[1:]), return_exceptions=True)
    return [*first, *rest]


def deferred(results: list[Completion | BaseException]) -> int:
    others = [one for one in results if isinstance(one, BaseException) and not isinstance(one, CallDeferred)]
    assert not others, others
    return sum(isinstance(one, CallDeferred) for one in results)


async def settle(services: Services, request: RunRequest, run_id: str = RUN) -> None:
    """Send and take until nothing is under way."""
    async with asyncio.timeout(5):
        while await send_wanted(services, run_id, request):
            while not await take_ended(services, run_id, request):
                pass


async def reserved(services: Services, run_id: str = RUN) -> tuple[float, float]:
    query = select(runs.c.reserved, runs.c.in_doubt).where(runs.c.run_id == run_id)
    async with services.database.reading() as connection:
        row = (await connection.execute(query)).one()
    return row[0], row[1]


async def test_calls_are_answered_together_at_half_the_price_and_found_in_the_ledger(services: Services) -> None:
    with ScriptedServer(batches=(server_side := ScriptedBatches())) as server:
        request = request_for(server, dollars=1.0)
        await services.store.open_run(RUN, request)
        async with services.leases.hold(RUN):
            calls = [asked(number) for number in range(6)]
            endpoint = await services.open_deferring(request.models.policy, RUN)
            assert deferred(await ask(endpoint, calls)) == 5  # the first was asked at once, as a trial
            held, _ = await reserved(services)
            assert 0 < held < 0.01
            await settle(services, request)
            results = await ask(await services.open_deferring(request.models.policy, RUN), calls)
    assert deferred(results) == 0 and len(server.requests) == 1
    assert sorted(server_side.sent.values()) == sorted(server_side.answered.values()) == [1] * 5
    answers = [one for one in results if isinstance(one, Completion)]
    assert all(one.from_ledger and one.text for one in answers)
    recorded = [await services.calls.get(one.key) for one in answers]
    full, *half = [(call.cost, call.prompt_tokens + 2 * call.completion_tokens) for call in recorded if call]
    assert full[0] == pytest.approx(full[1] / 1e6)
    assert all(cost == pytest.approx(tokens / 2e6) for cost, tokens in half) and len(half) == 5
    assert await services.calls.spent(RUN) == pytest.approx(full[0] + sum(cost for cost, _ in half))
    assert await reserved(services) == (0.0, 0.0)
    (batch,) = await services.batches.all(RUN)
    assert batch.in_words == "5 calls of respond to scripted in a batch: completed, 5 answered"
    made = server_side.made[0]
    assert made["metadata"] == {"corral_batch": batch.id, "corral_run": RUN} and made["completion_window"] == "24h"
    assert server_side.requests(made)[0]["body"] == (recorded_body(recorded, server_side.requests(made)[0]))


def recorded_body(recorded: list[Any], line: dict[str, Any]) -> dict[str, Any]:
    return next(call.request for call in recorded if call.key == line["custom_id"])


async def test_fewer_calls_than_the_request_says_are_asked_at_once(services: Services) -> None:
    with ScriptedServer(batches=(server_side := ScriptedBatches())) as server:
        request = request_for(server, after=10)
        await services.store.open_run(RUN, request)
        async with services.leases.hold(RUN):
            calls = [asked(number) for number in range(6)]
            endpoint = await services.open_deferring(request.models.policy, RUN)
            assert deferred(await ask(endpoint, calls)) == 5
            assert not await send_wanted(services, RUN, request)
            assert deferred(await ask(endpoint, calls)) == 0
            assert not await services.batches.any_waits(RUN)
            await services.batches.clear(RUN)
    assert len(server.requests) == 6 and not server_side.files


async def test_other_steps_and_other_models_ask_at_once(services: Services) -> None:
    with ScriptedServer(batches=ScriptedBatches()) as server:
        request = request_for(server)
        await services.store.open_run(RUN, request)
        async with services.leases.hold(RUN):
            other = request.models.policy.model_copy(update={"batch": None})
            for endpoint in (
                await services.open_endpoint(request.models.policy, RUN),
                await services.open_deferring(other, RUN),
            ):
                assert deferred(await ask(endpoint, [asked(number) for number in range(4)])) == 0


class Killed(BaseException):
    """The process is gone at this instant."""


@contextmanager
def killed_at(instant: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Kill at the nth instant: before or after each exchange with the server and each write of what is noted."""
    passed: list[str] = []

    def tick(name: str) -> None:
        passed.append(name)
        if len(passed) == instant:
            raise Killed(name)

    def wrap(owner: type, name: str) -> None:
        method = getattr(owner, name)

        async def ticking(self: Any, *arguments: Any, **options: Any) -> Any:
            tick(f"before {name}")
            result = await method(self, *arguments, **options)
            tick(f"after {name}")
            return result

        patch.setattr(owner, name, ticking)

    with monkeypatch.context() as patch:
        for name in ("gather", "keep", "take", "end"):
            wrap(BatchStore, name)
        for name in ("upload", "create", "find", "get"):
            wrap(BatchApi, name)
        yield passed


@pytest.mark.parametrize("end", ["completed", "expired", "failed"])
async def test_a_kill_at_any_instant_loses_nothing_and_sends_nothing_twice(
    services: Services, monkeypatch: pytest.MonkeyPatch, end: str
) -> None:
    with ScriptedServer(batches=ScriptedBatches()) as server:
        request = request_for(server, dollars=1.0, after=1)
        instant, reached = 0, True
        while reached:
            instant, run_id = instant + 1, f"{end}-{instant}"
            server_side = server.batches
            assert server_side is not None
            server_side.ends = ["completed"] * len(server_side.made) + [end]
            before = len(server_side.made)
            await services.store.open_run(run_id, request)
            calls = [asked(number, run_id) for number in range(3)]
            async with services.leases.hold(run_id):
                endpoint = await services.open_deferring(request.models.policy, run_id)
                deferred(await ask(endpoint, calls))
                reached = False
                with killed_at(instant, monkeypatch):
                    try:
                        await settle(services, request, run_id)
                    except Killed:
                        reached = True
                    except EndpointRefused:
                        assert end == "failed"
                # Another process goes on: it asks again what has no answer yet, until nothing waits.
                while deferred(await ask(endpoint, calls)) or await services.batches.open(run_id):
                    try:
                        await settle(services, request, run_id)
                    except EndpointRefused:
                        assert end == "failed"
            of_run = {call["custom_id"] for one in server_side.made[before:] for call in server_side.requests(one)}
            assert all(server_side.answered[key] <= 1 for key in of_run), (run_id, "answered twice")
            assert len(server_side.made) - before == (1 if end == "completed" else 2), (run_id, "sent twice")
            assert await reserved(services, run_id) == (0.0, 0.0)
            assert not await services.batches.any_waits(run_id)
    assert instant > 10  # the last one was not reached


@pytest.mark.parametrize("metadata", [True, False])
async def test_a_batch_whose_making_was_not_confirmed_is_found_again(services: Services, metadata: bool) -> None:
    with ScriptedServer(batches=(server_side := ScriptedBatches(metadata=metadata))) as server:
        server_side.faults = {("POST", "/v1/batches"): ["lost"], ("POST", "/v1/files"): ["503"]}
        request = request_for(server)
        await services.store.open_run(RUN, request)
        async with services.leases.hold(RUN):
            endpoint = await services.open_deferring(request.models.policy, RUN)
            await ask(endpoint, [asked(number) for number in range(4)])
            await settle(services, request)
    assert len(server_side.made) == 1 and set(server_side.answered.values()) == {1}


async def test_what_failed_or_expired_is_asked_in_the_next_batch_and_then_at_once(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    with ScriptedServer(batches=(server_side := ScriptedBatches(rows={"poison": "400", "late": "expired"}))) as server:
        request = request_for(server)
        await services.store.open_run(RUN, request)
        words = ["river", "river", "poison", "late", "poison"]
        calls = [asked(number, word) for number, word in enumerate(words)]
        async with services.leases.hold(RUN):
            endpoint = await services.open_deferring(request.models.policy, RUN)
            assert deferred(await ask(endpoint, calls)) == 4
            await settle(services, request)
            assert deferred(await ask(endpoint, calls)) == 3
            await settle(services, request)
            assert deferred(await ask(endpoint, calls)) == 3
            await settle(services, request)
            assert deferred(await ask(endpoint, calls)) == 0
    assert sorted(server_side.sent.values()) == [1, 2, 2, 2] and len(server.requests) == 4
    told = [record.getMessage() for record in caplog.records if "asked again" in record.getMessage()]
    assert told[0] == ("batch batch-0 completed: 1 call answered, 3 not; 2 of them: scripted 400; they are asked again")


async def test_a_batch_that_is_refused_as_a_whole_is_one_line_and_is_sent_again(services: Services) -> None:
    with ScriptedServer(batches=(server_side := ScriptedBatches(ends=["failed"]))) as server:
        request = request_for(server, dollars=1.0)
        await services.store.open_run(RUN, request)
        calls = [asked(number) for number in range(4)]
        async with services.leases.hold(RUN):
            endpoint = await services.open_deferring(request.models.policy, RUN)
            await ask(endpoint, calls)
            with pytest.raises(
                EndpointRefused, match=r"refused the batch of 3 calls to 'scripted'.*too odd"
            ) as refused:
                await settle(services, request)
            assert "\n" not in str(refused.value) and (await reserved(services))[0] == 0.0
            assert deferred(await ask(endpoint, calls)) == 3
            await settle(services, request)
    assert sorted(server_side.sent.values()) == [2, 2, 2] and set(server_side.answered.values()) == {1}


async def test_who_lost_the_lease_submits_nothing(services: Services) -> None:
    with ScriptedServer(batches=(server_side := ScriptedBatches())) as server:
        request = request_for(server)
        await services.store.open_run(RUN, request)
        async with services.leases.hold(RUN):
            endpoint = await services.open_deferring(request.models.policy, RUN)
            await ask(endpoint, [asked(number) for number in range(4)])
            (group,) = await services.batches.wanted(RUN)
            (batch,) = await services.batches.gather(RUN, group, 2, "24h")
            other = make_services(services.settings)
            async with Leases(other.database, "another").hold(RUN, take_over=True):
                stale = Batches(
                    services.batches, request.models.policy, RUN, services.settings, lambda: services.leases.demand(RUN)
                )
                with pytest.raises(LeaseLost):
                    await stale.send(batch)
                with pytest.raises(LeaseLost):
                    await stale._make(batch)
                with pytest.raises(LeaseLost):
                    await services.batches.end(batch)
            await other.database.close()
    assert not server_side.files and not server_side.made


async def test_what_is_reserved_for_a_batch_outlives_its_process_and_is_in_no_doubt(services: Services) -> None:
    with ScriptedServer(batches=(server_side := ScriptedBatches(held=True))) as server:
        request = request_for(server, dollars=1.0)
        await services.store.open_run(RUN, request)
        async with services.leases.hold(RUN):
            endpoint = await services.open_deferring(request.models.policy, RUN)
            await ask(endpoint, [asked(number) for number in range(4)])
            assert await send_wanted(services, RUN, request)
            held, _ = await reserved(services)
        other = make_services(services.settings)
        assert other.leases.owner == services.leases.owner
        later = Services(**{**vars(other), "leases": Leases(other.database, "a later process")})
        server_side.release()
        async with later.leases.hold(RUN):
            assert await reserved(later) == (pytest.approx(held), 0.0)
            await settle(later, request)
            assert await reserved(later) == (0.0, 0.0)
        await other.database.close()


async def test_the_cap_has_room_for_some_calls_and_the_others_wait_for_them(services: Services) -> None:
    with ScriptedServer(batches=(server_side := ScriptedBatches())) as server:
        calls = [asked(number) for number in range(8)]
        most = (len('[[{"role": "user", "content": "What is river number 1?"}], null]') + 16 + 2 * 64) / 2e6
        request = request_for(server, dollars=4.5 * most)
        await services.store.open_run(RUN, request)
        async with services.leases.hold(RUN):
            endpoint = await services.open_deferring(request.models.policy, RUN)
            left = deferred(await ask(endpoint, calls))
            assert left == 7
            waiting = (await services.batches.wanted(RUN))[0].calls
            assert 2 <= waiting < 7
            await settle(services, request)
            assert waiting == sum(server_side.sent.values())
            assert deferred(await ask(endpoint, calls)) == 7 - waiting
            for _ in range(8):
                await settle(services, request)
                results = await ask(endpoint, calls)
                if any(isinstance(one, BudgetExceeded) for one in results):
                    break
            assert await services.calls.spent(RUN) <= 4.5 * most


async def test_a_call_at_once_that_the_cap_has_no_room_for_waits_for_a_batch_under_way(services: Services) -> None:
    with ScriptedServer(batches=(server_side := ScriptedBatches(held=True))) as server:
        request = request_for(server, dollars=0.00137)
        await services.store.open_run(RUN, request)
        async with services.leases.hold(RUN):
            calls = [asked(number) for number in range(4)]
            endpoint = await services.open_deferring(request.models.policy, RUN)
            assert deferred(await ask(endpoint, calls)) == 3
            assert await send_wanted(services, RUN, request)
            # Another purpose has its own trial, which is asked at once.
            dear = asked(9).model_copy(update={"purpose": "generate", "max_tokens": 500})
            assert deferred(await ask(endpoint, [dear])) == 1
            server_side.release()
            await settle(services, request)
            assert deferred(await ask(endpoint, [dear])) == 0


async def test_a_price_that_has_changed_is_told_in_one_line(
    services: Services, caplog: pytest.LogCaptureFixture
) -> None:
    with ScriptedServer(batches=ScriptedBatches()) as server:
        request = request_for(server)
        await services.store.open_run(RUN, request)
        async with services.leases.hold(RUN):
            endpoint = await services.open_deferring(request.models.policy, RUN)
            await ask(endpoint, [asked(number) for number in range(4)])
            await send_wanted(services, RUN, request)
            dearer = request_for(server, input_price=3.0)
            while not await take_ended(services, RUN, dearer):
                pass
        answered = [call for call in [await services.calls.get(key) for key in server.batches.sent] if call]  # type: ignore[union-attr]  # it has batches
    assert len(answered) == 3
    assert all(call.cost == pytest.approx((call.prompt_tokens + 2 * call.completion_tokens) / 2e6) for call in answered)
    told = sorted({record.getMessage() for record in caplog.records if "has changed" in record.getMessage()})
    assert len(told) == 1 and "$0.5 and $1" in told[0] and "\n" not in told[0]


def test_a_batch_that_is_too_large_is_split(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(noted, "LARGEST_COUNT", 3)
    monkeypatch.setattr(noted, "LARGEST_BYTES", 100)
    assert split([]) == []
    assert split([(str(n), 10) for n in range(7)]) == [["0", "1", "2"], ["3", "4", "5"], ["6"]]
    assert split([("a", 60), ("b", 40), ("c", 1), ("d", 100)]) == [["a", "b"], ["c"], ["d"]]


async def test_calls_of_several_batches_are_taken_as_each_ends(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noted, "LARGEST_COUNT", 2)
    with ScriptedServer(batches=(server_side := ScriptedBatches(states=()))) as server:
        request = request_for(server)
        await services.store.open_run(RUN, request)
        calls = [asked(number) for number in range(6)]
        async with services.leases.hold(RUN):
            endpoint = await services.open_deferring(request.models.policy, RUN)
            assert deferred(await ask(endpoint, calls)) == 5
            await settle(services, request)
            assert deferred(await ask(endpoint, calls)) == 0
    assert len(server_side.made) == 3 and set(server_side.sent.values()) == {1}


async def test_a_batch_that_is_refused_while_another_is_under_way_waits_for_that_one(
    services: Services, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(noted, "LARGEST_COUNT", 3)
    with ScriptedServer(batches=(server_side := ScriptedBatches(states=(), ends=["failed"]))) as server:
        request = request_for(server)
        await services.store.open_run(RUN, request)
        calls = [asked(number) for number in range(6)]
        async with services.leases.hold(RUN):
            endpoint = await services.open_deferring(request.models.policy, RUN)
            await ask(endpoint, calls)
            assert await send_wanted(services, RUN, request)
            first, second = server_side.made
            server_side.states = ("in_progress",) * 3  # of the second: the first has ended before
            server_side._end(first, "failed")
            assert not await take_ended(services, RUN, request)
            assert [one.server_id for one in await services.batches.open(RUN)] == [second["id"]]
            await settle(services, request)
            assert deferred(await ask(endpoint, calls)) == 3
            await settle(services, request)
            assert deferred(await ask(endpoint, calls)) == 0
    assert set(server_side.answered.values()) == {1} and len(server_side.made) == 3


async def test_a_server_without_batches_is_told_before_anything_is_sent(services: Services) -> None:
    from tools.endpoint import demand_batches

    with ScriptedServer() as server:
        spec = request_for(server).models.judge
        with pytest.raises(CorralError, match=r"has no batch API \(GET /batches: 404\); leave batch out") as told:
            await demand_batches(spec, services.settings)
        assert told.value.exit_code == 2 and not server.requests


async def test_a_server_that_is_down_while_a_run_waits_is_no_fault(
    services: Services, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(batching, "SOONEST", 0.0)
    with ScriptedServer(batches=(server_side := ScriptedBatches(held=True))) as server:
        request = request_for(server, attempts=1)
        await services.store.open_run(RUN, request)
        async with services.leases.hold(RUN):
            endpoint = await services.open_deferring(request.models.policy, RUN)
            await ask(endpoint, [asked(number) for number in range(4)])
            await send_wanted(services, RUN, request)
            server_side.faults = {("GET", "/v1/batches"): ["503", "503"]}
            notes = []
            async for event in batching.until_over(services, RUN, request, "respond"):
                notes.append(event.note)
                if len(notes) == 4:
                    server_side.release()
    assert len(notes) >= 4 and notes[0].startswith("3 calls of respond to scripted in a batch, 0 done, until 2")
    told = {record.levelno for record in caplog.records if "does not tell" in record.getMessage()}
    assert told == {logging.WARNING}


def test_the_places_of_a_call_are_no_ids() -> None:
    assert not {FREE, WANTED, AT_ONCE} & {"0" * 32}
