"""What stops a broken training at once: pure tests on the figures of one step."""

from __future__ import annotations

import math

from tools.training.job import Phase

GRADIENT_BY = 3
"""The step by which some gradient must have been above 0."""
START_TOLERANCE = 0.02
"""How far the first DPO loss may be from ln 2, and beta times the margin from 0: rounding of bfloat16, and no more."""


def tripped(phase: Phase, step: int, figures: dict[str, float], highest_gradient: float) -> str | None:
    """Return why a training must stop at this step, or ``None``.

    Args:
        phase: ``sft`` or ``dpo``.
        step: optimiser steps done, from 1.
        figures: TRL's figures of the step: ``loss``, ``grad_norm``, and ``rewards/margins`` for DPO.
        highest_gradient: the highest gradient norm so far, this step's among them.
    """
    loss = figures.get("loss", 0.0)
    if not math.isfinite(loss):
        return f"{phase} step {step}: the loss is {loss}; lower train.learning_rate"
    if not math.isfinite(figures.get("grad_norm", 0.0)):
        return f"{phase} step {step}: the gradient is {figures['grad_norm']}; lower train.learning_rate"
    if step == GRADIENT_BY and highest_gradient == 0.0:
        return f"{phase}: the gradient is still 0 at step {step}, so nothing is learned; the rows may all be masked"
    if phase == "dpo" and step == 1:
        margin = figures.get("rewards/margins", 0.0)
        if abs(loss - math.log(2)) > START_TOLERANCE or abs(margin) > 2 * START_TOLERANCE:
            return (
                f"dpo starts at loss {loss:.4f} and margin {margin:.4f} instead of ln 2 = 0.6931 and 0: "
                "its reference is not the model it starts from"
            )
    return None
