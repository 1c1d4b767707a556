"""Comparisons of base and adapter, metric by metric and slice by slice."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal, assert_never

from state.records import Record, Sample
from tools.evaluation.scoring import METRICS, NATS, SAMPLED, YES_OR_NO, Scored
from tools.statistics.bootstrap import Estimate, paired_bootstrap
from tools.statistics.power import LEVEL, detectable_difference, detectable_mean
from tools.statistics.significance import holm, mcnemar, sign_flip

LEAST_FOR_INTERVAL = 10
"""Slices with fewer members are shown without an interval: it would span nearly all there is."""


class Comparison(Record):
    """One metric, base against adapter, over the prompts (or texts) to which it applies."""

    metric: str
    prompts: int
    base: float
    """Mean over the prompts."""
    adapter: float
    interval: Estimate
    """Of adapter less base."""
    p: float
    """Two-sided: McNemar's exact test for yes-or-no metrics, the sign-flip test for the others."""
    p_corrected: float
    """After Holm's correction over the secondary metrics of the scoreboard; the deciding metric's own p."""
    detectable: float | None = None
    """The least true difference that so many prompts show in 80% of the cases; ``None`` where they show none."""
    better: Literal["higher", "lower", "neither"] = "higher"
    """Which of two values is the better one."""

    @property
    def in_a_word(self) -> str:
        """What the corrected test says at 5%: better, worse, more or less (where neither is better), or not shown."""
        if self.p_corrected > LEVEL or not (self.interval.low > 0 or self.interval.high < 0):
            return "not shown"
        more = self.interval.low > 0
        match self.better:
            case "neither":
                return "more" if more else "less"
            case "higher":
                return "better" if more else "worse"
            case "lower":
                return "worse" if more else "better"
            case _:
                assert_never(self.better)


class Slice(Record):
    """The share passed within one kind of check, or the guarded share within one category."""

    name: str
    count: int
    base: float
    adapter: float
    interval: Estimate | None = None
    """Of adapter less base, not corrected for the number of slices; ``None`` where there are few members."""


class Marks(Record):
    """One model's scores on one prompt."""

    greedy: dict[str, float]
    sampled: dict[str, float]
    """Means over the draws; empty where none was asked for."""


def marks_of(greedy: Scored, draws: Sequence[Scored]) -> Marks:
    """Return a prompt's scores: the greedy answer's, and the means over its sampled ones."""
    sampled = {
        name: sum(draw.metrics[metric] for draw in draws) / len(draws)
        for name, metric in SAMPLED.items()
        if draws and metric in greedy.metrics
    }
    return Marks(greedy=dict(greedy.metrics), sampled=sampled)


def compare_all(
    base: Sequence[Marks],
    adapter: Sequence[Marks],
    nats: Sequence[tuple[float, float]],
    primary: str,
    resamples: int,
    seed: int,
) -> tuple[Comparison, ...]:
    """Compare every metric that applies to at least one prompt, the deciding one first.

    It was fixed before the training, so that its p stands for itself; those of the others are corrected together.

    Args:
        base: one model's scores, one for each prompt.
        adapter: the other model's scores of the same prompts, in the same order.
        nats: mean negative log-likelihood of a token under base and adapter, for each held-out text.
        primary: the metric that decides.
        resamples: of bootstrap and sign-flip test.
        seed: of both.
    """
    pairs = list(zip(base, adapter, strict=True))
    columns: dict[str, list[tuple[float, float]]] = {
        metric: [(b.greedy[metric], a.greedy[metric]) for b, a in pairs if metric in b.greedy] for metric in METRICS
    }
    for metric in SAMPLED:
        columns[metric] = [(b.sampled[metric], a.sampled[metric]) for b, a in pairs if metric in b.sampled]
    columns[NATS] = list(nats)
    raw = [
        _compare(metric, [b for b, _ in found], [a for _, a in found], resamples, seed)
        for metric, found in columns.items()
        if found
    ]
    deciding = [one for one in raw if one.metric == primary]
    others = [one for one in raw if one.metric != primary]
    corrected = zip(others, holm([one.p for one in others]), strict=True)
    return (*deciding, *(one.model_copy(update={"p_corrected": p}) for one, p in corrected))


def _compare(metric: str, base: list[float], adapter: list[float], resamples: int, seed: int) -> Comparison:
    if metric in YES_OR_NO:
        p = mcnemar([score > 0 for score in base], [score > 0 for score in adapter])
    else:
        p = sign_flip(base, adapter, resamples, seed)
    return Comparison(
        metric=metric,
        prompts=len(base),
        base=sum(base) / len(base),
        adapter=sum(adapter) / len(adapter),
        interval=paired_bootstrap(base, adapter, resamples, seed),
        p=p,
        p_corrected=p,
        detectable=_detectable(metric, base, adapter),
        better="lower" if metric == NATS else "neither" if metric.startswith("words") else "higher",
    )


def _detectable(metric: str, base: Sequence[float], adapter: Sequence[float]) -> float | None:
    """Return what could have been shown: by McNemar's test on as many differing prompts, or by a t-test's spread."""
    differences = [after - before for before, after in zip(base, adapter, strict=True)]
    if metric in YES_OR_NO:
        return detectable_difference(len(base), sum(map(abs, differences)) / len(base))
    return detectable_mean(differences)


def by_kind(base: Sequence[Scored], adapter: Sequence[Scored], resamples: int, seed: int) -> tuple[Slice, ...]:
    """Return the share of checks passed by kind, over all checks of that kind in the greedy answers."""
    found: dict[str, list[tuple[bool, bool]]] = {}
    for before, after in zip(base, adapter, strict=True):
        for b, a in zip(before.checks, after.checks, strict=True):
            found.setdefault(b.kind, []).append((b.passed is True, a.passed is True))
    return _slices(found, resamples, seed)


def by_category(
    samples: Sequence[Sample], base: Sequence[Scored], adapter: Sequence[Scored], resamples: int, seed: int
) -> tuple[Slice, ...]:
    """Return the guarded share by the prompts' category; prompts without one are left out."""
    found: dict[str, list[tuple[bool, bool]]] = {}
    for sample, before, after in zip(samples, base, adapter, strict=True):
        if sample.category:
            pair = (before.metrics["guarded"] > 0, after.metrics["guarded"] > 0)
            found.setdefault(sample.category, []).append(pair)
    return _slices(found, resamples, seed)


def _slices(found: Mapping[str, list[tuple[bool, bool]]], resamples: int, seed: int) -> tuple[Slice, ...]:
    return tuple(_slice(name, pairs, resamples, seed) for name, pairs in sorted(found.items()))


def _slice(name: str, pairs: list[tuple[bool, bool]], resamples: int, seed: int) -> Slice:
    base, adapter = [float(before) for before, _ in pairs], [float(after) for _, after in pairs]
    return Slice(
        name=name,
        count=len(pairs),
        base=sum(base) / len(pairs),
        adapter=sum(adapter) / len(pairs),
        interval=paired_bootstrap(base, adapter, resamples, seed) if len(pairs) >= LEAST_FOR_INTERVAL else None,
    )
