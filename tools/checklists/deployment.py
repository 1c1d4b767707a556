"""The checklist of an adapter that is to be deployed: model, infrastructure, documentation, operations. Pure."""

from __future__ import annotations

from pydantic import Field

from state.records import Record
from tools.checklists.items import CheckItem, item

ROOM = 1_000_000_000
"""Bytes that should be free on disk where it is served."""


class DeploymentFacts(Record):
    """What is known of an adapter that was measured."""

    verdict: str
    """``better``, ``not shown`` or ``worse``."""
    difference: str
    """In words, with its interval."""
    prompts: int = Field(ge=0)
    flags: tuple[str, ...] = ()
    perplexity_ratio: float | None = None
    max_perplexity: float = 1.05
    disk_free: int = Field(ge=0)
    serving: bool
    """What serves it is installed."""
    report: bool
    """The report is written."""
    dataset_card: bool
    scoreboard: bool
    lineage: bool
    earlier: str | None = None
    """The version that is deployed now, to which one can go back."""
    rated: bool = False
    """People rate what is served: there is somebody whose rating would show that it got worse."""


def deployment_items(facts: DeploymentFacts) -> list[CheckItem]:
    """Return what is checked before an adapter is deployed."""
    ratio = facts.perplexity_ratio
    return [
        item("model: not worse than its base", facts.verdict != "worse", facts.difference, critical=True),
        item("model: shown to be better", facts.verdict == "better", facts.difference),
        item("model: training was not flagged", not facts.flags, "; ".join(facts.flags) or "no flag", critical=True),
        item(
            "model: its language is kept",
            None if ratio is None else ratio <= facts.max_perplexity,
            "perplexity was not measured" if ratio is None else f"perplexity {ratio:.3f} times the base's",
            critical=True,
        ),
        item("infrastructure: room on disk", facts.disk_free >= ROOM, f"{facts.disk_free / 1e9:.1f} GB free"),
        item("infrastructure: a server can load it", facts.serving, "installed" if facts.serving else "no engine"),
        item("documentation: scoreboard", facts.scoreboard, "written" if facts.scoreboard else "missing"),
        item("documentation: report", facts.report, "written" if facts.report else "missing"),
        item("documentation: dataset card", facts.dataset_card, "written" if facts.dataset_card else "missing"),
        item("documentation: lineage of each row", facts.lineage, "written" if facts.lineage else "missing"),
        item(
            "operations: a version to go back to",
            None if facts.earlier is None else True,
            "it is the first" if facts.earlier is None else f"'corral rollback {facts.earlier}'",
        ),
        item(
            "operations: feedback is gathered",
            facts.rated or None,
            "people rate what is served"
            if facts.rated
            else "nobody has rated yet; 'corral monitor' shows when they do",
        ),
    ]
