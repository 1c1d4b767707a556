"""Judging: a CrewAI crew of five judges and an expert, grounded in checks, and measured against people.

``CrewJudge`` judges one candidate. Over it: calibration, reports over files and comparisons. A name is imported when it
is first used: the cost of a run is reckoned from the size of its judge alone.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tools.judging.calibration import Calibration, calibrate
    from tools.judging.comparing import ABComparison, compare
    from tools.judging.judge import CrewJudge
    from tools.judging.licence import licence_of
    from tools.judging.quality import QualityReport, judge_quality
    from tools.judging.trust import find_calibration, save_calibration, trust_note

__all__ = [
    "ABComparison",
    "Calibration",
    "CrewJudge",
    "QualityReport",
    "calibrate",
    "compare",
    "find_calibration",
    "judge_quality",
    "licence_of",
    "save_calibration",
    "trust_note",
]


def __getattr__(name: str) -> Any:
    """Import a name when it is first asked for (PEP 562)."""
    match name:
        case "Calibration" | "calibrate":
            module = importlib.import_module("tools.judging.calibration")
        case "ABComparison" | "compare":
            module = importlib.import_module("tools.judging.comparing")
        case "CrewJudge":
            module = importlib.import_module("tools.judging.judge")
        case "QualityReport" | "judge_quality":
            module = importlib.import_module("tools.judging.quality")
        case "licence_of":
            module = importlib.import_module("tools.judging.licence")
        case "find_calibration" | "save_calibration" | "trust_note":
            module = importlib.import_module("tools.judging.trust")
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(module, name)
    return found
