"""What a run's held-out prompts can show, told before it begins. Pure."""

from __future__ import annotations

from state.wording import number_of
from tools.statistics.power import POWER, detectable_difference, mcnemar_power, prompts_needed

DISCORDANT, GAIN = 0.2, 0.12
"""Share of the prompts on which base and adapter differ, and what the adapter gains of all: as in the demo's and the
proof's runs on the embedded model, of which six gained 10 to 17 points (docs/experiments.md)."""
SURE = 0.9
"""The chance with which a run should show what it is expected to gain."""


def shown_in_words(prompts: int) -> str:
    """Return what so many held-out prompts can show of a metric that is yes or no, in a sentence.

    Args:
        prompts: held-out prompts, at least 1.
    """
    least, enough = detectable_difference(prompts, DISCORDANT), prompts_needed(GAIN, DISCORDANT, SURE)
    if least is None:
        return f"{number_of(prompts, 'held-out prompt')}: too few to show any gain; {enough} would do"
    chance = mcnemar_power(prompts, GAIN, DISCORDANT)
    more = "" if chance >= SURE - 0.005 else f"; {enough} prompts would do so in {SURE:.0%}"
    return (
        f"{number_of(prompts, 'held-out prompt')}: a gain of {100 * least:.0f} points is shown in {POWER:.0%} of runs, "
        f"and one of {100 * GAIN:.0f} points, as the embedded model has gained, in {chance:.0%}{more}"
    )
