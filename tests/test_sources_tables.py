"""Files as tables and programs write them: each form that can be meant in one way is read, the others are one line."""

from __future__ import annotations

import bz2
import gzip
import io
import json
import lzma
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.errors import BadInput
from state.request import Gates
from tests.test_sources_reader import SOURCES
from tools.gates import gate_file
from tools.sources.alpaca import AlpacaRow, read_alpaca
from tools.sources.inputs import PROMPTS, SEEDS, copy_inputs
from tools.sources.items import read_items
from tools.sources.labels import read_labels
from tools.sources.prompts import load_prompts
from tools.sources.reader import BadRow, Row, read_rows
from tools.sources.seeds import load_seed_tasks

ROWS: list[dict[str, Any]] = [
    {"instruction": "Explain why the sky is blue, at noon.", "input": "", "output": "Short waves\nscatter more."},
    {
        "instruction": 'Name "three" fruits; all red.',
        "input": "in\ta list",
        "output": "Kirsche, \u82f9\u679c, r\u00f6d",
    },
    {"instruction": "Add 12 and 30.", "input": None, "output": 42},
]
TEXTS = [("Short waves\nscatter more."), "Kirsche, \u82f9\u679c, r\u00f6d", "42"]
NAMES = list(ROWS[0])


def frame() -> Any:
    import pandas

    return pandas.DataFrame(ROWS)


def parquet() -> bytes:
    import pyarrow
    from pyarrow import parquet as writer

    data = io.BytesIO()
    rows = [row | {"output": str(row["output"]), "made": 1.5, "tags": ["a"]} for row in ROWS]
    writer.write_table(pyarrow.Table.from_pylist(rows), data)
    return data.getvalue()


def dumped(value: Any, indent: int | None = None) -> bytes:
    return json.dumps(value, ensure_ascii=False, indent=indent).encode()


def columns() -> dict[str, list[Any]]:
    return {name: [row[name] for row in ROWS] for name in NAMES}


FILES: dict[str, Callable[[], bytes]] = {
    "columns.json": lambda: dumped(columns()),
    "columns over lines.json": lambda: dumped(columns(), 2),
    "pandas.json": lambda: frame().to_json().encode(),
    "pandas-split.json": lambda: frame().to_json(orient="split").encode(),
    "pandas-table.json": lambda: frame().to_json(orient="table").encode(),
    "pandas-index.json": lambda: frame().to_json(orient="index", indent=1).encode(),
    "pandas-records.json": lambda: frame().to_json(orient="records").encode(),
    "pandas-list.json": lambda: dumped(frame().astype(object).where(frame().notna(), None).to_dict("list")),
    "data.json": lambda: dumped({"data": ROWS}),
    "one line.jsonl": lambda: dumped({"data": ROWS}) + b"\n",
    "data with more.json": lambda: dumped({"version": "1.0", "count": 3, "data": ROWS}, 2),
    "train.json": lambda: dumped({"train": ROWS}),
    "viewer.json": lambda: dumped(
        {"features": [], "rows": [{"row_idx": n, "row": row, "truncated_cells": []} for n, row in enumerate(ROWS)]}
    ),
    "one behind the other.json": lambda: b"\n".join(dumped(row, 2) for row in ROWS),
    "all on one line.jsonl": lambda: b" ".join(dumped(row) for row in ROWS),
    "old Mac.jsonl": lambda: b"\r".join(dumped(row) for row in ROWS) + b"\r",
    "comma.csv": lambda: frame().to_csv(index=False).encode(),
    "with an index.csv": lambda: frame().to_csv().encode(),
    "after a mark.CSV": lambda: b"\xef\xbb\xbf" + frame().to_csv(index=False, lineterminator="\r\n").encode(),
    "semicolon.csv": lambda: frame().to_csv(index=False, sep=";").encode(),
    "tab.tsv": lambda: frame().to_csv(index=False, sep="\t").encode(),
    "rows.parquet": parquet,
    "no suffix": parquet,
    "lines.jsonl.gz": lambda: gzip.compress(b"\n".join(dumped(row) for row in ROWS)),
    "named otherwise.jsonl": lambda: gzip.compress(dumped(ROWS)),
    "lines.jsonl.bz2": lambda: bz2.compress(b"\n".join(dumped(row) for row in ROWS)),
    "array.json.xz": lambda: lzma.compress(dumped(ROWS, 1)),
    "comma.csv.gz": lambda: gzip.compress(frame().to_csv(index=False).encode()),
}
"""Each holds ``ROWS``."""


