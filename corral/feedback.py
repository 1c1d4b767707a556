"""What the Python API returns: a judgement in the words of the guide."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from typing import Any

from pydantic import Field

from state.records import CheckResult, Judgement, Outcome, Record

CHOSEN = 4
"""The least stars of an answer that may be the chosen one of a pair, as in ``tools.dataset.pairing``."""


class Row(Record):
    """A record that pandas, polars and ``datasets`` read as a row: its columns are its fields.

    ``pandas.DataFrame(feedback)`` works as it is.
    """

    def keys(self) -> Iterable[str]:
        """Return the columns."""
        return list(self.row())

    def __getitem__(self, name: str) -> Any:
        row = self.row()
        # A name of the guide's is a property, and no column: pandas would have it twice.
        return getattr(self, name) if isinstance(getattr(type(self), name, None), property) else row[name]

    def row(self) -> dict[str, Any]:
        """Return the columns with their values: numbers, texts and lists of texts."""
        return self.model_dump(mode="json")


# pandas asks what a row is, and takes a mapping's keys for columns.
Mapping.register(Row)


class Scored(Row):
    """What has a score for each dimension; the five have names of their own."""

    overall: float | None = None
    """The weighted mean, 0 to 100; ``None`` where it could not be judged."""

    @property
    def overall_score(self) -> float | None:
        """The same as ``overall``, in the guide's word."""
        return self.overall

    @abstractmethod
    def score_of(self, dimension: str) -> float | None:
        """Return a dimension's score, of the five or of your own; ``None`` where it was not judged."""

    @property
    def accuracy_score(self) -> float | None:
        """Whether facts, figures and reasoning are right, 0 to 100; ``None`` where it was not judged."""
        return self.score_of("accuracy")

    @property
    def compliance_score(self) -> float | None:
        """Whether every demand and rule is met; as for ``accuracy_score``."""
        return self.score_of("compliance")

    @property
    def brand_alignment_score(self) -> float | None:
        """Whether tone and wording suit the brand; as for ``accuracy_score``."""
        return self.score_of("brand_alignment")

    @property
    def clarity_score(self) -> float | None:
        """How easily a reader understands it; as for ``accuracy_score``."""
        return self.score_of("clarity")

    @property
    def actionability_score(self) -> float | None:
        """Whether it can be used as it stands; as for ``accuracy_score``."""
        return self.score_of("actionability")


class SyntheticFeedback(Scored):
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
    scores: dict[str, float] = Field(default_factory=dict)
    """By dimension, 0 to 100; a dimension that nothing speaks to is left out."""
    error: str = ""
    """Why it could not be judged."""

    @property
    def detailed_feedback(self) -> str:
        """All reasons, a line each."""
        return "\n".join(self.reasons)

    def score_of(self, dimension: str) -> float | None:
        """Return a dimension's score, of the five or of your own; ``None`` where it was not judged."""
        return self.scores.get(dimension)

    def row(self) -> dict[str, Any]:
        """Return the columns: the fields, with a column for each dimension's score in place of the mapping."""
        flat = {f"{name}_score": score for name, score in self.scores.items()}
        return self.model_dump(mode="json", exclude={"scores"}) | flat


class DimensionFeedback(Record):
    """What one judge says of its dimension."""

    score: float | None
    """0 to 100, after a failed check's cap; ``None`` where nothing judged the dimension."""
    feedback: str
    capped_from: float | None
    """The judge's own score where a check lowered it."""


class CrewEvaluation(Scored):
    """The judges' scores of one answer."""

    scores: dict[str, DimensionFeedback]
    """By dimension."""
    is_acceptable: bool
    """Whether the overall score reaches the threshold, 70 unless set otherwise."""
    confidence: float
    """0 to 1."""
    strengths: tuple[str, ...]
    weaknesses: tuple[str, ...]
    checks: tuple[CheckResult, ...]
    judge: str
    error: str = ""

    @property
    def detailed_feedback(self) -> dict[str, str]:
        """What each judge says, by dimension."""
        return {name: said.feedback for name, said in self.scores.items()}

    def score_of(self, dimension: str) -> float | None:
        """Return a dimension's score, of the five or of your own; ``None`` where it was not judged."""
        return self.scores[dimension].score if dimension in self.scores else None

    def row(self) -> dict[str, Any]:
        """Return the columns: the fields, with ``NAME_score`` and ``NAME_feedback`` for each dimension."""
        flat: dict[str, Any] = {}
        for name, said in self.scores.items():
            flat |= {f"{name}_score": said.score, f"{name}_feedback": said.feedback}
        failed = [check.evidence for check in self.checks if check.passed is False]
        return self.model_dump(mode="json", exclude={"scores", "checks"}) | {"failed_checks": failed} | flat


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
        overall=None if failed else judgement.overall,
        scores={s.dimension: s.score for s in judgement.scores if s.score is not None},
        error="; ".join(judgement.reasons) if failed else "",
    )


def evaluation_of(judgement: Judgement) -> CrewEvaluation:
    """Return a judgement as the judges' evaluation."""
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
