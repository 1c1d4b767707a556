"""What is wrong with a value that pydantic refuses, as one line for a person."""

from __future__ import annotations

from pydantic import ValidationError

from state.masking import masked


def first_fault(error: ValidationError) -> str:
    """Return the first fault of a value: where it stands, what is wrong and, within a section, what was given."""
    fault = error.errors(include_url=False, include_context=False)[0]
    place = ".".join(map(str, fault["loc"]))
    said = "unknown here" if fault["type"] == "extra_forbidden" else fault["msg"].removeprefix("Value error, ")
    given = f" (given: {fault['input']!r})" if place.count(".") and said != "unknown here" else ""
    return " ".join(masked(f"{place}: {said}{given}" if place else said).split())
