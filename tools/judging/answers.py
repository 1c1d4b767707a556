"""What the crew's members answer: the schemas the model must fill, and the opinions that the expert reads."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

REASON_CHARS = 120
NOTE_CHARS = 80

# Titles and docstrings of the first two are part of their JSON schemas, and so of every judge's identity. To change one
# is to leave all calibrations behind, so the titles stay as they were when the classes are renamed.


class DimensionRating(BaseModel):
    """One judge's answer, as the model must give it."""

    model_config = ConfigDict(extra="forbid", title="DimensionVerdict")

    score: int = Field(ge=0, le=100)
    reason: str = Field(max_length=REASON_CHARS)


class ExpertRating(BaseModel):
    """The expert's answer, as the model must give it."""

    model_config = ConfigDict(extra="forbid", title="ExpertVerdict")

    stars: int = Field(ge=1, le=5)
    strength: str = Field(max_length=NOTE_CHARS)
    weakness: str = Field(max_length=NOTE_CHARS)


class PairChoice(BaseModel):
    """The expert's answer about two answers, as the model must give it."""

    model_config = ConfigDict(extra="forbid")

    better: Literal["first", "second", "tie"]
    reason: str = Field(max_length=REASON_CHARS)


class Opinion(BaseModel):
    """One judge's score after the cap, as the expert reads it."""

    dimension: str
    score: float
    reason: str
    own: float = Field(exclude=True)
    """The judge's own score, before a failed check lowered it; the expert does not see it."""
    said: str = Field("", exclude=True)
    """The judge's own words."""


class Draw(BaseModel):
    """What the crew said of one answer in one kickoff."""

    opinions: tuple[Opinion, ...]
    expert: ExpertRating
