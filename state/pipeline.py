"""PipelineState: what a run carries between steps. References, counters and decisions; rows live in the store."""

from __future__ import annotations

import operator
from typing import Annotated, Any, Literal, Protocol

from typing_extensions import TypedDict

from state.records import Record
from state.request import RunRequest


class DatasetRef(Record):
    """A dataset version on disk."""

    version: str
    """Content hash of the files."""
    folder: str
    sft_rows: int
    dpo_rows: int
    alpaca_rows: int


class AdapterRef(Record):
    """A trained adapter on disk."""

    id: str
    """Content hash of its weights."""
    folder: str


class Verdict(Record):
    """The evaluation's outcome in one line; the whole scoreboard is a file."""

    verdict: Literal["better", "not shown", "worse"]
    metric: str
    base: float
    adapter: float
    difference: float
    low: float
    """Lower end of the 95% interval of the difference."""
    high: float
    prompts: int
    scoreboard: str
    """Path of the scoreboard's JSON."""


class Approval(Record):
    """Who signed the adapter, or did not."""

    approved: bool
    reviewer: str
    comment: str = ""


def keep_request(current: RunRequest, new: RunRequest | dict[str, Any]) -> RunRequest:
    """Reduce the ``request`` channel: whatever a client sent becomes a validated request.

    Raises:
        pydantic.ValidationError: the input is no valid request; the run does not start.
    """
    return RunRequest.model_validate(new)


class RunInput(TypedDict):
    """What starts a run, here and in LangGraph Studio's form."""

    request: Annotated[RunRequest, keep_request]


class PipelineState(RunInput, total=False):
    """What every step reads, and returns a part of."""

    run_id: str
    """The thread's id; also the name of the run's folder."""
    round: int
    """Generation rounds done."""
    accepted: int
    """Training instructions accepted so far, given prompts among them."""
    wanted: int
    """Generated instructions still short of the target."""
    too_alike: bool
    """Whether the last round fell under ``gates.min_diversity``."""
    waiting: int
    """Borderline candidates waiting for a person."""
    dataset: DatasetRef
    training_round: int
    """Trainings done."""
    adapter: AdapterRef
    verdict: Verdict
    approval: Approval
    deployed: str
    """The registry version, where one was deployed."""
    warnings: Annotated[list[str], operator.add]
    """What a person should know before trusting the run; a line each."""


class Node(Protocol):
    """One step: takes the state, returns the part of it that changed."""

    async def __call__(self, state: PipelineState) -> PipelineState:
        """Do the step's work; rows go to the store, references and counts into the returned state."""
        ...
