"""What is known before a round of generation is planned: prices, the length of a call, and what limits are left."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from state.pipeline import RateLimits
from state.request import RunRequest
from tools.endpoint import price_of
from tools.endpoint.budget import most_prompt_tokens
from tools.generation.deciding import GenerationFacts
from tools.generation.prompting import generation_call
from tools.sources.seeds import SeedTask, load_seed_tasks


def round_needs(request: RunRequest) -> GenerationFacts:
    """Return what every round of a run needs, by its own seed tasks.

    Raises:
        BadInput: the seed tasks cannot be read.
    """
    return needs_of(request, load_seed_tasks(Path(request.sources.seeds)))


def needs_of(request: RunRequest, seeds: Sequence[SeedTask]) -> GenerationFacts:
    """Return what every round of a run needs, before the first one; a price that is not known counts as nothing."""
    settings, price = request.generation, price_of(request.models.generator)
    call = generation_call(seeds, settings, round=1, index=0, seed=request.seed, accepted_by_category={})
    return GenerationFacts(
        accepted=0,
        target=settings.target,
        rounds_done=0,
        rounds=settings.rounds,
        batch_size=settings.tasks_per_call,
        demonstrations=settings.demonstrations,
        prompt_tokens=most_prompt_tokens(call.messages),
        completion_tokens=settings.max_tokens,
        input_price=price.input if price else 0.0,
        output_price=price.output if price else 0.0,
        min_diversity=request.gates.min_diversity,
    )


def left_of(limits: RateLimits) -> dict[str, Any]:
    """Return what is left of a server's rate limits, as the decision's facts name it."""
    return {
        "requests_left": limits.requests,
        "tokens_left": limits.tokens,
        "reset_seconds": limits.reset_seconds,
    }
