"""What a person gives to be judged: rows of a file or mappings in a program, checked one by one.

A file is JSON lines or one JSON array. A row has a ``prompt`` (or Alpaca's ``instruction`` and ``input``), an
``output`` (or ``model_output``), and may have ``checks`` as in a prompts file, and a ``context`` of brand and readers.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from state.errors import BadInput
from state.records import Candidate, Check, Record, Sample, content_hash

R = TypeVar("R", bound=Record)


class Item(Record):
    """A prompt and one answer to it."""

    prompt: str = Field(min_length=1)
    output: str
    checks: tuple[Check, ...] = ()
    context: dict[str, Any] = Field(default_factory=dict)

    @property
    def sample(self) -> Sample:
        """The prompt as a record."""
        checks = [check.model_dump(mode="json") for check in self.checks]
        return Sample(
            id=content_hash("judged", self.prompt, checks), instruction=self.prompt, checks=self.checks, origin="prompt"
        )

    @property
    def candidate(self) -> Candidate:
        """The answer as a record; its id also depends on the context, which a judgement depends on."""
        id = content_hash(self.sample.id, self.output, self.context)
        return Candidate(id=id, sample_id=self.sample.id, draw=0, text=self.output, ended=True)


def item_of(row: Mapping[str, Any], where: str) -> Item:
    """Return a row as an item.

    Args:
        row: the mapping; keys beside those of an item are left alone, so that files of others can be judged.
        where: its place, for the error.

    Raises:
        BadInput: a prompt or an output is missing, or a value is of the wrong kind.
    """
    output = first_of(row, "output", "model_output")
    if output is None:
        raise BadInput(f"{where}: there is no 'output' to judge")
    optional = {name: row[name] for name in ("checks", "context") if row.get(name) is not None}
    return valid(Item, {"prompt": prompt_of(row, where), "output": output} | optional, where)


def prompt_of(row: Mapping[str, Any], where: str) -> str:
    """Return a row's prompt: ``prompt``, or ``instruction`` with ``input`` under it.

    Raises:
        BadInput: there is none.
    """
    prompt = first_of(row, "prompt", "instruction")
    if not isinstance(prompt, str) or not prompt.strip():
        raise BadInput(f"{where}: there is no 'prompt'")
    given = row.get("input") if "prompt" not in row else None
    return f"{prompt}\n\n{given}" if given else prompt


def first_of(row: Mapping[str, Any], *names: str) -> Any:
    """Return the first of some keys' values that is there, else ``None``."""
    return next((row[name] for name in names if row.get(name) is not None), None)


def valid(kind: type[R], values: Mapping[str, Any], where: str) -> R:
    """Return values as a record.

    Raises:
        BadInput: one line about the first value that does not fit.
    """
    try:
        return kind.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise BadInput(f"{where}: {'.'.join(map(str, first['loc']))}: {first['msg']}") from None


def read_items(path: Path) -> list[Item]:
    """Return the items of a file.

    Raises:
        BadInput: no such file, no rows, or a broken one; the line is named.
    """
    return [item_of(row, where) for where, row in read_rows(path)]


def read_rows(path: Path) -> list[tuple[str, dict[str, Any]]]:
    """Return a file's objects, each with its place for errors.

    Raises:
        BadInput: the file is missing, empty, or has a row that is no JSON object.
    """
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise BadInput(f"there is no file {path}") from None
    except OSError as error:
        raise BadInput(f"{path} cannot be read: {error.strerror}") from error
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadInput(f"{path} is not UTF-8: byte {error.start}") from None
    rows = list(_array(path, text) if text.lstrip().startswith("[") else _lines(path, text))
    if not rows:
        raise BadInput(f"{path} has no rows")
    for where, row in rows:
        if not isinstance(row, dict):
            raise BadInput(f"{where}: a row is a JSON object, not {type(row).__name__}")
    return rows


def _array(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    try:
        rows = json.loads(text)
    except ValueError as error:
        raise BadInput(f"{path} is no JSON array: {error}") from None
    return ((f"{path}, row {number}", row) for number, row in enumerate(rows, 1))


def _lines(path: Path, text: str) -> Iterator[tuple[str, Any]]:
    # Split on newlines alone: strings in JSON may hold other line separators.
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            where = f"{path}, line {number}"
            try:
                yield where, json.loads(line)
            except ValueError as error:
                raise BadInput(f"{where}: no JSON ({error})") from None
