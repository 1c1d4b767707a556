"""What a run's held-out prompts can show, told before it begins. Pure."""

from __future__ import annotations

from state.wording import number_of
from tools.statistics.power import POWER, detectable_difference, mcnemar_power, prompts_needed

DISCORDANT = 0.2
"""Share of the prompts on which base and adapter differ, where nothing better is known."""
DEMO_DISCORDANT, DEMO_GAIN = 0.135, 0.096
"""The same share, and what the adapter gained of all prompts: the means of twelve runs of the demo on the embedded
model, which gained 5 to 13 points (docs/experiments.md)."""
SURE = 0.9
"""The chance with which a run should show what it is expected to gain."""


def shown_in_words(prompts: int) -> str:
    """Return what so many held-out prompts can show of a metric that is yes or no, in a sentence.

    Args:
        prompts: held-out prompts, at least 1.
    """
    least, enough = detectable_difference(prompts, DISCORDANT), prompts_needed(DEMO_GAIN, DEMO_DISCORDANT, SURE)
    if least is None:
        return f"{number_of(prompts, 'held-out prompt')}: too few to show any gain; {enough} would do"
    chance = mcnemar_power(prompts, DEMO_GAIN, DEMO_DISCORDANT)
    more = "" if chance >= SURE - 0.005 else f"; {enough} prompts would do so in {SURE:.0%}"
    return (
        f"{number_of(prompts, 'held-out prompt')}: a gain of {100 * DEMO_GAIN:.1f} points, as the embedded model has "
        f"made, is shown in {chance:.0%} of runs{more}; where base and adapter differ on {DISCORDANT:.0%} of the "
        f"prompts, one of {100 * least:.1f} in {POWER:.0%}"
    )
