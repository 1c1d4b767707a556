"""Checks that no prompts file states: what must hold for a text because of its task, policy and brand."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, get_args

from state.errors import BadInput
from state.records import CheckResult
from state.request import TaskType
from tools.checks.arithmetic import arithmetic
from tools.checks.policy import load_policy, policy_checks
from tools.checks.style import style_checks
from tools.shipped import POLICIES

TASK_TYPES: tuple[str, ...] = get_args(TaskType)
"""Each has a policy file."""


def inferred_checks(
    prompt: str, text: str, task_type: str, context: Mapping[str, Any] | None = None
) -> tuple[CheckResult, ...]:
    """Check what must hold for a text although the prompt does not ask for it.

    Args:
        prompt: what was asked.
        text: the completion.
        task_type: one of ``TASK_TYPES``; picks the policy.
        context: brand and readers, see ``tools.checks.style``.

    Returns:
        Arithmetic, the policy's rules, brand terms, tone and readability, each with the dimension that a failure caps;
        ``passed`` is ``None`` where a check does not apply.

    Raises:
        BadInput: an unknown task type, a wrong policy file, or a context value of the wrong type.
    """
    if task_type not in TASK_TYPES:
        raise BadInput(f"unknown task type '{task_type}': choose from {', '.join(TASK_TYPES)}")
    policy = load_policy(POLICIES / f"{task_type}.yaml")
    return (arithmetic(prompt, text), *policy_checks(policy, prompt, text), *style_checks(text, context))
