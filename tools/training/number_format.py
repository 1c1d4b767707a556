"""The number format that a training on a CPU computes in: measured, since instructions for bfloat16 need not be faster.

With AVX-512's bfloat16 and without AMX a training of SmolLM2-135M took 1.7 times as long in bfloat16 as in float32.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

from tools.weights.number_format import NumberFormat, cpu_has_bfloat16

ROWS = 256
"""Tokens of a timed pass."""
MEASURED_SECONDS = 0.3
"""Both formats are timed for so long together; the turn that is under way then is the last."""
CLEARLY = 0.9


def cpu_format(width: int) -> NumberFormat:
    """Return float32 where this CPU has no instructions for bfloat16, else the faster format for a model's width."""
    return faster_format(width) if cpu_has_bfloat16() else "float32"


def faster_format(width: int, pass_in: Callable[[NumberFormat], float] | None = None) -> NumberFormat:
    """Return bfloat16 where passes forward and back in it take less than ``CLEARLY`` of float32's time on this CPU.

    The two take turns, so that what else the machine does meets both, and the fastest pass of each counts. A difference
    that another measurement could turn round goes to float32, which rounds less.

    Args:
        width: the model's.
        pass_in: does one pass in a format and returns its seconds; by default one through two products of that width.
    """
    timed = pass_in or _timed_passes(width)
    formats: tuple[NumberFormat, ...] = ("float32", "bfloat16")
    for one in formats:  # without what the first pass prepares
        timed(one)
    best = dict.fromkeys(formats, float("inf"))
    spent = 0.0
    while spent < MEASURED_SECONDS:
        for one in formats:
            seconds = timed(one)
            best[one], spent = min(best[one], seconds), spent + seconds
    return "bfloat16" if best["bfloat16"] < CLEARLY * best["float32"] else "float32"


def _timed_passes(width: int) -> Callable[[NumberFormat], float]:
    """Return what times a pass through a feed-forward layer of a frozen base, back to its input."""
    import torch

    def tensors(dtype: torch.dtype) -> tuple[Any, Any, Any]:
        shapes = ((ROWS, width), (4 * width, width), (width, 4 * width))
        rows, up, down = (torch.randn(shape).to(dtype) for shape in shapes)
        return rows.requires_grad_(), up, down

    held = {"float32": tensors(torch.float32), "bfloat16": tensors(torch.bfloat16)}

    def timed(one: NumberFormat) -> float:
        rows, up, down = held[one]
        began = time.perf_counter()
        linear = torch.nn.functional.linear
        result: Any = linear(torch.nn.functional.silu(linear(rows, up)), down).sum()
        result.backward()
        return time.perf_counter() - began

    return timed
