"""IFEval beside a run's own prompts: the same sample for every adapter, in no verdict, no training and no tuning."""

from __future__ import annotations

from collections.abc import Sequence

from state.records import Answer, Record, Sample, content_hash
from state.request import Evaluation
from tools.evaluation.accuracy import Accuracy, accuracies
from tools.evaluation.asking import PUBLIC_TOKENS


class PublicAccuracies(Record):
    """IFEval's four accuracies of base and adapter on a fixed sample of its prompts."""

    prompts: int
    of: int
    """Prompts of the file."""
    max_tokens: int
    accuracies: tuple[Accuracy, ...]
    note: str
    """What was measured, in a sentence."""


def fixed_sample(samples: Sequence[Sample], count: int | None) -> list[Sample]:
    """Return the same ``count`` prompts of a set for every run, so that the figures of adapters can be compared.

    The order is that of a hash of the prompt: a smaller sample is a part of a larger one, and does not depend on the
    file's order, in which neighbours may be alike.

    Args:
        samples: the whole set.
        count: prompts wanted; ``None`` for all.
    """
    return sorted(samples, key=lambda sample: content_hash("ifeval", sample.prompt))[:count]


def public_accuracies(
    samples: Sequence[Sample],
    of: int,
    base: Sequence[Answer],
    adapter: Sequence[Answer],
    settings: Evaluation,
    seed: int,
) -> PublicAccuracies | None:
    """Return the accuracies of two models' greedy answers; ``None`` where nothing was asked.

    Args:
        samples: the fixed sample; empty where the request names no file.
        of: prompts of the file that it is drawn from.
        base: the base's answers; a missing one passes nothing.
        adapter: the adapter's.
        settings: the number of resamples.
        seed: of the bootstrap.
    """
    if not samples:
        return None
    return PublicAccuracies(
        prompts=len(samples),
        of=of,
        max_tokens=PUBLIC_TOKENS,
        accuracies=accuracies(samples, base, adapter, settings.resamples, seed),
        note=(
            f"IFEval on a fixed sample of {len(samples)} of {of} prompts, greedy answers of at most {PUBLIC_TOKENS} "
            "tokens. It is no part of the verdict, and no training or tuning has seen it."
        ),
    )
