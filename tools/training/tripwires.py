"""What stops a broken training, and what is flagged in one that ended: pure tests on the figures of its steps.

A training is *stopped* when no later step can repair it: the loss or the gradient is not finite, the gradient stays 0,
the loss climbs, or a test of its phase fails. It is *flagged* when it may still have learned something: the loss did
not fall, answers repeat themselves more than before, or rows came with the chat template in them. A flag stands in
``summary.json`` and on the scoreboard, and the evaluation decides.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean

from state.request import Training
from tools.training.phase import Figures, Phase

GRADIENT_BY = 3
"""The step by which some gradient must have been above 0. The first step's learning rate is 0, by the warm-up."""
START = 2
"""Steps whose mean loss stands for the model at the start: their learning rate is 0 and little, by the warm-up."""
WINDOW = 5
"""Steps whose mean is judged: one batch alone is too noisy to stop a training for."""
DIVERGED = 2.0
"""Nats by which the loss may stand above its start: for SFT a perplexity seven times that of the start, for DPO pairs
that are ranked wrongly and with confidence. In a healthy SFT of SmolLM2-135M batches of 8 rows were between 1.5 and
3.1, and five in a row 0.2 above the start; at 100 times its learning rate they were at 38."""
HALVES_FROM = 8
"""Steps from which the two halves of a training are compared; of fewer, one batch would decide. Over two epochs both
halves have the same rows."""
REPETITION = 0.15
"""Fall of distinct-3 on the probe that is flagged. Raw DPO, which learned to repeat itself, fell by 0.13 over answers
three times as long; a healthy SFT of SmolLM2-135M fell by 0.04."""


def tripped(phase: Phase, steps: Sequence[Figures], settings: Training) -> str | None:
    """Return why a training must stop after its last step, or ``None``.

    Args:
        phase: what is trained.
        steps: the figures of all steps so far, those before a resume among them; at least one.
        settings: the request's.
    """
    name, step, last = phase.name, len(steps), steps[-1]
    if not math.isfinite(last["loss"]):
        return f"{name} step {step}: the loss is {last['loss']}; lower train.{phase.rate_setting}"
    if not math.isfinite(last.get("grad_norm", 0.0)):
        return f"{name} step {step}: the gradient is {last['grad_norm']}; lower train.{phase.rate_setting}"
    if step == GRADIENT_BY and max(figures.get("grad_norm", 0.0) for figures in steps) == 0.0:
        return f"{name}: the gradient is still 0 at step {step}, so nothing is learned; the rows may all be masked"
    return _diverged(phase, steps) or phase.tripped(steps, settings)


def flags(phase: Phase, steps: Sequence[Figures], distinct: Sequence[float], already_templated: int = 0) -> list[str]:
    """Return what is wrong with a training that ended, a line each.

    Args:
        phase: what was trained.
        steps: the figures of all its steps.
        distinct: distinct-3 of the probe's answers, in [0, 1], from the start to the end; empty where none was taken.
        already_templated: rows left out because a text in them already holds the chat template's marks.
    """
    found, name = [], phase.name
    if already_templated:
        found.append(f"{name}: rows left out as their texts hold the chat template's own marks: {already_templated}")
    losses = [figures["loss"] for figures in steps]
    if len(losses) >= HALVES_FROM:
        half = len(losses) // 2
        first, second = fmean(losses[:half]), fmean(losses[-half:])
        if second >= first:
            found.append(f"{name}: the loss did not fall: {first:.3f} in the first half, {second:.3f} in the second")
    if len(distinct) > 1 and distinct[0] - distinct[-1] >= REPETITION:
        found.append(
            f"{name}: answers repeat themselves more than before: the share of distinct 3-grams on the probe prompts "
            f"fell from {distinct[0]:.2f} to {distinct[-1]:.2f}"
        )
    return found


def _diverged(phase: Phase, steps: Sequence[Figures]) -> str | None:
    if len(steps) < START + WINDOW:
        return None
    start, now = (fmean([figures["loss"] for figures in part]) for part in (steps[:START], steps[-WINDOW:]))
    if now - start <= DIVERGED:
        return None
    return (
        f"{phase.name} step {len(steps)}: the loss climbs, from {start:.3f} over the first {START} steps to {now:.3f} "
        f"over the last {WINDOW}; lower train.{phase.rate_setting}"
    )
