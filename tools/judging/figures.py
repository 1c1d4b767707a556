"""How far a judge agrees with people in one mode, beside what costs nothing, on the same labels. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import floor
from typing import Literal

import numpy as np

from state.records import Record
from tools.statistics.agreement import Level, cohens_kappa
from tools.statistics.bootstrap import Estimate
from tools.statistics.clustered import (
    correlation_interval,
    effective_rows,
    gain_interval,
    kappa_interval,
    share_interval,
)

Mode = Literal["rating", "asked"]
"""``rating``: every answer is scored alone. ``asked``: the judge is shown both answers, once in each order."""
LEAST_IN_PART = 10
"""Labels of a part from which its figures are told."""
TIMES_LONGER = 1.5
"""An answer of so many times the other's characters is much longer."""


class Part(Record):
    """Agreement on a part of the labels."""

    name: str
    labels: int
    agreement: Estimate
    kappa: Estimate


class Baseline(Record):
    """What costs nothing, on the same labels."""

    name: str
    agreement: float
    """Share of the labels that it meets, or would meet on average."""
    gain: Estimate
    """Agreement of the judge less that of the baseline, label by label."""


class ModeFigures(Record):
    """A judge against people in one mode."""

    mode: Mode
    labels: int
    prompts: int
    effective: float
    """Independent labels that tell as much: those of one prompt resemble each other."""
    agreement: Estimate
    kappa: Estimate
    """Cohen's; for ratings weighted by the square of the distance."""
    chance: float | None
    """Agreement by chance, on which ``kappa`` rests; ``None`` for ratings."""
    flips: Estimate | None = None
    """Asked: the share of pairs where swapping the order swapped the choice."""
    ties: float
    """Share of the labels where the judge saw no difference, or gave its most frequent stars."""
    baselines: tuple[Baseline, ...]
    parts: tuple[Part, ...] = ()
    """By what people chose and how the lengths differ, and by the set's own parts."""

    def kappa_at(self, level: float) -> Estimate:
        """Return kappa with an interval of another two-sided error than 5%."""
        if self.chance is None:
            return correlation_interval(self.kappa.value, self.effective, level)
        return kappa_interval(self.agreement.value, self.chance, self.effective, level)


@dataclass(frozen=True)
class Labelled:
    """What people and the judge said of the rows that were judged, all in one order.

    Attributes:
        people: a choice (1, 2, or 0 for a tie) or stars, a row.
        judge: the same by the judge.
        lengths: characters of both answers; of a rated answer, its own twice.
        prompts: what each row belongs to.
        sources: the part of its set, a row; empty where it has none.
    """

    people: Sequence[int]
    judge: Sequence[int]
    lengths: Sequence[tuple[int, int]]
    prompts: Sequence[str]
    sources: Sequence[str]

    def at(self, places: Sequence[int]) -> Labelled:
        """Return some of the rows."""

        def taken(column: Sequence[int]) -> list[int]:
            return [column[place] for place in places]

        return Labelled(
            taken(self.people),
            taken(self.judge),
            [self.lengths[place] for place in places],
            [self.prompts[place] for place in places],
            [self.sources[place] for place in places],
        )

    @property
    def hits(self) -> list[float]:
        """1 where the judge says what people say, else 0."""
        return [float(a == b) for a, b in zip(self.people, self.judge, strict=True)]


def mode_figures(mode: Mode, rows: Labelled, level: Level, flips: Sequence[float] = ()) -> ModeFigures:
    """Return the figures of one mode.

    Args:
        mode: of the judging.
        rows: at least one.
        level: ``nominal`` for choices, ``interval`` for stars.
        flips: 1 where the order swapped the choice, a row; empty where no order is shown.
    """
    agreement, kappa, chance = _agreement(rows, level)
    nominal = level == "nominal"
    quiet = 0 if nominal else Counter(rows.judge).most_common(1)[0][0]
    return ModeFigures(
        mode=mode,
        labels=len(rows.people),
        prompts=len(set(rows.prompts)),
        effective=effective_rows(rows.hits, rows.prompts),
        agreement=agreement,
        kappa=kappa,
        chance=chance if nominal else None,
        flips=share_interval(flips, rows.prompts) if flips else None,
        ties=sum(said == quiet for said in rows.judge) / len(rows.judge),
        baselines=tuple(
            Baseline(name=name, agreement=float(np.mean(theirs)), gain=gain_interval(rows.hits, theirs, rows.prompts))
            for name, theirs in _baselines(rows, nominal).items()
        ),
        parts=_parts(rows, level, nominal),
    )


