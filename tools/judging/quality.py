"""``corral judge``: a report on any outputs, row by row and in sum. Pure, except for the judging."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from statistics import fmean

from state.records import Judgement, Outcome, Record
from tools.judging.batch import Judge, judge_items
from tools.sources.items import Item
from tools.statistics.isotonic import Curve


class QualityRow(Record):
    """One output and its judgement."""

    row: int
    """From 1."""
    prompt: str
    output: str
    judgement: Judgement
    taken: float | None = None
    """The chance that a person takes the output, by the judge's recalibration; ``None`` where people's decisions have
    not recalibrated it, or the output could not be judged."""

    def falls_short(self, least: float) -> bool:
        """Whether the overall score is under ``least``, or there is none."""
        return self.judgement.overall is None or self.judgement.overall < least


class QualityReport(Record):
    """What the judge said of a file of outputs. The counts by outcome add up to the rows."""

    judge: str
    rows: tuple[QualityRow, ...]
    accepted: int
    waiting: int
    """Between the two thresholds, or nothing can judge it: a person should look."""
    rejected: int
    failed: int
    """Not judged; the reason is in the row."""
    mean_overall: float | None
    """Over the judged rows; ``None`` where there are none."""
    mean_stars: float | None
    mean_confidence: float | None
    dimensions: dict[str, float]
    """Mean score by dimension, over the rows in which it was judged."""
    failed_checks: dict[str, int]
    """How many rows failed a check, by its kind, the most frequent first."""

    def short(self, least: float) -> list[QualityRow]:
        """Return the rows that fall short of an overall score."""
        return [row for row in self.rows if row.falls_short(least)]

    def recalibrated(self, curve: Curve) -> QualityReport:
        """Return the report with each score's chance that a person takes the output.

        Args:
            curve: of the judge's recalibration.
        """
        chances = curve([row.judgement.overall or 0.0 for row in self.rows])
        rows = [
            row
            if row.judgement.overall is None or row.judgement.outcome == Outcome.FAILED
            else row.model_copy(update={"taken": chance})
            for row, chance in zip(self.rows, chances, strict=True)
        ]
        return self.model_copy(update={"rows": tuple(rows)})


async def judge_quality(judge: Judge, items: Sequence[Item]) -> QualityReport:
    """Judge outputs and report.

    Raises:
        BudgetExceeded, EndpointUnreachable, EndpointRefused: as for ``CrewJudge.judge``.
    """
    return quality_report(judge.identity, items, await judge_items(judge, items))


def quality_report(judge: str, items: Sequence[Item], judgements: Sequence[Judgement]) -> QualityReport:
    """Put judgements together, one an item in the same order."""
    outcomes = Counter(j.outcome for j in judgements)
    good = [j for j in judgements if j.outcome != Outcome.FAILED]
    points = [(name, score) for j in good for name, score in j.scored]
    checks = Counter(kind for j in good for kind in {c.kind for c in j.checks if c.passed is False})
    return QualityReport(
        judge=judge,
        rows=tuple(
            QualityRow(row=number, prompt=item.prompt, output=item.output, judgement=made)
            for number, (item, made) in enumerate(zip(items, judgements, strict=True), 1)
        ),
        accepted=outcomes[Outcome.ACCEPTED],
        waiting=outcomes[Outcome.WAITING],
        rejected=outcomes[Outcome.REJECTED],
        failed=outcomes[Outcome.FAILED],
        mean_overall=_mean([j.overall for j in good if j.overall is not None]),
        mean_stars=_mean([float(j.stars) for j in good if j.stars is not None]),
        mean_confidence=_mean([j.confidence for j in good]),
        dimensions={
            name: round(fmean(score for named, score in points if named == name), 2)
            for name in dict.fromkeys(name for name, _ in points)
        },
        failed_checks=dict(sorted(checks.items(), key=lambda entry: (-entry[1], entry[0]))),
    )


def _mean(values: Sequence[float]) -> float | None:
    return round(fmean(values), 3) if values else None
