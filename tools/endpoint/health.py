"""Whether an endpoint still answers: what tells a call that fails by itself from a server that is down. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from math import inf

IN_A_ROW = 20
"""Failed calls in a row, with none answered in between, after which the server is held to be down. At five judges an
answer that is four answers' worth, so that one poisoned text alone stops nothing, while a server that is down costs
fewer rows than one batch holds."""
REST_SECONDS = 15.0
"""How long a server that is down is not asked again: the calls that wait for their turn then end at once, instead of
each going through its tries."""


@dataclass
class Health:
    """How the calls to one model of one endpoint have gone of late. Times are seconds of one steady clock."""

    answered_at: float = -inf
    """When the last answer came."""
    failures: int = 0
    """Calls in a row that failed while nothing was answered."""
    rests_until: float = -inf
    why: str = ""
    """What the last rest is for."""

    def answered(self, now: float) -> None:
        """Note that a call was answered: whatever failed before was not the server."""
        self.answered_at = now
        self.failures = 0
        self.rests_until = -inf

    def failed(self, began: float, *, before: bool) -> bool:
        """Note that a call failed after its tries, and return whether the server is held to be down.

        Args:
            began: when its first try began. Where another call was answered since, this one failed by itself.
            before: whether the ledger knows it as failed from an earlier visit. It does not count again, so that a
                text that fails by itself, with ever so many calls, ends as failed on a later visit.
        """
        if self.answered_at < began and not before:
            self.failures += 1
        down = self.failures >= IN_A_ROW
        if down:
            self.failures = 0
        return down

    def rest(self, now: float, why: str) -> None:
        """Ask nothing for a while."""
        self.rests_until, self.why = now + REST_SECONDS, why

    def resting(self, now: float) -> bool:
        """Return whether the server is not to be asked."""
        return now < self.rests_until
