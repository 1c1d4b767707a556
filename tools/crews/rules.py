"""What an agent does next, by rules: the decision trees take the place of a model. Pure.

Every tool has one rule: given what is known, which arguments it is used with now, or that it is not used. An agent goes
through its tools in their order and uses the first whose rule gives arguments; where none does, its task is done. The
decisions themselves are the pipeline's own, which the tools return: on the next round (``tools.generation.deciding``),
on the training (``tools.training.decision``), and on the data (the quality gate).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field

from state.records import Record

RULE_BASED = "rule-based"
"""What decides, wherever a model's name would stand."""
DELEGATE = "delegate_work_to_coworker"
"""CrewAI's own tool of a manager."""
Stage = Literal["data", "training", "deployment"]


class CrewFacts(Record):
    """What the rules depend on."""

    begun: bool = False
    """The run is there: its settings stay as they are."""
    round: int = Field(0, ge=0)
    """Generation rounds done."""
    generated: bool = False
    """The decision on the next round is to stop."""
    held: bool = False
    """The quality gate stopped the data."""
    dataset: bool = False
    adapter: bool = False
    measured: bool = False
    """The adapter was evaluated."""
    ended: bool = False
    """The run is done, or waits for a person."""
    recommended: tuple[str, ...] = ()
    """Settings that the tuner recommends and the plan does not have, as ``key=value``."""


class Use(Record):
    """A tool and the arguments that it is used with."""

    tool: str
    arguments: dict[str, Any] = Field(default_factory=dict)


Rule = Callable[[CrewFacts, Sequence[str]], Mapping[str, Any] | None]
"""Takes what is known and the agent's tools; returns arguments, or ``None`` where the tool is not used now."""


def next_use(tools: Sequence[str], used: Sequence[str], facts: CrewFacts) -> Use | None:
    """Return which tool an agent uses next; ``None`` where its task is done.

    Args:
        tools: those that it has, in the order of its entry.
        used: those that it used on this task so far; each is used once, but for those of ``REPEATED``.
        facts: what is known now.
    """
    for tool in tools:
        if tool in used and tool not in REPEATED:
            continue
        rule = RULES.get(tool)
        arguments = rule(facts, tools) if rule else None
        if arguments is not None:
            return Use(tool=tool, arguments=dict(arguments))
    return None


def stage_of(facts: CrewFacts) -> Stage:
    """Return which of the checklists can be asked about by now."""
    if facts.measured:
        return "deployment"
    return "training" if facts.adapter else "data"


def _always(_: CrewFacts, __: Sequence[str]) -> Mapping[str, Any]:
    return {}


def _rows(facts: CrewFacts, _: Sequence[str]) -> Mapping[str, Any] | None:
    return {"source": "run"} if facts.generated else None


def _diversity(facts: CrewFacts, _: Sequence[str]) -> Mapping[str, Any]:
    return {"source": "run" if facts.generated else "seeds"}


def _workflow(facts: CrewFacts, tools: Sequence[str]) -> Mapping[str, Any] | None:
    """Plan before the run, start it before its rounds, build the dataset for who converts it, and end it once."""
    if not facts.begun:
        if facts.recommended and "hyperparameter_tuner" in tools:
            return {"action": "configure", "settings": list(facts.recommended)}
        return {"action": "start"} if "batch_processor" in tools else None
    if facts.held or facts.ended:
        return None
    if "format_converter" in tools and facts.generated and not facts.dataset:
        return {"action": "advance", "until": "assemble"}
    return {"action": "finish"} if facts.measured and "evaluation_suite" in tools else None


def _round(facts: CrewFacts, _: Sequence[str]) -> Mapping[str, Any] | None:
    goes_on = facts.begun and not facts.generated and not facts.ended
    return {"round": facts.round + 1} if goes_on else None


def _train(facts: CrewFacts, _: Sequence[str]) -> Mapping[str, Any] | None:
    return {} if facts.generated and not (facts.held or facts.adapter or facts.ended) else None


def _plan(facts: CrewFacts, _: Sequence[str]) -> Mapping[str, Any] | None:
    return None if facts.begun else {}


def _dataset(facts: CrewFacts, _: Sequence[str]) -> Mapping[str, Any] | None:
    return {} if facts.dataset else None


def _adapter(facts: CrewFacts, _: Sequence[str]) -> Mapping[str, Any] | None:
    return {} if facts.adapter else None


def _evaluate(facts: CrewFacts, _: Sequence[str]) -> Mapping[str, Any] | None:
    return {} if facts.adapter and not facts.measured and not facts.ended else None


def _gate(facts: CrewFacts, _: Sequence[str]) -> Mapping[str, Any] | None:
    return {"stage": stage_of(facts)} if facts.generated else None


def _report(facts: CrewFacts, _: Sequence[str]) -> Mapping[str, Any] | None:
    return {} if facts.begun else None


REPEATED = frozenset({"workflow_management", "batch_processor"})
"""Their rules end by themselves: what they do changes what is known."""
RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "task_analysis": _always,
        "diversity_checker": _diversity,
        "resource_monitor": _plan,
        "hyperparameter_tuner": _plan,
        "workflow_management": _workflow,
        "batch_processor": _round,
        "content_filter": _rows,
        "safety_validator": _rows,
        "similarity_checker": _rows,
        "quality_gate": _gate,
        "format_converter": _dataset,
        "tokenisation": _dataset,
        "training_launcher": _train,
        "checkpoint_manager": _adapter,
        "evaluation_suite": _evaluate,
        "report_generator": _report,
    }
)
"""By tool. What has no rule needs a text of the agent's own, which rules do not write."""
