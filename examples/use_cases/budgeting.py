"""A media budget: sums must add up.

python -m examples.use_cases.budgeting
"""

from __future__ import annotations

from examples.use_cases.case import Case, judge

CASE = Case(
    prompt="Split a media budget of $2.5M over Amazon, Walmart and Target.",
    good="Amazon $1.2M for search, Walmart $800K for grocery, Target $500K for the test: $2.5M in all.",
    poor="Amazon $1.2M for search, Walmart $800K for grocery, Target $900K for the test: $2.5M in all.",
    context={"audience": "a finance director"},
    weights={
        "accuracy": 0.5,
        "compliance": 0.2,
        "brand_alignment": 0.0,
        "clarity": 0.15,
        "actionability": 0.15,
    },
)

if __name__ == "__main__":
    judge("budgeting", CASE)
