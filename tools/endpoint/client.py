"""LedgeredEndpoint: a model behind the ledger, the budget, a limit on calls in flight, and retries."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, TypeVar
from uuid import UUID

from pydantic import BaseModel
from tenacity import AsyncRetrying, RetryCallState, retry_if_exception, stop_after_attempt
from tenacity.wait import wait_exponential_jitter

from state.errors import (
    AnswerInvalid,
    BudgetExceeded,
    CallDeferred,
    CallFailed,
    EndpointError,
    EndpointUnreachable,
    LeaseLost,
    RunBusy,
    StorageError,
)
from state.lease import CLOCK
from state.pipeline import RateLimits
from state.records import Call, content_hash
from state.request import CALLS_TOGETHER, Endpoint
from tools.endpoint.budget import Account, most_it_can_cost, price
from tools.endpoint.chat import Capabilities, ChatCall, Completion, Fault, Likelihood, LikelihoodCall
from tools.endpoint.deferring import SHARE, Deferring, deferred_call
from tools.endpoint.failures import TryAgain
from tools.endpoint.health import IN_A_ROW, Health
from tools.endpoint.ledger import CallLedger
from tools.endpoint.loop import PendingCall, Shared, demand_allowed, shared
from tools.endpoint.observing import calls_traced
from tools.endpoint.schema import read_answer, second_question, strict_schema
from tools.endpoint.spoken import spoken
from tools.endpoint.tracing import trace_id, traced
from tools.endpoint.transport import Reply, Transport, likelihood_body
from tools.endpoint.trial import Trial
from tools.spans import span

T = TypeVar("T", bound=BaseModel)
Asked = ChatCall | LikelihoodCall
LIKELIHOOD = "likelihood"
"""The finish reason of a recorded likelihood; its text is the JSON of the record."""
logger = logging.getLogger(__name__)


@dataclass
class Tries:
    """How often a call was sent."""

    made: int = 0


BACKOFF = wait_exponential_jitter(initial=0.5, max=30, jitter=0.5)
"""Seconds between tries if the server does not say: 0.5, 1, 2, 4... and up to half a second more."""
ALLOWED_SECONDS = 2.0
"""How long what the ledger said of the run's lease is taken as true; then it is asked again before a call is sent."""
LONGEST_WAIT = 300.0
"""Seconds; if a server asks for a longer wait, the call fails, and the run can be resumed later."""


