"""Seed tasks in Self-Instruct's format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from state.errors import BadInput
from state.records import Record
from tools.sources.reader import Row, kind_of, require_rows
from tools.sources.values import given_input, number_as_text

SEED_TASKS = "each a seed task in Self-Instruct's format (sources.seeds)"
"""What each object should be."""


class SeedInstance(Record):
    """One input of a task, and its correct answer."""

    input: str = ""
    output: str


class SeedTask(Record):
    """A task written by hand: an example for generated ones, which must not repeat it."""

    id: str
    name: str
    instruction: str
    instances: tuple[SeedInstance, ...]
    """At least one."""
    is_classification: bool = False
    category: str = ""
    """Empty in files that have none, such as Self-Instruct's own."""

    @property
    def input(self) -> str:
        """The first instance's input."""
        return self.instances[0].input

    @property
    def output(self) -> str:
        """The first instance's output."""
        return self.instances[0].output


class _Broken(Exception):
    """What is wrong with one row."""


def load_seed_tasks(path: Path) -> list[SeedTask]:
    """Read a file of seed tasks, in order.

    Keys that Self-Instruct's format does not have are ignored. A task without ``id`` is named by its place.

    Args:
        path: a UTF-8 file of JSON objects, one a line or in one array; blank lines do not count.

    Raises:
        BadInput: the file cannot be read, holds no task, or has a broken row; the message names file and place.
    """
    tasks: list[SeedTask] = []
    place_of: dict[str, str] = {}
    for row in require_rows(path, SEED_TASKS):
        try:
            task = _read_task(row)
            if task.id in place_of:
                raise _Broken(f"the id {task.id!r} was already used on {place_of[task.id]}")
        except _Broken as fault:
            raise BadInput(f"{path}, {row.place}: {fault}") from fault
        place_of[task.id] = row.place
        tasks.append(task)
    return tasks


def _read_task(row: Row) -> SeedTask:
    """Return a row as a task, or raise ``_Broken`` with what is wrong."""
    fields = row.fields
    instances = fields.get("instances")
    if not isinstance(instances, list) or not instances:
        raise _Broken('"instances" must be a list of at least one {"input": ..., "output": ...}')
    flag = fields.get("is_classification", False)
    if not isinstance(flag, bool):
        raise _Broken(f'"is_classification" must be true or false, not {kind_of(flag)}')
    identity = _text(fields, "id", default=row.place.replace(" ", "_"))
    return SeedTask(
        id=identity,
        name=_text(fields, "name", default=identity),
        instruction=_text(fields, "instruction"),
        instances=tuple(_read_instance(item, place) for place, item in enumerate(instances, start=1)),
        is_classification=flag,
        category=_text(fields, "category", default="").strip().lower(),
    )


def _read_instance(item: Any, place: int) -> SeedInstance:
    if not isinstance(item, dict):
        raise _Broken(f"instance {place} must be a JSON object, not {kind_of(item)}")
    where = f"instance {place}: "
    given = given_input(_text(item, "input", default="", where=where))
    return SeedInstance(input=given, output=_text(item, "output", where=where))


def _text(row: dict[str, Any], key: str, *, default: str | None = None, where: str = "") -> str:
    """Return a string field; without a default it must be there and hold more than white space."""
    value = number_as_text(row.get(key, default))
    if value is None:
        raise _Broken(f'{where}"{key}" is missing')
    if not isinstance(value, str):
        raise _Broken(f'{where}"{key}" must be a string, not {kind_of(value)}')
    if default is None and not value.strip():
        raise _Broken(f'{where}"{key}" is empty')
    return value
