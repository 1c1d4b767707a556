"""Ratings over time: mean, spread and share chosen by day, judge and version, and how far they drifted. Pure."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from statistics import fmean, pstdev

from pydantic import Field

from state.records import Record
from state.wording import number_of
from tools.statistics.bootstrap import Estimate, unpaired_bootstrap

PEOPLE = "people"
"""The judge's name where those rated whom an answer was served to."""
ALERT_BELOW = 3.5
"""Mean stars under which an alert is raised."""
CHOSEN_FROM = 4
"""Stars from which an answer may be the chosen one of a pair."""
WEEK = timedelta(days=7)


class DayQuality(Record):
    """The ratings of one day by one judge on one version."""

    day: date
    judge: str
    version: str
    ratings: dict[int, int] = Field(min_length=1)
    """How often each number of stars was given."""

    @property
    def stars(self) -> list[int]:
        """All ratings, lowest first."""
        return [stars for stars, count in sorted(self.ratings.items()) for _ in range(count)]

    @property
    def mean(self) -> float:
        """The mean of the ratings."""
        return fmean(self.stars)

    @property
    def spread(self) -> float:
        """Their standard deviation."""
        return pstdev(self.stars)

    @property
    def chosen_share(self) -> float:
        """The share of four and five stars."""
        return sum(count for stars, count in self.ratings.items() if stars >= CHOSEN_FROM) / len(self.stars)


class Drift(Record):
    """The ratings of the last week against those of the first, of one judge."""

    judge: str
    first: date
    """The first day with a rating."""
    last: date
    difference: Estimate
    """Mean of the last week less that of the first, with its 95% interval."""


class Alert(Record):
    """A mean that is too low."""

    judge: str
    version: str
    ratings: int
    mean: float
    line: str
    """One line for a person."""


def merged(days: Iterable[DayQuality]) -> list[DayQuality]:
    """Return one record for each day, judge and version, in that order."""
    counts: defaultdict[tuple[date, str, str], Counter[int]] = defaultdict(Counter)
    for one in days:
        counts[one.day, one.judge, one.version].update(one.ratings)
    return [
        DayQuality(day=day, judge=judge, version=version, ratings=dict(sorted(found.items())))
        for (day, judge, version), found in sorted(counts.items())
    ]


def drifts(days: Sequence[DayQuality], *, seed: int = 0) -> list[Drift]:
    """Return how far each judge's ratings drifted since its first week; a judge of one week alone has no drift.

    Args:
        days: as ``merged`` returns them.
        seed: of the bootstrap.
    """
    found = []
    for judge, own in _by_judge(days).items():
        first, last = own[0].day, own[-1].day
        begin, end = first + WEEK, last - WEEK
        early = [stars for one in own if one.day < begin for stars in one.stars]
        late = [stars for one in own if one.day > end and one.day >= begin for stars in one.stars]
        if early and late:
            difference = unpaired_bootstrap(early, late, seed=seed)
            found.append(Drift(judge=judge, first=first, last=last, difference=difference))
    return found


def alerts(days: Sequence[DayQuality], today: date, below: float = ALERT_BELOW) -> list[Alert]:
    """Return an alert for each judge and version whose mean over the last seven days is below a threshold.

    Args:
        days: as ``merged`` returns them.
        today: the last of the seven.
        below: mean stars, 1 to 5.
    """
    recent: defaultdict[tuple[str, str], list[int]] = defaultdict(list)
    for one in days:
        if today - WEEK < one.day <= today:
            recent[one.judge, one.version] += one.stars
    found = []
    for (judge, version), stars in sorted(recent.items()):
        if (mean := fmean(stars)) < below:
            rated = f"mean {mean:.2f} of {number_of(len(stars), 'rating')} in 7 days"
            line = f"{version}, rated by {judge}: {rated}, below {below:g}"
            found.append(Alert(judge=judge, version=version, ratings=len(stars), mean=mean, line=line))
    return found


def _by_judge(days: Sequence[DayQuality]) -> Mapping[str, list[DayQuality]]:
    found: dict[str, list[DayQuality]] = {}
    for one in sorted(days, key=lambda one: (one.day, one.judge, one.version)):
        found.setdefault(one.judge, []).append(one)
    return found
