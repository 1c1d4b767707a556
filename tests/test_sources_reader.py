"""The one reader of rows, and every source over it: files as people have them give rows, or one clear line."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.errors import BadInput
from state.request import Gates
from tools.gates import gate_file
from tools.sources.items import item_of, read_items
from tools.sources.labels import read_labels
from tools.sources.prompts import load_prompts
from tools.sources.reader import MAX_DEPTH, BadRow, Row, read_rows, require_rows
from tools.sources.seeds import load_seed_tasks
from tools.sources.values import present
from tools.training.rows import read_conversations

Source = tuple[Callable[[Path], int], list[dict[str, Any]]]
ALPACA = [
    {"instruction": "Explain why the sky is blue at noon.", "input": "", "output": "Short waves scatter\u2028more."},
    {"instruction": "List three fruits rich in vitamin C.", "input": "", "output": "Kiwi, orange, guava."},
]
TURNS = {"prompt": [{"role": "user", "content": "Why?"}], "completion": [{"role": "assistant", "content": "So.\u2028"}]}


def gated(path: Path) -> int:
    report = gate_file(path, path.parent / "out", Gates())
    assert report.unreadable == 0
    return report.rows


SOURCES: dict[str, Source] = {
    "prompts": (lambda path: len(load_prompts(path, 0.0)), [{"prompt": "Why\u2028so?"}, {"prompt": "How?"}]),
    "seed tasks": (
        lambda path: len(load_seed_tasks(path)),
        [{"instruction": "Name\u2028one.", "instances": [{"output": "One."}]}] * 2,
    ),
    "items": (lambda path: len(read_items(path)), ALPACA),
    "labels": (
        lambda path: len(read_labels(path)),
        [{"prompt": "p\u2028", "output": "o", "rating": 1}, {"prompt": "p", "output": "o", "rating": 4}],
    ),
    "training rows": (lambda path: len(read_conversations(path, ("prompt", "completion"))), [TURNS, TURNS]),
    "gates": (gated, ALPACA),
}


def lines(rows: Sequence[dict[str, Any]], end: str = "\n") -> bytes:
    return "".join(json.dumps(row, ensure_ascii=False) + end for row in rows).encode()


def array(rows: Sequence[dict[str, Any]]) -> bytes:
    return json.dumps(rows, ensure_ascii=False, indent=2).encode()


WHOLE: dict[str, Callable[[Sequence[dict[str, Any]]], bytes]] = {
    "lines": lines,
    "lines after a mark, CRLF": lambda rows: b"\xef\xbb\xbf" + lines(rows, "\r\n"),
    "lines with blank ones between": lambda rows: lines(rows, "\n \n\n"),
    "lines without an end": lambda rows: lines(rows)[:-1],
    "array": array,
    "array on one line": lambda rows: json.dumps(rows).encode(),
    "array after a mark, CRLF": lambda rows: b"\xef\xbb\xbf" + array(rows).replace(b"\n", b"\r\n"),
    "array with a comma too many": lambda rows: array(rows)[:-2] + b",\n]",
}
NO_ROWS: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "has no rows; give a file of JSON objects"),
    "only a mark": (b"\xef\xbb\xbf", "has no rows"),
    "blank": (b" \n\r\n\n", "has no rows"),
    "empty array": (b"[]\n", "has no rows"),
    "UTF-16": ('[{"prompt": "p"}]'.encode("utf-16"), "is in UTF-16 or UTF-32; save it as UTF-8"),
    "UTF-16 without a mark": ('{"prompt": "p"}'.encode("utf-16-le"), "holds a NUL byte (byte 2)"),
    "Git LFS pointer": (b"version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 12\n", "run git lfs pull"),
    "web page": (b"\n<!DOCTYPE html><html><body>404</body></html>", "is a web page (HTML)"),
    "nested lines": (b'{"a":' + b"[" * 100_000, f"nested deeper than {MAX_DEPTH} levels"),
    "nested array": (b"[" * 100_000, "not JSON"),
    "closed nested array": (b"[" * 100_000 + b"]" * 100_000, "not JSON"),
    "a tab as it is": (b'{"a": "\t"}', "1: not JSON (Invalid control character at column 8)"),
    "comment": (b"// by hand\n{}\n", "1: not JSON (Expecting value at column 1)"),
    "pretty object": (b'{\n  "prompt": "p"\n}\n', "1: not JSON"),
    "CSV": (b"prompt,output\np,o\n", "1: not JSON (Expecting value at column 1)"),
    "a number": (b"3\n", "1: not an object but a number"),
    "Latin-1": ('{"prompt": "\xe9"}'.encode("latin-1"), "1: not UTF-8 (0xe9 at byte 13); save the file as UTF-8"),
}


@pytest.fixture(params=SOURCES)
def source(request: pytest.FixtureRequest) -> Source:
    return SOURCES[request.param]


@pytest.mark.parametrize("layout", WHOLE)
def test_every_source_reads_every_layout(source: Source, layout: str, tmp_path: Path) -> None:
    read, rows = source
    (tmp_path / "rows").write_bytes(WHOLE[layout](rows))
    assert read(tmp_path / "rows") == 2


@pytest.mark.parametrize("kind", NO_ROWS)
def test_every_source_refuses_what_is_no_rows_in_one_line(source: Source, kind: str, tmp_path: Path) -> None:
    data, message = NO_ROWS[kind]
    path = tmp_path / "rows"
    path.write_bytes(data)
    with pytest.raises(BadInput) as caught:
        source[0](path)
    line = str(caught.value)
    assert line.startswith(str(path)) and message in line and "\n" not in line and len(line) < 400 + len(str(path))


CUT = ["array", "array on one line", "lines without an end"]


@pytest.mark.parametrize("layout", CUT)
@pytest.mark.parametrize("name", [name for name in SOURCES if name != "gates"])
def test_a_source_that_needs_all_rows_refuses_a_file_cut_off(name: str, layout: str, tmp_path: Path) -> None:
    read, rows = SOURCES[name]
    whole = WHOLE[layout](rows)
    for kept in range(len(whole) // 2 + 20, len(whole)):
        (tmp_path / "rows").write_bytes(whole[:kept])
        with pytest.raises(BadInput, match=r"rows, (line|row) [23]: not (JSON|UTF-8|there)"):
            read(tmp_path / "rows")


@pytest.mark.parametrize("layout", CUT)
@pytest.mark.parametrize("lost", [1, 2, 9])
def test_the_gates_count_what_is_cut_off_and_go_on(layout: str, lost: int, tmp_path: Path) -> None:
    (tmp_path / "rows").write_bytes(WHOLE[layout](ALPACA)[:-lost])
    report = gate_file(tmp_path / "rows", tmp_path / "out", Gates())
    assert report.unreadable == 1 and report.rows == report.unreadable + report.accepted


def test_a_fault_has_its_line_and_column(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    path.write_text('[\n  {"a": "\u00e9\u2028"}, {"b": x},\n  {\n    "c": 1\n    "d": 2\n  }\n]')
    assert [row.fault for row in read_rows(path, "") if isinstance(row, BadRow)] == [
        "not JSON (Expecting value at line 2, column 22)",
        "not JSON (Expecting ',' delimiter at line 5, column 5)",
    ]
    with pytest.raises(BadInput, match=r"rows, row 2: not JSON \(Expecting value at line 2, column 22\)"):
        list(require_rows(path, ""))


@pytest.mark.parametrize("text", ['{\n "instruction": "a"\n}\n', '{\n\t"data": [\n{}\n]\n}\n'])
def test_an_object_over_several_lines_is_said_to_be_one(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(text)
    with pytest.raises(
        BadInput, match=r"line 1: not JSON \(an object that goes on over several lines; write each in one line"
    ):
        list(require_rows(tmp_path / "rows.jsonl", "each a row"))


def test_another_spelling_of_an_answer_is_named() -> None:
    with pytest.raises(BadInput, match="there is no 'output' to judge; it has \"Response\""):
        item_of({"instruction": "a", "Response": "b"}, "row 1")
    with pytest.raises(BadInput, match="there is no 'prompt'; it has \"Instruction\""):
        item_of({"Instruction": "a", "output": "b"}, "row 1")


def test_depth_is_bounded_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "rows"
    for deep, kind in ((MAX_DEPTH, Row), (MAX_DEPTH + 1, BadRow)):
        path.write_text('{"a": ' + "[" * (deep - 1) + "]" * (deep - 1) + "}")
        assert [type(row) for row in read_rows(path, "")] == [kind]


@pytest.mark.parametrize("text", ['{"a": {"b": ["x\\ud83d"]}}', '{"a": [{"\\ud83d": 1}]}', '{"a": "\\udc00\\ud800"}'])
def test_half_of_a_surrogate_pair_is_found_at_any_depth(text: str, tmp_path: Path) -> None:
    (tmp_path / "rows").write_text(text)
    (row,) = read_rows(tmp_path / "rows", "")
    assert isinstance(row, BadRow) and row.fault == '"a" holds half of a surrogate pair, which no database takes'


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.sampled_from(["a", "b\u2028", 'c"}']), JSON, max_size=3), min_size=1, max_size=5)


@given(OBJECTS, st.booleans(), st.booleans(), st.sampled_from([None, 0, 3]))
def test_both_layouts_give_back_what_was_written(
    tmp_path_factory: pytest.TempPathFactory, rows: list[dict[str, Any]], ascii_: bool, mark: bool, indent: int | None
) -> None:
    path = tmp_path_factory.mktemp("rows") / "rows"
    written = [
        "".join(json.dumps(row, ensure_ascii=ascii_) + "\n" for row in rows),
        json.dumps(rows, ensure_ascii=ascii_, indent=indent),
    ]
    for text, unit in zip(written, ("line", "row"), strict=True):
        path.write_bytes((b"\xef\xbb\xbf" if mark else b"") + text.encode())
        found = list(require_rows(path, ""))
        assert [row.fields for row in found] == [present(row) for row in rows]
        assert [row.place for row in found] == [f"{unit} {number}" for number in range(1, len(rows) + 1)]
