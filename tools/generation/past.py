"""What earlier calls of this home used: tokens of one call, by what it was for and by model. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence

from state.calls import TokenUse
from tools.generation.spans import Span, span

ENOUGH = 20
"""Earlier calls from which their mean is taken in the place of the priors."""
APART = 1.3
"""How far the mean of another run may be from what is known. The demo and the proof, whose prompts are of one kind, are
1.5% apart in completions and 7% in prompts; other prompts differ more. It is widened to what earlier runs had."""
OWN = ("judge.pair", "judge.likelihood", "evaluate.perplexity", "evaluate.ifeval")
"""Purposes whose calls are unlike the others of their stage."""


class Past:
    """Earlier calls, grouped by use and model.

    Args:
        uses: as the ledger sums them up, one for each run, purpose and model.
    """

    def __init__(self, uses: Sequence[TokenUse]) -> None:
        self._uses: defaultdict[tuple[str, str], list[TokenUse]] = defaultdict(list)
        self._taken: dict[tuple[str, str], int] = {}
        for use in uses:
            self._uses[use_of(use.purpose), _bare(use.model)].append(use)

    @property
    def calls(self) -> int:
        """Earlier calls that something was learned from."""
        return sum(self._taken.values())

    def knows(self, use: str, model: str) -> bool:
        """Return whether there are enough earlier calls."""
        return sum(one.calls for one in self._uses[use, _bare(model)]) >= ENOUGH

    def tokens(self, use: str, model: str, prompt: Span, completion: Span) -> tuple[Span, Span]:
        """Return the tokens of one prompt and one completion: as learned, or as given where nothing is known.

        The bounds stay as they are, unless earlier calls were beyond them.
        """
        if not self.knows(use, model):
            return prompt, completion
        uses = self._uses[use, _bare(model)]
        calls = [one.calls for one in uses]
        self._taken[use, _bare(model)] = sum(calls)
        return (
            learned([one.prompt_tokens for one in uses], calls, prompt),
            learned([one.completion_tokens for one in uses], calls, completion),
        )


def learned(tokens: Sequence[int], calls: Sequence[int], prior: Span) -> Span:
    """Return an estimate of one call's tokens from the sums of earlier runs: at least one run, each with a call."""
    mean = sum(tokens) / sum(calls)
    means = [used / count for used, count in zip(tokens, calls, strict=True)]
    low, high = min(mean / APART, *means), max(mean * APART, *means)
    # Rounding may put a mean of equal numbers beside them.
    return span(min(low, mean), mean, max(high, mean), max(high, mean, prior.most))


def use_of(purpose: str) -> str:
    """Return what a call's purpose counts as: the stage, but for calls that are unlike the others there."""
    name = purpose.replace(":", ".")
    return name if name in OWN else name.partition(".")[0]


def _bare(model: str) -> str:
    """Return a model's name without the hash that the ledger gives to weights."""
    return model.partition("@")[0]
