"""CallLedger: where calls are kept, so that each is paid for once. The record store implements it."""

from __future__ import annotations

from typing import Protocol

from state.records import Call


class CallLedger(Protocol):
    """Recorded calls of all runs, and what each run may spend."""

    async def get(self, key: str) -> Call | None:
        """Return the recorded call, answered or failed, or ``None``."""
        ...

    async def put(self, call: Call) -> None:
        """Record a call; it is on disk when this returns. An answer replaces a failure; nothing replaces an answer."""
        ...

    async def use(self, run_id: str, key: str, purpose: str) -> None:
        """Note that a run used a recorded call, made now or earlier."""
        ...

    async def spent(self, run_id: str) -> float:
        """Return the dollars that a run has paid."""
        ...

    async def cap(self, run_id: str) -> float | None:
        """Return the dollars that a run may spend, or ``None`` for no cap."""
        ...
