"""A file's other columns, so that every row has the same keys and types: what loads rows takes both from the first."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Mapping
from typing import Any

EARLY = 1000
"""Rows among which a list that is empty in some must be full in one: a loader takes the type from about so many."""


class Columns:
    """What each column holds. All rows are seen first, then each is fitted.

    A column that has one type in every row stays as it is; where a text is missing it is empty. Any other becomes
    text: JSON, or nothing where a row has no value.
    """

    def __init__(self) -> None:
        self._rows = 0
        self._there: defaultdict[str, int] = defaultdict(int)
        self._kinds: defaultdict[str, dict[str, int]] = defaultdict(dict)

    def see(self, row: Mapping[str, Any]) -> None:
        """Note the columns of a row."""
        for name, value in row.items():
            self._there[name] += 1
            self._kinds[name].setdefault(kind_of(value), self._rows)
        self._rows += 1

    def fit(self, row: Mapping[str, Any]) -> dict[str, Any]:
        """Return a row with all columns, each of its one type."""
        return {name: self._fitted(name, row.get(name)) for name in self._there}

    def _fitted(self, name: str, value: Any) -> Any:
        kinds = self._kinds[name]
        if kinds.keys() == {"text"}:
            return "" if value is None else value
        if self._there[name] == self._rows:
            if kinds.keys() <= {"whole", "number"}:
                return value if kinds.keys() == {"whole"} else float(value)
            full = [kind for kind in kinds if kind != "[]"]
            if len(full) == 1 and "mixed" not in full[0] and ("[]" not in kinds or kinds[full[0]] < EARLY):
                return value
        if value is None or isinstance(value, str):
            return value or ""
        return json.dumps(value, ensure_ascii=False)


def kind_of(value: Any) -> str:
    """Return the type of a JSON value in a word, and of a list or an object with those of its parts."""
    if isinstance(value, dict):
        return "{" + ",".join(f"{json.dumps(name)}:{kind_of(value[name])}" for name in sorted(value)) + "}"
    if isinstance(value, list):
        kinds = sorted({kind_of(part) for part in value})
        return f"[{kinds[0]}]" if len(kinds) == 1 else "[mixed]" if kinds else "[]"
    if value is None:
        return "mixed"
    # A bool is an int, too.
    return {bool: "truth", int: "whole", float: "number"}.get(type(value), "text")
