"""Seed tasks in Self-Instruct's format: one JSON object a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from state.errors import BadInput
from state.records import Record


class SeedInstance(Record):
    """One input of a task, and the answer that is right for it."""

    input: str = ""
    output: str


class SeedTask(Record):
    """A task written by hand: what a generated one should look like, and what it must not repeat."""

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
    """What is wrong with one line."""


def load_seed_tasks(path: Path) -> list[SeedTask]:
    r"""Read a file of seed tasks, in order.

    Lines end at ``\n`` alone: U+2028 and its like are legal inside a JSON string. Blank lines are skipped, and keys
    that Self-Instruct's format does not have are ignored. A task without ``id`` is named by its line.

    Args:
        path: a UTF-8 file, with or without a byte order mark.

    Raises:
        BadInput: the file cannot be read, holds no task, or has a broken line; the message names file and line.
    """
    try:
        data = path.read_bytes()
    except OSError as error:
        reason = error.strerror or type(error).__name__
        raise BadInput(
            f"{path}: cannot read the seed tasks ({reason}); set sources.seeds to a readable file"
        ) from error
    tasks: list[SeedTask] = []
    line_of: dict[str, int] = {}
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            task = _read_task(line, number)
            if task.id in line_of:
                raise _Broken(f"the id {task.id!r} was already used on line {line_of[task.id]}")
        except _Broken as fault:
            raise BadInput(f"{path}, line {number}: {fault}") from fault
        line_of[task.id] = number
        tasks.append(task)
    if not tasks:
        raise BadInput(f"{path}: holds no seed task; write one JSON object a line, in Self-Instruct's format")
    return tasks


def _read_task(line: bytes, number: int) -> SeedTask:
    """Read one line, or raise ``_Broken`` with what is wrong."""
    try:
        row = json.loads(line.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _Broken(f"not UTF-8 at byte {error.start + 1}; save the file as UTF-8") from error
    except json.JSONDecodeError as error:
        raise _Broken(f"not JSON ({error.msg} at column {error.colno})") from error
    except (RecursionError, ValueError) as error:
        raise _Broken(f"not JSON ({type(error).__name__})") from error
    if not isinstance(row, dict):
        raise _Broken(f"a task must be a JSON object, not {_kind(row)}")
    instances = row.get("instances")
    if not isinstance(instances, list) or not instances:
        raise _Broken('"instances" must be a list of at least one {"input": ..., "output": ...}')
    flag = row.get("is_classification", False)
    if not isinstance(flag, bool):
        raise _Broken(f'"is_classification" must be true or false, not {_kind(flag)}')
    identity = _text(row, "id", default=f"line_{number}")
    return SeedTask(
        id=identity,
        name=_text(row, "name", default=identity),
        instruction=_text(row, "instruction"),
        instances=tuple(_read_instance(item, place) for place, item in enumerate(instances, start=1)),
        is_classification=flag,
        category=_text(row, "category", default="").strip().lower(),
    )


def _read_instance(item: Any, place: int) -> SeedInstance:
    if not isinstance(item, dict):
        raise _Broken(f"instance {place} must be a JSON object, not {_kind(item)}")
    where = f"instance {place}: "
    return SeedInstance(input=_text(item, "input", default="", where=where), output=_text(item, "output", where=where))


def _text(row: dict[str, Any], key: str, *, default: str | None = None, where: str = "") -> str:
    """Return a string field; without a default it must be there and hold more than white space."""
    value = row.get(key, default)
    if value is None:
        raise _Broken(f'{where}"{key}" is missing')
    if not isinstance(value, str):
        raise _Broken(f'{where}"{key}" must be a string, not {_kind(value)}')
    if default is None and not value.strip():
        raise _Broken(f'{where}"{key}" is empty')
    if "\0" in value or any("\ud800" <= letter <= "\udfff" for letter in value):
        raise _Broken(f'{where}"{key}" holds a NUL or half of a surrogate pair, which no database takes')
    return value


def _kind(value: Any) -> str:
    """Name a JSON value's type as JSON does."""
    if value is None:
        return "null"
    if isinstance(value, bool):
        return "a boolean"
    names = {dict: "an object", list: "a list", str: "a string", int: "a number", float: "a number"}
    return names[type(value)]
