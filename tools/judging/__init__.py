"""Judging: a CrewAI crew of five judges and an expert, grounded in checks, and measured against people.

``CrewJudge`` judges one candidate. Over it: calibration, reports over files and comparisons.
"""

from tools.judging.calibration import Calibration, calibrate
from tools.judging.comparing import ABComparison, compare
from tools.judging.judge import CrewJudge
from tools.judging.quality import QualityReport, judge_quality
from tools.judging.trust import find_calibration, save_calibration, trust_note, trust_refusal

__all__ = [
    "ABComparison",
    "Calibration",
    "CrewJudge",
    "QualityReport",
    "calibrate",
    "compare",
    "find_calibration",
    "judge_quality",
    "save_calibration",
    "trust_note",
    "trust_refusal",
]
