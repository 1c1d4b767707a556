"""A plan for a quarter: a goal, its reason, a first step and a risk, in few words.

python -m examples.use_cases.strategic_planning
"""

from __future__ import annotations

from examples.use_cases.case import Case, judge

CASE = Case(
    prompt="Give our next quarter one goal, its reason, the first step and the main risk, in at most 60 words.",
    good=(
        "Goal: 500 repeat buyers. Reason: they cost half of new ones. First step: mail every buyer of May a code by "
        "Monday. Risk: the code cuts the margin; stop at 10%."
    ),
    poor="We will leverage synergies to win. " * 14,
    checks=[{"kind": "max_words", "value": 60}],
)

if __name__ == "__main__":
    judge("strategic_planning", CASE)
