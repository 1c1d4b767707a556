"""The records of a checklist. What is on one is the concern of whoever checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from pydantic import Field

from state.records import Record

MACHINE = "this machine: "
"""Begins a warning about time or memory, and the name of an item on them. A person is told it; the scoreboard, which is
the same on a busy machine, leaves it out."""


class CheckItem(Record):
    """One thing that was checked."""

    name: str
    outcome: Literal["passed", "failed", "not applicable"]
    evidence: str
    """One line that a person can read."""
    critical: bool = False
    """Where it fails, the work stops, or a person is asked."""
    weight: float = Field(1.0, gt=0)
    """Its share of the checklist's score, beside the other items'."""


class Checklist(Record):
    """What was checked of one part of a run."""

    items: tuple[CheckItem, ...]

    @property
    def score(self) -> float:
        """The weighted share of the items that passed, in [0, 1]; 1 where none applies."""
        counted = [item for item in self.items if item.outcome != "not applicable"]
        whole = sum(item.weight for item in counted)
        return sum(item.weight for item in counted if item.outcome == "passed") / whole if whole else 1.0

    @property
    def stop(self) -> str:
        """The first critical item that failed, in one line; empty where none did."""
        failed = (item for item in self.items if item.critical and item.outcome == "failed")
        return next((f"{item.name} failed: {item.evidence}" for item in failed), "")


class Checklists(Record):
    """What was checked before, during and after a piece of work, as ``checklist.json`` keeps it."""

    before: tuple[CheckItem, ...] = ()
    during: tuple[CheckItem, ...] = ()
    after: tuple[CheckItem, ...] = ()

    def warnings(self, work: str) -> list[str]:
        """Return a line for each item that failed.

        Args:
            work: what was checked, such as ``training``; each line begins with it.
        """
        items = [*self.before, *self.during, *self.after]
        failed = [item for item in items if item.outcome == "failed"]
        return [
            f"{'' if one.name.startswith(MACHINE) else f'{work}: '}{one.name} failed: {one.evidence}" for one in failed
        ]


def item(name: str, passed: bool | None, evidence: str, *, critical: bool = False, weight: float = 1.0) -> CheckItem:
    """Return an item; ``None`` where it does not apply."""
    outcome: Mapping[bool | None, Any] = {True: "passed", False: "failed", None: "not applicable"}
    return CheckItem(name=name, outcome=outcome[passed], evidence=evidence, critical=critical, weight=weight)
