"""How often a process of ours looks for garbage that refers to itself, and that it does not at its end."""

from __future__ import annotations

import atexit
import gc

THRESHOLDS = 50_000, 20, 10
"""Objects made between two looks at the newest ones, and looks between those at the older ones. At Python's own 700
the import of a large library is looked through again and again, a tenth of the processor time in which LangGraph,
CrewAI, or torch and transformers are imported. What is held meanwhile is some megabytes."""


def collect_seldom() -> None:
    """Set the thresholds; a process calls it before it imports what is large.

    At its end Python would look through all that is left, 0.6 seconds where LangGraph is imported, before the memory is
    given back anyway.
    """
    gc.set_threshold(*THRESHOLDS)
    atexit.register(gc.freeze)
