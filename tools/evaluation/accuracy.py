"""IFEval's four accuracies: by prompt and by instruction, strict and loose (Zhou et al. 2023, arXiv 2311.07911)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal, assert_never, get_args

import numpy as np

from state.records import Answer, Record, Sample
from tools.checks import run_checks
from tools.statistics.bootstrap import Estimate, bootstrap, ratio_of_sums

Unit = Literal["prompt", "instruction"]
"""What counts as one: a prompt, which passes if all of its checks do, or every check."""


class Accuracy(Record):
    """One accuracy of base and adapter, as shares in [0, 1]."""

    name: Unit
    loose: bool
    """Whether a check may also pass without the first line, the last line or emphasis marks."""
    count: int
    """Prompts or instructions."""
    base: float
    adapter: float
    interval: Estimate
    """Of adapter less base; prompts are drawn, with all of their instructions."""

    @property
    def in_words(self) -> str:
        """Which of the four it is."""
        return f"{self.name}-level, {'loose' if self.loose else 'strict'}"


def accuracies(
    samples: Sequence[Sample], base: Sequence[Answer], adapter: Sequence[Answer], resamples: int, seed: int
) -> tuple[Accuracy, ...]:
    """Return prompt-level and instruction-level accuracy, strict then loose, over the prompts with checks.

    Args:
        samples: the prompts; those without checks do not count.
        base: the base model's answers; a missing one passes nothing.
        adapter: the adapter's answers.
        resamples: draws of the paired bootstrap.
        seed: of the bootstrap.

    Returns:
        Four accuracies, or none where no prompt has checks.
    """
    checked = sorted((sample for sample in samples if sample.checks), key=lambda sample: sample.id)
    if not checked:
        return ()
    found = []
    for loose in (False, True):
        before, after = (_passed(checked, answers, loose) for answers in (base, adapter))
        for unit in get_args(Unit):
            found.append(_accuracy(unit, loose, before, after, resamples, seed))
    return tuple(found)


def _passed(samples: Sequence[Sample], answers: Sequence[Answer], loose: bool) -> list[list[bool]]:
    """Return for each prompt which of its checks pass."""
    texts = {answer.sample_id: answer.text for answer in answers}
    results = (run_checks(sample.checks, texts.get(sample.id, ""), loose=loose) for sample in samples)
    return [[result.passed is True for result in found] for found in results]


def _accuracy(
    unit: Unit, loose: bool, base: list[list[bool]], adapter: list[list[bool]], resamples: int, seed: int
) -> Accuracy:
    before, after = (np.array([_tally(results, unit) for results in side]) for side in (base, adapter))
    counts = before[:, 1]
    return Accuracy(
        name=unit,
        loose=loose,
        count=int(counts.sum()),
        base=float(before[:, 0].sum() / counts.sum()),
        adapter=float(after[:, 0].sum() / counts.sum()),
        interval=bootstrap(ratio_of_sums, after[:, 0] - before[:, 0], counts, resamples=resamples, seed=seed),
    )


def _tally(results: list[bool], unit: Unit) -> tuple[int, int]:
    """Return how many units of one prompt passed, and how many it has."""
    match unit:
        case "prompt":
            return int(all(results)), 1
        case "instruction":
            return sum(results), len(results)
        case _:
            assert_never(unit)
