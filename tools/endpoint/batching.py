"""The batches of one model of a run: sent once, looked at, and their answers taken into the ledger."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import partial
from typing import IO, Any, TypeVar

from state.batches import KEYS, BatchStore, CallBatch, DeferredCall, request_line
from state.errors import CallFailed, EndpointError, EndpointRefused
from state.lease import CLOCK
from state.records import Call
from state.request import Endpoint
from state.wording import number_of
from tools.endpoint import open_batches, price_of
from tools.endpoint.batch_api import BatchApi, ServerBatch
from tools.endpoint.budget import MILLION
from tools.endpoint.completions import read_completion, with_stops
from tools.endpoint.deferring import SHARE
from tools.endpoint.failures import TryAgain, said_by_server
from tools.endpoint.loop import demand_allowed
from tools.endpoint.retries import with_retries
from tools.endpoint.sending import ALLOWED_SECONDS
from tools.settings import Settings

T = TypeVar("T")
Demand = Callable[[], Awaitable[None]]
logger = logging.getLogger(__name__)

SETTLE_SECONDS = 30.0
"""How long after it was asked to make a batch a server may take to list it."""


class Batches:
    """The batches of one model of one run.

    Args:
        store: where they are noted.
        spec: the endpoint.
        run_id: the run.
        settings: for its keys.
        demand: raises ``LeaseLost`` where another process has taken the run over.
    """

    def __init__(self, store: BatchStore, spec: Endpoint, run_id: str, settings: Settings, demand: Demand) -> None:
        self._store, self._spec, self._run_id, self._settings = store, spec, run_id, settings
        self._demand = demand
        self._api: BatchApi | None = None
        self._allowed = 0.0

    async def send(self, batch: CallBatch) -> CallBatch:
        """Send a batch once, however often this was begun before, and return it as it is then.

        Raises:
            LeaseLost: another process has taken the run over; nothing more was sent.
            EndpointError: the server does not take it; it is noted, and sent when this is done again.
        """
        for left in reversed(range(self._spec.attempts)):
            if batch.status == "sending" and (found := await self._find_again(batch)):
                return await self._sent(batch, found)
            batch = await self._uploaded(batch)
            try:
                return await self._sent(batch, await self._make(batch))
            except TryAgain as again:
                # The server may have made it all the same: it is looked for before it is asked again.
                if not left:
                    raise again.error from again
            except EndpointError:
                # It was not made. Its file may be what is wrong, so that the next attempt uploads it anew.
                await self._store.keep(batch.model_copy(update={"status": "noted", "file_id": ""}))
                raise
        raise AssertionError  # the last round returns or raises

    async def look(self, batch: CallBatch) -> ServerBatch:
        """Return a sent batch as the server tells of it now.

        Raises:
            EndpointError: the server does not tell.
        """
        api = await self._open()
        return await self._retried(lambda: api.get(batch.server_id))

    async def take(self, batch: CallBatch, found: ServerBatch) -> CallBatch:
        """Take the answers of a batch that is over into the ledger, free its other calls, and return how it ended.

        Raises:
            EndpointRefused: the server refused the batch as a whole; its calls are free.
            EndpointError: its files cannot be read; what was read is kept, and the rest is read when this is done
                again.
            LeaseLost: another process has taken the run over.
        """
        failed: Counter[str] = Counter()
        for file in filter(None, (found.output_id, found.error_id)):
            failed += await self._retried(partial(self._take_file, batch, found, file))
        update = {"done": found.done, "said": found.status}
        ended = await self._store.end(batch.model_copy(update=update), tried=found.status != "failed")
        self._tell(ended, failed)
        if found.status == "failed":
            why = f" It says: {found.error}" if found.error else ""
            raise EndpointRefused(
                f"{self._spec.base_url} refused the batch of {number_of(batch.calls, 'call')} to {batch.model!r}; "
                f"nothing was asked, and 'corral resume {batch.run_id}' sends it again.{why}"
            )
        return ended

    async def _open(self) -> BatchApi:
        if self._api is None:
            self._api = await open_batches(self._spec, self._settings)
        return self._api

    async def _uploaded(self, batch: CallBatch) -> CallBatch:
        """Upload a batch's file unless it is there, and note that the server is asked for the batch now."""
        file_id = batch.file_id
        if not file_id:
            api = await self._open()
            await self._demand_own()
            with await asyncio.to_thread(tempfile.TemporaryFile) as file:
                lines: list[bytes] = []
                async for call in self._store.calls_of(batch):
                    lines.append(request_line(call))
                    if len(lines) == KEYS:
                        await asyncio.to_thread(file.writelines, lines)
                        lines = []
                await asyncio.to_thread(file.writelines, lines)
                await asyncio.to_thread(file.flush)
                file_id = await self._retried(partial(self._upload, api, batch, file))
        noted = {"file_id": file_id, "status": "sending", "tried_at": datetime.now(UTC)}
        return await self._store.keep(batch.model_copy(update=noted))

    async def _upload(self, api: BatchApi, batch: CallBatch, file: IO[bytes]) -> str:
        # aiohttp closes the file that it has sent, and a second try needs it again.
        again = await asyncio.to_thread(_opened_again, file)
        with _looking(self._demand_own), again:
            return await api.upload(f"corral-{batch.id}.jsonl", again)

    async def _make(self, batch: CallBatch) -> ServerBatch:
        api = await self._open()
        await self._demand_own()
        with _looking(self._demand_own):
            return await api.create(batch)

    async def _find_again(self, batch: CallBatch) -> ServerBatch | None:
        """Return the server's batch where it was made, but its answer did not reach us."""
        api = await self._open()
        if (found := await self._retried(lambda: api.find(batch))) is not None:
            return found
        since = (datetime.now(UTC) - (batch.tried_at or batch.made_at)).total_seconds()
        if since >= SETTLE_SECONDS:
            return None
        await asyncio.sleep(SETTLE_SECONDS - max(0.0, since))
        return await self._retried(lambda: api.find(batch))

    async def _sent(self, batch: CallBatch, found: ServerBatch) -> CallBatch:
        update = {"status": "sent", "server_id": found.id, "until": found.until, "done": found.done}
        sent = await self._store.keep(batch.model_copy(update=update))
        logger.info("batch sent", extra={"batch": found.id, "calls": batch.calls, "until": str(found.until or "")})
        return sent

    async def _take_file(self, batch: CallBatch, found: ServerBatch, file: str) -> Counter[str]:
        """Take one file's answers into the ledger; return how many calls failed, by why."""
        api, failed = await self._open(), Counter[str]()
        async for rows in _in_groups(api.rows(file)):
            calls = await self._store.find(batch, list(rows))
            answers = []
            for key, call in calls.items():
                told = answer_in(call, rows[key], batch, found)
                if isinstance(told, Call):
                    answers.append(told)
                else:
                    failed[told] += 1
            await self._store.take(batch, answers)
            await asyncio.to_thread(self._note_prices, calls)
        return failed

    def _note_prices(self, calls: Mapping[str, DeferredCall]) -> None:
        """Say once where a batch's price has changed since its calls were noted."""
        now = price_of(self._spec)
        for call in list(calls.values())[:1]:
            before = (call.input_price, call.output_price)
            if now is not None and before != (now.input * SHARE, now.output * SHARE):
                logger.warning(
                    "the price of %r has changed since its batch was made: its answers are reckoned at the price then, "
                    "$%g and $%g for a million tokens in and out; what is asked from now on, at the new one",
                    self._spec.model,
                    *before,
                )

    def _tell(self, batch: CallBatch, failed: Mapping[str, int]) -> None:
        left = batch.calls - batch.answered
        why = "".join(f"; {count} of them: {reason}" for reason, count in Counter(failed).most_common(1))
        again = f", {left:,} not{why}; they are asked again" if left > 0 else ""
        level = logging.WARNING if left > 0 else logging.INFO
        answered = number_of(batch.answered, "call")
        logger.log(level, "batch %s %s: %s answered%s", batch.server_id, batch.said, answered, again)

    async def _demand_own(self) -> None:
        while time.clock_gettime(CLOCK) - self._allowed > ALLOWED_SECONDS:
            asked = time.clock_gettime(CLOCK)
            await self._demand()
            self._allowed = asked

    async def _retried(self, work: Callable[[], Awaitable[T]]) -> T:
        """Do what may be done twice, as often as the endpoint says."""
        try:
            return await with_retries(work, self._spec.attempts)
        except TryAgain as again:
            raise again.error from again


