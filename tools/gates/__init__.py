"""Quality gates: what an instruction must pass, why it did not, and how diverse the rest is.

gate.py        what a gate is
pipeline.py    the gates in order
results.py     severities, the result of each gate, the decision on each row, a round's diversity
rates.py       how many rows each gate saw and passed
content.py     Stanford Alpaca's content rules
diversity.py   the exact index: does a text repeat a kept one? rouge.py has ROUGE-L's tokens, formula and ties
safety.py      rules of a policy; safety_policy.py reads policy files
coherence.py   instruction, input and output agree; language.py tells English from the rest
categories.py  a category for each instruction; phrases.py its verb and noun; measures.py the figures
files.py       the gates over an Alpaca-format file
"""

from tools.gates.categories import CATEGORIES, categorise
from tools.gates.diversity import DiversityIndex, Neighbours
from tools.gates.files import GateReport, gate_file
from tools.gates.gate import Opinion
from tools.gates.measures import DiversityFigures, FiguresBuilder, figures
from tools.gates.pipeline import GATE_CLASSES, GATES, GatePipeline
from tools.gates.rates import GateRate, pass_rates
from tools.gates.results import (
    GateDecision,
    GateResult,
    Issue,
    RoundCounts,
    Severity,
    reason_code,
    round_diversity,
)
from tools.gates.safety_policy import DEFAULT_POLICY, SafetyPolicy, load_safety_policy

__all__ = [
    "CATEGORIES",
    "DEFAULT_POLICY",
    "GATES",
    "GATE_CLASSES",
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
    "RoundCounts",
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
