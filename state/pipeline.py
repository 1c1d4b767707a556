"""PipelineState: what a run carries between steps. References, counters and decisions; rows live in the store."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, Protocol

from pydantic import Field, PositiveInt, ValidationError, model_validator
from typing_extensions import TypedDict

from state.errors import BadInput
from state.faults import first_fault
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
    flags: tuple[str, ...] = ()
    """Why the tripwires flagged its training; empty where none did."""


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
    perplexity_ratio: float | None = None
    """The adapter's perplexity on held-out text over the base's; ``None`` where it was not measured."""


class Approval(Record):
    """Who signed the adapter, or did not."""

    approved: bool
    reviewer: str
    comment: str = ""


class TrainingDecision(Record):
    """Whether a training may begin, with which settings, and how long it should take."""

    action: Literal["proceed", "optimise", "wait", "abort"]
    """``optimise``: it fits with these settings, but not with the request's own. ``wait``: the machine has what it
    needs, but others use it now. ``abort``: it does not fit this machine, or takes longer than the request's limit."""
    reason: str
    """One line for a person."""
    rows_at_once: dict[str, PositiveInt] = Field(default_factory=dict)
    """Rows of one pass, by phase; the other rows of a step follow by gradient accumulation. For a phase that is not
    named the trainer chooses."""
    gradient_checkpointing: bool = False
    """Compute activations again in the backward pass: a third more work for a fraction of the memory."""
    max_length: int = Field(512, ge=32)
    """Tokens from which on rows are left out."""
    number_format: Literal["float32", "bfloat16"] | None = None
    """What a CPU computes in, the one of the two that was measured to be faster; ``None`` on a GPU."""
    memory_needed: int = Field(0, ge=0)
    """Bytes on the device that trains, as estimated."""
    estimated_seconds: float = Field(0.0, ge=0)
    actual_seconds: float | None = Field(None, ge=0)
    """How long it took; ``None`` before its end, and for a training that was resumed."""
    settled_by: str = ""
    """The person, or the policy, that answered ``optimise`` or ``wait``; empty where there was nothing to answer."""

    @model_validator(mode="before")
    @classmethod
    def _read_older(cls, values: Any) -> Any:
        """Read a checkpoint of an earlier version, which had one field a phase and 0 for the trainer's choice."""
        older = {"sft_rows_at_once": "sft", "dpo_rows_at_once": "dpo"}
        if not isinstance(values, Mapping) or not older.keys() & values.keys():
            return values
        rows = {phase: values[field] for field, phase in older.items() if values.get(field)}
        return {key: value for key, value in values.items() if key not in older} | {"rows_at_once": rows}


class Improvement(Record):
    """What a run of improvement takes from feedback, and whether it goes on."""

    version: str
    """The deployed version."""
    adapter: str
    """Its folder in the registry."""
    action: Literal["retrain", "wait", ""] = ""
    """What was decided; empty before that."""
    reason: str = ""
    """One line for a person."""
    corrected: int = 0
    """Answers that people corrected, each to be imitated."""
    rejected: int = 0
    """Answers that people rated low."""
    chosen: int = 0
    """Answers that people rated high."""
    left_out: int = 0
    """Rated answers of which no row was made."""
    similar: int = 0
    """Prompts similar to those rated low that passed the gates."""


def keep_request(current: RunRequest, new: RunRequest | dict[str, Any]) -> RunRequest:
    """Reduce the ``request`` channel: whatever a client sent becomes a validated request.

    Raises:
        BadInput: it is no valid request; the state stays as it is.
    """
    try:
        return RunRequest.model_validate(new)
    except ValidationError as error:
        raise BadInput(f"the request: {first_fault(error)}") from error


class NextRound(Record):
    """What the next round does, and why."""

    action: Literal["proceed", "shrink", "wait", "retry", "stop"]
    """``retry``: a round with other seed tasks, since the rows of the last one were too similar or there were none.
    ``shrink``: a round of smaller batches. ``wait``: decide again after ``wait_seconds``, which uses up no round.
    ``stop``: no further round."""
    reason: str
    """One line for the run's log."""
    batch_size: int = Field(0, ge=0, le=20)
    """Tasks to ask in each call, the demonstrations among them; 0 when no call is to be made."""
    calls: int = Field(0, ge=0)
    """Calls of the round; 0 when none is to be made."""
    wait_seconds: float = Field(0.0, ge=0)


class RateLimits(Record):
    """What is left of an endpoint's rate limits, as its server last reported; ``None`` for what it does not report."""

    requests: int | None = Field(None, ge=0)
    tokens: int | None = Field(None, ge=0)
    reset_seconds: float | None = Field(None, ge=0)
    """Seconds until the limits are reset."""


def each_once(current: list[str], new: list[str]) -> list[str]:
    """Reduce the ``warnings`` channel: a step that is a graph of its own returns the lines it was given again."""
    return [*current, *(line for line in dict.fromkeys(new) if line not in current)]


