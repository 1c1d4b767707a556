"""Budget: what a run has spent, what its calls in flight may still cost, and whether one more fits under the cap."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Mapping, Sequence
from typing import Any

from state.errors import BudgetExceeded
from state.request import Endpoint
from tools.endpoint.ledger import CallLedger

MILLION = 1_000_000
TEMPLATE_TOKENS = 16
"""The most tokens that a chat template adds to one message."""


def price(spec: Endpoint, prompt_tokens: int, completion_tokens: int) -> float:
    """Return the dollars for a call's tokens; a price that is not known counts as nothing, since no cap rests on it."""
    return (prompt_tokens * (spec.input_price or 0.0) + completion_tokens * (spec.output_price or 0.0)) / MILLION


def most_it_can_cost(spec: Endpoint, body: dict[str, Any], max_tokens: int) -> float:
    """Return dollars that a request cannot exceed."""
    if not spec.input_price and not spec.output_price:
        return 0.0
    return price(spec, most_prompt_tokens(body["messages"], body.get("response_format")), max_tokens)


def most_prompt_tokens(messages: Sequence[Mapping[str, Any]], response_format: Any = None) -> int:
    """Return tokens that a prompt cannot exceed: a text never has more of them than bytes, in any language."""
    sent = json.dumps([messages, response_format], ensure_ascii=False)
    return len(sent.encode("utf-8", "surrogatepass")) + TEMPLATE_TOKENS * len(messages)


class Account:
    """The money of one run, in one event loop: which calls may be made, and which must wait for those in flight.

    Args:
        ledger: reserves what a call can cost, for all processes together.
        run_id: the run.
    """

    def __init__(self, ledger: CallLedger, run_id: str) -> None:
        self.ledger = ledger
        self.run_id = run_id
        self.in_flight = 0
        self._settled = asyncio.Event()

    async def reserve(self, most: float) -> None:
        """Reserve dollars for a call; wait as long as calls in flight may leave enough for it.

        Args:
            most: dollars that the call can cost at most; with 0 this only shows that the run is still this process's.

        Raises:
            BudgetExceeded: the call could pass the cap, and no call in flight can change that.
            LeaseLost: another process has taken the run over.
        """
        while True:
            # Taken before the ledger is asked, so that what is settled meanwhile is not missed.
            settled = self._settled
            over = await self.ledger.reserve(self.run_id, most)
            if over is None:
                self.in_flight += 1
                return
            if not self.in_flight:
                raise BudgetExceeded(over.spent, over.cap)
            await settled.wait()

    def settle(self) -> None:
        """Note that a call for which dollars were reserved has ended, so that those that wait look again."""
        self.in_flight -= 1
        self._settled.set()
        self._settled = asyncio.Event()
