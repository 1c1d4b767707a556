"""The judge beside people's decisions: how far it agrees, dimension by dimension, and how much it may decide alone.

Every decision of a review is a label. It says whether the text is good as the model wrote it: an approval says so, an
edit or a rejection does not, and who cannot judge it says nothing. Deciding alone, a judge takes a text whose overall
score reaches the middle of its two thresholds, as the policy ``midpoint`` does.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from types import MappingProxyType
from typing import Any, Literal

from pydantic import Field

from state.errors import BadInput
from state.records import Judgement, Outcome, Record, Review, ReviewTask, content_hash
from state.request import Judging
from state.wording import number_of
from tools.judging.calibration import Calibration, Recalibration
from tools.people.decisions import consequences, decider_of
from tools.statistics.agreement import cohens_kappa, krippendorffs_alpha, share_equal
from tools.statistics.bootstrap import Estimate, bootstrap, mean
from tools.statistics.clustered import share_interval
from tools.statistics.discrimination import share_in_order
from tools.statistics.isotonic import isotonic_curve, out_of_fold, squared_errors
from tools.statistics.reliability import confidence_curve
from tools.statistics.risk_control import LEAST_LABELS, certain_part, more_labels
from tools.statistics.significance import wilson_interval

LEAST_DECISIONS = 10
"""Decisions from which figures are told; below, their intervals say nothing."""
DIGITS = 4
"""Of a threshold."""


class Decided(Record):
    """A judgement that a person decided on."""

    item_id: str
    judge: str
    overall: float
    confidence: float
    scores: tuple[tuple[str, float], ...]
    """By dimension."""
    good: bool
    """Whether the person took the text as the model wrote it."""
    stars: int
    """The judge's, 1 to 5."""
    rated: int | None = None
    """The person's overall rating, 1 to 5, where there is one."""
    stands_for: float = Field(1.0, ge=1)
    """Judged texts for which this one came to a person: an audit of every tenth stands for ten."""


class DimensionFigures(Record):
    """How one dimension's scores go with people's decisions."""

    dimension: str
    in_order: Estimate
    """How often a text that people took scores above one that they did not: 0.5 is chance."""
    taken: float
    """Mean score of the texts that people took."""
    declined: float
    """Mean score of the others."""


class Band(Record):
    """Scores between which a person decides, and what that comes to."""

    name: Literal["fixed", "measured"]
    review_from: float
    accept: float
    """A text with this score or a higher one is accepted by the judge alone."""
    sent: float
    """Share of all judged texts that wait for a person."""
    error: Estimate | None
    """Share that people decided otherwise among the labelled texts that the judge decides alone; ``None`` where no such
    text is labelled."""
    labels: int
    """Labelled texts that the judge decides alone."""


class AgainstPeople(Record):
    """A judge beside people's decisions."""

    judge: str
    decisions: int
    taken: int
    """Texts that people took as they were."""
    agreement: Estimate
    """Share where the judge, deciding alone, decides as the person did."""
    kappa: Estimate
    stars: Estimate | None
    """Quadratically weighted kappa of the judge's stars with people's overall rating, where people rated."""
    pairs: int
    """Pairs of which people preferred one."""
    preferred: Estimate | None
    """Share of them where the judge scores the preferred one higher."""
    dimensions: tuple[DimensionFigures, ...]
    """Empty where people took all texts, or none."""
    recalibration: Recalibration | None
    bands: tuple[Band, ...]
    """The fixed one, and the measured one where the decisions show one."""
    note: str
    """What the measured band is, or why there is none."""


def middle_of(settings: Judging) -> float:
    """Return the score from which the judge, deciding alone, takes a text."""
    return (settings.review_from + settings.accept) / 2


def decided_by_people(
    reviews: Iterable[Review], judgements: Iterable[Judgement], audited: Mapping[str, float] = MappingProxyType({})
) -> list[Decided]:
    """Return the completions that a person decided on, with what the judge had said; policies are nobody's judgement.

    Args:
        reviews: of one run.
        judgements: of the reviewed candidates; one that failed says nothing.
        audited: for how many texts each one stands that came to a person by a random sample alone.
    """
    said = {r.item_id: (outcome, r.ratings.get("overall")) for r in reviews if (outcome := _outcome(r)) is not None}
    return [
        Decided(
            item_id=judgement.candidate_id,
            judge=judgement.judge,
            overall=judgement.overall,
            confidence=judgement.confidence,
            scores=judgement.scored,
            good=said[judgement.candidate_id][0] == Outcome.ACCEPTED,
            stars=judgement.stars,
            rated=said[judgement.candidate_id][1],
            stands_for=audited.get(judgement.candidate_id, 1.0),
        )
        for judgement in judgements
        if judgement.overall is not None and judgement.stars is not None and judgement.candidate_id in said
    ]


