"""A ledger in memory, for tests of what stands in front of a ledger."""

from __future__ import annotations

import asyncio
from collections import defaultdict

from state.calls import OverCap
from state.errors import StorageError
from state.records import Call


class MemoryLedger:
    """Keeps calls and uses in dictionaries, and counts the writes.

    Args:
        cap: dollars that every run may spend; ``None`` for no cap.
        delay: seconds that each write takes.
    """

    def __init__(self, cap: float | None = None, delay: float = 0.0) -> None:
        self.calls: dict[str, Call] = {}
        self.uses: set[tuple[str, str, str]] = set()
        self.limit = cap
        self.delay = delay
        self.writes = 0
        self.failed_writes = 0
        self.full = False
        """Whether writes fail, as on a full disk."""
        self.reserved: defaultdict[str, float] = defaultdict(float)

    def demand_kept(self, failed_before: int) -> None:
        if self.failed_writes != failed_before:
            raise StorageError("the disk is full")

    async def get(self, key: str) -> Call | None:
        await asyncio.sleep(0)
        return self.calls.get(key)

    async def reserve(self, run_id: str, dollars: float) -> OverCap | None:
        await asyncio.sleep(0)
        cap, spent = await self.cap(run_id), await self.spent(run_id)
        if dollars and cap is not None and spent + self.reserved[run_id] + dollars > cap:
            return OverCap(spent, cap)
        self.reserved[run_id] += dollars
        return None

    async def release(self, run_id: str, dollars: float) -> None:
        self.reserved[run_id] -= dollars

    async def put(self, call: Call, reserved: float = 0.0) -> None:
        await asyncio.sleep(self.delay)
        if self.full:
            self.failed_writes += 1
            raise StorageError("the disk is full")
        self.writes += 1
        self.reserved[call.run_id] -= reserved
        kept = self.calls.get(call.key)
        if kept is None or kept.status == "failed":
            self.calls[call.key] = call

    async def note_unusable(self, run_id: str, call: Call, why: str) -> None:
        await asyncio.sleep(self.delay)
        self.calls[call.key] = call.model_copy(update={"error": why})

    async def use(self, run_id: str, key: str, purpose: str) -> None:
        self.uses.add((run_id, key, purpose))

    async def spent(self, run_id: str) -> float:
        return sum(call.cost for call in self.calls.values() if call.run_id == run_id)

    async def cap(self, run_id: str) -> float | None:
        return self.limit
