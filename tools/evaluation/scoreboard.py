"""The scoreboard: what base and adapter scored on the same held-out prompts, and whether the difference is shown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

from state.errors import BadInput
from state.pipeline import Verdict
from state.records import Answer, Record, Sample
from state.request import Evaluation
from tools.evaluation.scoring import METRICS, YES_OR_NO, Scored, score_answer
from tools.evaluation.statistics import Interval, holm, mcnemar, paired_bootstrap, sign_flip

_NEEDS = "'checks' needs prompts with checks, 'rougeL' prompts with a reference"
LEVEL = 0.05
"""Significance level of every claim."""


class Comparison(Record):
    """One metric, base against adapter, over the prompts to which it applies."""

    metric: str
    prompts: int
    base: float
    """Mean over the prompts."""
    adapter: float
    interval: Interval
    """Of adapter less base."""
    p: float
    """Two-sided: McNemar's exact test for yes-or-no metrics, the sign-flip test for the others."""
    p_corrected: float
    """After Holm's correction over the metrics of the scoreboard."""


class Slice(Record):
    """The share passed within one kind of check, or the guarded share within one category."""

    name: str
    count: int
    base: float
    adapter: float


class Side(Record):
    """What one model answered."""

    model: str
    answered: int
    missing: int
    """Prompts without an answer; each counts as a failure in every metric."""


class Scoreboard(Record):
    """Base against adapter on held-out prompts, as ``scoreboard.json`` keeps it."""

    prompts: int
    base: Side
    adapter: Side
    comparisons: tuple[Comparison, ...]
    by_kind: tuple[Slice, ...]
    by_category: tuple[Slice, ...]
    primary: str
    """The metric that was fixed before training."""
    verdict: Literal["better", "not shown", "worse"]
    words: str
    """The verdict as a sentence."""
    seed: int
    resamples: int
    notes: tuple[str, ...] = ()
    """What a reader should know of the run, such as how far its judge was measured."""

    def comparison(self, metric: str) -> Comparison:
        """Return one metric's comparison.

        Raises:
            KeyError: no prompt had that metric.
        """
        return {one.metric: one for one in self.comparisons}[metric]

    def record(self, path: str) -> Verdict:
        """Return the one line that the run's state carries; ``path`` is where the scoreboard's JSON lies."""
        one = self.comparison(self.primary)
        return Verdict(
            verdict=self.verdict,
            metric=self.primary,
            base=one.base,
            adapter=one.adapter,
            difference=one.interval.difference,
            low=one.interval.low,
            high=one.interval.high,
            prompts=one.prompts,
            scoreboard=path,
        )


def score_answers(
    samples: Sequence[Sample], base: Sequence[Answer], adapter: Sequence[Answer], settings: Evaluation, seed: int
) -> Scoreboard:
    """Score two models' answers to the same held-out prompts.

    The verdict is ``better`` where the primary metric's interval lies above 0 and its test says the same at 5% (on few
    prompts the percentile interval alone is too bold: four prompts gained of sixty, none lost, would be enough),
    ``worse`` in the mirror image, else ``not shown``.

    Args:
        samples: the held-out prompts, all of them. Order does not matter.
        base: the base model's answers; a missing one is a failure.
        adapter: the adapter's answers.
        settings: the primary metric and the number of resamples.
        seed: of the bootstrap.

    Raises:
        BadInput: no held-out prompts; two answers, or an answer to no given prompt; or the primary metric applies to no
            prompt.
    """
    if not samples:
        raise BadInput(
            "there are no held-out prompts to evaluate on: mark some with 'split': 'heldout', "
            "or raise evaluate.heldout_share"
        )
    ordered = sorted(samples, key=lambda sample: sample.id)
    answered = [_by_sample(ordered, answers) for answers in (base, adapter)]
    scored = [[score_answer(sample, found.get(sample.id)) for sample in ordered] for found in answered]
    comparisons = _compare_all(scored[0], scored[1], settings.resamples, seed)
    primary = next((one for one in comparisons if one.metric == settings.primary), None)
    if primary is None:
        raise BadInput(f"evaluate.primary is '{settings.primary}', but no held-out prompt has what it needs: {_NEEDS}")
    verdict = _verdict(primary)
    return Scoreboard(
        prompts=len(ordered),
        base=_side("base", base, len(ordered)),
        adapter=_side("adapter", adapter, len(ordered)),
        comparisons=comparisons,
        by_kind=_by_kind(scored[0], scored[1]),
        by_category=_by_category(ordered, scored[0], scored[1]),
        primary=settings.primary,
        verdict=verdict,
        words=_in_words(primary, verdict),
        seed=seed,
        resamples=settings.resamples,
    )


