"""How long a step that asks a model is expected to take, by what earlier calls of this home took.

It is what can be told before the step's first call has ended; from then on its own rate speaks.
"""

from __future__ import annotations

from collections.abc import Mapping

from state.calls import CallStore
from state.request import Endpoint, RunRequest
from tools.endpoint import capabilities
from tools.evaluation.asking import CONCURRENCY
from tools.generation.estimating import LIKELIHOODS


async def expected_seconds(calls: CallStore, step: str, request: RunRequest, items: int) -> float | None:
    """Return the seconds that a step is expected to take; ``None`` where no earlier call tells.

    A call's time was taken beside as many others as the server's slots allow, so that many end in it.

    Args:
        calls: the ledger.
        step: the step's name.
        request: the run's.
        items: what it has to do.
    """
    if (asked := calls_of(step, request)) is None or not items:
        return None
    spec, each = asked
    seconds = await calls.mean_seconds(step, spec.model)
    return None if seconds is None else seconds * max(1.0, items * each / spec.concurrency)


async def expected_measuring(calls: CallStore, model: str, counts: Mapping[str, int], models: int = 2) -> float | None:
    """Return the seconds that models are expected to take which answer and read one after the other.

    Args:
        calls: the ledger.
        model: one of them, such as the base: an adapter takes as long.
        counts: how many calls there are of each purpose, for each model; all of a purpose are sent at once.
        models: how many models are measured.
    """
    total = 0.0
    for purpose, count in counts.items():
        if count:
            seconds = await calls.mean_seconds(purpose, model, parts=False)
            if seconds is None:
                return None
            total += models * seconds * max(1.0, count / CONCURRENCY)
    return total or None


def calls_of(step: str, request: RunRequest) -> tuple[Endpoint, int] | None:
    """Return whom a step asks, and the calls that one item takes; ``None`` for a step that asks nobody."""
    models = request.models
    match step:
        case "generate":
            return models.generator, 1
        case "respond":
            return models.policy, request.sampling.candidates
        case "judge" if capabilities(models.judge).likelihoods:
            return models.judge, LIKELIHOODS
        case "judge":
            return models.judge, (len(request.judge.shares) + 1) * request.judge.draws
        case _:
            return None
