"""Read a prompts file: JSON objects, each a prompt with the checks that its answer can be held to.

    {"prompt": "Explain tides in at most 40 words.", "checks": [{"kind": "max_words", "value": 40}],
     "split": "heldout", "reference": "The moon's pull ...", "category": "science", "input": "", "id": "tides-1",
     "context": {"brand": "Tidewise", "audience": "sailors"}}

Only ``prompt`` is needed; a field that is null counts as absent. ``id`` is for the reader of the file; a record's id
is the hash of its content. Rows in IFEval's own format are read too, see ``tools.sources.ifeval``.
"""

from __future__ import annotations

import hashlib
import unicodedata
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from state.errors import BadInput
from state.records import Check, Outcome, Sample, content_hash
from state.request import RunRequest
from state.wording import number_of
from tools.checks.demands import contradiction
from tools.checks.ifeval import IFEVAL
from tools.checks.style import demand_context
from tools.sources.ifeval import MARK, as_prompt_row
from tools.sources.reader import Row, require_rows
from tools.sources.values import given_input, number_as_text

Split = Literal["train", "heldout"]
Text = Annotated[str, BeforeValidator(number_as_text)]
"""A string; a number counts as its text."""
PROMPTS = 'such as {"prompt": "...", "checks": []}'
"""What each object should be."""


class _Prompt(BaseModel):
    """One row of the file."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, str_strip_whitespace=True)

    id: Text = ""
    prompt: str = Field(min_length=1, max_length=100_000)
    input: Annotated[Text, AfterValidator(given_input)] = Field("", max_length=100_000)
    checks: list[dict[str, Any]] = []
    split: Split | None = None
    reference: Text = ""
    category: Text = ""
    context: dict[str, Any] = {}


def load_prompts(path: Path, heldout_share: float) -> list[Sample]:
    """Return a prompts file's rows as samples, in the file's order.

    A row without ``split`` is held out by a hash of its prompt, so that the split does not change when rows are added;
    where the same prompt states a split elsewhere in the file, that one counts. The same prompt (instruction and
    input, whatever case and white space) is never in both splits.

    Args:
        path: a UTF-8 file of JSON objects, one a line or in one array; empty lines do not count.
        heldout_share: share in [0, 1] of the rows without a stated split that is held out. IFEval's rows always are.

    Raises:
        BadInput: the file cannot be read or holds no prompt; or a row is broken, has an unknown field or kind of
            check, an argument that does not fit, checks that no text can pass together, or repeats an earlier row.
    """
    rows = [(row.place, *_prompt(path, row)) for row in require_rows(path, PROMPTS)]
    stated: dict[str, tuple[Split, str]] = {}
    for place, row, _ in rows:
        if row.split is not None:
            split, earlier = stated.setdefault(prompt_key(row.prompt, row.input), (row.split, place))
            if split != row.split:
                raise BadInput(f"{path}, {place}: this prompt is '{split}' on {earlier}, and '{row.split}' here")
    places: dict[str, str] = {}
    found = []
    for place, row, checks in rows:
        sample = _sample(row, checks, stated, heldout_share)
        if (first := places.setdefault(sample.id, place)) != place:
            raise BadInput(f"{path}, {place}: this prompt is already on {first}; remove one of them")
        found.append(sample)
    return found


def heldout_prompts(request: RunRequest) -> list[Sample]:
    """Return the request's held-out prompts and IFEval's, which nothing that is trained on may repeat."""
    own: list[Sample] = []
    if request.sources.prompts is not None:
        own = load_prompts(Path(request.sources.prompts), request.evaluate.heldout_share)
    found = [p for p in own if p.split == "heldout"] + ifeval_prompts(request)
    return [p.model_copy(update={"outcome": Outcome.ACCEPTED}) for p in found]


def ifeval_prompts(request: RunRequest) -> list[Sample]:
    """Return the prompts of the request's file of IFEval; none where it names no file.

    Raises:
        BadInput: the file cannot be read, or a row of it is broken or is not IFEval's.
    """
    path = request.evaluate.ifeval
    if path is None:
        return []
    found = load_prompts(Path(path), 1.0)
    strange = [p for p in found if not p.checks or any(check.kind not in IFEVAL for check in p.checks)]
    if strange:
        raise BadInput(
            f"evaluate.ifeval: {path} has {number_of(len(strange), 'prompt')} not of IFEval's, the first: "
            f"{strange[0].prompt[:80]!r}; give Google's input_data.jsonl as it is"
        )
    return found


def prompt_key(prompt: str, given: str = "") -> str:
    """Return the key by which two prompts are the same: instruction and input without case and spacing."""
    return " ".join(unicodedata.normalize("NFKC", f"{prompt}\n\n{given}").casefold().split())


def _sample(row: _Prompt, checks: tuple[Check, ...], stated: dict[str, tuple[Split, str]], share: float) -> Sample:
    key = prompt_key(row.prompt, row.input)
    written = [check.model_dump(mode="json") for check in checks]
    return Sample(
        id=content_hash(row.prompt, row.input, written, *([row.context] if row.context else [])),
        instruction=row.prompt,
        input=row.input,
        output=row.reference,
        origin="prompt",
        split=stated[key][0] if key in stated else _hashed_split(key, share),
        checks=checks,
        context=row.context,
        category=row.category,
    )


def _hashed_split(key: str, share: float) -> Split:
    """Return the split that a prompt falls into by its own text: the first 64 bits of its SHA-256 as a fraction."""
    fraction = int.from_bytes(hashlib.sha256(key.encode()).digest()[:8], "big") / 2**64
    return "heldout" if fraction < share or share == 1 else "train"


def _prompt(path: Path, row: Row) -> tuple[_Prompt, tuple[Check, ...]]:
    """Return a row as a prompt, with its checks."""
    try:
        prompt = _Prompt.model_validate(as_prompt_row(row.fields) if MARK in row.fields else row.fields)
        checks = tuple(_check(index, one) for index, one in enumerate(prompt.checks, start=1))
        clash = contradiction(checks)
        demand_context(prompt.context)
    except ValidationError as error:
        raise BadInput(f"{path}, {row.place}: {_first_fault(error, list(_Prompt.model_fields))}") from error
    except BadInput as error:
        raise BadInput(f"{path}, {row.place}: {error}") from error
    if clash:
        raise BadInput(f"{path}, {row.place}: {clash}")
    return prompt, checks


def _check(index: int, value: dict[str, Any]) -> Check:
    """Return a check as written; a list of phrases becomes a tuple, and ``true`` is not a number."""
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
