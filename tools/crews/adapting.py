"""The adaptive workflow: from what is wanted and what is there, to a request and to the settings of its training. Pure.

What is wanted are instructions, a base and a sum of money; what is there are memory, GPUs and rate limits. For models
of 3 billion weights and more the settings are Alpaca's (``train.py`` of Stanford Alpaca, for 7B on four A100 of 80 GB):
3 epochs, batches of 128, 512 tokens, and 2e-5 with a cosine after 3% of warm-up where all weights are trained.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from pydantic import Field

from state.records import Record
from state.request import RunRequest, Training
from tools.generation.deciding import GenerationFacts, decide_next_round
from tools.machine.resources import Resources
from tools.training.decision import USABLE

LARGE = 3_000_000_000
"""Weights from which Alpaca's settings hold; the defaults were found on 135 million."""
FULL_BYTES = 20
"""For each weight where all are trained: the base and its copy in float32, gradient, and Adam's two moments."""
ACTIVATION_SHARE = 1.25
"""Room for activations, over the weights' own."""
ALPACA: Mapping[str, Any] = MappingProxyType({"epochs": 3.0, "batch_size": 128, "max_length": 512, "save_steps": 50})
ALPACA_FULL: Mapping[str, Any] = MappingProxyType(
    {"method": "full", "learning_rate": 2e-5, "scheduler": "cosine", "warmup_ratio": 0.03}
)
LORA_LARGE: Mapping[str, Any] = MappingProxyType(
    {"method": "lora", "learning_rate": 2e-4, "lora_rank": 16, "lora_alpha": 32, "lora_dropout": 0.05}
)
"""QLoRA's for 7B."""


class Requirements(Record):
    """What is wanted."""

    instructions: int = Field(200, ge=0, le=1_000_000)
    base: str = "embedded"
    dollars: float | None = Field(None, ge=0)
    """The cap; ``None`` for none."""


class TrainingPlan(Record):
    """Settings that fit, and why."""

    settings: dict[str, Any]
    """Of ``train``: only those that differ from what was planned."""
    reason: str


class PlannedTask(Record):
    """One task of a workflow."""

    name: str
    needed: bool
    reason: str


class Workflow(Record):
    """What is to be done, and the request that does it."""

    tasks: tuple[PlannedTask, ...]
    request: RunRequest


def adaptive_workflow(
    wanted: Requirements, resources: Resources, parameters: int, request: RunRequest, first: GenerationFacts
) -> Workflow:
    """Return the tasks and the request for what is wanted with what is there.

    Args:
        wanted: requirements.
        resources: of the machine.
        parameters: weights of the base.
        request: everything else, such as models and gates.
        first: what is known before the first round: money, prices, tokens of a prompt, and what the rate limits leave.
    """
    planned = adapted_request(wanted, request)
    generation = planned.generation
    facts = {"target": generation.target, "rounds": generation.rounds, "budget_left": wanted.dollars}
    choice = decide_next_round(first.model_copy(update=facts))
    if 2 <= choice.batch_size < generation.tasks_per_call:
        generation = generation.model_copy(update={"tasks_per_call": choice.batch_size})
    training = optimize_training_config(resources, parameters, planned.train)
    generates = wanted.instructions > 0 and choice.action != "stop"
    tasks = (
        PlannedTask(name="generate_instructions", needed=generates, reason=f"{choice.action}: {choice.reason}"),
        PlannedTask(name="control_quality", needed=generates, reason="what was generated is checked"),
        PlannedTask(name="train_model", needed=True, reason=training.reason),
        PlannedTask(name="report", needed=True, reason="an adapter is measured against its base"),
    )
    train = planned.train.model_copy(update=training.settings)
    return Workflow(tasks=tasks, request=planned.model_copy(update={"generation": generation, "train": train}))


def adapted_request(wanted: Requirements, request: RunRequest) -> RunRequest:
    """Return the request of what is wanted: its rounds and the size of its batches follow from the number.

    Args:
        wanted: requirements.
        request: everything else, such as models and gates.
    """
    generation = request.generation
    new = max(1, generation.tasks_per_call - generation.demonstrations)
    # Half of what a call writes is expected to pass; a round makes at most four times the calls of the last one.
    calls = math.ceil(wanted.instructions / (new * 0.5)) if wanted.instructions else 1
    rounds = max(generation.rounds, 2 + math.ceil(math.log(max(1, calls), 4)))
    return request.model_copy(
        update={
            "generation": generation.model_copy(update={"target": wanted.instructions, "rounds": min(rounds, 1000)}),
            "models": request.models.model_copy(update=_models_of(wanted.base, request)),
            "budget": request.budget.model_copy(update={"dollars": wanted.dollars}),
        }
    )


def _models_of(base: str, request: RunRequest) -> dict[str, Any]:
    """Return the base, and the policy that is its weights unless somebody named another."""
    models = request.models
    if models.policy.model == models.base and base != models.base:
        return {"base": base, "policy": models.policy.model_copy(update={"model": base})}
    return {"base": base}


def optimize_training_config(resources: Resources, parameters: int, train: Training) -> TrainingPlan:
    """Return the settings of a training for a model's size and a machine's memory.

    Where memory holds all weights with their optimiser, all are trained; else an adapter, sharded over several GPUs
    where one does not hold the base, and over a base of four bits where that does not fit either.

    Args:
        resources: of the machine.
        parameters: weights of the base.
        train: what was planned; a setting that says the same already is left out.
    """
    wanted, reason = _wanted(resources, parameters)
    settings = {key: value for key, value in wanted.items() if getattr(train, key) != value}
    return TrainingPlan(settings=settings, reason=reason)


def _wanted(resources: Resources, parameters: int) -> tuple[dict[str, Any], str]:
    size = f"{parameters / 1e9:.1f}B weights"
    if parameters < LARGE:
        return {}, f"{size}: the defaults were measured on models of that kind"
    if not resources.gpus:
        return {
            **ALPACA,
            **LORA_LARGE,
        }, f"{size} and no GPU: an adapter, and the training decision says how long it takes"
    count, room = len(resources.gpus), USABLE * min(gpu.total for gpu in resources.gpus) / ACTIVATION_SHARE
    gpus = f"{count} GPU{'s' if count > 1 else ''} of {min(gpu.total for gpu in resources.gpus) / 1e9:.0f} GB"
    sharded = {"accelerate_config": "fsdp"} if count > 1 else {}
    if FULL_BYTES * parameters / count <= room:
        return {**ALPACA, **ALPACA_FULL, **sharded}, f"{size} on {gpus}: all weights fit with their optimiser"
    if 2 * parameters <= room:
        return {**ALPACA, **LORA_LARGE}, f"{size} on {gpus}: an adapter fits, all weights do not"
    if 2 * parameters / count <= room:
        return {**ALPACA, **LORA_LARGE, **sharded}, f"{size} on {gpus}: an adapter fits where the base is sharded"
    return {**ALPACA, **LORA_LARGE, "quantise": "4bit"}, f"{size} on {gpus}: an adapter over a base of four bits"
