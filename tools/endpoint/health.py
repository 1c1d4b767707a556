"""Whether an endpoint is down, or only a single call fails. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

from state.errors import CallFailed, EndpointError, EndpointUnreachable

IN_A_ROW = 20
"""Failed calls in a row, with none answered in between, after which the server counts as down. With five judges for
each answer these are the calls of four answers: one answer that breaks the server stops nothing, and a server that is
down costs fewer rows than one batch has."""
PAUSE_SECONDS = 15.0
"""How many seconds a server that is down is not asked: calls that wait for their turn fail at once, without tries."""


@dataclass
class Health:
    """How recent calls to one model of one endpoint ended. Times are seconds of a monotonic clock."""

    answered_at: float = -inf
    """When the last answer came."""
    failures: int = 0
    """Calls in a row that failed while nothing was answered."""
    paused_until: float = -inf
    why: str = ""
    """The error for which the endpoint is not asked for a while."""

    def ended(self, error: EndpointError | None, began: float, now: float, *, before: bool) -> EndpointError | None:
        """Note how a call ended, and return its error.

        Args:
            error: the last try's; ``None`` for an answer.
            began: when the first try began.
            now: when the last one ended.
            before: whether the call had also failed in an earlier attempt at the run.

        Returns:
            The error itself, or ``EndpointUnreachable`` if so many calls failed in a row that the server must be down.
        """
        if error is None:
            self.answered(now)
        elif isinstance(error, EndpointUnreachable):
            self.pause(now, str(error))
        elif isinstance(error, CallFailed):
            if self.failed(began, before=before):
                why = f"{IN_A_ROW} calls in a row failed; resume when the server is well again. The last: {error}"
                self.pause(now, why)
            if self.paused(now):
                return EndpointUnreachable(self.why)
        return error

    def answered(self, now: float) -> None:
        """Note that a call was answered: earlier failures were not the server's."""
        self.answered_at = now
        self.failures = 0
        self.paused_until = -inf

    def failed(self, began: float, *, before: bool) -> bool:
        """Note that a call failed after its tries, and return whether the server counts as down.

        Args:
            began: when its first try began. If another call was answered since then, only this one failed.
            before: whether the ledger has it as failed from an earlier attempt at the run. It is not counted again, so
                that a text that always fails, however many calls it takes, ends as failed when the run is resumed.
        """
        if self.answered_at < began and not before:
            self.failures += 1
        down = self.failures >= IN_A_ROW
        if down:
            self.failures = 0
        return down

    def pause(self, now: float, why: str) -> None:
        """Stop asking for a while."""
        self.paused_until, self.why = now + PAUSE_SECONDS, why

    def paused(self, now: float) -> bool:
        """Return whether the server must not be asked now."""
        return now < self.paused_until
