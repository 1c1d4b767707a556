"""IFEval's four accuracies: by prompt and by instruction, strict and loose (Zhou et al. 2023, arXiv 2311.07911)."""

from __future__ import annotations

from collections.abc import Sequence

from state.records import Answer, Record, Sample
from tools.checks import run_checks
from tools.evaluation.statistics import Interval, paired_bootstrap


class Accuracy(Record):
    """One accuracy of base and adapter, as shares in [0, 1]."""

    name: str
    """``prompt`` where a prompt counts once, if all of its checks pass, or ``instruction`` where every check counts."""
    loose: bool
    """Whether a check may also pass without the first line, the last line or emphasis marks."""
    count: int
    """Prompts or instructions."""
    base: float
    adapter: float
    interval: Interval
    """Of adapter less base; prompts are drawn, with all of their instructions."""


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
        for name in ("prompt", "instruction"):
            found.append(_accuracy(name, loose, before, after, resamples, seed))
    return tuple(found)


def _passed(samples: Sequence[Sample], answers: Sequence[Answer], loose: bool) -> list[list[bool]]:
    """Return for each prompt which of its checks pass."""
    texts = {answer.sample_id: answer.text for answer in answers}
    results = (run_checks(sample.checks, texts.get(sample.id, ""), loose=loose) for sample in samples)
    return [[result.passed is True for result in found] for found in results]


def _accuracy(
    name: str, loose: bool, base: list[list[bool]], adapter: list[list[bool]], resamples: int, seed: int
) -> Accuracy:
    """Return one accuracy.

    For instructions a prompt's share is its checks passed times the number of prompts over that of all checks, so that
    the mean over prompts is the accuracy over instructions, and drawing prompts gives its interval.
    """
    count = len(base) if name == "prompt" else sum(map(len, base))

    def shares(passed: list[list[bool]]) -> list[float]:
        if name == "prompt":
            return [float(all(one)) for one in passed]
        return [sum(one) * len(passed) / count for one in passed]

    before, after = shares(base), shares(adapter)
    return Accuracy(
        name=name,
        loose=loose,
        count=count,
        base=sum(before) / len(before),
        adapter=sum(after) / len(after),
        interval=paired_bootstrap(before, after, resamples, seed),
    )
