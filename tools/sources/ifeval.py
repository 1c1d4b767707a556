"""Rows in IFEval's format, as rows of a prompts file.

    {"key": 1000, "prompt": "...", "instruction_id_list": ["punctuation:no_comma", "length_constraints:number_words"],
     "kwargs": [{}, {"relation": "at least", "num_words": 300}]}

Arguments that are ``null`` do not count: tables of these rows name every argument in every row.
"""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import Any

from state.errors import BadInput
from tools.checks.ifeval import IFEVAL

MARK = "instruction_id_list"
"""The field by which a row of this format is known."""
ARGUMENTS: Mapping[str, tuple[str, ...]] = MappingProxyType(
    {
        "keywords:existence": ("keywords",),
        "keywords:frequency": ("relation", "frequency", "keyword"),
        "keywords:forbidden_words": ("forbidden_words",),
        "keywords:letter_frequency": ("let_relation", "let_frequency", "letter"),
        "language:response_language": ("language",),
        "length_constraints:number_sentences": ("relation", "num_sentences"),
        "length_constraints:number_paragraphs": ("num_paragraphs",),
        "length_constraints:number_words": ("relation", "num_words"),
        "length_constraints:nth_paragraph_first_word": ("num_paragraphs", "nth_paragraph", "first_word"),
        "detectable_content:number_placeholders": ("num_placeholders",),
        "detectable_content:postscript": ("postscript_marker",),
        "detectable_format:number_bullet_lists": ("num_bullets",),
        "detectable_format:number_highlighted_sections": ("num_highlights",),
        "detectable_format:multiple_sections": ("num_sections", "section_spliter"),
        "combination:repeat_prompt": ("prompt_to_repeat",),
        "startend:end_checker": ("end_phrase",),
        "change_case:capital_word_frequency": ("capital_relation", "capital_frequency"),
    }
)
"""IFEval's arguments by instruction, in the order of the check's value; the other instructions have none."""
_FIELDS = ("key", "prompt", MARK, "kwargs")


def as_prompt_row(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row of IFEval as one of a prompts file, held out: IFEval is a test.

    Raises:
        BadInput: a field or argument is missing, unknown or of the wrong type, or an instruction's id is unknown.
    """
    for name in row:
        if name not in _FIELDS:
            raise BadInput(f"unknown field '{name}': a row of IFEval has {', '.join(_FIELDS)}")
    ids, arguments = row[MARK], row.get("kwargs")
    if not isinstance(ids, list) or not ids or not isinstance(arguments, list) or len(ids) != len(arguments):
        raise BadInput(f"'{MARK}' and 'kwargs' must be two lists of the same length, at least 1")
    checks = [_check(number, *pair) for number, pair in enumerate(zip(ids, arguments, strict=True), start=1)]
    found = {"prompt": row.get("prompt"), "checks": checks, "split": "heldout"}
    return found | ({"id": str(row["key"])} if "key" in row else {})


def _check(number: int, kind: Any, arguments: Any) -> dict[str, Any]:
    if kind not in IFEVAL:
        near = get_close_matches(str(kind), IFEVAL, n=1, cutoff=0.8)
        hint = f"did you mean '{near[0]}'? " if near else ""
        raise BadInput(f"instruction {number}: unknown id {kind!r}: {hint}The known ids are {', '.join(IFEVAL)}")
    if not isinstance(arguments, dict | None):
        raise BadInput(f"instruction {number}, '{kind}': its 'kwargs' must be an object, not {arguments!r}")
    given = {name: value for name, value in (arguments or {}).items() if value is not None}
    names = ARGUMENTS.get(kind, ())
    for name in (*given, *names):
        if name not in names or name not in given:
            what = "is missing" if name in names else f"is not one of its arguments ({', '.join(names) or 'none'})"
            raise BadInput(f"instruction {number}, '{kind}': '{name}' {what}")
    values = [_whole(given[name]) for name in names]
    if IFEVAL[kind].argument == "parts":
        return {"kind": kind, "value": [str(value) for value in values]}
    return {"kind": kind, "value": values[0]} if values else {"kind": kind}


def _whole(value: Any) -> Any:
    """Return 3 for 3.0: a table's column with gaps in it holds its numbers so."""
    return int(value) if isinstance(value, float) and value.is_integer() else value
