"""How often a process of ours looks for garbage that refers to itself."""

from __future__ import annotations

import gc

THRESHOLDS = 50_000, 20, 10
"""Objects made between two looks at the newest ones, and looks between those at the older ones. At Python's own 700
the import of a large library is looked through again and again, a tenth of the processor time in which LangGraph,
CrewAI, or torch and transformers are imported. What is held meanwhile is some megabytes."""


def collect_seldom() -> None:
    """Set the thresholds; a process calls it before it imports what is large."""
    gc.set_threshold(*THRESHOLDS)
