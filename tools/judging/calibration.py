"""``corral calibrate``: how far a judge can be trusted, measured against people's labels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from math import floor
from time import monotonic
from typing import Any, Literal

from pydantic import Field

from state.errors import BadInput
from state.records import Judgement, Outcome, Record, content_hash
from tools.judging.batch import Judge, judge_items
from tools.judging.pairwise import JudgedPair, judge_pairs
from tools.sources.labels import ChosenPair, Labels, RatedItem
from tools.statistics.agreement import Level, cohens_kappa, krippendorffs_alpha, share_equal
from tools.statistics.bootstrap import Estimate, bootstrap, mean
from tools.statistics.isotonic import Curve
from tools.statistics.length import longer_share, rank_correlation
from tools.statistics.reliability import Bin, confidence_curve


class Recalibration(Record):
    """What overall scores have meant: the chance that a person takes the text."""

    curve: Curve
    """Over all decisions."""
    before: Estimate
    """Brier's score of the overall score read as a percentage."""
    after: Estimate
    """The same by curves that were fitted without the item, in a cross-validation."""


class Calibration(Record):
    """A judge measured against one set of labels."""

    judge: str
    """The judge's identity."""
    kind: Literal["pairs", "ratings", "decisions"]
    """What the labels are: choices between two answers, stars, or decisions of a review."""
    labels: int
    """Rows with a label."""
    failed: int
    """Rows that could not be judged; they count in no figure."""
    agreement: Estimate
    """Share of rows where the judge agrees with the person: on the better of two answers, or on the stars."""
    kappa: Estimate
    """Cohen's kappa; for ratings weighted by the square of the distance."""
    alpha: Estimate
    """Krippendorff's alpha; nominal for pairs, interval for ratings."""
    asked_agreement: Estimate | None = None
    """Pairs: the share where the expert, shown both answers in both orders, chose as the person did."""
    flips: Estimate | None = None
    """Pairs: the share where swapping the order swapped the expert's choice; always 0 for the likelihood judge, which
    reads one answer at a time."""
    prefers_longer: float | None = None
    """Pairs: how often the better-rated answer is the longer one. Ratings: rank correlation of stars with length."""
    people_prefer_longer: float | None = None
    """The same of the people's labels."""
    curve: tuple[Bin, ...]
    """Accuracy by confidence, from the least to the most confident."""
    recalibration: Recalibration | None = None
    """Decisions: what overall scores have meant; ``None`` with fewer than 30."""
    labels_hash: str
    """Content hash of the labels."""
    seconds: float = Field(ge=0)
    """How long the judging took; about 0 if the ledger had all answers."""
    made_at: datetime


async def calibrate(judge: Judge, labels: Labels, *, seed: int = 0) -> Calibration:
    """Measure a judge.

    Args:
        judge: the judge to measure.
        labels: checked labels, see ``tools.sources.labels``.
        seed: of the bootstrap.

    Raises:
        BadInput: no row could be judged.
        BudgetExceeded, EndpointUnreachable, EndpointRefused: as for ``CrewJudge.judge``.
    """
    started = monotonic()
    pairs = [label for label in labels if isinstance(label, ChosenPair)]
    rated = [label for label in labels if isinstance(label, RatedItem)]
    if pairs:
        judged = await judge_pairs(judge, [(pair.first, pair.second) for pair in pairs])
        _some_judged([pair.error for pair in judged])
        figures = figures_of_pairs(pairs, judged, seed)
    else:
        judgements = await judge_items(judge, [label.item for label in rated])
        _some_judged(["; ".join(j.reasons) if j.outcome == Outcome.FAILED else "" for j in judgements])
        figures = figures_of_ratings(rated, judgements, seed)
    return Calibration(
        judge=judge.identity,
        labels=len(labels),
        labels_hash=content_hash([label.model_dump(mode="json") for label in labels]),
        seconds=round(monotonic() - started, 2),
        made_at=datetime.now(UTC),
        **figures,
    )


def _some_judged(errors: Sequence[str]) -> None:
    if all(errors):
        raise BadInput(f"none of the {len(errors)} rows could be judged; the first: {errors[0]}")


def figures_of_pairs(labels: Sequence[ChosenPair], judged: Sequence[JudgedPair], seed: int) -> dict[str, Any]:
    """Return the figures over pairs; one judged pair a label, those with an error left out."""
    good = [(label, pair) for label, pair in zip(labels, judged, strict=True) if not pair.error]
    people = [label.label for label, _ in good]
    rated = [pair.rated.better for _, pair in good]
    asked = [pair.asked.better for _, pair in good]
    flips = [float(pair.asked.flipped) for _, pair in good]
    texts = [(label.first.output, label.second.output) for label, _ in good]
    sure = [min(pair.first.confidence, pair.second.confidence) for _, pair in good]
    return {
        "kind": "pairs",
        "failed": len(labels) - len(good),
        **_agreement(rated, people, "nominal", seed),
        "asked_agreement": bootstrap(share_equal, asked, people, seed=seed),
        "flips": bootstrap(mean, flips, seed=seed),
        "prefers_longer": longer_share(rated, texts),
        "people_prefer_longer": longer_share(people, texts),
        "curve": confidence_curve(sure, [a == b for a, b in zip(rated, people, strict=True)]),
    }


def figures_of_ratings(labels: Sequence[RatedItem], judged: Sequence[Judgement], seed: int) -> dict[str, Any]:
    """Return the figures over single ratings; one judgement a label, failed ones left out."""
    good = [(label, made) for label, made in zip(labels, judged, strict=True) if made.outcome != Outcome.FAILED]
    people = [floor(label.rating + 0.5) for label, _ in good]
    stars = [made.stars for _, made in good]
    texts = [label.item.output for label, _ in good]
    return {
        "kind": "ratings",
        "failed": len(labels) - len(good),
        **_agreement(stars, people, "interval", seed),
        "prefers_longer": rank_correlation(stars, texts),
        "people_prefer_longer": rank_correlation(people, texts),
        "curve": confidence_curve(
            [made.confidence for _, made in good], [a == b for a, b in zip(stars, people, strict=True)]
        ),
    }


def _agreement(ours: Sequence[int], people: Sequence[int], level: Level, seed: int) -> dict[str, Estimate]:
    return {
        "agreement": bootstrap(share_equal, ours, people, seed=seed),
        "kappa": bootstrap(lambda a, b: cohens_kappa(a, b, level), ours, people, seed=seed),
        "alpha": bootstrap(lambda a, b: krippendorffs_alpha([a, b], level), ours, people, seed=seed),
    }
