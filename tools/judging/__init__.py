"""Judging: a CrewAI crew of five judges and an expert, grounded in checks, and measured against people.

``CrewJudge`` judges one candidate. Over it: the Python API, calibration, reports over files, comparisons and a monitor.
"""

from tools.judging.api import DPODatasetBuilder, MultiAgentRLHF, SyntheticFeedbackGenerator
from tools.judging.calibration import Calibration, calibrate
from tools.judging.comparing import ABComparison, compare
from tools.judging.feedback import Evaluation, SyntheticFeedback
from tools.judging.items import Item, read_items
from tools.judging.judge import CrewJudge
from tools.judging.labels import read_labels
from tools.judging.monitor import RLHFMonitor
from tools.judging.opening import open_judge
from tools.judging.pairs import DPODataset
from tools.judging.quality import QualityReport, judge_quality
from tools.judging.trust import find_calibration, save_calibration, trust_note, trust_refusal

__all__ = [
    "ABComparison",
    "Calibration",
    "CrewJudge",
    "DPODataset",
    "DPODatasetBuilder",
    "Evaluation",
    "Item",
    "MultiAgentRLHF",
    "QualityReport",
    "RLHFMonitor",
    "SyntheticFeedback",
    "SyntheticFeedbackGenerator",
    "calibrate",
    "compare",
    "find_calibration",
    "judge_quality",
    "open_judge",
    "read_items",
    "read_labels",
    "save_calibration",
    "trust_note",
    "trust_refusal",
]
