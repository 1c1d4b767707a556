"""Deferring: calls of a step that can wait are noted for a batch, and not asked."""

from __future__ import annotations

from typing import Any

from state.batches import AT_ONCE, FREE, BatchStore, DeferredCall
from state.calls import CallStore
from state.errors import BudgetExceeded, CallDeferred
from state.request import Endpoint
from tools.endpoint.chat import ChatCall

SHARE = 0.5
"""Of the price of a call that is asked at once, what one in a batch costs: so OpenAI, Azure and Together."""


class Deferring:
    """Notes calls for a batch.

    Args:
        calls: the ledger, which reserves what a call can cost.
        batches: tells where a call waits.
    """

    def __init__(self, calls: CallStore, batches: BatchStore) -> None:
        self._calls, self._batches = calls, batches

    async def defer(self, call: DeferredCall, most: float, *, tried: bool) -> None:
        """Note that a call waits for a batch; return only where it is to be asked at once.

        Args:
            call: it.
            most: dollars that it can cost at most, in a batch.
            tried: whether the model has given a usable answer to this purpose. The first calls are asked at once, so
                that what is wrong with all shows before a batch is paid for.

        Raises:
            CallDeferred: it waits. Where the cap has no room for it now, it is noted when what waits is answered.
            BudgetExceeded: it could pass the cap, and nothing that waits can change that.
            LeaseLost: another process has taken the run over.
        """
        place = await self._batches.place(call.run_id, call.key)
        if place == AT_ONCE or (place == FREE and not tried):
            return
        if place == FREE:
            over = await self._calls.defer(call, most)
            if over is not None:
                await self.wait_for_room(call.run_id)
                raise BudgetExceeded(over.spent, over.cap)
        raise CallDeferred(f"run {call.run_id} waits for a batch of calls to {call.model!r}")

    async def wait_for_room(self, run_id: str) -> None:
        """Put a call off for which the cap has no room, while something waits that may cost less than it could.

        Raises:
            CallDeferred: something waits.
        """
        if await self._batches.any_waits(run_id):
            raise CallDeferred(f"run {run_id} waits for a batch, whose end may leave more of its budget")


def deferred_call(call: ChatCall, key: str, run_id: str, spec: Endpoint, body: dict[str, Any]) -> DeferredCall:
    """Return a call as it is noted for a batch.

    Args:
        call: what is asked.
        key: its key in the ledger.
        run_id: the run that pays.
        spec: the endpoint, with its prices.
        body: the request as it is sent.
    """
    return DeferredCall(
        key=key,
        run_id=run_id,
        purpose=call.purpose,
        endpoint=spec.base_url,
        model=spec.model,
        request=body,
        stop=call.stop,
        input_price=(spec.input_price or 0.0) * SHARE,
        output_price=(spec.output_price or 0.0) * SHARE,
    )
