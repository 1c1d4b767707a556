"""How many rows each gate saw and passed."""

from __future__ import annotations

from collections.abc import Iterable

from pydantic import Field

from state.records import Outcome, Record
from tools.gates.pipeline import GATES
from tools.gates.results import GateDecision


class GateRate(Record):
    """How many rows a gate saw, and passed."""

    met: int = Field(0, ge=0)
    passed: int = Field(0, ge=0)

    @property
    def rate(self) -> float:
        """The share passed, in [0, 1]; 1 where the gate saw no row."""
        return self.passed / self.met if self.met else 1.0


def pass_rates(decisions: Iterable[GateDecision]) -> dict[str, GateRate]:
    """Count, for each gate and under ``overall`` for all of them, how many rows were seen and passed."""
    tally = PassTally()
    for decision in decisions:
        tally.add(decision)
    return tally.rates()


class PassTally:
    """The running form of ``pass_rates``, for streams."""

    def __init__(self) -> None:
        self._met = dict.fromkeys((*GATES, "overall"), 0)
        self._passed = dict.fromkeys((*GATES, "overall"), 0)

    def add(self, decision: GateDecision) -> None:
        """Count one row."""
        for result in decision.results:
            self._met[result.gate] += 1
            self._passed[result.gate] += result.passed
        self._met["overall"] += 1
        self._passed["overall"] += decision.outcome is Outcome.ACCEPTED

    def rates(self) -> dict[str, GateRate]:
        """Return the counts so far."""
        return {name: GateRate(met=met, passed=self._passed[name]) for name, met in self._met.items()}