class Overspend(Record):
    """A call that was not made because it would have passed the cap."""

    spent: float
    cap: float


def latest(_current: Overspend | None, new: Overspend | None) -> Overspend | None:
    """Reduce the ``overspend`` channel, which several batches may write at the same time."""
    return new


class RunInput(TypedDict):
    """What starts a run, here and in LangGraph Studio's form."""

    request: Annotated[RunRequest, keep_request]


class PipelineState(TypedDict, total=False):
    """What every step reads. A step returns the part that it changed."""

    request: Annotated[RunRequest, keep_request]
    run_id: str
    """The thread's id, and the name of the run's folder; given to every step, never written by one."""
    round: int
    """Generation rounds done."""
    accepted: int
    """Training prompts accepted so far, given and generated."""
    novelty: float
    """Share of the last round's well-formed rows that the diversity gate kept: the number that a retry depends on."""
    round_calls: int
    """Calls of the last round."""
    failed_rounds: int
    """Rounds in a row, up to the last, in which no call was answered."""
    limits: RateLimits
    """What the generator's server had left after the last round."""
    next_round: NextRound
    """Whether another round of generation follows, and of what size."""
    asked: list[str]
    """What the review asks about next: the ids of a page; the run's first page where it has not asked yet."""
    reviewed: int
    """Items decided so far of those that went to people."""
    waiting: int
    """Items that wait for people."""
    dataset: DatasetRef
    training_round: int
    """Trainings done."""
    training_decision: TrainingDecision
    """Whether and how the next training begins; how long it took, once it is done."""
    adapter: AdapterRef
    verdict: Verdict
    improvement: Improvement
    """Of a run of improvement: what it is based on."""
    against: Verdict
    """Of a run of improvement: the new adapter against the deployed one, which is the ``base`` of this verdict."""
    approval: Approval
    deployed: str
    """The registry version, where one was deployed."""
    overspend: Annotated[Overspend | None, latest]
    """Set while a step that the budget stopped waits for a person's answer."""
    deferred: bool
    """Calls of a step wait for a batch, so that it is done again once they are answered."""
    capped: bool
    """A person refused to raise the budget: calls that would pass it fail with that reason."""
    warnings: Annotated[list[str], each_once]
    """What a person should know before trusting the run; a line each."""


FILES = ("seeds", "prompts", "gold")
"""The files that the sources of a request name."""


def relocated(state: PipelineState, run_folder: Path) -> PipelineState:
    """Return the state with the places in the run's folder as they are now: a home may have been moved since.

    Args:
        state: places in it are absolute; they are known by ``runs/ID`` within them.
        run_folder: where the run's folder is.
    """

    def here(place: str) -> str:
        _, mark, inside = place.partition(f"/runs/{run_folder.name}/")
        return str(run_folder / inside) if mark else place

    moved: PipelineState = {**state}
    if (request := state.get("request")) is not None:
        # A batch carries the request with the run's own copies of its files.
        sources = {name: place and here(place) for name, place in request.sources.model_dump().items() if name in FILES}
        config = request.train.accelerate_config
        moved["request"] = request.model_copy(
            update={
                "sources": request.sources.model_copy(update=sources),
                "train": request.train.model_copy(update={"accelerate_config": config and here(config)}),
            }
        )
    if dataset := state.get("dataset"):
        moved["dataset"] = dataset.model_copy(update={"folder": here(dataset.folder)})
    if adapter := state.get("adapter"):
        moved["adapter"] = adapter.model_copy(update={"folder": here(adapter.folder)})
    if verdict := state.get("verdict"):
        moved["verdict"] = verdict.model_copy(update={"scoreboard": here(verdict.scoreboard)})
    if against := state.get("against"):
        moved["against"] = against.model_copy(update={"scoreboard": here(against.scoreboard)})
    return moved


class BatchState(PipelineState, total=False):
    """What one task of a fanned-out step is given: the state, and the ids of its items."""

    ids: list[str]


class Node(Protocol):
    """One step: takes the state, returns the part of it that changed."""

    async def __call__(self, state: PipelineState) -> PipelineState:
        """Do the step's work; rows go to the store, references and counts into the returned state."""
        ...


class BatchNode(Protocol):
    """The same for a step that is fanned out over batches of items."""

    async def __call__(self, state: BatchState) -> PipelineState:
        """Do the work for ``state["ids"]``."""
        ...


class Pending(Protocol):
    """Finds the items that a fanned-out step still has to do. It only reads."""

    async def ids(self, state: PipelineState, after: str, limit: int) -> list[str]:
        """Return the ids of the next items, in the order of ids.

        Args:
            state: the run's.
            after: only ids greater than this one; empty for the first.
            limit: ids at most.
        """
        ...

    async def count(self, state: PipelineState) -> int:
        """Return how many items there are to do."""
        ...