def _outcome(review: Review) -> Outcome | None:
    """Return what a person said of a completion; ``None`` where nobody did, or of something else."""
    if review.kind != "completion" or decider_of(review.reviewer) != "person":
        return None
    return consequences(review.decision).outcome


def preferred_by_people(
    tasks: Iterable[ReviewTask], reviews: Iterable[Review], judgements: Iterable[Judgement]
) -> list[float]:
    """Return for each pair that a person decided on whether the judge scores the preferred answer higher.

    Args:
        tasks: of the pairs.
        reviews: of the pairs.
        judgements: of their answers, of one judge.

    Returns:
        1 where it does, 0 where it scores the other one higher, 0.5 where both score alike.
    """
    overalls = {one.candidate_id: one.overall for one in judgements if one.overall is not None}
    of = {task.id: task.candidates for task in tasks}
    found = []
    for review in reviews:
        better, answers = consequences(review.decision).prefers, of.get(review.item_id, ())
        if (
            decider_of(review.reviewer) == "person"
            and better is not None
            and set(answers) <= overalls.keys()
            and answers
        ):
            gap = overalls[answers[better]] - overalls[answers[1 - better]]
            found.append(0.5 if gap == 0 else float(gap > 0))
    return found


def against_people(
    decided: Sequence[Decided],
    overalls: Mapping[float, int],
    settings: Judging,
    pairs: Sequence[float] = (),
    *,
    seed: int = 0,
) -> AgainstPeople | None:
    """Return how a judge compares with people; ``None`` with fewer than ``LEAST_DECISIONS`` decisions.

    Args:
        decided: the decisions on one judge's texts.
        overalls: how many of all judged texts have each overall score, decided by people or not.
        settings: the fixed thresholds, and what the measured band must keep.
        pairs: what ``preferred_by_people`` found.
        seed: of the bootstrap and the cross-validation.
    """
    if len(decided) < LEAST_DECISIONS:
        return None
    good = [one.good for one in decided]
    alone = [one.overall >= middle_of(settings) for one in decided]
    measured, note = measured_band(decided, settings)
    limits = [("fixed", settings.review_from, settings.accept), *([("measured", *measured)] if measured else [])]
    return AgainstPeople(
        judge=decided[0].judge,
        decisions=len(decided),
        taken=sum(good),
        agreement=bootstrap(share_equal, alone, good, seed=seed),
        kappa=bootstrap(cohens_kappa, alone, good, seed=seed),
        stars=_stars(decided, seed),
        pairs=len(pairs),
        preferred=share_interval(pairs, range(len(pairs))) if pairs else None,
        dimensions=_dimensions(decided, seed),
        recalibration=_recalibration(decided, seed),
        bands=tuple(_band(name, low, high, decided, overalls, settings) for name, low, high in limits),
        note=note,
    )


def measured_band(decided: Sequence[Decided], settings: Judging) -> tuple[tuple[float, float] | None, str]:
    """Return the thresholds of the narrowest band that keeps what the settings demand, and a sentence on it.

    Args:
        decided: the decisions on one judge's texts.
        settings: the fixed thresholds, around whose middle the band lies, and what it must keep.

    Returns:
        ``review_from`` and ``accept``; or ``None``, and why the fixed thresholds stay.
    """
    middle, rate, confidence = middle_of(settings), settings.band_error, settings.band_confidence
    wanted = f"an error of at most {rate:g} among what the judge decides alone, with confidence {confidence:g}"
    apart, weights = [abs(one.overall - middle) for one in decided], [one.stands_for for one in decided]
    part = certain_part(apart, [(one.overall >= middle) != one.good for one in decided], rate, confidence, weights)
    count = len(decided)
    if part is None and (missing := more_labels(rate, confidence) - count) > 0:
        return None, f"{number_of(count, 'decision')}: too few to show {wanted}; it takes {missing} more at least"
    if part is None:
        return None, f"{number_of(count, 'decision')}: no band shows {wanted}, so the fixed thresholds stay"
    band = round(max(0.0, middle - part.above), DIGITS), round(min(100.0, middle + part.above), DIGITS)
    outside = f"people decided {part.wrong} of the {part.decided} labelled texts outside it otherwise"
    return band, f"{outside}; it keeps {wanted}"


