"""Forget a text that a person withdraws: where it is removed from, and what it reached before."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import ColumnElement, delete, select

from graph.services import Services
from state.errors import BadInput, UnknownAnswer
from state.feedback import Feedback, ServedAnswer
from state.records import Candidate, ReviewTask, Sample
from state.rows import TABLES
from state.tables import batch_calls
from state.wording import number_of
from tools.improvement.rows import feedback_sample, served_candidate_id
from tools.people.decisions import edited_id
from tools.registry import record_of, versions

CHUNK = 500
LEAST = 24
"""Characters from which on a text within a longer one is taken for the same; a shorter one must be all of it."""


@dataclass(frozen=True)
class Withdrawn:
    """What goes."""

    answer: ServedAnswer
    said: tuple[Feedback, ...]
    """Whose texts go."""
    whole: bool
    """Whether the answer with its prompt goes, too, and not only what one person said of it."""

    @property
    def prompt(self) -> str:
        """What was asked, as a row has it."""
        return self.answer.messages[-1].content.strip() if self.answer.messages else ""

    @property
    def texts(self) -> tuple[str, ...]:
        """The texts, as they may stand in rows, calls and files."""
        own = [message.content.strip() for message in self.answer.messages] if self.whole else []
        found = [*own, *([self.answer.text] if self.whole else []), *(one.corrected for one in self.said)]
        return tuple(text for text in dict.fromkeys(found) if text)


async def forget_text(services: Services, named: str) -> list[str]:
    """Remove a text, and return in lines what went, and what it had reached. A removal that is killed can be repeated.

    Args:
        services: the process's.
        named: the id of a served answer, or of what one person said of it.

    Raises:
        UnknownAnswer: there is no such id.
        RunBusy: a process works on a run that holds the text; wait for it, and forget again.
        StorageError: the database cannot be written.
    """
    gone = await _withdrawn(services, named)
    if not gone.texts and not any(one.comment for one in gone.said):
        await services.database.rewrite()
        return [f"the texts of {named} are gone already"]
    ids = _row_ids(gone)
    shared = gone.whole and await _asked_by_others(services, gone)
    held = await _runs_with(services, [*ids, *([] if shared else [feedback_sample(gone.prompt).id])])
    async with AsyncExitStack() as leases:
        for run_id in held:
            await leases.enter_async_context(services.leases.hold(run_id))
        # By its rows a run is found again: they go last, and all at once.
        reached = await asyncio.to_thread(_reached, services, held, gone.texts)
        called = sum([await _empty_calls(services, run_id, gone.texts) for run_id in held])
        rows = await _remove_rows(services, held, ids, gone, keep_prompt=shared or not gone.whole)
    await services.feedback.withdraw(gone.answer if gone.whole else None, gone.said)
    what = "the answer, its prompt and what was said of it" if gone.whole else "the comment and the corrected answer"
    of = f"{number_of(rows, 'row')} and the texts of {number_of(called, 'call')} of {number_of(len(held), 'run')}"
    lines = [f"{what} are gone; so are {of}; a rating still counts"]
    if not await services.database.rewrite():
        lines.append(
            "its bytes stay in the database's file until 'corral forget' can write that anew: others use it now"
        )
    return lines + reached


async def _withdrawn(services: Services, named: str) -> Withdrawn:
    if not named.isprintable():
        raise UnknownAnswer(f"there is no answer or feedback {named!r}")
    store = services.feedback
    if (answer := (await store.answers([named])).get(named)) is not None:
        return Withdrawn(answer, tuple(await store.feedback_on(named)), whole=True)
    given = await store.given(named)
    answer = None if given is None else (await store.answers([given.answer_id])).get(given.answer_id)
    if given is None or answer is None:
        raise UnknownAnswer(f"there is no answer or feedback {named!r}")
    return Withdrawn(answer, (given,), whole=False)


def _row_ids(gone: Withdrawn) -> list[str]:
    """Return the ids of the candidates that the texts became."""
    served = served_candidate_id(feedback_sample(gone.prompt).id, gone.answer.text)
    corrected = [edited_id(served, one.corrected) for one in gone.said if one.corrected]
    return [*([served] if gone.whole else []), *corrected]


async def _asked_by_others(services: Services, gone: Withdrawn) -> bool:
    """Whether somebody else asked the same, and did not withdraw it."""
    async for other in services.feedback.scan_answers(gone.answer.version):
        same = other.messages and other.messages[-1].content.strip() == gone.prompt
        if same and other.id != gone.answer.id and other.user != gone.answer.user:
            return True
    return False


async def _runs_with(services: Services, ids: Sequence[str]) -> list[str]:
    found: set[str] = set()
    async with services.database.reading() as connection:
        for kind in (Candidate, Sample):
            table = TABLES[kind]
            rows = await connection.execute(select(table.c.run_id).where(table.c.id.in_(ids)).distinct())
            found.update(row.run_id for row in rows)
    return sorted(found)


async def _remove_rows(
    services: Services, run_ids: Sequence[str], ids: Sequence[str], gone: Withdrawn, *, keep_prompt: bool
) -> int:
    """Remove candidates, the prompt where nobody else asked it, and all that was judged and decided on them."""
    store, sample = services.store, feedback_sample(gone.prompt).id
    going: dict[str, set[str]] = {}
    for run_id in run_ids:
        rows = set(ids)
        if not keep_prompt:
            rows |= {sample, *(one.id for one in await store.find(run_id, Candidate, parents=[sample]))}
        tasks = await store.find(run_id, ReviewTask, parents=[sample])
        # A comparison has an id of its own, by which its drafts and ratings name it.
        going[run_id] = rows | {task.id for task in tasks if rows & {task.sample_id, *task.candidates}}
    removed = 0
    async with services.database.writing() as connection:
        for run_id, rows in going.items():
            for table in TABLES.values():
                for some in _chunks(sorted(rows)):
                    own: ColumnElement[bool] = table.c.id.in_(some) | table.c.parent.in_(some)
                    result = await connection.execute(delete(table).where((table.c.run_id == run_id) & own))
                    removed += result.rowcount
    return removed


async def _empty_calls(services: Services, run_id: str, texts: Sequence[str]) -> int:
    """Empty the run's calls in which a text stands; what they cost stays, since it is spent."""
    emptied = [
        key
        async for key, body in services.calls.used_by(run_id)
        if holds([body.get("request"), body.get("text"), body.get("error")], texts)
    ]
    await services.calls.forget(emptied)
    deferred = select(batch_calls.c.key, batch_calls.c.body).where(batch_calls.c.run_id == run_id)
    waiting = [key async for key, body in services.database.stream(deferred) if holds(body.get("request"), texts)]
    await services.batches.forget(run_id, waiting)
    return len(emptied) + len(waiting)


