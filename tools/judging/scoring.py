"""Turn what the crew said into a judgement: means over draws, caps, stars, outcome and feedback. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from statistics import fmean

from state.records import CheckResult, DimensionScore, Judgement, Outcome
from state.request import Judging
from tools.checks import cap
from tools.judging.answers import Draw
from tools.judging.confidence import confidence

SCORING = 1
"""Version of how scores, caps, stars and confidence are computed: here, in ``confidence`` and in ``tools.checks``. It
is part of a judge's identity: raise it with any change there, so that an earlier calibration is not used for it."""
STRONG, WEAK = 75.0, 55.0
"""Scores from which a dimension is a strength, and under which it is a weakness."""
PROVEN_WRONG = 2
"""The most stars of a text with a failed check of accuracy or compliance."""


def judgement(
    id: str,
    candidate_id: str,
    judge: str,
    draws: Sequence[Draw],
    checks: Sequence[CheckResult],
    settings: Judging,
) -> Judgement:
    """Put the crew's draws over one text together.

    Args:
        id: the record's id.
        candidate_id: whose text it is.
        judge: the judge's identity.
        draws: what the crew said, one draw a kickoff; at least one.
        checks: what was verified; failed checks cap their dimension, and the stars.
        settings: weights and thresholds.
    """
    own = [{o.dimension: o.own for o in draw.opinions} for draw in draws]
    reasons = {o.dimension: o.said for o in draws[0].opinions}
    means = {d: round(cap(fmean(draw[d] for draw in own), d, checks)[0], 2) for d in settings.shares}
    scores = tuple(_score(d, fmean(draw[d] for draw in own), reasons[d], checks) for d in settings.shares)
    overall = round(sum(settings.shares[d] * mean for d, mean in means.items()), 2)
    stars = capped_stars(int(fmean(d.expert.stars for d in draws) + 0.5), checks)
    outcome, why = outcome_of(overall, settings)
    failed = [c for c in checks if c.passed is False]
    return Judgement(
        id=id,
        candidate_id=candidate_id,
        judge=judge,
        scores=scores,
        overall=overall,
        stars=stars,
        confidence=confidence(own, checks),
        feedback=_feedback(scores, draws[0], stars),
        strengths=_notes(draws[0].expert.strength, [s for s in scores if means[s.dimension] >= STRONG]),
        weaknesses=_notes(draws[0].expert.weakness, [s for s in scores if means[s.dimension] < WEAK])
        + tuple(c.evidence for c in failed),
        checks=tuple(checks),
        outcome=outcome,
        reasons=(*why, *(f"{c.kind}: {c.evidence}" for c in failed)) if why else (),
    )


def _score(dimension: str, own: float, reason: str, checks: Sequence[CheckResult]) -> DimensionScore:
    score, lowered_by = cap(own, dimension, checks)
    return DimensionScore(
        dimension=dimension,
        score=round(score, 2),
        reason=reason if lowered_by is None else capped_reason(reason, score, lowered_by),
        capped_from=None if lowered_by is None else round(own, 2),
    )


def capped_reason(reason: str, score: float, lowered_by: CheckResult) -> str:
    """Return a judge's reason with what lowered its score."""
    return f"{reason} (capped at {score:g}: {lowered_by.evidence})"


def capped_stars(stars: int, checks: Sequence[CheckResult]) -> int:
    """Lower the stars of a text that a check of accuracy or compliance proved wrong to two."""
    wrong = any(c.passed is False and c.dimension in ("accuracy", "compliance") for c in checks)
    return min(stars, PROVEN_WRONG) if wrong else stars


def outcome_of(overall: float, settings: Judging) -> tuple[Outcome, tuple[str, ...]]:
    """Return the outcome of a text with this overall score, and the reason unless it is accepted."""
    if overall >= settings.accept:
        return Outcome.ACCEPTED, ()
    if overall >= settings.review_from:
        return Outcome.WAITING, (f"between {settings.review_from:g} and {settings.accept:g}: overall {overall:g}",)
    return Outcome.REJECTED, (f"low overall score: {overall:g}, under {settings.review_from:g}",)


def _feedback(scores: Sequence[DimensionScore], draw: Draw, stars: int) -> str:
    lines = [f"{s.dimension} {s.score:g}: {s.reason}" for s in scores]
    given = draw.expert.stars
    lowered = f" (the expert gave {given}; a failed check allows {stars})" if stars < given else ""
    lines.append(f"expert: {stars} of 5 stars{lowered}. {draw.expert.strength} {draw.expert.weakness}".strip())
    return "\n".join(lines)


def _notes(expert: str, scores: Sequence[DimensionScore]) -> tuple[str, ...]:
    return tuple(note for note in (expert.strip(), *(f"{s.dimension}: {s.reason}" for s in scores)) if note)


def failed_judgement(id: str, candidate_id: str, judge: str, errors: Mapping[str, Exception]) -> Judgement:
    """Return the record of a text that could not be judged.

    Args:
        id: the record's id.
        candidate_id: whose text it is.
        judge: the judge's identity.
        errors: what went wrong, by member of the crew or step.
    """
    reasons = tuple(f"{who}: {type(error).__name__}: {error}" for who, error in errors.items())
    return Judgement(id=id, candidate_id=candidate_id, judge=judge, outcome=Outcome.FAILED, reasons=reasons)
