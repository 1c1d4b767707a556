"""What the use cases share: a prompt, a good and a poor answer, what is asked of them, and the judging of both."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from corral import CrewEvaluation, MultiAgentRLHF


@dataclass(frozen=True)
class Case:
    """One use case.

    Attributes:
        prompt: what is asked.
        good: an answer that can be used.
        poor: one that cannot, for a reason that can be proved.
        context: brand and readers.
        checks: what can be verified of an answer.
        weights: share of each dimension; empty for the usual ones.
    """

    prompt: str
    good: str
    poor: str
    context: dict[str, Any] = field(default_factory=dict)
    checks: list[dict[str, Any]] = field(default_factory=list)
    weights: dict[str, float] = field(default_factory=dict)


def judge(task_type: str, case: Case) -> tuple[CrewEvaluation, CrewEvaluation]:
    """Judge the good and the poor answer of a case by its expert, and print what they got."""
    judges = MultiAgentRLHF(task_type, case.weights or None, context=case.context)
    rows = [{"prompt": case.prompt, "model_output": text, "checks": case.checks} for text in (case.good, case.poor)]
    good, poor = judges.evaluate_batch(rows)
    print(f"{task_type}: {good.overall_score} and {poor.overall_score}, judged by {good.judge}")
    for check in poor.checks:
        if check.passed is False:
            print(f"  the poor one: {check.evidence}")
    return good, poor
