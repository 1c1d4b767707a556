"""The scorecard: every judge that was measured, by set of labels and mode, beside what costs nothing. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from state.names import Split
from state.records import Record
from tools.judging.calibration import Calibration
from tools.judging.figures import Mode
from tools.statistics.bootstrap import Estimate

HUNDRED = 100
"""Labels for which cost and seconds are told."""


class Entry(Record):
    """One judge on one set of labels in one mode, by its newest measurement."""

    judge: str
    server: str
    source: str
    """The set of labels."""
    split: Split
    labels: int
    """Labels that were judged."""
    unjudged: int = 0
    """Labels that were not."""
    mode: Mode
    agreement: Estimate
    kappa: Estimate
    baseline: str = ""
    """The baseline that agrees with people most; empty where none was measured."""
    baseline_agreement: float = 0.0
    better: bool | None = None
    """Whether the judge is shown better than all baselines; ``None`` where none was measured."""
    people: Estimate | None = None
    """How far people agree among themselves."""
    flips: Estimate | None = None
    cost: float
    """Dollars for 100 labels, in both modes together."""
    seconds: float
    """The same in seconds."""
    calls: int
    """Calls that were made; with none, cost and seconds are those of reading the ledger."""
    notes: tuple[str, ...] = ()


def scorecard(calibrations: Iterable[Calibration]) -> list[Entry]:
    """Return the newest measurement of every judge on every set in every mode, the best kappa of each first.

    Args:
        calibrations: the oldest first.
    """
    newest = {(one.judge, one.set_hash or one.labels_hash, one.split): one for one in calibrations}
    found = [entry for one in newest.values() for entry in _entries(one)]
    return sorted(found, key=lambda entry: (entry.source, entry.split, entry.mode, -entry.kappa.value, entry.judge))


def _entries(one: Calibration) -> list[Entry]:
    judged = one.labels - one.failed
    part = HUNDRED / max(1, judged)
    common = {
        "judge": one.judge,
        "server": one.server,
        "source": one.source or one.kind,
        "split": one.split,
        "labels": judged,
        "unjudged": one.failed,
        "people": one.ceiling.agreement if one.ceiling else None,
        "cost": one.cost * part,
        "seconds": one.seconds * part,
        "calls": one.calls,
        "notes": one.notes,
    }
    if not one.modes:
        return [Entry.model_validate(common | {"mode": "rating", "agreement": one.agreement, "kappa": one.kappa})]
    found = []
    for mode in one.modes:
        best = max(mode.baselines, key=lambda baseline: baseline.agreement)
        own = {
            "mode": mode.mode,
            "agreement": mode.agreement,
            "kappa": mode.kappa,
            "flips": mode.flips,
            "baseline": best.name,
            "baseline_agreement": best.agreement,
            "better": all(baseline.gain.low > 0 for baseline in mode.baselines),
        }
        found.append(Entry.model_validate(common | own))
    return found
