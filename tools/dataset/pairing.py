"""Which completions are chosen and rejected. Pure: the same records give the same rows.

What a small model learns first from preferences is to repeat itself, to run on, or to be long or short. So a degenerate
text is never chosen, the lengths of a pair are similar, and the rejected text is a plain draw of the policy itself:
what it would say.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import assert_never

from pydantic import Field

from state.records import Candidate, Judgement, Outcome, Ratings, Record, Review, ReviewTask, Sample
from state.request import Training
from tools.checks import run_checks
from tools.checks.guard import guard
from tools.checks.text import words
from tools.people.decisions import Decider, consequences, decider_of, reviews_by_row

CHOSEN_STARS = 4
"""Stars from which a completion may be chosen."""
REJECTED_STARS = 2
"""Stars up to which a completion may be rejected."""


NOT_JUDGED = "not judged"
"""What the reason of an answer begins with that no judge was asked about, since nothing could come of it."""


class StarLimits(Record):
    """Which stars may be chosen and rejected."""

    chosen: int = CHOSEN_STARS
    """The fewest of a completion that may be chosen."""
    rejected: int = REJECTED_STARS
    """The most of one that may be rejected."""


STARS = StarLimits()
"""A run's limits."""


class Rated(Record):
    """A candidate with its rating."""

    candidate: Candidate
    stars: int
    """The judge's, or what a person's decision made of them."""
    overall: float | None
    """``None`` where a person decided on what nothing could judge."""
    decider: Decider = "crew"
    """Who decided on it last."""
    reviewer: str = ""
    """The name of the person or policy that decided; empty for the crew."""
    ratings: Ratings = Field(default_factory=dict)
    """The stars that people gave, by criterion."""
    judge: str = ""
    """Identity of the judge; empty where none judged it, as a person's own text."""
    judged_stars: int | None = None
    """The crew's stars, whoever decided."""
    limits: StarLimits = STARS
    faults: tuple[str, ...] = ()
    """Why training may not imitate it: what the guard says, and the checks that fail. Looked for in what has the stars
    to be chosen and is accepted."""

    @property
    def may_be_chosen(self) -> bool:
        """Whether training may imitate it: enough stars, accepted, no failed check, and not degenerate."""
        return self.stars >= self.limits.chosen and self.candidate.outcome == Outcome.ACCEPTED and not self.faults

    @property
    def may_be_rejected(self) -> bool:
        """Whether training may reject it: few stars, and a plain draw."""
        return self.stars <= self.limits.rejected and self.candidate.provenance in ("sampled", "served")


class Pair(Record):
    """What one prompt contributes to the datasets."""

    sample: Sample
    imitated: tuple[Rated, ...]
    """What SFT imitates: good completions of different text, of equal stars the longer ones; best first."""
    rejected: Rated | None

    @property
    def chosen(self) -> Rated | None:
        """The best completion, where there is a good one."""
        return self.imitated[0] if self.imitated else None

    @property
    def margin(self) -> float | None:
        """Overall score of the chosen less that of the rejected completion, where both have one."""
        if self.chosen is None or self.rejected is None:
            return None
        if self.chosen.overall is None or self.rejected.overall is None:
            return None
        return self.chosen.overall - self.rejected.overall


def rate(
    sample: Sample,
    candidate: Candidate,
    judgement: Judgement | None,
    review: Review | None,
    edited: bool,
    limits: StarLimits = STARS,
) -> Rated | None:
    """Join the records of one candidate; ``None`` where nobody rated it.

    A person overrides the crew, and so do the stars that the person gave overall: an approved completion has at least
    four, one that was rejected or replaced by an edited text at most two, and the edited text five; a served answer has
    five or one, as its raters decided. A policy is no person: its decision changes no stars. Where people could not
    judge, the crew's word stands; what nothing could judge and no person decided on is not rated.
    """
    if review is not None and review.decision == "cannot_judge":
        review = None
    decider: Decider = decider_of(review.reviewer) if review is not None else "person" if edited else "crew"
    stars: int | None
    overall: float | None
    if edited:
        stars, overall = 5, 100.0
    elif candidate.provenance == "served" and review is not None:
        # Those it was served to have rated it: that counts more than all that judges say of other answers.
        stars, overall = (5, 100.0) if consequences(review.decision).agrees else (1, 0.0)
    elif judgement is None or judgement.outcome == Outcome.FAILED:
        return None
    else:
        stars, overall = judgement.stars, judgement.overall
        if review is not None and decider == "person":
            stars = reviewed_stars(stars, consequences(review.decision).outcome, review.ratings.get("overall"))
    if stars is None:
        return None
    rated = Rated(
        candidate=candidate,
        stars=stars,
        overall=overall,
        decider=decider,
        reviewer=review.reviewer if review is not None else "",
        ratings=review.ratings if review is not None else {},
        judge=judgement.judge if judgement is not None else "",
        judged_stars=judgement.stars if judgement is not None else None,
        limits=limits,
    )
    return rated.model_copy(update={"faults": faults_of(sample, candidate)}) if rated.may_be_chosen else rated


