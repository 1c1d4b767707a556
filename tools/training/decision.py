"""The training decision: proceed, optimise, wait or abort. Pure: the same figures give the same decision."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from state.pipeline import TrainingDecision
from state.records import Record
from state.request import Training
from state.wording import number_of
from tools.machine.resources import Resources
from tools.training.estimate import (
    BaseFacts,
    Machine,
    PhaseWork,
    disk_bytes,
    fixed_bytes,
    pass_bytes,
    seconds_needed,
)
from tools.training.rows import rows_at_once
from tools.weights.number_format import NumberFormat

KEPT_SHARE = 0.5
"""Where long rows are left out to save memory, the share of each phase's rows that must remain."""
USABLE = 0.9
"""Share of the free memory that a training may take: allocators leave gaps."""


class Survey(Record):
    """What the decision depends on."""

    work: tuple[PhaseWork, ...]
    base: BaseFacts
    machine: Machine
    resources: Resources


class Plan(NamedTuple):
    """One way to fit a training into memory."""

    rows: tuple[int, ...]
    """Rows of one pass, in each phase."""
    checkpointing: bool
    max_length: int
    work: tuple[PhaseWork, ...]
    memory: int
    """Bytes needed by each process."""


def decide_training(survey: Survey, settings: Training) -> TrainingDecision:
    """Return whether a training may begin, with which settings, and how long it should take.

    An optimiser step always has ``settings.batch_size`` rows: what does not fit at once is accumulated. Where the
    machine's memory is small, fewer rows go through at once; then activations are computed again; then rows are left
    out, the longest first. Of these, only computing again may depend on the memory that is free at the moment, since it
    changes no figure of the training; where that is not enough, it waits. So the adapter does not depend on what else
    the machine does. More free memory never makes the decision worse.

    Args:
        survey: rows, model, machine and resources.
        settings: the request's.
    """
    for phase in survey.work:
        if not phase.within(settings.max_length).lengths:
            held = f"all {len(phase.lengths)} are longer than train.max_length" if phase.lengths else "there is none"
            return _aborted(settings, f"there are no {phase.phase} rows to train on: {held}")
        if (count := len(phase.within(settings.max_length).lengths)) < settings.min_examples:
            few = f"{number_of(count, f'{phase.phase} row')}: fewer than train.min_examples, {settings.min_examples}"
            return _aborted(settings, f"{few}; start a run with more prompts or instructions, or lower it")
    needed, free = disk_bytes(survey.base, settings), survey.resources.disk_free
    if free < needed:
        return _aborted(settings, f"the training needs {_gb(needed)} on disk and {_gb(free)} are free; make room")
    plans = list(_plans(survey, settings))
    best = next((plan for plan in plans if plan.memory <= _room(survey, free=False)), None)
    if best is None:
        least, total = min(plan.memory for plan in plans), _room(survey, free=False)
        return _aborted(
            settings,
            f"the training needs at least {_gb(least)} of {_device(survey)} memory and {_gb(total)} can be used; take "
            "a smaller models.base or train.lora_rank" + ("" if survey.machine.on_cpu else ", or train.quantise 4bit"),
        )
    same = (best, _plan(survey, settings, best.work, best.rows, True, best.max_length))
    now = next((plan for plan in same if plan.memory <= _room(survey, free=True)), None)
    found = now or best
    decision = _decision(survey, settings, found)
    limit = settings.max_hours
    if limit is not None and decision.estimated_seconds > limit * 3600:
        return _aborted(
            settings,
            f"the training is estimated at {decision.estimated_seconds / 3600:.2f} hours and train.max_hours is "
            f"{limit:g}; raise it, or lower train.epochs",
            decision.estimated_seconds,
        )
    if now is None:
        taken = (
            f"{_gb(found.memory)} of {_device(survey)} memory are needed and {_gb(_room(survey, free=True))} are free"
        )
        return decision.model_copy(update={"action": "wait", "reason": f"{taken}; other programs use the rest"})
    if survey.resources.training_elsewhere:
        return decision.model_copy(update={"action": "wait", "reason": "another run is training on this machine"})
    return decision


