"""Let the base model, or base and adapter, answer prompts: greedy, batched, in processes of their own."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import os
import sys
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from pydantic import Field

from state.errors import StorageError
from state.records import Record
from tools.training.child import stream_child


class GeneratedAnswer(Record):
    """One model's greedy answer to one prompt."""

    id: str
    """The prompt's id, as given."""
    text: str
    ended: bool
    """Whether the model ended by itself, rather than at ``max_tokens``."""
    tokens: int = Field(ge=0)
    """Tokens generated, the end token not among them."""


class AnsweringJob(Record):
    """The share of one process, as the file it reads."""

    base: str
    adapter: str | None
    prompts: tuple[tuple[str, str], ...]
    max_tokens: int
    batch_size: int


async def answer(
    base: Path,
    adapter: Path | None,
    prompts: Sequence[tuple[str, str]],
    *,
    max_tokens: int,
    batch_size: int,
    folder: Path,
    on_answer: Callable[[GeneratedAnswer], Awaitable[None] | None],
) -> None:
    """Answer every prompt once, and hand each answer on as soon as it is there.

    The prompts are shared out over one process a core, of one thread each: on a busy machine threads that wait for
    each other cost many times that. On a GPU one process answers all. The processes die with this one, and
    cancelling the call ends them.

    Args:
        base: a local Hugging Face folder.
        adapter: a LoRA adapter's folder, or ``None`` for the base alone.
        prompts: pairs of id and text; the text is one user turn of the model's own chat template.
        max_tokens: tokens of an answer at most.
        batch_size: prompts answered together by one process.
        folder: gets the processes' job files and ``answering.log``.
        on_answer: called, and awaited where it is a coroutine function, for one answer at a time. To go on after a
            kill, call again with the prompts that are still without an answer.

    Raises:
        StorageError: the folder cannot be written.
        TrainingError: a process failed; answers handed on before stay good.
    """
    if not prompts:
        return
    turn = asyncio.Lock()

    async def follow(job_file: Path) -> None:
        command = [sys.executable, "-m", "tools.training.answerer", str(job_file.resolve())]
        async with contextlib.aclosing(stream_child(command, folder / "answering.log", threads=1)) as lines:
            async for line in lines:
                found = GeneratedAnswer.model_validate(line)
                async with turn:
                    outcome = on_answer(found)
                    if inspect.isawaitable(outcome):
                        await outcome

    job_files = await asyncio.to_thread(_write_jobs, base, adapter, prompts, max_tokens, batch_size, folder)
    try:
        async with asyncio.TaskGroup() as group:
            for job_file in job_files:
                group.create_task(follow(job_file))
    except* Exception as failures:
        raise failures.exceptions[0] from None


def shares(prompts: Sequence[tuple[str, str]], count: int) -> list[tuple[tuple[str, str], ...]]:
    """Deal prompts out to ``count`` processes: every one to exactly one share, lengths alike, longest first.

    Args:
        prompts: pairs of id and text.
        count: shares wanted, at least 1; empty ones are left out.
    """
    ordered = sorted(prompts, key=lambda prompt: (-len(prompt[1]), prompt[0]))
    return [tuple(ordered[start::count]) for start in range(min(count, len(ordered)))]


def _write_jobs(
    base: Path,
    adapter: Path | None,
    prompts: Sequence[tuple[str, str]],
    max_tokens: int,
    batch_size: int,
    folder: Path,
) -> list[Path]:
    job_files = []
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for number, share in enumerate(shares(prompts, _processes())):
            job = AnsweringJob(
                base=str(base.resolve()),
                adapter=None if adapter is None else str(adapter.resolve()),
                prompts=share,
                max_tokens=max_tokens,
                batch_size=batch_size,
            )
            job_files.append(folder / f"answering-{number}.json")
            job_files[-1].write_text(job.model_dump_json())
    except OSError as error:
        raise StorageError(f"the folder {folder} cannot be written: {error.strerror}") from error
    return job_files


def _processes() -> int:
    return 1 if Path("/dev/nvidia0").exists() else os.cpu_count() or 1
