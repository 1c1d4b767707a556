"""Rows of JSON objects as Parquet, whose columns have types of their own."""

from __future__ import annotations

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from state.extras import demand_extra
from tools.files import write_file
from tools.sources.reader import Row, read_rows

ROWS = 5000
"""Rows that are held at a time."""


def as_parquet(rows: Path) -> bytes:
    """Return a file of rows in Parquet. A column has the type that all its values fit.

    Args:
        rows: JSON objects, one a line or in one array.

    Raises:
        BadInput: the file cannot be read, or the extra ``train``, with which pyarrow comes, is not installed.
    """
    demand_extra("train", "Parquet")
    import pyarrow
    from pyarrow import parquet

    pages = (pyarrow.Table.from_pylist(page).schema for page in _pages(rows))
    schema = pyarrow.unify_schemas(list(pages), promote_options="permissive")
    data = io.BytesIO()
    with parquet.ParquetWriter(data, schema) as writer:
        for page in _pages(rows):
            writer.write_table(pyarrow.Table.from_pylist(page, schema))
    return data.getvalue()


def write_parquet(rows: Path, path: Path) -> None:
    """Write a file of rows as Parquet; errors as for ``as_parquet``, and ``StorageError``."""
    write_file(path, as_parquet(rows))


def _pages(path: Path) -> Iterator[list[dict[str, Any]]]:
    page: list[dict[str, Any]] = []
    for row in read_rows(path, "each a row"):
        if isinstance(row, Row):
            page.append(row.fields)
        if len(page) == ROWS:
            yield page
            page = []
    if page:
        yield page
