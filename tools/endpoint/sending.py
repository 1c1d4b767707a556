"""One call of a run: sent with retries and traces, and made into its record. What the ledger knows is the client's."""

from __future__ import annotations

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any
from uuid import UUID

from state.errors import EndpointError
from state.lease import CLOCK
from state.records import Call
from state.request import Endpoint
from tools.endpoint.budget import most_it_can_cost, price
from tools.endpoint.chat import ChatCall, LikelihoodCall
from tools.endpoint.failures import TryAgain
from tools.endpoint.ledger import CallLedger
from tools.endpoint.loop import PendingCall, demand_allowed, shared
from tools.endpoint.observing import calls_traced
from tools.endpoint.retries import with_retries
from tools.endpoint.tracing import trace_id, traced
from tools.endpoint.transport import Reply, Transport, likelihood_body
from tools.spans import span

Asked = ChatCall | LikelihoodCall
Send = Callable[[], Awaitable[Reply]]
LIKELIHOOD = "likelihood"
"""The finish reason of a recorded likelihood; its text is the JSON of the record."""
ALLOWED_SECONDS = 2.0
"""How long what the ledger said of the run's lease is taken as true; then it is asked again before a call is sent."""
logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Sender:
    """Sends the calls of one run to one model.

    Attributes:
        transport: how the model is asked.
        ledger: says whether the run is still this process's.
        spec: the endpoint's name, prices and limits.
        run_id: the run that pays.
        tracing: whether calls are traced to LangSmith.
    """

    transport: Transport
    ledger: CallLedger
    spec: Endpoint
    run_id: str
    tracing: bool

    def request(self, call: Asked) -> tuple[dict[str, Any], float]:
        """Return a call as it is sent and recorded, and the most dollars that it can cost."""
        body = self._body(call)
        return body, most_it_can_cost(self.spec, body, call.max_tokens if isinstance(call, ChatCall) else 0)

    def _body(self, call: Asked) -> dict[str, Any]:
        if isinstance(call, ChatCall):
            return self.transport.body(call, self.spec.model)
        return likelihood_body(call, self.spec.model)

    async def make(
        self, pending: PendingCall, call: Asked, key: str, may_go_on: Callable[[], bool]
    ) -> tuple[Call, EndpointError | None]:
        """Return the record of a call, made with retries, and its error where every try failed.

        Args:
            pending: the call as one that is under way.
            call: what is asked.
            key: its key in the ledger.
            may_go_on: whether another try may be made after one that failed.
        """
        started, tries = datetime.now(UTC), 0
        pending.patience = self.spec.attempts * self.spec.timeout
        reply, failed = Reply(text="", finish_reason=""), None

        async def send() -> Reply:
            nonlocal tries
            tries += 1
            return await self._send(call, pending)

        try:
            reply = await self._observed(
                lambda: with_retries(send, self.spec.attempts, may_go_on), call, trace_id(started, key)
            )
        except TryAgain as again:
            failed = again.error
        except EndpointError as error:
            failed = error
        asked = {"purpose": call.purpose, "endpoint": self.spec.base_url, "model": self.spec.model}
        if failed is not None:
            logger.warning("call failed", extra=asked | {"error": str(failed), "attempts": tries})
        made = Call(
            **asked,
            key=key,
            run_id=self.run_id,
            request=self._body(call),  # as it was sent at last: the transport may have found out what is taken
            status="failed" if failed else "answered",
            text=reply.text,
            finish_reason=reply.finish_reason,
            error=str(failed or ""),
            prompt_tokens=reply.prompt_tokens,
            completion_tokens=reply.completion_tokens,
            cost=price(self.spec, reply.prompt_tokens, reply.completion_tokens),
            attempts=tries,
            started_at=started,
            finished_at=datetime.now(UTC),
        )
        return made, failed

    async def _send(self, call: Asked, pending: PendingCall) -> Reply:
        """Try once; a likelihood is recorded as the JSON of its record.

        Raises:
            LeaseLost: another process has taken the run over.
        """
        async with (await shared()).turn(self.spec.base_url, pending):
            await self._demand_allowed(pending)
            demand_allowed.set(partial(self._demand_allowed, pending))
            if not isinstance(call, ChatCall):
                found = await self.transport.likelihood(call, self.spec.model)
                return Reply(text=found.model_dump_json(), finish_reason=LIKELIHOOD)
            try:
                return await self.transport.send(call, self.spec.model, self.spec.timeout)
            except TryAgain as error:
                pending.late = error.late
                raise

    async def _demand_allowed(self, pending: PendingCall) -> None:
        while time.clock_gettime(CLOCK) - pending.allowed > ALLOWED_SECONDS:
            # A try after a wait, or this process was stopped between the reservation and now.
            asked = time.clock_gettime(CLOCK)
            await self.ledger.reserve(self.run_id, 0.0)
            pending.allowed = asked

    async def _observed(self, send: Send, call: Asked, own_id: UUID) -> Reply:
        """Send in a span, and traced where calls are."""
        with span(
            f"chat {self.spec.model}",
            kind="CLIENT",
            gen_ai__operation__name="chat",
            gen_ai__request__model=self.spec.model,
            server__address=self.spec.base_url,
            corral__run=self.run_id,
            corral__purpose=call.purpose,
        ) as open_span:
            reply = await self._traced(send, call, own_id)
            open_span.note(
                gen_ai__usage__input_tokens=reply.prompt_tokens, gen_ai__usage__output_tokens=reply.completion_tokens
            )
        return reply

    async def _traced(self, send: Send, call: Asked, own_id: UUID) -> Reply:
        if not (self.tracing or calls_traced.get()):
            return await send()
        known = {"thread_id": self.run_id, "run": self.run_id, "endpoint": self.spec.base_url}
        draw = {"draw": call.draw} if isinstance(call, ChatCall) else {}
        return await traced(send, self._body(call), call.purpose, known | draw, own_id)
