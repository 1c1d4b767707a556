"""How the judges' scores are spread, counted as they are read: the memory does not grow with the rows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from state.records import Outcome, Record

BINS = 20
JUDGES = 8
"""Judges that are named."""


class Spread(Record):
    """How often a figure fell into each of ``BINS`` equal parts of its range."""

    name: str
    counts: tuple[int, ...]
    mean: float
    capped: int = 0
    """Scores that a failed check lowered."""


class Scores(Record):
    """The judgements of a run."""

    judged: int
    failed: int
    unjudged: int = 0
    """Answers that nothing could judge."""
    overall: Spread
    dimensions: tuple[Spread, ...]
    confidence: Spread
    stars: tuple[int, ...]
    """Judgements with one star, two, and so on to five."""
    measures: tuple[tuple[str, ...], ...] = ()
    """Dimensions that every judgement scored alike, by groups: they are one measure, and were not judged apart."""
    judges: tuple[tuple[str, int], ...]
    """Identity of each judge, and its judgements; at most ``JUDGES``, those with the most judgements."""
    other_judges: int = 0
    """Judges that are not among ``judges``."""

    @property
    def drawn(self) -> tuple[Spread, ...]:
        """The dimensions to draw: one for each measure, named by all that it stands for."""
        by_name = {spread.name: spread for spread in self.dimensions}
        groups = self.measures or tuple((name,) for name in by_name)
        return tuple(by_name[names[0]].model_copy(update={"name": ", ".join(names)}) for names in groups)


class _Tally:
    def __init__(self, high: float) -> None:
        self.high, self.sum, self.capped = high, 0.0, 0
        self.counts = [0] * BINS

    def add(self, value: float) -> None:
        self.sum += value
        self.counts[min(BINS - 1, max(0, int(BINS * value / self.high)))] += 1

    def spread(self, name: str) -> Spread:
        mean = self.sum / max(1, sum(self.counts))
        return Spread(name=name, counts=tuple(self.counts), mean=mean, capped=self.capped)


class ScoreCounter:
    """Counts judgements one by one; ``add`` takes the fields named in ``FIELDS``."""

    FIELDS = ("outcome", "overall", "stars", "confidence", "scores", "judge")

    def __init__(self) -> None:
        self._failed, self._unjudged = 0, 0
        self._overall, self._confidence = _Tally(100.0), _Tally(1.0)
        self._dimensions: dict[str, _Tally] = {}
        self._stars: Counter[int] = Counter()
        self._judges: Counter[str] = Counter()
        self._measures: list[list[str]] = []

    def add(
        self,
        outcome: str,
        overall: float | None,
        stars: int | None,
        confidence: float,
        scores: Sequence[Mapping[str, Any]],
        judge: str,
    ) -> None:
        """Count one judgement; one that failed, or of what nothing could judge, has no scores."""
        if outcome == Outcome.FAILED:
            self._failed += 1
            return
        if overall is None or stars is None:
            self._unjudged += 1
            return
        scores = [score for score in scores if score["score"] is not None]
        self._overall.add(overall)
        self._confidence.add(confidence)
        self._stars[stars] += 1
        self._judges[judge] += 1
        self._part(scores)
        for score in scores:
            tally = self._dimensions.setdefault(score["dimension"], _Tally(100.0))
            tally.add(score["score"])
            tally.capped += score.get("capped_from") is not None

    def _part(self, scores: Sequence[Mapping[str, Any]]) -> None:
        """Part the dimensions that this judgement does not score alike."""
        # The judge's own score: a failed check may cap one dimension and not the others.
        points = {s["dimension"]: s["score"] if s.get("capped_from") is None else s["capped_from"] for s in scores}
        known = {name for names in self._measures for name in names}
        parted = []
        for names in [*self._measures, [name for name in points if name not in known]]:
            by_points: dict[Any, list[str]] = {}
            for name in names:
                by_points.setdefault(points.get(name), []).append(name)
            parted += list(by_points.values())
        self._measures = parted

    def result(self) -> Scores | None:
        """Return the counts, or ``None`` where nothing was judged."""
        judged = sum(self._stars.values())
        if not judged and not self._failed and not self._unjudged:
            return None
        return Scores(
            judged=judged,
            failed=self._failed,
            unjudged=self._unjudged,
            overall=self._overall.spread("overall"),
            dimensions=tuple(tally.spread(name) for name, tally in self._dimensions.items()),
            confidence=self._confidence.spread("confidence"),
            measures=tuple(tuple(names) for names in self._measures),
            stars=tuple(self._stars[number] for number in range(1, 6)),
            judges=tuple(self._judges.most_common(JUDGES)),
            other_judges=max(0, len(self._judges) - JUDGES),
        )
