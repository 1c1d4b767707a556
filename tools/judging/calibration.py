"""``corral calibrate``: how far a judge can be trusted, measured against people's labels."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from time import monotonic
from typing import Any, Literal

from pydantic import Field

from state.errors import BadInput
from state.names import Split
from state.records import Judgement, Outcome, Record, content_hash
from tools.judging.batch import Judge, judge_items
from tools.judging.figures import (
    Ceiling,
    Labelled,
    Mode,
    ModeFigures,
    human_ceiling,
    mode_figures,
    stars_as_labels,
)
from tools.judging.pairwise import JudgedPair, judge_pairs
from tools.sources.labels import ChosenPair, Labels, LabelSet, RatedItem
from tools.statistics.agreement import Level, krippendorffs_alpha
from tools.statistics.bootstrap import Estimate, bootstrap
from tools.statistics.isotonic import Curve
from tools.statistics.length import longer_share, rank_correlation
from tools.statistics.reliability import Bin, confidence_curve

ALIKE = 0.9
"""Share of the labels of which a judge says the same, above which that is told."""


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
    """Pairs: the share where swapping the order swapped the expert's choice; always 0 for the judge by checks, which
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
    modes: tuple[ModeFigures, ...] = ()
    """The figures of each mode that was measured, beside baselines; empty in what earlier versions measured."""
    ceiling: Ceiling | None = None
    """How far people agree among themselves, where several rated each pair."""
    source: str = ""
    """What the labels are called: the file's name."""
    split: Split = "all"
    set_hash: str = ""
    """Content hash of the whole set, of which ``labels_hash`` may be a half."""
    notes: tuple[str, ...] = ()
    """What a reader of the figures should know of the labels and of the judge."""
    server: str = ""
    """Where the judge's model answers."""
    fingerprint: str = ""
    """Of the judge's model; see ``tools.judging.fingerprint``."""
    cost: float = 0.0
    """Dollars that the judging cost; 0 if the ledger had all answers."""
    calls: int = 0
    """Calls that it made."""

    def mode(self, name: Mode) -> ModeFigures | None:
        """Return the figures of a mode; ``None`` where it was not measured."""
        return next((one for one in self.modes if one.mode == name), None)


async def calibrate(
    judge: Judge, labels: Labels, *, seed: int = 0, about: LabelSet | None = None, split: Split = "all"
) -> Calibration:
    """Measure a judge.

    Pairs are judged in both modes: each answer scored alone, and both shown in both orders. No judge sees a reference.

    Args:
        judge: the judge to measure.
        labels: checked labels, see ``tools.sources.labels``.
        seed: of the bootstrap.
        about: the set that the labels are of.
        split: which part of it they are.

    Raises:
        BadInput: no row could be judged.
        BudgetExceeded, EndpointUnreachable, EndpointRefused: as for ``CrewJudge.judge``.
    """
    started = monotonic()
    pairs = [label for label in labels if isinstance(label, ChosenPair)]
    rated = [label for label in labels if isinstance(label, RatedItem)]
    if pairs:
        judged = await judge_pairs(judge, [(pair.first, pair.second) for pair in pairs])
        _some_judged([pair.without_choice for pair in judged])
        figures = figures_of_pairs(pairs, judged, seed)
    else:
        judgements = await judge_items(judge, [label.item for label in rated])
        _some_judged([error_of(judgement) for judgement in judgements])
        figures = figures_of_ratings(rated, judgements, seed)
    labels_hash = content_hash([label.model_dump(mode="json") for label in labels])
    notes = [*(about.notes if about else ()), *judge_notes(figures["modes"], figures["failed"], len(labels))]
    return Calibration(
        judge=judge.identity,
        labels=len(labels),
        labels_hash=labels_hash,
        seconds=round(monotonic() - started, 2),
        made_at=datetime.now(UTC),
        source=about.name if about else "",
        split=split,
        set_hash=about.id if about else labels_hash,
        notes=tuple(notes),
        **figures,
    )


