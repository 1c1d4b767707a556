"""Quality gates: what an instruction must pass, why it did not, and how diverse the rest is.

results.py     severities, the result of each gate, the decision on each row, pass rates, a round's diversity
content.py     Stanford Alpaca's content rules
rouge.py       ROUGE-L's tokens, formula and ties
diversity.py   the exact index: does a text repeat a kept one?
safety.py      policy files
coherence.py   instruction, input and output agree; language.py tells English from the rest
pipeline.py    the four gates in order
categories.py  a category for each instruction; phrases.py its verb and noun; measures.py the figures
files.py       the gates over an Alpaca-format file
"""

from tools.gates.categories import CATEGORIES, categorise
from tools.gates.coherence import Opinion
from tools.gates.diversity import DiversityIndex, Neighbours
from tools.gates.files import GateReport, gate_file
from tools.gates.measures import DiversityFigures, FiguresBuilder, figures
from tools.gates.pipeline import GatePipeline
from tools.gates.results import (
    GATES,
    GateDecision,
    GateRate,
    GateResult,
    Issue,
    Severity,
    pass_rates,
    reason_code,
    round_diversity,
)
from tools.gates.safety import DEFAULT_POLICY, SafetyPolicy, load_safety_policy

__all__ = [
    "CATEGORIES",
    "DEFAULT_POLICY",
    "GATES",
    "DiversityFigures",
    "DiversityIndex",
    "FiguresBuilder",
    "GateDecision",
    "GatePipeline",
    "GateRate",
    "GateReport",
    "GateResult",
    "Issue",
    "Neighbours",
    "Opinion",
    "SafetyPolicy",
    "Severity",
    "categorise",
    "figures",
    "gate_file",
    "load_safety_policy",
    "pass_rates",
    "reason_code",
    "round_diversity",
]
