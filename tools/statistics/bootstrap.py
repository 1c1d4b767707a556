"""Bootstrap intervals (Efron & Tibshirani 1993, ch. 13): draw the units with replacement and take the figure again.

Every interval is the 95% percentile interval. Equal input and an equal seed give an equal interval.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

from pydantic import model_validator

from state.records import Record

if TYPE_CHECKING:  # numpy takes 0.07 seconds, and a scoreboard that is only shown needs an Estimate alone
    import numpy as np
    import numpy.typing as npt

    Figures: TypeAlias = npt.NDArray[np.float64]

Measure = Callable[..., "Figures"]
"""Takes columns of shape (..., units) and returns figures of shape (...): it measures every draw at once."""
RESAMPLES = 2000
"""Draws, where nobody asks for another number."""
CELLS = 2_000_000
"""Numbers drawn at a time: 16 MB, whatever the size of the data."""


class Estimate(Record):
    """A figure with its 95% interval."""

    value: float
    low: float
    high: float

    @model_validator(mode="before")
    @classmethod
    def _earlier_name(cls, given: Any) -> Any:
        """Scoreboards and evaluations of Corral 0.1 call the value ``difference``."""
        if isinstance(given, dict) and "difference" in given and "value" not in given:
            return {("value" if key == "difference" else key): figure for key, figure in given.items()}
        return given


def bootstrap(measure: Measure, *columns: npt.ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Return a figure over units, with its interval.

    Args:
        measure: gives the figure, such as ``mean``.
        *columns: one number for each unit; a unit is drawn with all of its numbers.
        resamples: draws, at least 1.
        seed: of the draws.

    Raises:
        ValueError: there are no units, or the columns differ in length.
    """
    import numpy as np

    paired = paired_columns(*columns)
    return estimate_of(float(measure(*paired)), _replicates(measure, paired, resamples, np.random.default_rng(seed)))


def mean(values: Figures) -> Figures:
    """Return the mean over the units, which lie along the last axis."""
    means: Figures = values.mean(axis=-1)
    return means


def ratio_of_sums(parts: Figures, wholes: Figures) -> Figures:
    """Return the sum of the parts over that of the wholes: a rate where units differ in size."""
    ratios: Figures = parts.sum(axis=-1) / wholes.sum(axis=-1)
    return ratios


def paired_bootstrap(base: npt.ArrayLike, adapter: npt.ArrayLike, resamples: int, seed: int) -> Estimate:
    """Return the mean paired difference, adapter less base, with its interval.

    Args:
        base: one score for each prompt, of any scale.
        adapter: the scores of the same prompts in the same order.
        resamples: draws, at least 1.
        seed: of the draws.

    Raises:
        ValueError: there are no scores, or not as many on both sides.
    """
    before, after = paired_columns(base, adapter)
    return bootstrap(mean, after - before, resamples=resamples, seed=seed)


def unpaired_bootstrap(a: npt.ArrayLike, b: npt.ArrayLike, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Return the mean of ``b`` less that of ``a``, with its interval; each sample is drawn on its own.

    Args:
        a: one number for each unit.
        b: the same of other units, as many as there are.
        resamples: draws, at least 1.
        seed: of the draws.

    Raises:
        ValueError: a sample is empty.
    """
    import numpy as np

    samples = [paired_columns(a), paired_columns(b)]
    generator = np.random.default_rng(seed)
    before, after = (_replicates(mean, sample, resamples, generator) for sample in samples)
    return estimate_of(float(mean(*samples[1]) - mean(*samples[0])), after - before)


def estimate_of(value: float, replicates: Figures) -> Estimate:
    """Return a figure with the percentile interval of what its resamples gave."""
    import numpy as np

    low, high = np.quantile(replicates, (0.025, 0.975))
    return Estimate(value=value, low=float(low), high=float(high))


def paired_columns(*columns: npt.ArrayLike) -> list[Figures]:
    """Return the columns as arrays.

    Raises:
        ValueError: they are empty, or differ in length.
    """
    import numpy as np

    arrays = [np.asarray(column, dtype=np.float64) for column in columns]
    sizes = [len(array) for array in arrays]
    if len(set(sizes)) != 1 or not sizes[0]:
        counts = " and ".join(map(str, sizes))
        raise ValueError(f"paired scores must be as many on both sides and at least 1, not {counts}")
    return arrays


def _replicates(measure: Measure, columns: list[Figures], resamples: int, generator: np.random.Generator) -> Figures:
    import numpy as np

    size = len(columns[0])
    step = max(1, CELLS // size)
    found = np.empty(resamples)
    for start in range(0, resamples, step):
        drawn = generator.integers(0, size, (min(step, resamples - start), size))
        found[start : start + len(drawn)] = measure(*(column[drawn] for column in columns))
    return found
