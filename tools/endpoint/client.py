"""LedgeredEndpoint: a model behind the ledger, the budget and a limit on calls in flight."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from datetime import datetime
from typing import TypeVar

from pydantic import BaseModel

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
from tools.endpoint.budget import Account
from tools.endpoint.chat import Capabilities, ChatCall, Completion, Fault, Likelihood, LikelihoodCall
from tools.endpoint.deferring import SHARE, Deferring, deferred_call
from tools.endpoint.health import Health
from tools.endpoint.ledger import CallLedger
from tools.endpoint.loop import PendingCall, Shared, shared
from tools.endpoint.schema import read_answer, second_question, strict_schema
from tools.endpoint.sending import Asked, Sender
from tools.endpoint.spoken import spoken
from tools.endpoint.transport import Transport
from tools.endpoint.trial import Trial

T = TypeVar("T", bound=BaseModel)


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
        likelihoods_of: the name in the ledger of the weights that tell likelihoods; empty where it is the model's.
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
        likelihoods_of: str = "",
    ) -> None:
        self.transport = transport
        self.ledger = ledger
        self.spec = spec
        self.run_id = run_id
        self.model = spec.model
        self._sender = Sender(transport, ledger, spec, run_id, tracing)
        self._failed_before = ledger.failed_writes
        self._since = since
        self._deferring = deferring
        self._likelihoods_of = likelihoods_of or spec.model

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
        weights = self._likelihoods_of if isinstance(call, LikelihoodCall) else self.model
        key = call.key(self.spec.base_url, weights)
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
        body, most = self._sender.request(call)
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
                made, error = await self._sender.make(pending, call, key, lambda: self._try_again(pending, health))
                pending.arrived = True
                error = health.ended(error, began, time.monotonic(), before=recorded is not None)
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

    def _try_again(self, pending: PendingCall, health: Health) -> bool:
        """Return whether another try of a call may be made: it is waited for, the server is up, answers can be kept."""
        up = not health.paused(time.monotonic())
        return pending.waiters > 0 and up and self.ledger.failed_writes == self._failed_before

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

    def _account(self, share: Shared) -> Account:
        # The dictionary is weak: an account lives as long as a call of its run, and is then read from the ledger again.
        slot = (id(self.ledger), self.run_id)
        account = share.accounts.get(slot) or Account(self.ledger, self.run_id)
        return share.accounts.setdefault(slot, account)
