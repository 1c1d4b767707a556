"""Frozen records: one row each in the store, one shape for every layer above it.

A record's ``id`` is a hash of what it is made of, so that writing it twice changes nothing. Rows that are judged on
their way carry an ``outcome``; everything that is not ``accepted`` has its reasons beside it.
"""

from __future__ import annotations

import hashlib
import json
from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from state.compatibility import with_present_names


def content_hash(*parts: Any) -> str:
    """Return 32 hex digits that depend on the parts' content alone.

    Args:
        *parts: JSON-serialisable values. ``("ab", "c")`` and ``("a", "bc")`` differ.
    """
    text = json.dumps(parts, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:32]


class Record(BaseModel):
    """The base of all records: immutable and closed."""

    # A record is built when the first one is read: a command that looks at runs needs a few of them all. Docstrings of
    # fields are not taken into its schema, which nobody reads: that costs 1 ms of CPU a class.
    model_config = ConfigDict(frozen=True, extra="forbid", defer_build=True)

    @model_validator(mode="before")
    @classmethod
    def _reads_former_names(cls, given: Any) -> Any:
        return with_present_names(cls.__name__, given)


class Outcome(StrEnum):
    """Where a row stands. At any time the counts over all outcomes add up to the rows made."""

    PENDING = "pending"
    ACCEPTED = "accepted"
    WAITING = "waiting"
    REJECTED = "rejected"
    FAILED = "failed"


class Check(Record):
    """A verifiable demand on a completion, as written in a prompts file."""

    kind: str
    """The checker's name in ``tools.checks``, such as ``max_words`` or ``must_include``."""
    value: int | str | tuple[str, ...] | None = None
    """The checker's one argument: a number, a phrase or several."""


class CheckResult(Record):
    """What a check found in one completion."""

    kind: str
    passed: bool | None
    """``None`` where the check does not apply."""
    evidence: str
    """One line a person or a judge can read, such as ``31 words, at most 25 asked``."""
    dimension: str = "compliance"
    """The judged dimension that a failure caps."""


class Sample(Record):
    """An instruction, generated or given, with what is known about it."""

    id: str
    instruction: str
    input: str = ""
    output: str = ""
    """The reference answer: the generator's, or the prompts file's; empty where there is none."""
    origin: Literal["generated", "prompt", "seed", "feedback", "similar"] = "generated"
    split: Literal["train", "heldout"] = "train"
    checks: tuple[Check, ...] = ()
    context: dict[str, Any] = Field(default_factory=dict)
    """What the judges should know of brand and readers; it counts before the request's ``judge.context``."""
    category: str = ""
    round: int = Field(0, ge=0)
    """The generation round it came from; 0 for given prompts."""
    call: str = ""
    """The ledger key of the call that wrote it; empty for given prompts."""
    outcome: Outcome = Outcome.PENDING
    reasons: tuple[str, ...] = ()
    score: float | None = None
    """The gates' score in [0, 1]; ``None`` before the gate."""
    similar: dict[str, float] = Field(default_factory=dict)
    """The most similar instructions that were kept before, with their ROUGE-L; empty unless that is recorded."""
    mean_similarity: float | None = None
    """The mean ROUGE-L over all that were kept before; ``None`` unless that is recorded."""

    @property
    def prompt(self) -> str:
        """The text a model is asked: the instruction, and the input under it where there is one."""
        return f"{self.instruction}\n\n{self.input}" if self.input else self.instruction


class Candidate(Record):
    """One completion of the policy for one sample."""

    id: str
    sample_id: str
    draw: int = Field(ge=0)
    text: str
    ended: bool
    """Whether the model ended by itself, rather than at the token limit."""
    thought: bool = False
    """Whether thinking stood in the answer and was left out; the ledger has all of it."""
    provenance: Literal["sampled", "scaffolded", "repaired", "edited", "served"] = "sampled"
    """``scaffolded``: drawn with examples before the prompt, which training leaves out. ``repaired``: another
    candidate's text, cut and put into the asked form. ``edited``: a person's. ``served``: what a deployed version
    answered, as people rated it."""
    call: str = ""
    outcome: Outcome = Outcome.PENDING
    reasons: tuple[str, ...] = ()


class DimensionScore(Record):
    """One judge's score on one dimension."""

    dimension: str
    score: float | None = Field(ge=0, le=100)
    """After the cap; ``None`` where nothing speaks to the dimension: it was not judged."""
    reason: str
    capped_from: float | None = None
    """The judge's own score where a failed check lowered it, else ``None``."""


class Judgement(Record):
    """What the judge said of one candidate."""

    id: str
    candidate_id: str
    judge: str
    """Identity of the judge: a hash over model, prompts and weights, with a readable head."""
    scores: tuple[DimensionScore, ...] = ()
    overall: float | None = Field(None, ge=0, le=100)
    """Weighted mean of the scores that there are; ``None`` where nothing could judge the candidate."""
    stars: int | None = Field(None, ge=1, le=5)
    """The expert's rating: 4 and 5 may be chosen, 1 and 2 rejected; ``None`` where nothing could judge it."""
    confidence: float = Field(0.0, ge=0, le=1)
    feedback: str = ""
    strengths: tuple[str, ...] = ()
    weaknesses: tuple[str, ...] = ()
    checks: tuple[CheckResult, ...] = ()
    outcome: Outcome = Outcome.PENDING
    reasons: tuple[str, ...] = ()

    @property
    def scored(self) -> tuple[tuple[str, float], ...]:
        """The dimensions that were judged, each with its score."""
        return tuple((one.dimension, one.score) for one in self.scores if one.score is not None)


