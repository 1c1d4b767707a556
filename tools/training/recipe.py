"""A recipe is a sequence of phases, such as ``sft+dpo``. To add a phase, write its file and add it to ``PHASES``."""

from __future__ import annotations

import difflib
from collections.abc import Mapping

from state.errors import BadInput
from tools.training.dpo import DpoPhase
from tools.training.phase import Phase
from tools.training.sft import SftPhase

PHASES: Mapping[str, Phase] = {phase.name: phase for phase in (SftPhase(), DpoPhase())}
"""All phases, by name."""


def phases_of(recipe: str) -> tuple[Phase, ...]:
    """Return the phases of a recipe, in order.

    Args:
        recipe: the names of phases, joined by ``+``.

    Raises:
        BadInput: a phase is unknown, or named twice.
    """
    names = recipe.split("+")
    for place, name in enumerate(names):
        if name not in PHASES:
            near = difflib.get_close_matches(name, PHASES, cutoff=0.5)
            hint = f"did you mean {' or '.join(near)}?" if near else f"the phases are {', '.join(PHASES)}"
            raise BadInput(f"train.recipe: there is no phase {name!r}; {hint}")
        if name in names[:place]:
            raise BadInput(f"train.recipe: {recipe} names {name} twice; name each phase once")
    return tuple(PHASES[name] for name in names)
