"""What checks and gates say of a person's own text, before it is sent."""

from __future__ import annotations

from typing import assert_never

from state.records import CheckResult
from state.request import RunRequest
from tools.checks import run_checks
from tools.checks.guard import guard
from tools.checks.inferred import inferred_checks
from tools.gates import GatePipeline
from tools.people.items import Item


def check_edit(item: Item, text: str, request: RunRequest) -> tuple[CheckResult, ...]:
    """Return what is found in a text that shall take the place of an item's.

    Of a completion: the prompt's demands, what must hold without being asked, and why training may not imitate it. Of
    an instruction: the gates' rules; whether it repeats another one is not looked at.

    Args:
        item: a completion or an instruction; of a pair nothing is edited, and nothing found.
        text: the person's.
        request: the run's.
    """
    match item.task.kind:
        case "completion":
            prompt = item.sample.prompt
            faults = [
                CheckResult(kind="guard", passed=False, evidence=said) for said in guard(prompt, text, ended=True)
            ]
            demanded = run_checks(item.sample.checks, text)
            context = request.judge.context | item.sample.context
            return (*demanded, *inferred_checks(prompt, text, request.judge.task_type, context), *faults)
        case "instruction":
            (found,) = GatePipeline(request.gates, ()).judge([item.sample.model_copy(update={"instruction": text})])
            return tuple(CheckResult(kind="gate", passed=False, evidence=reason) for reason in found.reasons)
        case "pair":
            return ()
        case _:
            assert_never(item.task.kind)
