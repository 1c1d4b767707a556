"""A product's description: no claim that the rules forbid.

python -m examples.use_cases.compliance
"""

from __future__ import annotations

from examples.use_cases.case import Case, judge

CASE = Case(
    prompt="Describe our vitamin drink in two sentences, without a claim about health.",
    good="Northwind Orange is a cold drink with vitamin C and real fruit. It comes in a can of 330 ml.",
    poor="Northwind Orange cures colds, and doctors say that it prevents every illness. Guaranteed.",
    checks=[{"kind": "max_sentences", "value": 2}, {"kind": "must_avoid", "value": ["cures", "prevents"]}],
)

if __name__ == "__main__":
    judge("compliance", CASE)
