"""Let the base model, or base and adapter, answer prompts and score texts, in processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import sys
from collections.abc import Awaitable, Callable, Sequence
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from pydantic import Field

from state.errors import StorageError
from state.records import Record
from tools.machine.resources import sampling_processes
from tools.weights.processes import stream_child


class Ask(NamedTuple):
    """One answer wanted."""

    id: str
    """The prompt's."""
    text: str
    """The whole prompt: one user turn of the model's own chat template, or Alpaca's where it has none."""
    draw: int = 0
    """0 for the greedy answer; from 1 for sampled ones, each with its own random numbers."""
    input: str = ""
    """The input at the end of the text, where it has one: Alpaca's format sets it apart."""


class GeneratedAnswer(Record):
    """One model's answer to one prompt."""

    id: str
    """The prompt's id, as given."""
    draw: int = Field(0, ge=0)
    """0 for the greedy answer."""
    text: str
    ended: bool
    """Whether the model ended by itself, rather than at ``max_tokens``."""
    tokens: int = Field(ge=0)
    """Tokens generated, the end token not among them."""


class Drawing(Record):
    """How sampled answers are drawn. Each follows from ``seed``, prompt id and draw alone, but for rounding."""

    temperature: float = Field(1.0, ge=0)
    """0 makes every draw greedy."""
    top_p: float = Field(1.0, gt=0, le=1)
    seed: int = 0


class Passage(Record):
    """A text whose likelihood is wanted, as the answer to a prompt."""

    id: str
    prompt: str
    input: str = ""
    """As in ``Ask``."""
    text: str


class PassageScore(Record):
    """How likely a model finds a passage."""

    id: str
    nats: float
    """Negative log-likelihood of the text and the end token after it, given the prompt."""
    tokens: int = Field(ge=1)


class AnsweringJob(Record):
    """The share of one process, as the file it reads."""

    base: str
    adapter: str | None
    prompts: tuple[Ask, ...]
    max_tokens: int
    batch_size: int
    drawing: Drawing = Drawing()
    passages: tuple[Passage, ...] = ()


T = TypeVar("T")
OnAnswer = Callable[[GeneratedAnswer], Awaitable[None] | None]
OnScore = Callable[[PassageScore], Awaitable[None] | None]


async def answer(
    base: Path,
    adapter: Path | None,
    prompts: Sequence[Ask | tuple[str, str]],
    *,
    max_tokens: int,
    batch_size: int,
    folder: Path,
    on_answer: OnAnswer,
    drawing: Drawing | None = None,
    passages: Sequence[Passage] = (),
    on_score: OnScore | None = None,
) -> None:
    """Answer every prompt once and score every passage, and hand each result on as soon as it is there.

    The work is shared out over one process a core, of one thread each: on a busy machine threads that wait for
    each other cost many times that. On a GPU one process does it all. The processes die with this one, and
    cancelling the call ends them.

    Args:
        base: a local Hugging Face folder.
        adapter: a LoRA adapter's folder, or ``None`` for the base alone.
        prompts: what to answer; a pair of id and text is asked for its greedy answer.
        max_tokens: tokens of an answer at most.
        batch_size: prompts at work together in one process; as one is answered, the next takes its place.
        folder: gets the processes' job files and ``answering.log``.
        on_answer: called, and awaited where it is a coroutine function, for one result at a time. To go on after a
            kill, call again with the prompts that are still without an answer.
        drawing: of the sampled answers.
        passages: texts to score.
        on_score: the same for their scores.

    Raises:
        StorageError: the folder cannot be written.
        TrainingError: a process failed; what was handed on before stays good.
    """
    if not prompts and not passages:
        return
    turn = asyncio.Lock()

    async def follow(job_file: Path) -> None:
        command = [sys.executable, "-m", "tools.weights.answerer", str(job_file.resolve())]
        async with contextlib.aclosing(stream_child(command, folder / "answering.log", threads=1)) as lines:
            async for line in lines:
                async with turn:
                    outcome = handed_on(line)
                    if inspect.isawaitable(outcome):
                        await outcome

    def handed_on(line: dict[str, Any]) -> Awaitable[None] | None:
        if "nats" not in line:
            return on_answer(GeneratedAnswer.model_validate(line))
        return on_score(PassageScore.model_validate(line)) if on_score else None

    job = AnsweringJob(
        base=str(base.resolve()),
        adapter=None if adapter is None else str(adapter.resolve()),
        prompts=(),
        max_tokens=max_tokens,
        batch_size=batch_size,
        drawing=drawing or Drawing(),
    )
    asks = [Ask(*prompt) for prompt in prompts]
    job_files = await asyncio.to_thread(_write_jobs, job, asks, passages, folder)
    try:
        async with asyncio.TaskGroup() as group:
            for job_file in job_files:
                group.create_task(follow(job_file))
    except* Exception as failures:
        raise failures.exceptions[0] from None


def shares(asks: Sequence[Ask | tuple[str, str]], count: int) -> list[tuple[Ask, ...]]:
    """Deal asks out to ``count`` processes: every one to exactly one share, lengths alike, longest first.

    The asks of one text stay together, so that it is read once.

    Args:
        asks: what to answer.
        count: shares wanted, at least 1; empty ones are left out.
    """
    texts: dict[str, list[Ask]] = {}
    for ask in sorted(Ask(*given) for given in asks):
        texts.setdefault(ask.text, []).append(ask)
    return _dealt(sorted(texts.values(), key=lambda same: (-len(same[0].text), same[0].id)), count)


def _dealt(groups: Sequence[Sequence[T]], count: int) -> list[tuple[T, ...]]:
    return [tuple(one for group in groups[start::count] for one in group) for start in range(min(count, len(groups)))]


def _write_jobs(job: AnsweringJob, asks: Sequence[Ask], passages: Sequence[Passage], folder: Path) -> list[Path]:
    processes = sampling_processes()
    dealt = shares(asks, processes)
    longest = sorted(passages, key=lambda passage: (-len(passage.prompt) - len(passage.text), passage.id))
    to_score = _dealt([[passage] for passage in longest], processes)
    job_files = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, (prompts, texts) in enumerate(zip_longest(dealt, to_score)):
            job_files.append(folder / f"answering-{number}.json")
            share = job.model_copy(update={"prompts": prompts or (), "passages": texts or ()})
            job_files[-1].write_text(share.model_dump_json())
    except OSError as error:
        raise StorageError(f"the folder {folder} cannot be written: {error.strerror}") from error
    return job_files
