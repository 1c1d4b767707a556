"""What stops a broken training, and what is held against one that ended: pure tests on the figures of its steps.

A training is *stopped* where nothing that comes later can mend it: a loss or gradient that is no number, no gradient at
all, DPO against the wrong reference, a loss that climbs, chosen answers that the model forgets. It is *flagged* where
it may still have learned something: a loss that did not fall, answers that repeat themselves more than before, rows
that came with the chat template in them. A flag stands in ``summary.json`` and on the scoreboard, and the evaluation
decides.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean

from tools.training.job import Phase

Figures = Mapping[str, float]
"""TRL's figures of one optimiser step: ``loss``, ``grad_norm``, and for DPO ``logps/chosen``, ``rewards/chosen``..."""

GRADIENT_BY = 3
"""The step by which some gradient must have been above 0. The first step's learning rate is 0, by the warm-up."""
START_TOLERANCE = 0.02
"""How far the first DPO loss may be from ln 2, and beta times the margin from 0: rounding of bfloat16, and no more."""
START = 2
"""Steps whose mean loss stands for the model at the start: their learning rate is 0 and little, by the warm-up."""
WINDOW = 5
"""Steps whose mean is judged: one batch alone is too noisy to stop a training for."""
DIVERGED = 2.0
"""Nats by which the loss may stand above its start: a perplexity seven times that of the start for SFT, pairs ranked
wrongly and with confidence for DPO. In a healthy SFT of SmolLM2-135M batches of 8 rows lay between 1.5 and 3.1, and
five in a row 0.2 above the start; at 100 times its rate they stood at 38."""
FORGOTTEN = 2.0
"""How many times as unlikely, in nats, chosen answers may have become under DPO: a perplexity squared. That DPO lowers
them somewhat is usual (Razin et al. 2024, "Unintentional unalignment")."""
FORGOTTEN_NATS = 20.0
"""And by how many nats an answer at least: answers known by heart double at almost nothing."""
HALVES_FROM = 8
"""Steps from which the two halves of a training are compared; of fewer, one batch would decide. Over two epochs both
halves have the same rows."""
REPETITION = 0.15
"""Fall of distinct-3 on the probe that is flagged. Raw DPO, which learned to repeat itself, fell by 0.13 over answers
three times as long; a healthy SFT of SmolLM2-135M fell by 0.04."""


def tripped(phase: Phase, steps: Sequence[Figures], beta: float) -> str | None:
    """Return why a training must stop after its last step, or ``None``.

    Args:
        phase: ``sft`` or ``dpo``.
        steps: the figures of all steps so far, those before a resume among them; at least one.
        beta: of DPO; its rewards are beta times a difference of log-probabilities.
    """
    step, last = len(steps), steps[-1]
    if not math.isfinite(last["loss"]):
        return f"{phase} step {step}: the loss is {last['loss']}; lower train.learning_rate"
    if not math.isfinite(last.get("grad_norm", 0.0)):
        return f"{phase} step {step}: the gradient is {last['grad_norm']}; lower train.learning_rate"
    if step == GRADIENT_BY and max(figures.get("grad_norm", 0.0) for figures in steps) == 0.0:
        return f"{phase}: the gradient is still 0 at step {step}, so nothing is learned; the rows may all be masked"
    if phase == "dpo" and step == 1 and (reason := _wrong_start(last)):
        return reason
    return _diverged(phase, steps) or (_forgotten(steps, beta) if phase == "dpo" else None)


def flags(phase: Phase, steps: Sequence[Figures], distinct: Sequence[float], doubled: int = 0) -> list[str]:
    """Return what is held against a training that ended, a line each.

    Args:
        phase: ``sft`` or ``dpo``.
        steps: the figures of all its steps.
        distinct: distinct-3 of the probe's answers, in [0, 1], from the start to the end; empty where none was taken.
        doubled: rows left out as they hold the chat template's own marks.
    """
    found = []
    if doubled:
        found.append(f"{phase}: rows left out as their texts hold the chat template's own marks: {doubled}")
    losses = [figures["loss"] for figures in steps]
    if len(losses) >= HALVES_FROM:
        half = len(losses) // 2
        first, second = fmean(losses[:half]), fmean(losses[-half:])
        if second >= first:
            found.append(f"{phase}: the loss did not fall: {first:.3f} in the first half, {second:.3f} in the second")
    if len(distinct) > 1 and distinct[0] - distinct[-1] >= REPETITION:
        found.append(
            f"{phase}: answers repeat themselves more than before: the share of distinct 3-grams on the probe prompts "
            f"fell from {distinct[0]:.2f} to {distinct[-1]:.2f}"
        )
    return found


def _wrong_start(first: Figures) -> str | None:
    loss, margin = first["loss"], first.get("rewards/margins", 0.0)
    if abs(loss - math.log(2)) <= START_TOLERANCE and abs(margin) <= 2 * START_TOLERANCE:
        return None
    return (
        f"dpo starts at loss {loss:.4f} and margin {margin:.4f} instead of ln 2 = 0.6931 and 0: "
        "its reference is not the model it starts from"
    )


def _diverged(phase: Phase, steps: Sequence[Figures]) -> str | None:
    if len(steps) < START + WINDOW:
        return None
    start, now = (fmean([figures["loss"] for figures in part]) for part in (steps[:START], steps[-WINDOW:]))
    if now - start <= DIVERGED:
        return None
    return (
        f"{phase} step {len(steps)}: the loss climbs, from {start:.3f} over the first {START} steps to {now:.3f} over "
        f"the last {WINDOW}; lower train.learning_rate"
    )


def _forgotten(steps: Sequence[Figures], beta: float) -> str | None:
    """Compare chosen answers with the reference, which is the model at the start, on the same rows."""
    recent = [figures for figures in steps[-WINDOW:] if "logps/chosen" in figures]
    if len(recent) < WINDOW:
        return None
    now = -fmean([figures["logps/chosen"] for figures in recent])
    fall = -fmean([figures["rewards/chosen"] for figures in recent]) / beta
    start = now - fall
    if fall < FORGOTTEN_NATS or now < FORGOTTEN * start:
        return None
    return (
        f"dpo step {len(steps)}: the chosen answers collapse: their log-probability fell from {-start:.1f} to "
        f"{-now:.1f} over the last {WINDOW} steps; lower train.dpo_learning_rate or raise train.dpo_beta"
    )
