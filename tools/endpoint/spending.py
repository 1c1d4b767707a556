"""A cap for calls that belong to no run: what a command or a program may spend by itself, and what it has spent."""

from __future__ import annotations

from dataclasses import dataclass

from state.calls import OverCap
from state.records import Call
from tools.endpoint.ledger import CallLedger


@dataclass
class Spending:
    """Money outside of runs.

    Attributes:
        cap: dollars that may be spent; ``None`` for no cap.
        spent: dollars that were paid. What the ledger knew already costs nothing.
        calls: calls that were made.
        reserved: dollars for calls in flight.
    """

    cap: float | None = None
    spent: float = 0.0
    calls: int = 0
    reserved: float = 0.0


class CappedLedger:
    """A ledger whose calls are counted, and whose cap is that of a spending and not that of a run.

    Args:
        ledger: keeps the calls.
        spending: what they cost is added to it; several ledgers may share one.
    """

    def __init__(self, ledger: CallLedger, spending: Spending) -> None:
        self._ledger = ledger
        self._spending = spending

    @property
    def failed_writes(self) -> int:
        """How many writes have failed."""
        return self._ledger.failed_writes

    def demand_kept(self, failed_before: int) -> None:
        """Refuse to go on paying for answers that could not be kept; see ``CallLedger.demand_kept``."""
        self._ledger.demand_kept(failed_before)

    async def get(self, key: str) -> Call | None:
        """Return the recorded call, or ``None``."""
        return await self._ledger.get(key)

    async def put(self, call: Call, reserved: float = 0.0) -> None:
        """Record a call in the place of the dollars reserved for it, and count it."""
        self._spending.reserved = max(0.0, self._spending.reserved - reserved)
        self._spending.spent += call.cost
        self._spending.calls += 1
        await self._ledger.put(call)

    async def note_unusable(self, run_id: str, call: Call, why: str) -> None:
        """Note why an answer could not be used; see ``CallLedger.note_unusable``."""
        await self._ledger.note_unusable(run_id, call, why)

    async def reserve(self, run_id: str, dollars: float) -> OverCap | None:
        """Reserve dollars for a call that is about to be made; see ``CallLedger.reserve``."""
        money = self._spending
        if dollars and money.cap is not None and money.spent + money.reserved + dollars > money.cap:
            return OverCap(money.spent, money.cap)
        money.reserved += dollars
        return None

    async def release(self, run_id: str, dollars: float) -> None:
        """Give back what was reserved for a call that was never sent."""
        self._spending.reserved = max(0.0, self._spending.reserved - dollars)

    async def use(self, run_id: str, key: str, purpose: str) -> None:
        """Note that a recorded call was used."""
        await self._ledger.use(run_id, key, purpose)

    async def spent(self, run_id: str) -> float:
        """Return the dollars that were paid."""
        return self._spending.spent

    async def cap(self, run_id: str) -> float | None:
        """Return the dollars that may be spent, or ``None`` for no cap."""
        return self._spending.cap
