"""How large a judge's model is, and from what size its written scores are worth reading. Pure.

Behind a URL the crew writes its scores, whatever the model. One whose name states fewer than ``LEAST`` parameters is
named too small, and a warning is given. The size is read from the model's name, where nearly every small model states
it; servers have no common field for it.
"""

from __future__ import annotations

import re

LEAST = 1_000_000_000
"""Parameters. The embedded model of 135 million wrote scores that were noise (0.50 of 20 hand-made pairs, 16 tied). The
bound is a round figure above that and was not measured; ``corral calibrate`` measures any judge."""
_STATED = re.compile(r"(?<![a-z0-9.])(\d+(?:\.\d+)?)([mb])(?![a-z0-9])")
_UNITS = {"m": 1e6, "b": 1e9}


def stated_parameters(model: str) -> float | None:
    """Return how many parameters a model's name states, such as 135e6 for ``smollm2-135m``; ``None`` where none.

    Of several figures the largest counts: ``30b-a3b`` has 30 billion, of which 3 are active for a token.
    """
    return max((float(number) * _UNITS[unit] for number, unit in _STATED.findall(model.lower())), default=None)


def too_small_to_write(model: str) -> bool:
    """Return whether the model's name states fewer than ``LEAST`` parameters."""
    stated = stated_parameters(model)
    return stated is not None and stated < LEAST
