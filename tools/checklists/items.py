"""The records of a checklist. What is on one is the concern of whoever checks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

from state.records import Record


class CheckItem(Record):
    """One thing that was checked."""

    name: str
    outcome: Literal["passed", "failed", "not applicable"]
    evidence: str
    """One line that a person can read."""


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
        return [f"{work}: {item.name} failed: {item.evidence}" for item in items if item.outcome == "failed"]


def item(name: str, passed: bool | None, evidence: str) -> CheckItem:
    """Return an item; ``None`` where it does not apply."""
    outcome: Mapping[bool | None, Any] = {True: "passed", False: "failed", None: "not applicable"}
    return CheckItem(name=name, outcome=outcome[passed], evidence=evidence)