def _agreement(rows: Labelled, level: Level) -> tuple[Estimate, Estimate, float]:
    agreement = share_interval(rows.hits, rows.prompts)
    ours, theirs = Counter(rows.judge), Counter(rows.people)
    chance = sum(ours[label] * theirs[label] for label in ours) / len(rows.people) ** 2
    effective = effective_rows(rows.hits, rows.prompts)
    if level == "nominal":
        return agreement, kappa_interval(agreement.value, chance, effective), chance
    return agreement, correlation_interval(float(cohens_kappa(rows.judge, rows.people, level)), effective), chance


def _baselines(rows: Labelled, nominal: bool) -> dict[str, list[float]]:
    """Return what each baseline hits, row by row; of chance what it hits on average."""

    def hits(said: Callable[[int], int]) -> list[float]:
        return [float(said(place) == label) for place, label in enumerate(rows.people)]

    commonest = Counter(rows.people).most_common(1)[0][0]
    if nominal:
        longer = [1 if one > other else 2 if other > one else 0 for one, other in rows.lengths]
        return {
            "always longer": hits(lambda place: longer[place]),
            "always first": hits(lambda _: 1),
            "random": [0.5 * float(label != 0) for label in rows.people],
            "constant": hits(lambda _: commonest),
        }
    shares = {label: count / len(rows.people) for label, count in Counter(rows.people).items()}
    ranked = sorted(range(len(rows.people)), key=lambda place: rows.lengths[place][0])
    by_length = dict(zip(ranked, sorted(rows.people), strict=True))
    return {
        "more stars to the longer": hits(lambda place: by_length[place]),
        "random": [shares[label] for label in rows.people],
        "constant": hits(lambda _: commonest),
    }


def _parts(rows: Labelled, level: Level, nominal: bool) -> tuple[Part, ...]:
    found: dict[str, list[int]] = {}
    if nominal:
        for place, (label, (one, other)) in enumerate(zip(rows.people, rows.lengths, strict=True)):
            if label and one != other:
                chosen_longer = (label == 1) == (one > other)
                found.setdefault(f"people chose the {'longer' if chosen_longer else 'shorter'}", []).append(place)
            much = max(one, other) >= TIMES_LONGER * max(1, min(one, other))
            found.setdefault("lengths differ much" if much else "lengths are alike", []).append(place)
    for place, source in enumerate(rows.sources):
        if source:
            found.setdefault(source, []).append(place)
    return tuple(_part(name, rows.at(places), level) for name, places in found.items() if len(places) >= LEAST_IN_PART)


def _part(name: str, rows: Labelled, level: Level) -> Part:
    agreement, kappa, _ = _agreement(rows, level)
    return Part(name=name, labels=len(rows.people), agreement=agreement, kappa=kappa)


class Ceiling(Record):
    """How far people agree among themselves, where several rated each pair."""

    pairs: int
    raters: float
    """Mean raters of a pair."""
    agreement: Estimate
    """How often one of them chose what most of the others did, where these were of one mind."""


def human_ceiling(raters: Sequence[Sequence[int]], prompts: Sequence[str]) -> Ceiling | None:
    """Return how far raters agree with the majority of the others, each left out in turn; ``None`` where that is none.

    Args:
        raters: choices, a pair; pairs with fewer than three say nothing of a majority.
        prompts: what each pair belongs to.
    """
    hits, clusters, counted = [], [], []
    for choices, prompt in zip(raters, prompts, strict=True):
        found = [hit for place in range(len(choices)) if (hit := _with_others(choices, place)) is not None]
        if len(choices) > 2 and found:
            hits += found
            clusters += [prompt] * len(found)
            counted.append(len(choices))
    if not hits:
        return None
    return Ceiling(pairs=len(counted), raters=float(np.mean(counted)), agreement=share_interval(hits, clusters))


def _with_others(choices: Sequence[int], place: int) -> float | None:
    others = Counter(choice for at, choice in enumerate(choices) if at != place).most_common(2)
    if len(others) > 1 and others[0][1] == others[1][1]:
        return None
    return float(choices[place] == others[0][0])


def stars_as_labels(ratings: Sequence[float]) -> list[int]:
    """Return ratings as whole stars."""
    return [floor(rating + 0.5) for rating in ratings]