class LedgeredEndpoint:
    """A model for one run; see ``ChatEndpoint``.

    The first write of the ledger's database that fails, whoever wrote, ends all sending: an answer that cannot be kept
    would be paid for again. Work that begins anew opens a new endpoint.

    A call that was sent is finished and recorded even if the task that asked for it is cancelled, since its answer is
    paid for. A call that was not sent yet is dropped.

    Args:
        transport: how the model is asked.
        ledger: recorded calls, and the run's budget.
        spec: the endpoint's name, prices and limits.
        run_id: the run that pays.
        tracing: whether calls are traced to LangSmith.
        since: for work that is no run, but a command: when it began.
        deferring: notes calls that may wait for a batch; ``None`` where all are asked at once.
    """

    def __init__(
        self,
        transport: Transport,
        ledger: CallLedger,
        spec: Endpoint,
        run_id: str,
        *,
        tracing: bool = False,
        since: datetime | None = None,
        deferring: Deferring | None = None,
    ) -> None:
        self.transport = transport
        self.ledger = ledger
        self.spec = spec
        self.run_id = run_id
        self.model = spec.model
        self.tracing = tracing
        self._failed_before = ledger.failed_writes
        self._since = since
        self._deferring = deferring

    @property
    def server(self) -> str:
        """Where it answers, as ``base_url`` says; empty for a model on this machine."""
        return self.spec.base_url if self.can.remote else ""

    @property
    def can(self) -> Capabilities:
        """What the transport can do."""
        return self.transport.can

    @property
    def limits(self) -> RateLimits:
        """What is left of the server's rate limits, as it last reported."""
        return self.transport.limits

    async def complete(self, call: ChatCall, fault: Fault | None = None) -> Completion:
        """Answer a call, from the ledger if it was answered before; see ``ChatEndpoint.complete``."""
        if fault is None:
            return (await self._asked(call))[0]
        trial = await self._trial(call)
        async with trial.question(limited=self.can.remote):
            completion, recorded = await self._asked(call)
            if why := fault(completion):
                await self._note_unusable(why, recorded)
            trial.note(completion, why)
        return completion

    async def _asked(self, call: ChatCall) -> tuple[Completion, Call]:
        recorded, paid = await self._recorded(call)
        said = spoken(recorded.text)
        if said.thinking:
            (await shared()).say_once(
                f"{self.model!r} at {self.spec.base_url} leaves its thinking in its answers: it is kept in the ledger, "
                "and nothing else reads it"
            )
        completion = Completion(
            text=said.text,
            thought=said.thinking,
            finish_reason=recorded.finish_reason,
            key=recorded.key,
            prompt_tokens=recorded.prompt_tokens,
            completion_tokens=recorded.completion_tokens,
            cost=recorded.cost if paid else 0.0,
            from_ledger=not paid,
        )
        return completion, recorded

    async def complete_as(self, schema: type[T], call: ChatCall) -> tuple[T, Completion]:
        """Answer with an instance of ``schema``; see ``ChatEndpoint.complete_as``."""
        asked = call.model_copy(update={"json_schema": strict_schema(schema)})
        trial = await self._trial(call)
        async with trial.question(limited=self.can.remote):
            completion, first = await self._asked(asked)
            answer = read_answer(schema, completion)
            if isinstance(answer, str):
                completion, second = await self._asked(second_question(asked, completion, answer))
                answer = read_answer(schema, completion)
                if isinstance(answer, str):
                    await self._note_unusable(answer, first, second)
            trial.note(completion, answer if isinstance(answer, str) else "")
        if isinstance(answer, str):
            raise AnswerInvalid(f"{self.model!r} did not answer as {schema.__name__}, twice; at last: {answer}")
        return answer, completion

    async def likelihood(self, call: LikelihoodCall) -> Likelihood:
        """Return how likely the model finds a text; see ``ChatEndpoint.likelihood``."""
        recorded, _ = await self._recorded(call)
        return Likelihood.model_validate_json(recorded.text)

    async def _trial(self, call: ChatCall) -> Trial:
        share = await shared()
        return share.trial(id(self.ledger), self.run_id, self.spec.base_url, self.model, call.purpose)

    async def _note_unusable(self, why: str, *answered: Call) -> None:
        """Note why answers cannot be used, so that work that begins anew asks again.

        A model on this machine is left out: it would answer the same.
        """
        if self.can.remote:
            for call in answered:
                await self.ledger.note_unusable(self.run_id, call, why)

    async def _recorded(self, call: Asked) -> tuple[Call, bool]:
        """Return the recorded call, and whether it was made and paid for now.

        An answer that another run, or an earlier command, could not use is asked again, as a call of its own: both
        were paid for. A run that is resumed takes it as it is, and so gets past it.
        """
        key = call.key(self.spec.base_url, self.model)
        while True:
            found, paid = await self._used(call, key)
            if paid or not found.error or self._asked_now(found):
                return found, paid
            key = content_hash(key, "asked again")

    def _asked_now(self, found: Call) -> bool:
        return found.run_id == self.run_id and (self._since is None or found.finished_at >= self._since)

    async def _used(self, call: Asked, key: str) -> tuple[Call, bool]:
        """Return the call recorded under a key, and whether it was made now; the ledger notes that the run used it."""
        try:
            found = await self._join(call, key)
        except EndpointError as error:
            try:
                await self.ledger.use(self.run_id, key, call.purpose)
            except StorageError:
                # What ends the step anyway is not hidden by what came of it.
                if isinstance(error, CallFailed):
                    raise
            raise error
        if not found[1]:  # else it was noted with the answer
            await self.ledger.use(self.run_id, key, call.purpose)
        return found

    async def _join(self, call: Asked, key: str) -> tuple[Call, bool]:
        """Return the recorded call, and whether this caller made it; an equal call under way is joined."""
        share = await shared()
        slot = (id(self.ledger), key)
        while True:
            pending = share.pending.get(slot)
            joined = pending is not None
            if pending is None:
                pending = share.start(
                    slot, self.run_id, lambda pending: self._look_up_or_make(pending, share, call, key)
                )
            pending.waiters += 1
            try:
                recorded, paid = await asyncio.shield(pending.task)
                return recorded, paid and not joined
            except (BudgetExceeded, CallDeferred, LeaseLost, RunBusy):
                if not joined:
                    raise
                # The other run's budget is used up, or its lease is lost, not ours: make the call for this run.
            except asyncio.CancelledError:
                if pending.arrived:
                    await asyncio.wait({pending.task})
                raise
            finally:
                pending.waiters -= 1
                if not pending.waiters and not pending.sent:
                    share.drop(slot, pending)

    async def _look_up_or_make(self, pending: PendingCall, share: Shared, call: Asked, key: str) -> tuple[Call, bool]:
        """Return the call's record, and whether it had to be made."""
        recorded = await self.ledger.get(key)
        if recorded is not None and recorded.status == "answered":
            return recorded, False
        body, most = self._request(call)
        if self._deferring is not None and isinstance(call, ChatCall):
            wanted = deferred_call(call, key, self.run_id, self.spec, body)
            await self._deferring.defer(wanted, most * SHARE, tried=(await self._trial(call)).passed)
        account = self._account(share)
        health = share.health(self.spec.base_url, self.model)
        async with share.limit(self.spec.base_url, self._slots(call)):
            self.ledger.demand_kept(self._failed_before)
            pending.allowed = time.clock_gettime(CLOCK)
            await self._reserve(account, most)
            try:
                began = time.monotonic()
                if health.paused(began):
                    raise EndpointUnreachable(health.why)
                self.ledger.demand_kept(self._failed_before)
                pending.sent, pending.remote = True, self.can.remote
                made, error = await self._make(pending, health, call, key, body)
                pending.arrived = True
                error = noted(health, error, began, before=recorded is not None)
                # Written before the slot is freed: a kill loses no more answers than there are slots.
                await self._put(made, most)
            finally:
                account.settle()
                if most and not pending.sent:
                    with suppress(StorageError):  # what kept the call from being sent is what there is to say
                        await asyncio.shield(self.ledger.release(self.run_id, most))
        if error is not None:
            # It may have failed for want of another try, which is not made where nothing can be kept.
            self.ledger.demand_kept(self._failed_before)
            raise error
        return made, True

    def _slots(self, call: Asked) -> int:
        """Return how many calls may be in flight.

        Processes of this machine that tell likelihoods read a prompt once for all its texts that are there.
        """
        here = isinstance(call, LikelihoodCall) and not self.can.remote
        return max(self.spec.concurrency, CALLS_TOGETHER) if here else self.spec.concurrency

    async def _put(self, made: Call, most: float) -> None:
        """Record a call, and in the same commit that the run used its answer."""
        if made.status == "answered":
            used = self.ledger.use(self.run_id, made.key, made.purpose)
            await asyncio.gather(self.ledger.put(made, most), used)
        else:
            await self.ledger.put(made, most)

    async def _reserve(self, account: Account, most: float) -> None:
        try:
            await account.reserve(most)
        except BudgetExceeded:
            if self._deferring is not None:
                await self._deferring.wait_for_room(self.run_id)
            raise

    def _may_send(self, health: Health) -> bool:
        """Return whether another try of a call may be made: the server is up, and answers can be kept."""
        return not health.paused(time.monotonic()) and self.ledger.failed_writes == self._failed_before

    def _request(self, call: Asked) -> tuple[dict[str, Any], float]:
        """Return a call as it is sent and recorded, and the most dollars that it can cost."""
        if isinstance(call, LikelihoodCall):
            body, tokens = likelihood_body(call, self.model), 0
        else:
            body, tokens = self.transport.body(call, self.model), call.max_tokens
        return body, most_it_can_cost(self.spec, body, tokens)

    def _account(self, share: Shared) -> Account:
        # The dictionary is weak: an account lives as long as a call of its run, and is then read from the ledger again.
        slot = (id(self.ledger), self.run_id)
        account = share.accounts.get(slot) or Account(self.ledger, self.run_id)
        return share.accounts.setdefault(slot, account)

    async def _make(
        self, pending: PendingCall, health: Health, call: Asked, key: str, body: dict[str, Any]
    ) -> tuple[Call, EndpointError | None]:
        """Return the record of a call, made with retries, and its error where every try failed."""
        started, tries = datetime.now(UTC), Tries()
        pending.patience = self.spec.attempts * self.spec.timeout
        reply, failed = Reply(text="", finish_reason=""), None
        try:
            reply = await self._traced(
                lambda: self._tried(tries, pending, health, call), call, body, trace_id(started, key)
            )
        except TryAgain as again:
            failed = again.error
        except EndpointError as error:
            failed = error
        if failed is not None:
            told = {"purpose": call.purpose, "endpoint": self.spec.base_url, "model": self.model, "error": str(failed)}
            logger.warning("call failed", extra=told | {"attempts": tries.made})
        made = Call(
            key=key,
            run_id=self.run_id,
            purpose=call.purpose,
            endpoint=self.spec.base_url,
            model=self.model,
            request=self._request(call)[0],  # as it was sent at last: the transport may have found out what is taken
            status="failed" if failed else "answered",
            text=reply.text,
            finish_reason=reply.finish_reason,
            error=str(failed or ""),
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            cost=price(self.spec, reply.prompt_tokens, reply.completion_tokens),
            attempts=tries.made,
            started_at=started,
            finished_at=datetime.now(UTC),
        )
        return made, failed

    async def _tried(self, tries: Tries, pending: PendingCall, health: Health, call: Asked) -> Reply:
        """Send a call until it is answered, or another try would be in vain."""

        async def send() -> Reply:
            tries.made += 1
            return await self._send(call, pending)

        try:
            return await send()
        except TryAgain as error:
            first: TryAgain | None = error

        async def send_again() -> Reply:
            # Tenacity, which costs more than all else of a call, is told of the first try once that has failed.
            nonlocal first
            if first is not None:
                failed, first = first, None
                raise failed
            return await send()

        retrying = AsyncRetrying(
            stop=stop_after_attempt(self.spec.attempts),
            wait=seconds_to_wait,
            retry=retry_if_exception(
                lambda error: worth_another_try(error) and pending.waiters > 0 and self._may_send(health)
            ),
            reraise=True,
        )
        return await retrying(send_again)

    async def _send(self, call: Asked, pending: PendingCall) -> Reply:
        """Try once; a likelihood is recorded as the JSON of its record.

        Raises:
            LeaseLost: another process has taken the run over.
        """
        async with (await shared()).turn(self.spec.base_url, pending):
            await self._demand_allowed(pending)
            demand_allowed.set(partial(self._demand_allowed, pending))
            if not isinstance(call, ChatCall):
                found = await self.transport.likelihood(call, self.model)
                return Reply(text=found.model_dump_json(), finish_reason=LIKELIHOOD)
            try:
                return await self.transport.send(call, self.model, self.spec.timeout)
            except TryAgain as error:
                pending.late = error.late
                raise

    async def _demand_allowed(self, pending: PendingCall) -> None:
        while time.clock_gettime(CLOCK) - pending.allowed > ALLOWED_SECONDS:
            # A try after a wait, or this process was stopped between the reservation and now.
            asked = time.clock_gettime(CLOCK)
            await self.ledger.reserve(self.run_id, 0.0)
            pending.allowed = asked

    async def _traced(
        self, send: Callable[[], Awaitable[Reply]], call: Asked, body: dict[str, Any], own_id: UUID
    ) -> Reply:
        with span(
            f"chat {self.model}",
            kind="CLIENT",
            gen_ai__operation__name="chat",
            gen_ai__request__model=self.model,
            server__address=self.spec.base_url,
            corral__run=self.run_id,
            corral__purpose=call.purpose,
        ) as open_span:
            reply = await self._sent(send, call, body, own_id)
            open_span.note(
                gen_ai__usage__input_tokens=reply.prompt_tokens, gen_ai__usage__output_tokens=reply.completion_tokens
            )
        return reply

    async def _sent(
        self, send: Callable[[], Awaitable[Reply]], call: Asked, body: dict[str, Any], own_id: UUID
    ) -> Reply:
        if not (self.tracing or calls_traced.get()):
            return await send()
        known = {"thread_id": self.run_id, "run": self.run_id, "endpoint": self.spec.base_url}
        draw = {"draw": call.draw} if isinstance(call, ChatCall) else {}
        return await traced(send, body, call.purpose, known | draw, own_id)