def _some_judged(errors: Sequence[str]) -> None:
    if all(errors):
        raise BadInput(f"no row of {len(errors)} could be judged; the first: {errors[0]}")


def error_of(judgement: Judgement) -> str:
    """Return why a text has no stars; empty where it has."""
    unjudged = judgement.outcome == Outcome.FAILED or judgement.stars is None
    return ("; ".join(judgement.reasons) or "not judged") if unjudged else ""


def judge_notes(modes: Sequence[ModeFigures], failed: int, labels: int) -> list[str]:
    """Return what is odd about a judge's answers: rows that it did not judge, and always the same answer."""
    notes = [f"rows that could not be judged, and count in no figure: {failed} of {labels}"] if failed else []
    for one in modes:
        if one.ties > ALIKE:
            notes.append(f"{one.mode}: the judge says the same of {one.ties:.0%} of the labels")
    return notes


def figures_of_pairs(labels: Sequence[ChosenPair], judged: Sequence[JudgedPair], seed: int) -> dict[str, Any]:
    """Return the figures over pairs; one judged pair a label, those without a choice left out."""
    good = [(label, pair) for label, pair in zip(labels, judged, strict=True) if not pair.without_choice]
    people = [label.label for label, _ in good]
    rated = [pair.rated.better for _, pair in good]
    asked = [pair.asked.better for _, pair in good]
    flips = [float(pair.asked.flipped) for _, pair in good]
    texts = [(label.first.output, label.second.output) for label, _ in good]
    sure = [min(pair.first.confidence, pair.second.confidence) for _, pair in good]
    prompts = [label.first.prompt for label, _ in good]

    def rows(said: Sequence[int]) -> Labelled:
        lengths = [(len(one), len(other)) for one, other in texts]
        return Labelled(people, said, lengths, prompts, [label.source for label, _ in good])

    modes = (mode_figures("rating", rows(rated), "nominal"), mode_figures("asked", rows(asked), "nominal", flips))
    return {
        "kind": "pairs",
        "failed": len(labels) - len(good),
        "agreement": modes[0].agreement,
        "kappa": modes[0].kappa,
        "alpha": _alpha(rated, people, "nominal", seed),
        "asked_agreement": modes[1].agreement,
        "flips": modes[1].flips,
        "prefers_longer": longer_share(rated, texts),
        "people_prefer_longer": longer_share(people, texts),
        "curve": confidence_curve(sure, [a == b for a, b in zip(rated, people, strict=True)]),
        "modes": modes,
        "ceiling": human_ceiling([label.raters for label, _ in good], prompts),
    }


def figures_of_ratings(labels: Sequence[RatedItem], judged: Sequence[Judgement], seed: int) -> dict[str, Any]:
    """Return the figures over single ratings; one judgement a label, those without stars left out."""
    good = [(label, made) for label, made in zip(labels, judged, strict=True) if not error_of(made)]
    people = stars_as_labels([label.rating for label, _ in good])
    stars = [made.stars or 0 for _, made in good]
    texts = [label.item.output for label, _ in good]
    rows = Labelled(
        people,
        stars,
        [(len(text), len(text)) for text in texts],
        [label.item.prompt for label, _ in good],
        [""] * len(good),
    )
    mode = mode_figures("rating", rows, "interval")
    return {
        "kind": "ratings",
        "failed": len(labels) - len(good),
        "agreement": mode.agreement,
        "kappa": mode.kappa,
        "alpha": _alpha(stars, people, "interval", seed),
        "prefers_longer": rank_correlation(stars, texts),
        "people_prefer_longer": rank_correlation(people, texts),
        "curve": confidence_curve(
            [made.confidence for _, made in good], [a == b for a, b in zip(stars, people, strict=True)]
        ),
        "modes": (mode,),
    }


def _alpha(ours: Sequence[int], people: Sequence[int], level: Level, seed: int) -> Estimate:
    return bootstrap(lambda a, b: krippendorffs_alpha([a, b], level), ours, people, seed=seed)