@pytest.fixture(params=FILES)
def table(request: pytest.FixtureRequest, tmp_path: Path) -> Path:
    path = tmp_path / request.param
    path.write_bytes(FILES[request.param]())
    return path


def test_each_form_has_the_rows(table: Path) -> None:
    rows = list(read_alpaca(table))
    assert [row.output for row in rows if isinstance(row, AlpacaRow)] == TEXTS, rows
    assert [row.instruction for row in rows] == [row["instruction"] for row in ROWS]  # type: ignore[union-attr]
    assert [item.output for item in read_items(table)] == TEXTS
    assert gate_file(table, table.parent / "out", Gates()).rows == 3


def test_a_run_has_its_own_copy_of_each(tmp_path: Path) -> None:
    prompts = [{"prompt": "Why?", "checks": [{"kind": "max_words", "value": 40}]}, {"prompt": "How?", "checks": []}]
    seeds = [{"id": n, "instruction": f"Say {n}.", "instances": [{"input": None, "output": "One."}]} for n in range(2)]
    for name, rows, read in (
        (PROMPTS, prompts, lambda path: [(one.instruction, len(one.checks)) for one in load_prompts(path, 0.0)]),
        (SEEDS, seeds, lambda path: [(one.instruction, one.output) for one in load_seed_tasks(path)]),
    ):
        (tmp_path / "lines.jsonl").write_bytes(b"\n".join(dumped(row) for row in rows))
        wanted = read(tmp_path / "lines.jsonl")
        for number, form in enumerate((frame_of(rows).to_csv(index=False).encode(), dumped({"data": rows}, 1))):
            path = tmp_path / ("table.json" if number else "table.csv")
            path.write_bytes(form)
            assert read(path) == wanted
            copy_inputs({name: path}, tmp_path / f"{name}-{number}")
            assert read(tmp_path / f"{name}-{number}" / name) == wanted


def frame_of(rows: list[dict[str, Any]]) -> Any:
    """Return rows as a table whose cells are texts, lists and objects as JSON."""
    import pandas

    return pandas.DataFrame(
        [{name: json.dumps(cell) if isinstance(cell, list) else cell for name, cell in row.items()} for row in rows]
    )


def test_labels_of_a_spreadsheet_are_read(tmp_path: Path) -> None:
    (tmp_path / "pairs.csv").write_text("prompt,output_1,output_2,label\np,a,b,1\nq,a,b,2\nr,a,b,0\n")
    assert [pair.label for pair in read_labels(tmp_path / "pairs.csv")] == [1, 2, 0]  # type: ignore[union-attr]
    (tmp_path / "rated.csv").write_text("prompt;output;rating\np;a;4\nq;b;2.5\n")
    assert [item.rating for item in read_labels(tmp_path / "rated.csv")] == [4, 2.5]  # type: ignore[union-attr]


NONE: dict[str, tuple[bytes, str]] = {
    "two.json": (dumped({"train": ROWS, "test": ROWS}), r"holds several lists of rows \(train, test\); give each a"),
    "uneven.json": (dumped({"instruction": ["a", "b"], "output": ["c"]}), "its columns differ in length"),
    "split.json": (dumped({"columns": ["instruction", "output"], "data": [["a"]]}), "another number of cells"),
    "cut.jsonl.gz": (gzip.compress(dumped(ROWS) * 50)[:-30], "what is compressed in it is broken or cut off"),
    "cut.json.bz2": (bz2.compress(dumped(ROWS))[:-9], "what is compressed in it is broken or cut off"),
    "no.bz2": (b"BZhgarbage", "what is compressed in it is broken"),
    "no.xz": (b"\xfd7zXZ\0garbage", "what is compressed in it is broken"),
    "zip.json": (b"PK\x03\x04abc", "is a ZIP archive or a spreadsheet"),
    "zst.jsonl": (b"\x28\xb5\x2f\xfdabc", "is compressed by Zstandard"),
    "old.xls": (b"\xd0\xcf\x11\xe0abc", "is a spreadsheet of an old kind; save it as CSV"),
    "data.arrow": (b"ARROW1\0\0", "is an Arrow file"),
    "stream.arrow": (b"\xff\xff\xff\xff\x10\0\0\0", "is an Arrow stream"),
    "rows.pkl": (b"\x80\x04\x95", "is a Python pickle, which Corral does not open"),
    "rows.db": (b"SQLite format 3\0", "is a SQLite database"),
    "rows.pdf": (b"%PDF-1.7", "is a PDF"),
    "bad.parquet": (b"PAR1garbagePAR1", "is no Parquet that can be read"),
    "twice.csv": (b"instruction,output,output\na,b,c\n", "must name each column, once"),
    "wide.csv": ("instruction,output\na,b\n".encode("utf-16"), "is in UTF-16"),
}


