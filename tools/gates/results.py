"""What each gate found in a row, the row's score over all gates, and the decision on the row.

Every fault that a gate finds has a severity, and a severity has a penalty: the row's score is the product of
``1 - penalty`` over all its faults, so faults add up across gates and one critical fault is enough.

    low 0.1    a blemish: two of them still pass at 0.8
    medium 0.3 a person should look: one alone leads to review
    high 0.5   one alone rejects
    critical 1 rejects whatever the thresholds are
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from typing import Any, assert_never

from pydantic import Field

from state.records import Outcome, Record, Sample
from state.request import Gates


class Severity(StrEnum):
    """How much a fault weighs, from a blemish to a reason to reject."""

    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    CRITICAL = "critical"

    @property
    def penalty(self) -> float:
        """The share of the score that one such fault costs, in (0, 1]."""
        match self:
            case Severity.LOW:
                return 0.1
            case Severity.MEDIUM:
                return 0.3
            case Severity.HIGH:
                return 0.5
            case Severity.CRITICAL:
                return 1.0
            case _:
                assert_never(self)


class Issue(Record):
    """One fault that a gate found in one row."""

    code: str = Field(pattern=r"^[a-z0-9_]+$")
    """The rule that was broken, by a stable name under which it is counted."""
    detail: str
    """What was seen, in a few words for a person."""
    severity: Severity

    @property
    def text(self) -> str:
        """``code: detail``, the form in which reasons are stored."""
        return f"{self.code}: {self.detail}"


class GateResult(Record):
    """What one gate found in one row."""

    gate: str
    passed: bool
    """Whether the gate's score alone would be accepted, without a critical fault."""
    score: float = Field(ge=0, le=1)
    reasons: tuple[str, ...] = ()
    """``code: detail`` for each fault."""
    severity: Severity | None = None
    """The worst fault's; ``None`` where there is none."""


class Similar(Record):
    """The kept instructions that are most similar to a row's."""

    most: dict[str, float]
    """ROUGE-L by instruction, the most similar first."""
    mean: float
    """Over all kept instructions."""


class GateDecision(Record):
    """The decision on one row, and why."""

    sample_id: str
    outcome: Outcome
    """``accepted``, ``waiting`` for a person, or ``rejected``."""
    score: float = Field(ge=0, le=1)
    reasons: tuple[str, ...] = ()
    """All gates' reasons, in their order. An accepted row may have some, of faults too small to reject it."""
    similar: Similar | None = None
    """The nearest kept instructions; ``None`` unless that is recorded, and the diversity gate saw the row."""
    results: tuple[GateResult, ...] = ()
    """One for each gate that saw the row: after a critical fault the later gates do not."""

    def result(self, gate: str) -> GateResult | None:
        """Return one gate's result, or ``None`` where the gate did not see the row."""
        return next((result for result in self.results if result.gate == gate), None)


def reason_code(reason: str) -> str:
    """Return the code at the head of a stored reason."""
    return reason.partition(":")[0]


def result_of(gate: str, issues: Sequence[Issue], settings: Gates, *, opinion: float = 1.0) -> GateResult:
    """Return a gate's result from the faults it found.

    Args:
        gate: its name.
        issues: its findings.
        settings: ``accept`` is what the gate's score must reach to have passed.
        opinion: a model's score in [0, 1], a factor like the others.
    """
    worst = max((issue.severity for issue in issues), key=lambda severity: severity.penalty, default=None)
    score = round(math.prod([1 - issue.severity.penalty for issue in issues], start=opinion), 6)
    return GateResult(
        gate=gate,
        passed=worst is not Severity.CRITICAL and score >= settings.accept,
        score=score,
        reasons=tuple(issue.text for issue in issues),
        severity=worst,
    )


def decide_row(sample_id: str, results: Sequence[GateResult], settings: Gates) -> GateDecision:
    """Join the results: the score is their product; a critical fault rejects, else the two thresholds decide."""
    score = round(math.prod(result.score for result in results), 6)
    critical = any(result.severity is Severity.CRITICAL for result in results)
    if critical or score < settings.review_from:
        outcome = Outcome.REJECTED
    else:
        outcome = Outcome.ACCEPTED if score >= settings.accept else Outcome.WAITING
    reasons = tuple(reason for result in results for reason in result.reasons)
    return GateDecision(sample_id=sample_id, outcome=outcome, score=score, reasons=reasons, results=tuple(results))


class RoundCounts:
    """How a round's rows fared, added up page by page."""

    def __init__(self) -> None:
        self.offered = self.accepted = self.gained = 0
        self._asked = self._novel = 0

    def add(self, decisions: Iterable[GateDecision]) -> None:
        """Count decisions."""
        for decision in decisions:
            self.offered += 1
            self.accepted += decision.outcome == Outcome.ACCEPTED
            self.gained += decision.outcome in (Outcome.ACCEPTED, Outcome.WAITING)
            if (result := decision.result("diversity")) is not None:
                self._asked += 1
                self._novel += result.passed

    @property
    def diversity(self) -> float:
        """The share of the rows offered to the diversity gate that it kept.

        A row is offered if it passed the content rules. Below ``Gates.min_diversity`` the rows of a round are too
        alike. A round without such rows has nothing alike in it: 1.
        """
        return self._novel / self._asked if self._asked else 1.0


def round_diversity(decisions: Iterable[GateDecision]) -> float:
    """Return the diversity of a round; see ``RoundCounts``."""
    counts = RoundCounts()
    counts.add(decisions)
    return counts.diversity


def similarity_columns(most: Mapping[str, float], mean: float) -> dict[str, Any]:
    """Return the record of similarity under the names that it has in Stanford's ``regen.json``."""
    return {"most_similar_instructions": dict(most), "avg_similarity_score": mean}


def judged(sample: Sample, decision: GateDecision) -> Sample:
    """Return the sample with the gates' decision on it."""
    found = {"outcome": decision.outcome, "score": decision.score, "reasons": tuple(decision.reasons)}
    if decision.similar is not None:
        found |= {"similar": decision.similar.most, "mean_similarity": decision.similar.mean}
    return sample.model_copy(update=found)