DecisionKind = Literal["approve", "edit", "reject", "prefer_a", "prefer_b", "cannot_judge", "skip"]
"""What a reviewer may decide; ``tools.people.decisions`` says what follows."""
ItemKind = Literal["instruction", "completion", "pair"]
"""What a person decides on: a sample, a candidate, or which of two candidates of a sample is the better one."""
Criterion = Literal["instruction_following", "helpfulness", "harmlessness", "honesty", "overall"]
"""What a person may rate beside the decision."""
Ratings = dict[Criterion, Annotated[int, Field(ge=1, le=5)]]
"""Stars by criterion; what was not rated is left out."""
Why = Literal["between_thresholds", "not_judged", "checks_disagree", "audit", "human_share"]
"""Why an item goes to people; ``tools.people.choosing`` says which do."""


TaskStanding = Literal["open", "decided", "settled", "gold"]
"""``open``: more people must rate it, or nobody has. ``settled``: what follows from the decision is written. ``gold``:
its answer is known, and it is there for everybody to rate now and then; no run waits for it."""


class GoldAnswer(Record):
    """An answer of which is known whether it is good."""

    prompt: str
    text: str
    decision: Literal["approve", "reject"]


class ReviewTask(Record):
    """An item that goes to people. Its columns are what queues are filtered and ordered by."""

    id: str
    """Of the sample, of the candidate, or a hash of the pair's two candidates."""
    kind: ItemKind
    sample_id: str
    candidates: tuple[str, ...] = ()
    """Of a pair: the ids of its answers, A and B."""
    why: tuple[Why, ...]
    position: int = Field(0, ge=0)
    """Its place among the run's items, in the order in which an interrupt asks about them."""
    disagreement: float = Field(ge=0, le=1)
    """How far those who judged it are apart; 1 is farthest."""
    machine: Outcome
    """What the machines decided; ``waiting`` where they could not."""
    head: str = ""
    """The beginning of its prompt, for a list."""
    opened_at: datetime
    standing: TaskStanding = "open"
    gold: GoldAnswer | None = None
    """Of an item whose answer is known: what it is about, since no row of the run is."""
    rated: int = Field(0, ge=0)
    """How many people have rated it."""


class Draft(Record):
    """What a person decided on an item and has not sent yet: it is replaced until then."""

    item_id: str
    rater: str = Field(min_length=1)
    """A person's name; never ``policy:NAME``."""
    decision: DecisionKind
    text: str = ""
    """The person's own text; empty where the decision brings none."""
    comment: str = ""
    ratings: Ratings = Field(default_factory=dict)
    decided_at: datetime

    @property
    def id(self) -> str:
        """The same for a person's draft and rating of an item."""
        return content_hash("rating", self.item_id, self.rater)


class Rating(Draft):
    """What a person sent about an item: one for each item and person, and never replaced."""


class Review(Record):
    """The decision on an item that went to people, by them or by a named policy."""

    id: str
    item_id: str
    kind: ItemKind
    decision: DecisionKind
    text: str = ""
    """The reviewer's own text; empty where the decision brings none."""
    comment: str = ""
    ratings: Ratings = Field(default_factory=dict)
    """Of those who decided so: the median of each criterion, the lower one of two."""
    reviewer: str
    """A person's name, or several joined by commas, or ``policy:NAME`` for an unattended run; no person's begins so."""
    decided_at: datetime


class Answer(Record):
    """One model's answer to one held-out prompt."""

    id: str
    sample_id: str
    model: str
    """``base``, or the adapter's id."""
    draw: int = Field(0, ge=0)
    """0 for the greedy answer; from 1 for the sampled ones."""
    text: str
    ended: bool
    tokens: int = Field(0, ge=0)


class Call(Record):
    """One paid (or free) model call, as the ledger keeps it."""

    key: str
    run_id: str
    """The run that made it; later runs read it without paying."""
    purpose: str
    endpoint: str
    model: str
    request: dict[str, Any]
    """Messages and parameters, as sent."""
    status: Literal["answered", "failed"]
    text: str = ""
    finish_reason: str = ""
    error: str = ""
    """Why it failed; of an answered call, why its answer could not be used: the next run asks it again."""
    prompt_tokens: int = Field(0, ge=0)
    completion_tokens: int = Field(0, ge=0)
    cost: float = Field(0.0, ge=0)
    """Dollars."""
    attempts: int = Field(1, ge=1)
    started_at: datetime
    finished_at: datetime


class GenerationRound(Record):
    """The outcome of one round of generation and gates, and why the next step was taken."""

    id: str
    round: int = Field(ge=1)
    offered: int = Field(ge=0)
    """Rows the gate looked at."""
    accepted: int = Field(ge=0)
    novelty: float = Field(ge=0, le=1)
    """Share of well-formed rows that the diversity gate kept."""
    decision: str
    reason: str
