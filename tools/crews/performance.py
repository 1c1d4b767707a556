"""The agent performance validator: what a crew, or a run without one, achieved, with intervals and advice. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from state.records import Record
from tools.statistics.significance import wilson_interval

Z = 1.959964
"""Of a two-sided 95% interval."""
GOOD_SUCCESS, GOOD_FILTER, GOOD_RECOVERY = 0.9, 0.8, 0.5
"""Shares that are asked for: of uses and calls that succeed, of the gates' decisions that people share, and of failures
that were made good."""
FEW = 10
"""Cases below which an interval is too wide to advise by."""

Status = Literal["good", "needs attention", "not enough data"]


class PerformanceFacts(Record):
    """What the run's own records say."""

    uses: int = Field(0, ge=0)
    """Uses of tools by the crew; 0 where none made the run."""
    uses_failed: int = Field(0, ge=0)
    uses_recovered: int = Field(0, ge=0)
    """Of the failed ones: those whose tool was used well afterwards."""
    calls: int = Field(0, ge=0)
    """Model calls of the run."""
    calls_failed: int = Field(0, ge=0)
    filter_checked: int = Field(0, ge=0)
    """Decisions of gates and judges that people took, too."""
    filter_wrong: int = Field(0, ge=0)
    generates: bool = True
    """Whether the run was to generate instructions at all."""
    rows: int = Field(0, ge=0)
    """Generated instructions that were accepted."""
    seconds: float = Field(0.0, ge=0)
    """That generation and gates worked."""
    dollars: float = Field(0.0, ge=0)
    """That generation and gates were paid, and the agents' own calls."""


class Measure(Record):
    """One figure with its 95% interval."""

    name: str
    value: float | None
    """``None`` where there is nothing to measure."""
    low: float | None = None
    high: float | None = None
    of: int = 0
    """Cases that it rests on."""

    @property
    def in_words(self) -> str:
        """The figure as a line."""
        if self.value is None:
            return f"{self.name}: not measured"
        interval = "" if self.low is None or self.high is None else f" [{_short(self.low)}, {_short(self.high)}]"
        return f"{self.name}: {_short(self.value)}{interval}, of {self.of:,}"


class Performance(Record):
    """The validator's report."""

    status: Status
    measures: tuple[Measure, ...]
    recommendations: tuple[str, ...]


def validate_performance(facts: PerformanceFacts) -> Performance:
    """Return the report: success rate, filter accuracy, rows a minute, error recovery and rows a dollar.

    Intervals of shares are Wilson's; those of rates take rows as a Poisson count, by Byar's approximation (Rothman and
    Boice 1979).
    """
    tried = facts.uses + facts.calls
    success = _share("success rate", tried - facts.uses_failed - facts.calls_failed, tried)
    filtered = _share("filter accuracy against people", facts.filter_checked - facts.filter_wrong, facts.filter_checked)
    recovery = _share("error recovery", facts.uses_recovered, facts.uses_failed)
    minute = _rate("rows a minute", facts.rows, facts.seconds / 60 if facts.generates else 0)
    dollar = _rate("rows a dollar", facts.rows, facts.dollars if facts.generates else 0)
    advice = tuple(_advice(success, filtered, recovery, facts))
    status: Status = "needs attention" if advice else "good" if tried >= FEW else "not enough data"
    return Performance(status=status, measures=(success, filtered, minute, recovery, dollar), recommendations=advice)


def _advice(success: Measure, filtered: Measure, recovery: Measure, facts: PerformanceFacts) -> Iterator[str]:
    """Yield what to do about each figure that is shown to be below what is asked for: its whole interval is."""
    if success.high is not None and success.high < GOOD_SUCCESS:
        more = "the model's server" if facts.calls_failed > facts.uses_failed else "the tools' errors in crew.json"
        yield f"{success.in_words}: look at {more}"
    if filtered.high is not None and filtered.high < GOOD_FILTER:
        yield f"{filtered.in_words}: people decide otherwise; set gates.severity, gates.off or the judge's thresholds"
    if recovery.high is not None and recovery.high < GOOD_RECOVERY:
        yield f"{recovery.in_words}: a model that does not learn from errors; try a larger one, or --rules"
    if facts.generates and facts.calls >= FEW and not facts.rows:
        yield "no instruction was accepted: look at the gates' reasons ('corral show'), or take a better generator"


def _share(name: str, good: int, of: int) -> Measure:
    if not of:
        return Measure(name=name, value=None)
    low, high = wilson_interval(good, of)
    return Measure(name=name, value=good / of, low=low, high=high, of=of)


def _rate(name: str, rows: int, per: float) -> Measure:
    if per <= 0:
        return Measure(name=name, value=None)
    low = rows * (1 - 1 / (9 * rows) - Z / (3 * math.sqrt(rows))) ** 3 if rows else 0.0
    more = rows + 1
    high = more * (1 - 1 / (9 * more) + Z / (3 * math.sqrt(more))) ** 3
    return Measure(name=name, value=rows / per, low=max(0.0, low) / per, high=high / per, of=rows)


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 1000 else f"{value:.3g}"