def noted(health: Health, error: EndpointError | None, began: float, *, before: bool) -> EndpointError | None:
    """Note how a call ended, and return its error.

    Args:
        health: of the call's endpoint.
        error: the last try's; ``None`` for an answer.
        began: when the first try began, in monotonic seconds.
        before: whether the call had also failed in an earlier attempt at the run.

    Returns:
        The error itself, or ``EndpointUnreachable`` if so many calls failed in a row that the server must be down.
    """
    now = time.monotonic()
    if error is None:
        health.answered(now)
    elif isinstance(error, EndpointUnreachable):
        health.pause(now, str(error))
    elif isinstance(error, CallFailed):
        if health.failed(began, before=before):
            health.pause(
                now, f"{IN_A_ROW} calls in a row failed; resume when the server is well again. The last: {error}"
            )
        if health.paused(now):
            return EndpointUnreachable(health.why)
    return error


def worth_another_try(error: BaseException) -> bool:
    """Return whether another try may succeed, and soon enough to wait for it."""
    return isinstance(error, TryAgain) and (error.after or 0.0) <= LONGEST_WAIT


def seconds_to_wait(state: RetryCallState) -> float:
    """Return the seconds before the next try: what the server asks for, else exponential backoff with jitter."""
    error = state.outcome.exception() if state.outcome else None
    asked = error.after if isinstance(error, TryAgain) else None
    return BACKOFF(state) if asked is None else asked
