"""Ratings of 1 to 5 stars by criterion, in each form in which a person may write them."""

from __future__ import annotations

import json
from typing import Any, get_args

from pydantic import TypeAdapter, ValidationError

from state.faults import first_fault
from state.records import Criterion, Ratings

CRITERIA: tuple[Criterion, ...] = get_args(Criterion)
_ADAPTER: TypeAdapter[Ratings] = TypeAdapter(Ratings)


def read_ratings(given: Any) -> Ratings:
    """Return the ratings that a person wrote.

    Args:
        given: an object, such as ``{"overall": 4}``, or the same as JSON; ``4`` alone for ``overall``; words, such as
            ``overall 4, honesty 5``; or nothing.

    Raises:
        ValueError: they cannot be read, a criterion is unknown, or a number is not from 1 to 5; says which.
    """
    try:
        return _ADAPTER.validate_python(_as_mapping(given), strict=False)
    except ValidationError as error:
        raise ValueError(
            f"ratings: {first_fault(error)}; rate {', '.join(CRITERIA)} from 1 to 5, such as overall 4"
        ) from error


def _as_mapping(given: Any) -> Any:
    if given is None or given == "":
        return {}
    if isinstance(given, int):
        return {"overall": given}
    if not isinstance(given, str):
        return given
    text = given.strip()
    if text.startswith("{"):
        try:
            return json.loads(text)
        except ValueError:
            return text
    parts = [part.replace("=", " ").replace(":", " ").split() for part in text.split(",") if part.strip()]
    if len(parts) == 1 and len(parts[0]) == 1:
        return {"overall": parts[0][0]}
    return {"_".join(words[:-1]): words[-1] for words in parts}
