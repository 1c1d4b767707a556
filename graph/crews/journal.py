"""What a crew was told and has done so far, line by line: one that was killed takes it up again and goes on.

CrewAI keeps nothing of a crew at work. But what a crew does follows from what its model answers and what its tools
return; so a crew that goes on is kicked off anew, is given what is kept here in the place of both, and asks and works
only after that. The lines of ``crew.jsonl`` in the run's folder are its plan, a line for each decision and each use of
a tool, and at last its end.
"""

from __future__ import annotations

import fcntl
import json
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from graph.crews.result import ToolUse
from graph.inputs import new_name
from state.errors import RunBusy
from state.records import Record
from state.request import RunRequest
from tools.crews.reading import CrewSpec
from tools.files import storage_errors

JOURNAL = "crew.jsonl"
PLAN, DECISION, USE = "plan", "decision", "use"
"""The only key of a line, which says what it is."""
ENDED = b'{"end": true}\n'
"""The last line of a crew that came to its end."""


class CrewPlan(Record):
    """What a crew was kicked off with; the same command has the same plan."""

    crew: CrewSpec
    request: RunRequest
    rule_based: bool


class KeptDecision(Record):
    """What an agent decided."""

    agent: str
    task: str
    answer: str


class Progressed(Record):
    """What the tools of a crew have changed in its session."""

    run_id: str
    held: str
    recommended: dict[str, Any]
    request: RunRequest


class KeptUse(Record):
    """What a tool did, and what the session was after it."""

    use: ToolUse
    answer: str
    after: Progressed


class Journal:
    """The journal of one crew, held for this process alone; the system frees it when that ends.

    Args:
        path: its file, which is there.

    Raises:
        RunBusy: another process holds it.
        StorageError: it cannot be read.
        ValueError: another version wrote it.
    """

    def __init__(self, path: Path) -> None:
        self.name = path.parent.name
        """Of the run that the crew starts, or has started."""
        self._path = path
        with storage_errors(path):
            self._file: BinaryIO = path.open("r+b")
        try:
            self._hold()
            self._left = deque(_whole_lines(self._file))
            self.plan = CrewPlan.model_validate(self._left.popleft()[1].get(PLAN) if self._left else None)
            self._file.seek(0, 2)
        except BaseException:
            self._file.close()
            raise

    def _hold(self) -> None:
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            raise RunBusy(
                f"the crew of run {self.name} is at work in another process; wait for it to end, or end it"
            ) from error

    @property
    def kept(self) -> int:
        """How many decisions and uses of tools are still to be taken from it."""
        return len(self._left)

    def decision(self, agent: str, task: str) -> str | None:
        """Return what an agent decided next; ``None`` where it is to be asked."""
        found = self._next(DECISION)
        kept = None if found is None else KeptDecision.model_validate(found)
        if kept is None or (kept.agent, kept.task) != (agent, task):
            self._forget()
            return None
        self._left.popleft()
        return kept.answer

    def use(self, tool: str, arguments: dict[str, Any]) -> KeptUse | None:
        """Return what a tool did next; ``None`` where it is to be used."""
        found = self._next(USE)
        kept = None if found is None else KeptUse.model_validate(found)
        if kept is None or (kept.use.tool, kept.use.arguments) != (tool, _plain(arguments)):
            self._forget()
            return None
        self._left.popleft()
        return kept

    def keep(self, entry: KeptDecision | KeptUse) -> None:
        """Add what came next.

        Raises:
            StorageError: the disk is full or read-only.
        """
        self._add({DECISION if isinstance(entry, KeptDecision) else USE: entry.model_dump(mode="json")})

    def close(self, *, ended: bool) -> None:
        """Let go of it.

        Args:
            ended: whether the crew came to its end, and nothing is left to go on with.

        Raises:
            StorageError: the disk is full or read-only.
        """
        if self._file.closed:
            return
        with self._file:
            if ended:
                self._write(ENDED)

    def _next(self, kind: str) -> Any:
        return self._left[0][1].get(kind) if self._left else None

    def _forget(self) -> None:
        """Drop what is left: the crew goes another way from here, since another version of it is installed, say."""
        if self._left:
            with storage_errors(self._path):
                self._file.truncate(self._left[0][0])
                self._file.seek(0, 2)
            self._left.clear()

    def _add(self, line: dict[str, Any]) -> None:
        self._write((json.dumps(line) + "\n").encode())

    def _write(self, line: bytes) -> None:
        with storage_errors(self._path):
            self._file.write(line)
            self._file.flush()


def begin_journal(runs_folder: Path, plan: CrewPlan) -> Journal:
    """Return the journal of a new crew, in the folder of the run that it may start.

    Raises:
        StorageError: the folder cannot be written.
    """
    path = runs_folder / new_name(plan.request) / JOURNAL
    with storage_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(json.dumps({PLAN: plan.model_dump(mode="json")}) + "\n", encoding="utf-8")
    return Journal(path)


def journal_of(runs_folder: Path, plan: CrewPlan) -> Journal | None:
    """Return the journal of the newest crew of this plan that came to no end and is at work nowhere, if there is one.

    Raises:
        StorageError: the folder cannot be read.
    """
    begun = [path for path in runs_folder.glob(f"*/{JOURNAL}") if not _has_ended(path)]
    for path in sorted(begun, key=lambda path: path.stat().st_mtime, reverse=True):
        try:
            found = Journal(path)
        except (RunBusy, ValueError):
            continue
        if found.plan == plan:
            return found
        found.close(ended=False)
    return None


def journal_to_go_on(folder: Path) -> Journal | None:
    """Return the journal of a run's crew that came to no end; ``None`` where no crew made the run, or it did.

    Raises:
        RunBusy: the crew is at work in another process.
        StorageError: it cannot be read.
    """
    path = folder / JOURNAL
    if not path.is_file() or _has_ended(path):
        return None
    try:
        return Journal(path)
    except ValueError:  # of another version: the run goes on without its crew
        return None


def _has_ended(path: Path) -> bool:
    with storage_errors(path), path.open("rb") as file:
        file.seek(max(0, path.stat().st_size - len(ENDED)))
        return file.read() == ENDED


def _whole_lines(file: BinaryIO) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield each line and where it begins; a kill may have left a part of one at the end, which is cut off."""
    place = 0
    for line in file:
        if not line.endswith(b"\n"):
            file.truncate(place)
            return
        yield place, json.loads(line)
        place += len(line)


def _plain(arguments: dict[str, Any]) -> Any:
    return json.loads(json.dumps(arguments))
