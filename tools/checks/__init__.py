"""Verifiable checks on a text: demands as written, what the task implies, and the guard against degeneracy.

``run_checks`` decides written demands, ``tools.checks.inferred`` what must hold without being asked (sums that add up,
policy rules, brand terms, tone, readability), ``cap`` lowers a judge's score where a check failed, and
``tools.checks.guard`` says why a text may never be chosen.
"""

from tools.checks.caps import cap
from tools.checks.demands import contradiction, demand
from tools.checks.ifeval import IFEVAL
from tools.checks.kinds import KINDS, Kind
from tools.checks.run import run_checks

__all__ = ["IFEVAL", "KINDS", "Kind", "cap", "contradiction", "demand", "run_checks"]
