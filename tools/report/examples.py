"""Which held-out prompts are shown: the clearest gains, the worst losses, and where both fail."""

from __future__ import annotations

import heapq
from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType
from typing import Literal, assert_never

from state.records import Answer, CheckResult, Record, Sample
from tools.checks.guard import degenerate
from tools.evaluation.scoring import Scored, score_answer

LONGEST, LINES = 1200, 24
"""Characters and lines shown of a text."""
Kind = Literal["gained", "lost", "neither", "both"]
SHOWN: Mapping[Kind, int] = MappingProxyType({"gained": 5, "lost": 5, "neither": 3})
"""Examples of each kind."""


class AnswerShown(Record):
    """One model's answer with what was found in it."""

    text: str
    cut: int
    """Characters left out at its end."""
    guarded: bool
    ended: bool
    degenerate: tuple[str, ...]
    checks: tuple[CheckResult, ...]


class Example(Record):
    """One held-out prompt with both answers."""

    sample_id: str
    category: str
    prompt: str
    cut: int
    base: AnswerShown
    adapter: AnswerShown


class Examples(Record):
    """Examples, and how many prompts there were of each kind."""

    looked_at: int
    heldout: int
    counts: dict[Kind, int]
    gained: tuple[Example, ...]
    lost: tuple[Example, ...]
    neither: tuple[Example, ...]


class ExamplePicker:
    """Takes prompts one by one and keeps the few that show most; its memory does not grow."""

    def __init__(self) -> None:
        self._counts: Counter[Kind] = Counter()
        self._best: dict[Kind, list[tuple[float, str, Example]]] = {kind: [] for kind in SHOWN}

    def add(self, sample: Sample, base: Answer | None, adapter: Answer | None) -> None:
        """Look at one prompt; a missing answer fails everything."""
        before, after = score_answer(sample, base), score_answer(sample, adapter)
        kind = _kind(before, after)
        self._counts[kind] += 1
        if kind not in SHOWN:
            return
        # A smaller id breaks ties, so that the same run shows the same examples.
        entry = (_clearness(kind, before, after), sample.id, _example(sample, (base, before), (adapter, after)))
        kept = self._best[kind]
        (heapq.heappush if len(kept) < SHOWN[kind] else heapq.heappushpop)(kept, entry)

    def result(self, heldout: int) -> Examples | None:
        """Return what was kept, the clearest first; ``None`` where nothing was looked at.

        Args:
            heldout: held-out prompts in all.
        """
        looked_at = sum(self._counts.values())
        if not looked_at:
            return None
        best = {kind: tuple(row[2] for row in sorted(rows, reverse=True)) for kind, rows in self._best.items()}
        return Examples(looked_at=looked_at, heldout=heldout, counts=dict(self._counts), **best)


def shortened(text: str) -> tuple[str, int]:
    """Return the text's beginning, at most ``LONGEST`` characters and ``LINES`` lines, and how many are left out."""
    short = "\n".join(text[:LONGEST].split("\n")[:LINES])
    return short, len(text) - len(short)


def _kind(before: Scored, after: Scored) -> Kind:
    was, is_ = before.metrics["guarded"] > 0, after.metrics["guarded"] > 0
    return "both" if was and is_ else "gained" if is_ else "lost" if was else "neither"


def _clearness(kind: Kind, before: Scored, after: Scored) -> float:
    """Return how clear a case is: by the change in checks passed, then in distinct 3-grams and in having ended."""

    def change(metric: str, weight: float) -> float:
        return weight * (after.metrics.get(metric, 0.0) - before.metrics.get(metric, 0.0))

    moved = change("checks", 1.0) + change("distinct3", 0.5) + change("ended", 0.25)
    match kind:
        case "gained":
            return moved
        case "lost" | "neither" | "both":
            # Where both fail, the worse the adapter did, the more there is to see.
            return -moved
        case _:
            assert_never(kind)


def _example(sample: Sample, base: tuple[Answer | None, Scored], adapter: tuple[Answer | None, Scored]) -> Example:
    prompt, cut = shortened(sample.prompt)
    sides = (_shown(sample, *base), _shown(sample, *adapter))
    return Example(
        sample_id=sample.id, category=sample.category, prompt=prompt, cut=cut, base=sides[0], adapter=sides[1]
    )


def _shown(sample: Sample, answer: Answer | None, scored: Scored) -> AnswerShown:
    text, ended = (answer.text, answer.ended) if answer else ("", False)
    short, cut = shortened(text)
    return AnswerShown(
        text=short,
        cut=cut,
        guarded=scored.metrics["guarded"] > 0,
        ended=ended,
        degenerate=degenerate(sample, text, ended),
        checks=scored.checks,
    )
