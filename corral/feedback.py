"""What the Python API returns: a judgement in the words of the guide."""

from __future__ import annotations

from state.records import CheckResult, Judgement, Outcome, Record

CHOSEN = 4
"""The least stars of an answer that may be the chosen one of a pair, as in ``tools.dataset.pairing``."""


class SyntheticFeedback(Record):
    """An expert's rating of one answer."""

    overall_rating: int | None
    """1 to 5; ``None`` where it could not be judged."""
    is_chosen: bool
    """Whether it may be the chosen answer of a pair: 4 or 5 stars."""
    reasons: tuple[str, ...]
    """One line for each dimension, with score and reason, and one with the expert's own reason."""
    strengths: tuple[str, ...]
    weaknesses: tuple[str, ...]
    confidence: float
    """0 to 1."""
    judge: str
    """Identity of the judge."""
    error: str = ""
    """Why it could not be judged."""


class DimensionFeedback(Record):
    """What one judge says of its dimension."""

    score: float | None
    """0 to 100, after a failed check's cap; ``None`` where nothing judged the dimension."""
    feedback: str
    capped_from: float | None
    """The judge's own score where a check lowered it."""


class CrewEvaluation(Record):
    """The five judges' scores of one answer."""

    scores: dict[str, DimensionFeedback]
    """By dimension."""
    overall: float | None
    """Weighted mean, 0 to 100; ``None`` where it could not be judged."""
    is_acceptable: bool
    """Whether the overall score reaches the threshold, 70 unless set otherwise."""
    confidence: float
    """0 to 1."""
    strengths: tuple[str, ...]
    weaknesses: tuple[str, ...]
    checks: tuple[CheckResult, ...]
    judge: str
    error: str = ""


def feedback_of(judgement: Judgement) -> SyntheticFeedback:
    """Return a judgement as the expert's feedback."""
    failed = judgement.outcome == Outcome.FAILED
    return SyntheticFeedback(
        overall_rating=None if failed else judgement.stars,
        is_chosen=judgement.stars is not None and not failed and judgement.stars >= CHOSEN,
        reasons=tuple(judgement.feedback.split("\n")) if judgement.feedback else (),
        strengths=judgement.strengths,
        weaknesses=judgement.weaknesses,
        confidence=judgement.confidence,
        judge=judgement.judge,
        error="; ".join(judgement.reasons) if failed else "",
    )


def evaluation_of(judgement: Judgement) -> CrewEvaluation:
    """Return a judgement as the five judges' evaluation."""
    failed = judgement.outcome == Outcome.FAILED
    return CrewEvaluation(
        scores={
            s.dimension: DimensionFeedback(score=s.score, feedback=s.reason, capped_from=s.capped_from)
            for s in judgement.scores
        },
        overall=None if failed else judgement.overall,
        is_acceptable=judgement.outcome == Outcome.ACCEPTED,
        confidence=judgement.confidence,
        strengths=judgement.strengths,
        weaknesses=judgement.weaknesses,
        checks=judgement.checks,
        judge=judgement.judge,
        error="; ".join(judgement.reasons) if failed else "",
    )