@pytest.mark.parametrize("name", NONE)
@pytest.mark.parametrize("source", [name for name in SOURCES if name != "training rows"])
def test_what_is_no_table_is_one_line_in_every_source(name: str, source: str, tmp_path: Path) -> None:
    data, words = NONE[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(BadInput, match=words) as caught:
        SOURCES[source][0](tmp_path / name)
    assert str(caught.value).startswith(str(tmp_path / name)) and "\n" not in str(caught.value)


def faults(path: Path) -> list[tuple[int, str]]:
    return [(row.number, row.fault) for row in read_rows(path, "") if isinstance(row, BadRow)]


def test_a_broken_row_of_a_table_has_its_place_and_the_others_are_read(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    path.write_bytes(b'instruction,output\na,b\nc\nd,caf\xe9\ne,"f,g"\n')
    assert faults(path) == [
        (2, "it has 1 cells, and the first line names 2 columns"),
        (3, "not UTF-8 (0xe9); save the file as UTF-8"),
    ]
    assert [row.fields["instruction"] for row in read_rows(path, "") if isinstance(row, Row)] == ["a", "e"]
    path.write_bytes(b"instruction,output\nh," + b"x" * (1 << 20) + b"\ni,j\n")
    assert faults(path)[0] == (1, "not CSV (field larger than field limit (524288) at line 2)")
    assert [row.fields["instruction"] for row in read_rows(path, "") if isinstance(row, Row)] == ["i"]
    path.write_text('instruction,output\na,b\nc,"never closed\nd,e\n')
    assert [number for number, _ in faults(path)] == [2]
    (tmp_path / "viewer.json").write_bytes(dumped({"rows": [{"row": {"a": "b"}, "truncated_cells": ["a"]}]}))
    assert faults(tmp_path / "viewer.json") == [(1, "cut off by the hub's viewer (['a'])")]


@pytest.mark.parametrize(
    "row",
    [
        {"conversations": [{"from": "human", "value": "a"}, {"from": "gpt", "value": "b"}]},
        {"prompt": [{"role": "user", "content": "a"}], "completion": [{"role": "assistant", "content": "b"}]},
        {"instruction": "a", "instances": [{"input": "", "output": "b"}]},
        {"fields": {"prompt": "a", "completion": "b"}},
        {"prompt": "a", "output": "b", "checks": [{"kind": "max_words", "value": 4}]},
        {"instruction": "a", "output": "b", "history": [["c", "d"]], "data": [{"e": 1}]},
        {"id": "x", "reasons": [], "scores": {"a": 1}},
    ],
    ids=lambda row: ",".join(row),
)
def test_one_row_of_any_kind_is_that_row(row: dict[str, Any], tmp_path: Path) -> None:
    for name, indent in (("row.jsonl", None), ("row.json", 2)):
        (tmp_path / name).write_bytes(dumped(row, indent))
        (found,) = read_rows(tmp_path / name, "")
        assert isinstance(found, Row) and found.fields == row


PARTS = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["data", "rows", "row", "input"]), inner)
    ),
    max_leaves=12,
)


@given(st.dictionaries(st.sampled_from(["data", "columns", "instruction", "output", "0", "messages"]), PARTS))
def test_any_object_is_rows_or_one_line(tmp_path_factory: pytest.TempPathFactory, value: dict[str, Any]) -> None:
    path = tmp_path_factory.mktemp("object") / "rows.json"
    for indent in (None, 1):
        path.write_bytes(dumped(value, indent))
        try:
            assert all(isinstance(row, Row | BadRow) for row in read_rows(path, ""))
        except BadInput as error:
            assert "\n" not in str(error)


@given(st.binary(max_size=200), st.sampled_from(["rows.csv", "rows.tsv", "rows.json", "rows.jsonl.gz"]))
def test_any_bytes_are_rows_or_one_line(tmp_path_factory: pytest.TempPathFactory, data: bytes, name: str) -> None:
    path = tmp_path_factory.mktemp("any") / name
    path.write_bytes(data)
    try:
        numbers = [row.number for row in read_rows(path, "")]
    except BadInput as error:
        assert "\n" not in str(error)
    else:
        assert numbers == sorted(set(numbers))
