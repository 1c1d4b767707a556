"""Budget: what a run has spent, what its calls in flight may still cost, and whether one more fits under the cap."""

from __future__ import annotations

import asyncio
import json
from typing import Any

from state.errors import BudgetExceeded
from state.request import Endpoint
from tools.endpoint.ledger import CallLedger

MILLION = 1_000_000
TEMPLATE_TOKENS = 16
"""The most tokens that a chat template adds to one message."""


def price(spec: Endpoint, prompt_tokens: int, completion_tokens: int) -> float:
    """Return the dollars for a call's tokens."""
    return (prompt_tokens * spec.input_price + completion_tokens * spec.output_price) / MILLION


def most_it_can_cost(spec: Endpoint, body: dict[str, Any], max_tokens: int) -> float:
    """Return dollars that a request cannot exceed.

    A text never has more tokens than bytes, in any language, so its bytes bound the price of the prompt.
    """
    if not spec.input_price and not spec.output_price:
        return 0.0
    sent = json.dumps([body["messages"], body.get("response_format")], ensure_ascii=False)
    tokens = len(sent.encode("utf-8", "surrogatepass")) + TEMPLATE_TOKENS * len(body["messages"])
    return price(spec, tokens, max_tokens)


class Account:
    """The money of one run, in one event loop. The lease ensures that only one process works on the run.

    Args:
        ledger: tells what the run has spent, and its cap.
        run_id: the run.
    """

    def __init__(self, ledger: CallLedger, run_id: str) -> None:
        self.ledger = ledger
        self.run_id = run_id
        self.spent = 0.0
        self.cap: float | None = None
        self.reserved: list[float] = []
        """The most that each call in flight can cost."""
        self._lock = asyncio.Lock()
        self._settled = asyncio.Event()

    async def reserve(self, most: float) -> None:
        """Reserve dollars for a call; wait as long as calls in flight may leave enough for it.

        Raises:
            BudgetExceeded: the call could pass the cap, and no call in flight can change that.
        """
        if most <= 0:
            return
        async with self._lock:
            while True:
                if not self.reserved:
                    # Nothing is in flight, so the ledger knows all costs; a person may have raised the cap.
                    self.spent = await self.ledger.spent(self.run_id)
                    self.cap = await self.ledger.cap(self.run_id)
                if self.cap is None or self.spent + sum(self.reserved) + most <= self.cap:
                    self.reserved.append(most)
                    return
                if not self.reserved:
                    raise BudgetExceeded(self.spent, self.cap)
                self._settled.clear()
                await self._settled.wait()

    def settle(self, most: float, cost: float) -> None:
        """Replace what was reserved for a call by what it cost."""
        if most > 0:
            self.reserved.remove(most)
            self.spent += cost
            self._settled.set()
