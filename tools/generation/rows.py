"""Rows of what a generator wrote."""

from __future__ import annotations

from state.records import Outcome, Sample, content_hash
from tools.endpoint.chat import ChatCall, Completion
from tools.gates import categorise
from tools.generation.parsing import answered_tasks


def samples_of(call: ChatCall, completion: Completion, round_: int) -> list[Sample]:
    """Return a pending sample for each task in a completion, and a failed one for each block that is not a task."""
    parsed = answered_tasks(call, completion)
    rows = [
        Sample(
            id=content_hash(completion.key, place, task.instruction, task.input, task.output),
            instruction=task.instruction,
            input=task.input,
            output=task.output,
            category=categorise(task.instruction),
            round=round_,
            call=completion.key,
        )
        for place, task in enumerate(parsed.tasks)
    ]
    failures = [
        Sample(
            id=content_hash(completion.key, "failure", place, failure.text),
            instruction=failure.text,
            round=round_,
            call=completion.key,
            outcome=Outcome.FAILED,
            reasons=(f"parse: {failure.reason}",),
        )
        for place, failure in enumerate(parsed.failures)
    ]
    return rows + failures


def no_task(call: ChatCall, completion: Completion) -> str:
    """Return why a completion holds no task, or nothing if it holds one."""
    parsed = answered_tasks(call, completion)
    if parsed.tasks:
        return ""
    reasons = ", ".join(sorted({failure.reason for failure in parsed.failures}))
    return f"it holds no task that can be read ({reasons or 'no block of one'})"