def _opened_again(file: IO[bytes]) -> IO[bytes]:
    again = open(os.dup(file.fileno()), "rb")
    again.seek(0)
    return again


@contextmanager
def _looking(demand: Callable[[], Coroutine[Any, Any, None]]) -> Iterator[None]:
    """Let a request look at the fence once more before its first byte, as every call's does."""
    token = demand_allowed.set(demand)
    try:
        yield
    finally:
        demand_allowed.reset(token)


async def _in_groups(rows: AsyncIterator[dict[str, Any]]) -> AsyncIterator[dict[str, dict[str, Any]]]:
    """Yield a file's rows by the keys of their calls, some at a time."""
    group: dict[str, dict[str, Any]] = {}
    async for row in rows:
        group[str(row.get("custom_id"))] = row
        if len(group) == KEYS:
            yield group
            group = {}
    if group:
        yield group


def answer_in(call: DeferredCall, row: Mapping[str, Any], batch: CallBatch, found: ServerBatch) -> Call | str:
    """Return the call that a row of a batch's file answers, or why it does not.

    Args:
        call: what was asked.
        row: ``{"custom_id", "response": {"status_code", "body"}, "error"}``.
        batch: ours.
        found: the server's.
    """
    response = row.get("response")
    response = response if isinstance(response, dict) else {}
    body = response.get("body")
    if response.get("status_code") != 200 or not isinstance(body, dict):
        error = row.get("error") or body or response or row
        said = said_by_server(json.dumps(error if isinstance(error, dict) and "error" in error else {"error": error}))
        return said or f"status {response.get('status_code')}"
    try:
        reply = with_stops(read_completion(body, call.request, call.endpoint), call.stop, call.request)
    except TryAgain as again:
        return str(again.error)
    except CallFailed as error:
        return str(error)
    dollars = call.input_price * reply.prompt_tokens + call.output_price * reply.completion_tokens
    return Call(
        key=call.key,
        run_id=call.run_id,
        purpose=call.purpose,
        endpoint=call.endpoint,
        model=call.model,
        request=call.request,
        status="answered",
        text=reply.text,
        finish_reason=reply.finish_reason,
        prompt_tokens=reply.prompt_tokens,
        completion_tokens=reply.completion_tokens,
        cost=dollars / MILLION,
        started_at=batch.made_at,
        finished_at=max(batch.made_at, found.ended_at or datetime.now(UTC)),
    )
