"""A record that a program reads: it must parse.

python -m examples.use_cases.data_quality
"""

from __future__ import annotations

from examples.use_cases.case import Case, judge

CASE = Case(
    prompt='Return the order "3 kettles at $20" as a JSON object with item, count and price.',
    good='{"item": "kettle", "count": 3, "price": 20}',
    poor="{item: kettle, count: three, price: ",
    checks=[{"kind": "json"}],
)

if __name__ == "__main__":
    judge("data_quality", CASE)
