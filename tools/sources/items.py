"""Items to judge: rows of a file or mappings in a program, checked one by one.

A row has a ``prompt`` (or Alpaca's ``instruction`` and ``input``), an ``output`` (or ``model_output``), and may have
``checks`` as in a prompts file, a ``context`` of brand and readers, and the ``system`` message and ``history`` (pairs
of question and answer) that came before the prompt. A value that is null or NaN counts as absent.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import Field, ValidationError

from state.errors import BadInput
from state.records import Candidate, Check, Record, Sample, content_hash
from tools.checks.style import demand_context
from tools.sources.conversations import flattened
from tools.sources.reader import kind_of, require_rows
from tools.sources.values import given_input, number_as_text, other_spelling, present

R = TypeVar("R", bound=Record)
ITEMS = 'each with "prompt" and "output"'
"""What each object should be."""
ANSWERS = ("output", "model_output", "response", "answer", "completion")
"""Names of an answer; only the first two are read, the others are named where those lack."""


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
        row: the mapping; other keys are ignored, so that files made elsewhere can be judged.
        where: its place, for the error.

    Raises:
        BadInput: a prompt or an output is missing, or a value is of the wrong kind.
    """
    known = _known(row, where)
    output = number_as_text(first_of(known, "output", "model_output"))
    if output is None:
        raise BadInput(f"{where}: there is no 'output' to judge{other_spelling(known, *ANSWERS)}")
    if not isinstance(output, str):
        raise BadInput(f"{where}: 'output' must be a string, not {kind_of(output)}")
    optional = {name: known[name] for name in ("checks", "context") if name in known}
    item = valid(Item, {"prompt": prompt_of(known, where), "output": output} | optional, where)
    try:
        demand_context(item.context)
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from error
    return item


def prompt_of(row: Mapping[str, Any], where: str) -> str:
    """Return a row's prompt: ``prompt``, or ``instruction`` with ``input`` under it; behind what was said before it.

    Raises:
        BadInput: it has no prompt, or an ``input``, ``system`` or ``history`` of the wrong kind.
    """
    known = _known(row, where)
    prompt = first_of(known, "prompt", "instruction")
    if not isinstance(prompt, str) or not prompt.strip():
        raise BadInput(f"{where}: there is no 'prompt'{_why_none(prompt, known)}")
    given = number_as_text(known.get("input", "")) if "prompt" not in known else ""
    if not isinstance(given, str):
        raise BadInput(f"{where}: 'input' must be a string, not {kind_of(given)}")
    asked = f"{prompt}\n\n{given}" if given_input(given) else prompt
    return "\n\n".join([*_said_before(known, where), asked])


def _why_none(prompt: Any, known: Mapping[str, Any]) -> str:
    if prompt is None:
        return other_spelling(known, "prompt", "instruction")
    return ": it is empty" if isinstance(prompt, str) else f": it must be a text, not {kind_of(prompt)}"


def _known(row: Mapping[str, Any], where: str) -> dict[str, Any]:
    if not isinstance(row, Mapping):
        raise BadInput(f"{where}: it must be a mapping, {ITEMS.removeprefix('each ')}, not {type(row).__name__}")
    try:
        return flattened(present(dict(row)))
    except BadInput as error:
        raise BadInput(f"{where}: {error}") from error


def _said_before(row: Mapping[str, Any], where: str) -> list[str]:
    """Return the system message and the earlier questions and answers of a row, as paragraphs."""
    system, history = row.get("system", ""), row.get("history", [])
    if not isinstance(system, str):
        raise BadInput(f"{where}: 'system' must be a string, not {kind_of(system)}")
    if not isinstance(history, list) or not all(
        isinstance(turn, list | tuple) and len(turn) == 2 and all(isinstance(text, str) for text in turn)
        for turn in history
    ):
        raise BadInput(f"{where}: 'history' must be a list of pairs, each a question and its answer")
    said = [f"System: {system}"] if system.strip() else []
    said += [f"User: {question}\n\nAssistant: {answer}" for question, answer in history]
    return said


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
    """Return the items of a file of JSON objects, one a line or in one array.

    Raises:
        BadInput: the file cannot be read or has no rows, or one is broken; its place is named.
    """
    return [item_of(row.fields, f"{path}, {row.place}") for row in require_rows(path, ITEMS)]