def _plans(survey: Survey, settings: Training) -> Iterator[Plan]:
    """Yield the ways to fit a training into memory, the best first; none needs much more than the one before."""
    work = tuple(phase.within(settings.max_length) for phase in survey.work)
    rows = _rows(work, survey, settings)
    yield _plan(survey, settings, work, rows, False, settings.max_length)
    fewer = rows
    while max(fewer) > 1:
        fewer = tuple(_fewer(count) for count in fewer)
        yield _plan(survey, settings, work, fewer, False, settings.max_length)
    yield _plan(survey, settings, work, fewer, True, settings.max_length)
    for limit in sorted({length for phase in work for length in phase.lengths if length >= 32}, reverse=True)[1:]:
        shorter = tuple(phase.within(limit) for phase in work)
        if any(len(s.lengths) < KEPT_SHARE * len(w.lengths) for s, w in zip(shorter, work, strict=True)):
            return
        yield _plan(survey, settings, shorter, fewer, True, limit)


def _rows(work: Sequence[PhaseWork], survey: Survey, settings: Training) -> tuple[int, ...]:
    batch = max(1, settings.batch_size // survey.machine.processes)
    return tuple(rows_at_once(batch, p.sequences, max(p.lengths), survey.machine.on_cpu) for p in work)


def _fewer(rows: int) -> int:
    """Return the next smaller divisor, so that the passes of a step stay alike."""
    return next((count for count in range(rows - 1, 0, -1) if rows % count == 0), 1)


def _plan(
    survey: Survey,
    settings: Training,
    work: tuple[PhaseWork, ...],
    rows: tuple[int, ...],
    checkpointing: bool,
    max_length: int,
) -> Plan:
    largest = max(
        pass_bytes(
            survey.base,
            survey.machine,
            count * p.sequences * max(p.lengths),
            max(p.lengths),
            checkpointing,
            dropout=settings.lora_dropout > 0,
        )
        for p, count in zip(work, rows, strict=True)
    )
    memory = fixed_bytes(survey.base, settings, survey.machine) + largest
    return Plan(rows, checkpointing, max_length, work, memory)


def _decision(survey: Survey, settings: Training, plan: Plan) -> TrainingDecision:
    """Return the decision for a plan that fits: proceed, or optimise with what changes."""
    asked = next(_plans(survey, settings))
    names = [phase.phase for phase in plan.work]
    changes = [
        f"{new} instead of {old} {name} rows at once"
        for name, old, new in zip(names, asked.rows, plan.rows, strict=True)
        if new != old
    ]
    if plan.checkpointing:
        changes.append("activations computed again in the backward pass")
    if plan.max_length != asked.max_length:
        lost = sum(len(a.lengths) - len(s.lengths) for a, s in zip(asked.work, plan.work, strict=True))
        changes.append(f"{number_of(lost, 'row')} longer than {plan.max_length} tokens left out")
    short = f"{_gb(asked.memory)} of {_device(survey)} memory are not free; it fits with {', '.join(changes)}"
    return TrainingDecision(
        action="optimise" if changes else "proceed",
        reason=short if changes else f"{_gb(plan.memory)} of {_device(survey)} memory are needed and free",
        rows_at_once=dict(zip(names, plan.rows, strict=True)),
        gradient_checkpointing=plan.checkpointing,
        max_length=plan.max_length,
        number_format=_number_format(survey.machine),
        memory_needed=plan.memory,
        estimated_seconds=round(
            seconds_needed(plan.work, survey.base, settings, survey.machine, plan.rows, plan.checkpointing), 1
        ),
    )


def _number_format(machine: Machine) -> NumberFormat | None:
    """Return what a CPU computes in; a GPU's follows from the GPU."""
    if not machine.on_cpu:
        return None
    return "float32" if machine.wide else "bfloat16"


def _room(survey: Survey, free: bool) -> float:
    """Return the bytes that each process may take: of the free memory, or of all memory."""
    found, processes = survey.resources, survey.machine.processes
    if survey.machine.on_cpu:
        return USABLE * (found.memory_free if free else found.memory_total) / processes
    return USABLE * min(gpu.free if free else gpu.total for gpu in found.gpus)


def _aborted(settings: Training, reason: str, seconds: float = 0.0) -> TrainingDecision:
    return TrainingDecision(
        action="abort", reason=reason, max_length=settings.max_length, estimated_seconds=round(seconds, 1)
    )


def _device(survey: Survey) -> str:
    return "main" if survey.machine.on_cpu else "GPU"


def _gb(count: float) -> str:
    return f"{count / 1e9:.1f} GB"
