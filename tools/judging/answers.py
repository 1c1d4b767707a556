"""What the crew's members answer: the schemas the model must fill, and the opinions that the expert reads.

Prose is read by ``tools.judging.prose``, which comes with the endpoints: half a second to import, that the crews' own
process, where no model's words are read, does not need.
"""

from __future__ import annotations

import math
import re
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

REASON_CHARS = 200
"""Characters of a reason: the fifteen words that are asked for, with room. A longer one is cut."""
NOTE_CHARS = 140
"""Characters of a strength or weakness: ten words, with room."""
_REASONS = ("rationale", "explanation", "justification", "because", "comment")
_SHARE = re.compile(
    r"(?:(?:score|rating|stars?|points?)\s*[:=]?\s*)?\+?(\d+(?:[.,]\d{1,2})?)"
    r"\s*(?:(?:/|out\s+of|of)\s*(5|10|100)|(%|percent))?\s*(?:points?|stars?)?\.?(?:\s*[(,;:\u2013\u2014-]\D*)?",
    re.IGNORECASE,
)
"""A number with what models write around it, as long as no other number is there: "80 - good", "4 of 5 (clear)"."""


def as_points(value: Any, top: int) -> int:
    """Return points as models write them: 85.5, "80", "8/10", "4 out of 5", "80%", four stars.

    Args:
        value: what the model wrote.
        top: the highest points that can be given, 5 or 100.

    Raises:
        ValueError: it is no number, or one that could be a share of 1 as well as points.
    """
    if isinstance(value, str):
        value = _read_points(value.strip(" \t\n*_`\"'"), top)
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        raise ValueError("a number is wanted")
    if 0 < value < 1:
        raise ValueError("it may be a share of 1 or points; points are wanted")
    if not 0 <= value <= top:
        raise ValueError(f"it must be from 0 to {top}")
    return math.floor(value + 0.5)


def _read_points(text: str, top: int) -> float:
    stars = text.count("\u2605") + text.count("\u2b50")
    if stars and top == 5:
        return stars
    found = _SHARE.fullmatch(text)
    if found is None:
        raise ValueError("a number is wanted")
    number, of = float(found.group(1).replace(",", ".")), 100 if found.group(3) else int(found.group(2) or top)
    if number > of:
        raise ValueError(f"{text} is more than all")
    return number * top / of if of != top else number


def as_note(value: Any, most: int) -> str:
    """Return a note as models write it, in one line of at most ``most`` characters.

    Null and false are none; the parts of a list or an object are joined.
    """
    if value is None or value is False:
        return ""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        value = "; ".join(str(part) for part in value)
    line = " ".join(str(value).split())
    return line if len(line) <= most else line[: most - 3].rsplit(" ", 1)[0] + "..."


def as_choice(value: Any) -> Any:
    """Return which of two answers a model means: "First", "answer 2", "A", "neither"."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if not isinstance(value, str):
        return value
    word = value.strip().strip(".\"'").lower().removeprefix("the ").removesuffix(" answer").removesuffix(" one")
    word = word.removeprefix("answer ").removeprefix("option ").strip()
    for choice, words in _CHOICES.items():
        if word in words:
            return choice
    return value


_CHOICES = {
    "first": ("first", "1", "a", "one", "first answer"),
    "second": ("second", "2", "b", "two"),
    "tie": ("tie", "0", "both", "neither", "equal", "draw", "same"),
}

Score = Annotated[int, Field(ge=0, le=100), BeforeValidator(lambda value: as_points(value, 100))]
Stars = Annotated[int, Field(ge=1, le=5), BeforeValidator(lambda value: as_points(value, 5))]
Reason = Annotated[str, Field(max_length=REASON_CHARS), BeforeValidator(lambda value: as_note(value, REASON_CHARS))]
Note = Annotated[str, Field(max_length=NOTE_CHARS), BeforeValidator(lambda value: as_note(value, NOTE_CHARS))]

# Titles and docstrings of the first two are part of their JSON schemas, and so of every judge's identity. To change one
# is to leave all calibrations behind, so the titles stay as they were when the classes are renamed.


class DimensionRating(BaseModel):
    """One judge's answer, as the model must give it."""

    model_config = ConfigDict(extra="forbid", title="DimensionVerdict")

    score: Score
    reason: Reason = ""

    @classmethod
    def in_words(cls, text: str) -> dict[str, Any] | None:
        """Return what a verdict says that is no JSON; see ``tools.judging.prose``."""
        from tools.judging.prose import said_note, said_points

        score = said_points(text, 100, as_points)
        return None if score is None else {"score": score, "reason": said_note(text, "reason", *_REASONS) or text}


class ExpertRating(BaseModel):
    """The expert's answer, as the model must give it."""

    model_config = ConfigDict(extra="forbid", title="ExpertVerdict")

    stars: Stars
    strength: Note = ""
    weakness: Note = ""

    @classmethod
    def in_words(cls, text: str) -> dict[str, Any] | None:
        """Return what a verdict says that is no JSON; see ``tools.judging.prose``."""
        from tools.judging.prose import said_note, said_points

        stars = said_points(text, 5, as_points)
        notes = {"strength": said_note(text, "strength"), "weakness": said_note(text, "weakness")}
        return None if stars is None else {"stars": stars, **notes}


class PairChoice(BaseModel):
    """The expert's answer about two answers, as the model must give it."""

    model_config = ConfigDict(extra="forbid")

    better: Annotated[Literal["first", "second", "tie"], BeforeValidator(as_choice)]
    reason: Reason = ""

    @classmethod
    def in_words(cls, text: str) -> dict[str, Any] | None:
        """Return what a verdict says that is no JSON; see ``tools.judging.prose``."""
        from tools.judging.prose import said_choice, said_note

        better = said_choice(text)
        return None if better is None else {"better": better, "reason": said_note(text, "reason", *_REASONS) or text}


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