def holds(body: Any, texts: Sequence[str]) -> bool:
    """Whether a text stands anywhere in a JSON value: as a whole, or within a longer one if it is long enough."""
    match body:
        case str():
            return any(text == body.strip() or (len(text) >= LEAST and text in body) for text in texts)
        case Mapping():
            return any(holds(value, texts) for value in body.values())
        case list() | tuple():
            return any(holds(value, texts) for value in body)
        case _:
            return False


def _reached(services: Services, held: Sequence[str], texts: Sequence[str]) -> list[str]:
    """Return a line for each file and adapter of these runs that the texts reached."""
    lines, trained = [], set()
    for run_id in held:
        folder = services.runs_folder / run_id
        for dataset in sorted((folder / "datasets").glob("*")):
            if any(_file_holds(path, texts) for path in dataset.glob("*.jsonl")):
                trained.add(run_id)
                lines.append(f"still in the dataset {dataset}: delete it, or the run with 'corral delete {run_id}'")
        if run_id in trained:
            lines += [f"reached the adapter {one}" for one in sorted((folder / "training").glob("*/adapter"))]
    registry = services.registry
    reached = {one for one in versions(registry) if _record(registry, one).get("run") in trained}
    grown = True
    while grown:  # what goes on with an adapter has what that learned
        further = {one for one in versions(registry) if _record(registry, one).get("improves") in reached} - reached
        reached, grown = reached | further, bool(further)
    return [*lines, *(f"reached the version {one} in {registry}" for one in sorted(reached))]


def _record(registry: Path, version: str) -> dict[str, Any]:
    try:
        return record_of(registry, version)
    except BadInput:
        return {}


def _file_holds(path: Path, texts: Sequence[str]) -> bool:
    try:
        with path.open(encoding="utf-8") as file:
            return any(holds(json.loads(line), texts) for line in file if line.strip())
    except (OSError, ValueError):
        return False


def _chunks(values: Sequence[str]) -> Iterable[Sequence[str]]:
    return (values[start : start + CHUNK] for start in range(0, len(values), CHUNK))