def faults_of(sample: Sample, candidate: Candidate) -> tuple[str, ...]:
    """Return why training may not imitate an answer, whoever likes it: what the guard says, and the checks that fail.

    Raises:
        BadInput: a check of the prompt is of unknown kind, or its argument does not fit.
    """
    failed = [result.kind for result in run_checks(sample.checks, candidate.text) if result.passed is False]
    return (*guard(sample.prompt, candidate.text, candidate.ended), *failed)


def reviewed_stars(stars: int | None, outcome: Outcome | None, overall: int | None = None) -> int | None:
    """Return the stars of what a person reviewed: enough to be chosen where it was accepted, few where it was not.

    Args:
        stars: the judge's; ``None`` where it has none.
        outcome: what the person's decision made of it.
        overall: the person's own rating, which takes the place of the crew's.
    """
    stars = stars if overall is None else overall
    match outcome:
        case Outcome.ACCEPTED:
            return CHOSEN_STARS if stars is None else max(stars, CHOSEN_STARS)
        case Outcome.REJECTED:
            return REJECTED_STARS if stars is None else min(stars, REJECTED_STARS)
        case Outcome.PENDING | Outcome.WAITING | Outcome.FAILED | None:
            return stars
        case _:
            assert_never(outcome)


def pair(sample: Sample, rated: Iterable[Rated], settings: Training) -> Pair:
    """Choose the best completions of a prompt, and the worst of similar length to reject beside the best.

    Args:
        sample: the prompt.
        rated: its rated candidates, in any order.
        settings: how many completions SFT imitates, and how far the lengths of a pair may lie apart.
    """
    ordered = sorted(rated, key=lambda r: (-r.stars, -(r.overall or 0.0), r.candidate.draw, r.candidate.id))
    good = {r.candidate.text: r for r in reversed(ordered) if r.may_be_chosen}
    # Of equal stars the longer ones: imitation shortens answers, and short ones most.
    longest = sorted(good.values(), key=lambda r: (-r.stars, -len(words(r.candidate.text)), r.candidate.id))
    taken = {r.candidate.id for r in longest[: settings.completions]}
    imitated = tuple(r for r in ordered if r.candidate.id in taken and good.get(r.candidate.text) is r)
    rejected = next((r for r in reversed(ordered) if imitated and _opposes(imitated[0], r, settings)), None)
    return Pair(sample=sample, imitated=imitated, rejected=rejected)


def _opposes(chosen: Rated, other: Rated, settings: Training) -> bool:
    """Whether a completion may be the rejected one beside the chosen one."""
    lengths = sorted(len(words(r.candidate.text)) for r in (chosen, other))
    return (
        other.may_be_rejected
        and other.candidate.text != chosen.candidate.text
        and lengths[1] <= settings.length_ratio * max(1, lengths[0])
    )


def pair_all(
    samples: Iterable[Sample],
    candidates: Iterable[Candidate],
    judgements: Iterable[Judgement],
    reviews: Iterable[Review],
    settings: Training,
    tasks: Iterable[ReviewTask] = (),
) -> list[Pair]:
    """Pair the completions of all accepted training samples, in the order of the samples' ids.

    Args:
        samples: the prompts.
        candidates: of them.
        judgements: of the candidates.
        reviews: of the candidates, and of pairs of them.
        settings: the request's.
        tasks: the pairs that people compared, for which candidates each was.
    """
    by_candidate: Mapping[str, Judgement] = {j.candidate_id: j for j in judgements}
    by_item: Mapping[str, Review] = reviews_by_row(reviews, tasks)
    by_sample: defaultdict[str, list[Candidate]] = defaultdict(list)
    for candidate in candidates:
        by_sample[candidate.sample_id].append(candidate)
    pairs = []
    for sample in sorted(samples, key=lambda s: s.id):
        rated = (
            rate(sample, c, by_candidate.get(c.id), by_item.get(c.id), c.provenance == "edited")
            for c in by_sample[sample.id]
            if c.outcome != Outcome.FAILED
        )
        pairs.append(pair(sample, [r for r in rated if r is not None], settings))
    return pairs