def calibration_by_decisions(decided: Sequence[Decided], settings: Judging, *, seed: int = 0) -> Calibration:
    """Return the judge's calibration by decisions that people have made already; nobody is asked, nor the judge.

    Raises:
        BadInput: there are fewer than ``LEAST_DECISIONS``, of several judges, or all are alike.
    """
    if len(decided) < LEAST_DECISIONS:
        raise BadInput(
            f"people decided on {number_of(len(decided), 'text')} of this judge's, too few to measure it on; "
            f"{LEAST_DECISIONS} are needed. Which judge that is, the run says, or --config"
        )
    if len({one.good for one in decided}) < 2:
        raise BadInput("people took all of the texts or none, so agreement beyond chance cannot be measured")
    judges = {one.judge for one in decided}
    if len(judges) > 1:
        raise BadInput(f"the decisions are on texts of {len(judges)} judges; measure one at a time")
    good, alone = [one.good for one in decided], [one.overall >= middle_of(settings) for one in decided]
    return Calibration(
        judge=decided[0].judge,
        kind="decisions",
        labels=len(decided),
        failed=0,
        agreement=bootstrap(share_equal, alone, good, seed=seed),
        kappa=bootstrap(cohens_kappa, alone, good, seed=seed),
        alpha=bootstrap(lambda a, b: krippendorffs_alpha([a, b]), alone, good, seed=seed),
        curve=confidence_curve([one.confidence for one in decided], [a == b for a, b in zip(alone, good, strict=True)]),
        labels_hash=content_hash([one.model_dump(mode="json") for one in decided]),
        recalibration=_recalibration(decided, seed),
        seconds=0.0,
        made_at=datetime.now(UTC),
    )


def _stars(decided: Sequence[Decided], seed: int) -> Estimate | None:
    both = [(one.stars, one.rated) for one in decided if one.rated is not None]
    if len(both) < LEAST_DECISIONS:
        return None
    ours, theirs = zip(*both, strict=True)
    return bootstrap(lambda a, b: cohens_kappa(a, b, "interval"), ours, theirs, seed=seed)


def _dimensions(decided: Sequence[Decided], seed: int) -> tuple[DimensionFigures, ...]:
    found: dict[str, list[tuple[float, bool]]] = {}
    for one in decided:
        for dimension, score in one.scores:
            found.setdefault(dimension, []).append((score, one.good))
    return tuple(_dimension(name, rows, seed) for name, rows in found.items() if len({good for _, good in rows}) == 2)


def _dimension(name: str, rows: Sequence[tuple[float, bool]], seed: int) -> DimensionFigures:
    taken, declined = ([score for score, good in rows if good is kind] for kind in (True, False))
    return DimensionFigures(
        dimension=name,
        in_order=bootstrap(share_in_order, [score for score, _ in rows], [good for _, good in rows], seed=seed),
        taken=sum(taken) / len(taken),
        declined=sum(declined) / len(declined),
    )


def _recalibration(decided: Sequence[Decided], seed: int) -> Recalibration | None:
    if len(decided) < LEAST_LABELS:
        return None
    scores, hits = [one.overall for one in decided], [float(one.good) for one in decided]
    return Recalibration(
        curve=isotonic_curve(scores, hits),
        before=bootstrap(mean, squared_errors([score / 100 for score in scores], hits), seed=seed),
        after=bootstrap(mean, squared_errors(out_of_fold(scores, hits, seed=seed), hits), seed=seed),
    )


def _band(
    name: Any, low: float, high: float, decided: Sequence[Decided], overalls: Mapping[float, int], settings: Judging
) -> Band:
    alone = [one for one in decided if not low <= one.overall < high]
    error = _weighted_share([(one.stands_for, (one.overall >= middle_of(settings)) != one.good) for one in alone])
    sent = sum(count for overall, count in overalls.items() if low <= overall < high)
    every = sum(overalls.values())
    return Band(
        name=name, review_from=low, accept=high, sent=sent / every if every else 0.0, error=error, labels=len(alone)
    )


def _weighted_share(rows: Sequence[tuple[float, bool]]) -> Estimate | None:
    """Return the share of what is so by weight, with Wilson's interval over as many rows of one weight as tell as much.

    That number is Kish's (1965): the squared sum of the weights over the sum of their squares.
    """
    if not rows:
        return None
    every = sum(weight for weight, _ in rows)
    share = sum(weight for weight, so in rows if so) / every
    count = every**2 / sum(weight**2 for weight, _ in rows)
    low, high = wilson_interval(share * count, count)
    return Estimate(value=share, low=low, high=high)