def _by_sample(samples: Sequence[Sample], answers: Sequence[Answer]) -> dict[str, Answer]:
    known = {sample.id for sample in samples}
    found: dict[str, Answer] = {}
    for answer in answers:
        if answer.sample_id not in known:
            raise BadInput(
                f"answer {answer.id} of '{answer.model}' is to a prompt that is not evaluated: {answer.sample_id}"
            )
        if answer.sample_id in found:
            raise BadInput(f"'{answer.model}' has two answers to prompt {answer.sample_id}")
        found[answer.sample_id] = answer
    return found


def _side(name: str, answers: Sequence[Answer], prompts: int) -> Side:
    return Side(model=answers[0].model if answers else name, answered=len(answers), missing=prompts - len(answers))


def _compare_all(
    base: Sequence[Scored], adapter: Sequence[Scored], resamples: int, seed: int
) -> tuple[Comparison, ...]:
    """Compare every metric that applies to at least one prompt; p-values are corrected together."""
    raw = []
    for metric in METRICS:
        pairs = [
            (b.metrics[metric], a.metrics[metric]) for b, a in zip(base, adapter, strict=True) if metric in b.metrics
        ]
        if pairs:
            raw.append(_compare(metric, [b for b, _ in pairs], [a for _, a in pairs], resamples, seed))
    corrected = holm([one.p for one in raw])
    return tuple(one.model_copy(update={"p_corrected": p}) for one, p in zip(raw, corrected, strict=True))


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
    )


def _verdict(one: Comparison) -> Literal["better", "not shown", "worse"]:
    if one.p > LEVEL:
        return "not shown"
    return "better" if one.interval.low > 0 else "worse" if one.interval.high < 0 else "not shown"


def _in_words(one: Comparison, verdict: str) -> str:
    claim = {
        "better": "The adapter is better than its base",
        "worse": "The adapter is worse than its base",
        "not shown": "No difference between the adapter and its base is shown",
    }[verdict]
    interval = one.interval
    return (
        f"{claim}: {METRICS[one.metric]}, {100 * one.base:.1f} against {100 * one.adapter:.1f} of 100 on {one.prompts} "
        f"prompts, a difference of {100 * interval.difference:+.1f} "
        f"(95% interval {100 * interval.low:+.1f} to {100 * interval.high:+.1f}, p = {one.p:.2g})."
    )


def _by_kind(base: Sequence[Scored], adapter: Sequence[Scored]) -> tuple[Slice, ...]:
    """Return the share of checks passed by kind, over all checks of that kind."""
    found: dict[str, list[tuple[bool, bool]]] = {}
    for before, after in zip(base, adapter, strict=True):
        for b, a in zip(before.checks, after.checks, strict=True):
            found.setdefault(b.kind, []).append((b.passed is True, a.passed is True))
    return _slices(found)


def _by_category(samples: Sequence[Sample], base: Sequence[Scored], adapter: Sequence[Scored]) -> tuple[Slice, ...]:
    """Return the guarded share by the prompts' category; prompts without one are left out."""
    found: dict[str, list[tuple[bool, bool]]] = {}
    for sample, before, after in zip(samples, base, adapter, strict=True):
        if sample.category:
            pair = (before.metrics["guarded"] > 0, after.metrics["guarded"] > 0)
            found.setdefault(sample.category, []).append(pair)
    return _slices(found)


def _slices(found: Mapping[str, list[tuple[bool, bool]]]) -> tuple[Slice, ...]:
    return tuple(
        Slice(
            name=name,
            count=len(pairs),
            base=sum(before for before, _ in pairs) / len(pairs),
            adapter=sum(after for _, after in pairs) / len(pairs),
        )
        for name, pairs in sorted(found.items())
    )
