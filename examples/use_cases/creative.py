"""A headline for a brand: its terms, its tone, and a limit of words.

python -m examples.use_cases.creative
"""

from __future__ import annotations

from examples.use_cases.case import Case, judge

CASE = Case(
    prompt="Write a headline of at most eight words for a rain jacket.",
    good="Northwind: stay out when the sky comes in.",
    poor="A cheap jacket that is good and nice and keeps the rain away from you all day long!",
    context={"brand_terms": ["Northwind"], "avoid_terms": ["cheap"], "tone": "friendly"},
    checks=[{"kind": "max_words", "value": 8}],
)

if __name__ == "__main__":
    judge("creative", CASE)
