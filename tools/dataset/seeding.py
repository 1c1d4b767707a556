"""The seed tasks that training imitates, in addition to the policy's own completions."""

from __future__ import annotations

from collections.abc import Iterable

from state.records import Outcome, Sample, content_hash
from tools.checks.text import words
from tools.sources.seeds import SeedTask

LEAST_WORDS = 30
"""Fewest words of an output: a label, a number or a single sentence preserves little of the language, and makes the
adapter's answers shorter."""
_BUCKETS = 10_000


def imitated_seeds(tasks: Iterable[SeedTask], share: float) -> list[Sample]:
    """Return a share of the seed tasks with an output of some length, each with that output, as training samples.

    People wrote them. A model that imitates only its own best answers loses language; these preserve it.

    Args:
        tasks: the run's seed tasks.
        share: in [0, 1]. A hash of each task decides, so a task is not moved when others are added, and the rest can
            measure the perplexity.
    """
    return [
        Sample(
            id=content_hash("seed", task.instruction, task.input, task.output),
            instruction=task.instruction,
            input=task.input,
            output=task.output,
            origin="seed",
            category=task.category,
            outcome=Outcome.ACCEPTED,
        )
        for task in tasks
        if len(words(task.output)) >= LEAST_WORDS
        and int(content_hash("imitated", task.instruction), 16) % _BUCKETS < share * _BUCKETS
    ]
