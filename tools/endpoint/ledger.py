"""CallLedger: where calls are kept, so that each is paid for once. The record store implements it."""

from __future__ import annotations

from typing import Protocol

from state.calls import OverCap
from state.records import Call


class CallLedger(Protocol):
    """Recorded calls of all runs, and what each run may spend."""

    @property
    def failed_writes(self) -> int:
        """How many writes have failed, whoever wrote."""
        ...

    def demand_kept(self, failed_before: int) -> None:
        """Refuse to go on paying for answers that could not be kept.

        Args:
            failed_before: ``failed_writes`` as it was when the work began.

        Raises:
            StorageError: a write has failed since.
        """
        ...

    async def get(self, key: str) -> Call | None:
        """Return the recorded call, answered or failed, or ``None``."""
        ...

    async def put(self, call: Call, reserved: float = 0.0) -> None:
        """Record a call in the place of the dollars reserved for it; it is on disk when this returns.

        An answer replaces a failure; nothing replaces an answer.

        Raises:
            LeaseLost: another process has taken the run over; nothing was recorded.
        """
        ...

    async def note_unusable(self, run_id: str, call: Call, why: str) -> None:
        """Note in an answered call's ``error`` why its answer could not be used; the answer stays as it is."""
        ...

    async def reserve(self, run_id: str, dollars: float) -> OverCap | None:
        """Reserve dollars of a run's cap for a call that is about to be made, for all processes together.

        With 0 dollars this only shows that the run is still this process's.

        Returns:
            ``None`` if the call may be made; else what is spent of the cap.

        Raises:
            LeaseLost: another process has taken the run over.
        """
        ...

    async def release(self, run_id: str, dollars: float) -> None:
        """Give back what was reserved for a call that was never sent."""
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
