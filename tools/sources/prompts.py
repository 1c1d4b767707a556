"""Read a prompts file: one JSON object a line, each a prompt with the checks that its answer can be held to.

    {"prompt": "Explain tides in at most 40 words.", "checks": [{"kind": "max_words", "value": 40}],
     "split": "heldout", "reference": "The moon's pull ...", "category": "science", "input": "", "id": "tides-1"}

Only ``prompt`` is needed. ``id`` is for the reader of the file; a record's id is the hash of its content. Rows in
IFEval's own format are read too, see ``tools.sources.ifeval``.
"""

from __future__ import annotations

import hashlib
import json
import unicodedata
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from state.errors import BadInput
from state.records import Check, Sample, content_hash
from tools.checks.demands import contradiction
from tools.sources.ifeval import MARK, as_prompt_row

Split = Literal["train", "heldout"]


class _Row(BaseModel):
    """One line of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, str_strip_whitespace=True)

    id: str = ""
    prompt: str = Field(min_length=1, max_length=100_000)
    input: str = Field("", max_length=100_000)
    checks: list[dict[str, Any]] = []
    split: Split | None = None
    reference: str = ""
    category: str = ""


def load_prompts(path: Path, heldout_share: float) -> list[Sample]:
    """Return a prompts file's rows as samples, in the file's order.

    A row without ``split`` is held out by a hash of its prompt, so that the split does not change when rows are added;
    where the same prompt states a split elsewhere in the file, that one counts. The same prompt (instruction and
    input, whatever case and white space) is never in both splits.

    Args:
        path: a UTF-8 file with one JSON object a line; empty lines do not count.
        heldout_share: share in [0, 1] of the rows without a stated split that is held out. IFEval's rows always are.

    Raises:
        BadInput: the file cannot be read or holds no prompt; or a line is broken, has an unknown field or kind of
            check, an argument that does not fit, checks that no text can pass together, or repeats an earlier line.
    """
    rows = list(_rows(path))
    if not rows:
        raise BadInput(
            f"{path} holds no prompts: write one JSON object a line, such as {{'prompt': '...', 'checks': []}}"
        )
    stated: dict[str, tuple[Split, int]] = {}
    for number, row, _ in rows:
        if row.split is not None:
            split, line = stated.setdefault(prompt_key(row.prompt, row.input), (row.split, number))
            if split != row.split:
                raise BadInput(
                    f"{path}, line {number}: this prompt is '{split}' on line {line}, and '{row.split}' here"
                )
    samples: dict[str, int] = {}
    found = []
    for number, row, checks in rows:
        sample = _sample(row, checks, stated, heldout_share)
        if (earlier := samples.setdefault(sample.id, number)) != number:
            raise BadInput(f"{path}, line {number}: this prompt stands on line {earlier} already; remove one of them")
        found.append(sample)
    return found


def prompt_key(prompt: str, given: str = "") -> str:
    """Return what makes two prompts the same: the text of instruction and input without case and spacing."""
    return " ".join(unicodedata.normalize("NFKC", f"{prompt}\n\n{given}").casefold().split())


def _sample(row: _Row, checks: tuple[Check, ...], stated: dict[str, tuple[Split, int]], share: float) -> Sample:
    key = prompt_key(row.prompt, row.input)
    written = [check.model_dump(mode="json") for check in checks]
    return Sample(
        id=content_hash(row.prompt, row.input, written),
        instruction=row.prompt,
        input=row.input,
        output=row.reference,
        origin="prompt",
        split=stated[key][0] if key in stated else _hashed_split(key, share),
        checks=checks,
        category=row.category,
    )


def _hashed_split(key: str, share: float) -> Split:
    """Return the split that a prompt falls into by its own text: the first 64 bits of its SHA-256 as a fraction."""
    fraction = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    return "heldout" if fraction < share or share == 1 else "train"


def _rows(path: Path) -> Iterator[tuple[int, _Row, tuple[Check, ...]]]:
    """Yield line number, row and checks of every line. Lines end at a line feed alone: U+2028 may stand in a string."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadInput(f"cannot read the prompts file {path}: {error.strerror or error}") from error
    for number, line in enumerate(data.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if not line.strip():
            continue
        try:
            row = _row(line)
            checks = tuple(_check(index, one) for index, one in enumerate(row.checks, start=1))
            clash = contradiction(checks)
        except BadInput as error:
            raise BadInput(f"{path}, line {number}: {error}") from error
        if clash:
            raise BadInput(f"{path}, line {number}: {clash}")
        yield number, row, checks


def _row(line: bytes) -> _Row:
    try:
        text = line.decode("utf-8")
        value = json.loads(text)
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except json.JSONDecodeError as error:
        raise BadInput(f"not JSON: {error.msg.lower()} at column {error.colno}") from error
    except UnicodeDecodeError as error:
        raise BadInput(f"not UTF-8 at byte {error.start + 1} of the line") from error
    except UnicodeEncodeError as error:
        raise BadInput("half of a surrogate pair in a string, which is no text") from error
    except RecursionError as error:
        raise BadInput("nested too deeply") from error
    if not isinstance(value, dict):
        raise BadInput(f"expected a JSON object, not {type(value).__name__}")
    if "\\u0000" in text or "\x00" in text:
        raise BadInput("a NUL character in a string, which no database takes")
    try:
        return _Row.model_validate(as_prompt_row(value) if MARK in value else value)
    except ValidationError as error:
        raise BadInput(_first_fault(error, list(_Row.model_fields))) from error


def _check(index: int, value: dict[str, Any]) -> Check:
    """Return a check as written; a list of phrases becomes a tuple, and ``true`` is no number."""
    given = dict(value)
    if isinstance(given.get("value"), bool | float):
        raise BadInput(f"check {index}: 'value' must be a whole number, a phrase or a list of phrases")
    try:
        return Check.model_validate(given)
    except ValidationError as error:
        raise BadInput(f"check {index}: {_first_fault(error, list(Check.model_fields))}") from error


def _first_fault(error: ValidationError, names: list[str]) -> str:
    """Return pydantic's first complaint in one line, with the nearest right name for an unknown one."""
    fault = error.errors()[0]
    name = str(fault["loc"][0]) if fault["loc"] else ""
    if fault["type"] == "extra_forbidden":
        near = get_close_matches(name, names, n=1)
        return f"unknown field '{name}': {f'''did you mean '{near[0]}'?''' if near else f'''use {', '.join(names)}'''}"
    if fault["type"] == "missing":
        return f"'{name}' is missing"
    return f"'{name}': {fault['msg'][0].lower()}{fault['msg'][1:]}"
