"""Checks and likelihood filter: the judge where no model can judge. It scores what a program can verify. Pure.

A model of 135 million parameters judges no better than chance, so nothing here is its opinion. A dimension that no
check speaks to is not judged, and its weight goes to the others. What nothing speaks to waits for a person.
"""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean

from state.records import CheckResult, DimensionScore, Judgement, Outcome, Sample
from state.request import Judging
from tools.checks import IFEVAL, KINDS, cap
from tools.checks.guard import degenerate
from tools.checks.reference import KIND as REFERENCE
from tools.checks.reference import reference_check
from tools.judging.scoring import capped_reason, capped_stars, outcome_of
from tools.judging.topic import topic_parts

NAME = "checks and likelihood filter"
VERSION = 1
"""Of the code here. It is part of the judge's identity: raise it with any change of a score, so that a calibration
of the one is never taken for one of the other."""
SPEAKS = frozenset({*KINDS, *IFEVAL, REFERENCE, "arithmetic", "brand", "brand_terms", "avoid_terms"})
"""Checks whose passing says something: somebody asked for it, or it can be right or wrong. A policy's rule that was
kept or a text that is easy to read says little, so that those count only where they failed."""
STARS = (30.0, 50.0, 65.0, 80.0)
"""Overall scores from which an answer has two, three, four and five stars."""
NOT_JUDGED = "not judged: nothing that can be verified speaks to it"
NOTHING_SPEAKS = "nothing can judge it: no check applies, and there is no reference"
"""Why an answer waits for a person."""


def verified_parts() -> list[object]:
    """Return what the judge's scores depend on beside the model, for its identity."""
    return [VERSION, sorted(SPEAKS), STARS, topic_parts()]


def further_checks(sample: Sample, text: str, ended: bool) -> tuple[CheckResult, ...]:
    """Return what can be verified beside the written and the inferred checks: the reference, and the guard."""
    faults = degenerate(sample, text, ended)
    guarded = tuple(CheckResult(kind="guard", passed=False, evidence=fault) for fault in faults)
    return (reference_check(sample, text), *guarded)


def speaking(checks: Sequence[CheckResult]) -> list[CheckResult]:
    """Return the checks that say something of an answer, the failed ones first."""
    found = [c for c in checks if c.passed is False or (c.passed and c.kind in SPEAKS)]
    return sorted(found, key=lambda c: bool(c.passed))


def is_proven_wrong(checks: Sequence[CheckResult]) -> bool:
    """Return whether a check of accuracy or compliance failed: such an answer is never imitated."""
    return any(c.passed is False and c.dimension in ("accuracy", "compliance") for c in checks)


def verified_judgement(
    id: str, candidate_id: str, judge: str, checks: Sequence[CheckResult], settings: Judging
) -> Judgement:
    """Return the judgement that follows from the checks of one text.

    Args:
        id: the record's id.
        candidate_id: whose text it is.
        judge: the judge's identity.
        checks: what was verified, the filter's word among it where it was asked.
        settings: weights and thresholds.
    """
    telling = speaking(checks)
    scores = tuple(_score(dimension, [c for c in telling if c.dimension == dimension]) for dimension in settings.shares)
    overall = _overall(scores, checks, settings)
    wrong = tuple(c.evidence for c in telling if not c.passed)
    outcome, why, stars = _decided(overall, telling, settings)
    return Judgement(
        id=id,
        candidate_id=candidate_id,
        judge=judge,
        scores=scores,
        overall=overall,
        stars=stars,
        confidence=_confidence(scores, checks, settings),
        feedback=_feedback(scores, stars),
        strengths=tuple(c.evidence for c in telling if c.passed),
        weaknesses=wrong,
        checks=tuple(checks),
        outcome=outcome,
        reasons=why,
    )


def _decided(
    overall: float | None, telling: Sequence[CheckResult], settings: Judging
) -> tuple[Outcome, tuple[str, ...], int | None]:
    """Return what becomes of a text, the reasons unless it is accepted, and its stars."""
    if overall is None:
        return Outcome.WAITING, (NOTHING_SPEAKS,), None
    outcome, why = outcome_of(overall, settings)
    failed = tuple(f"{c.kind}: {c.evidence}" for c in telling if not c.passed)
    stars = capped_stars(1 + sum(overall >= least for least in STARS), telling)
    return outcome, (*why, *failed) if why else (), stars


def _score(dimension: str, telling: Sequence[CheckResult]) -> DimensionScore:
    """Return the share of a dimension's checks that passed, of 100; a failed one caps it."""
    if not telling:
        return DimensionScore(dimension=dimension, score=None, reason=NOT_JUDGED)
    own = round(100 * fmean(bool(c.passed) for c in telling), 2)
    score, lowered_by = cap(own, dimension, telling)
    parts = (("Wrong", [c for c in telling if not c.passed]), ("Verified", [c for c in telling if c.passed]))
    said = " ".join(f"{word}: {'; '.join(c.evidence for c in found)}." for word, found in parts if found)
    return DimensionScore(
        dimension=dimension,
        score=score,
        reason=said if lowered_by is None else capped_reason(said, score, lowered_by),
        capped_from=None if lowered_by is None else own,
    )


def _overall(scores: Sequence[DimensionScore], checks: Sequence[CheckResult], settings: Judging) -> float | None:
    """Return the weighted mean of the dimensions that were judged; what is proven wrong has its worst one at most."""
    judged = {s.dimension: s.score for s in scores if s.score is not None}
    if not judged:
        return None
    weights = sum(settings.shares[d] for d in judged)
    mean = (
        sum(settings.shares[d] * score for d, score in judged.items()) / weights if weights else fmean(judged.values())
    )
    worst = [score for d, score in judged.items() if d in ("accuracy", "compliance")]
    return round(min([mean, *worst]) if is_proven_wrong(checks) else mean, 2)


def _confidence(scores: Sequence[DimensionScore], checks: Sequence[CheckResult], settings: Judging) -> float:
    """Return 1 where something is proven wrong, else the share of the weight that was judged."""
    if is_proven_wrong(checks):
        return 1.0
    return round(min(1.0, sum(settings.shares[s.dimension] for s in scores if s.score is not None)), 3)


def _feedback(scores: Sequence[DimensionScore], stars: int | None) -> str:
    lines = [f"{s.dimension}{'' if s.score is None else f' {s.score:g}'}: {s.reason}" for s in scores]
    return "\n".join([*lines, f"{NAME}: {'not judged' if stars is None else f'{stars} of 5 stars'}"])
