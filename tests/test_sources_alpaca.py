"""Files as they are: two layouts, and every kind of damage, reported by row while the rest is read."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.errors import BadInput
from tools.sources import layouts
from tools.sources.alpaca import AlpacaRow, read_alpaca
from tools.sources.reader import BadRow

GOOD = {"instruction": "Name three rivers.", "input": "", "output": 'Elbe, "Oder" }, {"x": 1'}


def row(number: int, **changes: Any) -> dict[str, Any]:
    return GOOD | {"input": f"row {number}"} | changes


def write(tmp_path: Path, data: bytes | str) -> Path:
    path = tmp_path / "rows.json"
    path.write_bytes(data.encode() if isinstance(data, str) else data)
    return path


def faults(path: Path) -> dict[int, str]:
    return {found.number: found.fault for found in read_alpaca(path) if isinstance(found, BadRow)}


def readable(path: Path) -> list[str]:
    return [found.input for found in read_alpaca(path) if isinstance(found, AlpacaRow)]


TEXT = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=30)
ROWS = st.lists(st.fixed_dictionaries({"instruction": TEXT, "input": TEXT, "output": TEXT}), min_size=1, max_size=6)


@given(ROWS, st.sampled_from([None, 1, 4]), st.booleans(), st.booleans())
def test_an_array_is_read_whole(
    tmp_path_factory: pytest.TempPathFactory, content: list[dict[str, str]], indent: int | None, ascii_: bool, bom: bool
) -> None:
    data = json.dumps(content, indent=indent, ensure_ascii=ascii_).encode()
    path = write(tmp_path_factory.mktemp("array"), (b"\xef\xbb\xbf" if bom else b"") + data)
    expected = [AlpacaRow(number, **fields) for number, fields in enumerate(content, start=1)]
    assert list(read_alpaca(path)) == expected


@given(ROWS, st.booleans(), st.sampled_from(["\n", "\r\n", "\n\n"]))
def test_lines_are_read_whole(
    tmp_path_factory: pytest.TempPathFactory, content: list[dict[str, str]], ascii_: bool, end: str
) -> None:
    data = "".join(json.dumps(fields, ensure_ascii=ascii_) + end for fields in content)
    path = write(tmp_path_factory.mktemp("lines"), data)
    found = list(read_alpaca(path))
    assert [AlpacaRow(1, **fields) for fields in content] == [
        AlpacaRow(1, r.instruction, r.input, r.output) for r in found if isinstance(r, AlpacaRow)
    ]
    assert [r.number for r in found] == [at * len(end.replace("\r", "")) + 1 for at in range(len(content))]


BROKEN: list[tuple[bytes, str]] = [
    (b'{"instruction": "a", "input": ""}', 'lacks "output"'),
    (b'{"input": "", "output": "b"}', 'lacks "instruction"'),
    (b'{"Instruction": "a", "output": "b"}', 'lacks "instruction"; it has "Instruction"'),
    (b'{"instruction": "a", "input": "", "output": null}', 'lacks "output"'),
    (b'{"instruction": "a", "input": ["b"], "output": "c"}', '"input" is a list'),
    (b'{"instruction": {"0": "a"}, "input": "", "output": "b"}', '"instruction" is an object'),
    (b'{"instruction": "a", "input": "", "output": ["b"]}', '"output" is a list'),
    (b'{"instruction": "a", "input": "", "output": true}', '"output" is true or false'),
    (b'["a", "", "b"]', "not an object but a list"),
    (b'"just text"', "not an object but a string"),
    (b"17", "not an object but a number"),
    (b"null", "not an object but null"),
    (b'{"instruction": "caf\xe9", "input": "", "output": "b"}', "not UTF-8 (0xe9 at byte 21)"),
    (b'{"instruction": "a\x00b", "input": "", "output": "b"}', "holds a NUL byte"),
    (b'{"instruction": "a\\u0000b", "input": "", "output": "b"}', '"instruction" holds a NUL character'),
    (b'{"instruction": "a\\ud83d", "input": "", "output": "b"}', "half of a surrogate pair"),
    (b'{"instruction": "a", "input": "", "output": "b}', "not JSON"),
    (b'{"instruction": "a", "input": "", "output": "b"', "not JSON"),
    (b'{"instruction": "a", "input": "", "output": b"}', "not JSON"),
    (b'{"instruction": "a, "input": "", "output": "b"}', "not JSON"),
    (b'{"instruction": "a", "input": "", "output": "b"}}', "not JSON"),
    (b'{"instruction": "a", "input": "", "output": "tab\tin it"}', "not JSON"),
    (b'"instruction": "a", "input": "", "output": "b"}', "not JSON"),
    (b"{'instruction': 'a', 'input': '', 'output': 'b'}", "not JSON"),
    (b"instruction,input,output", "not JSON"),
    (b'{"instruction": ' + b"[" * 5000, "not JSON"),
    (b'{"instruction": ' + b"9" * 5000 + b"}", "not JSON that can be read"),
]


HUGE = [
    b'{"instruction": "' + b"a" * (1 << 20) + b'", "input": "", "output": "b"}',
    b'{"instruction": "' + b'a\\"' * (3 << 20) + b'", "input": "", "output": "b"}',
    b'{"instruction": "' + b"a" * (9 << 20),
]


@pytest.mark.parametrize("huge", HUGE, ids=["just too long", "longer than a read", "without an end"])
@pytest.mark.parametrize("between", [b", ", b"\n"])
def test_a_huge_row_is_reported_and_the_rest_goes_on(tmp_path: Path, huge: bytes, between: bytes) -> None:
    one, three = json.dumps(row(1)).encode(), json.dumps(row(3)).encode()
    data = between.join([one, huge, three])
    path = write(tmp_path, data if between == b"\n" else b"[" + data + b"]")
    assert faults(path) == {2: "longer than 1,048,576 bytes"}
    assert readable(path) == ["row 1", "row 3"]


@pytest.mark.parametrize(("broken", "fault"), BROKEN, ids=lambda value: str(value)[:40])
@pytest.mark.parametrize("layout", ["array", "pretty", "lines"])
@pytest.mark.parametrize("place", [0, 1, 3])
def test_a_broken_row_is_reported_by_number_and_the_rest_goes_on(
    tmp_path: Path, layout: str, place: int, broken: bytes, fault: str
) -> None:
    parts = [json.dumps(row(number)).encode() for number in (1, 2, 3)]
    parts.insert(place, broken)
    data = {
        "array": b"[" + b", ".join(parts) + b"]",
        "pretty": b"[\n  " + b",\n  ".join(parts) + b"\n]\n",
        "lines": b"\n".join(parts) + b"\n",
    }[layout]
    if layout == "lines" and place == 0 and broken.startswith(b"["):
        data = b" \n" + data
        place += 1
    path = write(tmp_path, data)
    found = faults(path)
    assert list(found) == [place + 1]
    assert fault in found[place + 1]
    assert readable(path) == ["row 1", "row 2", "row 3"]


@pytest.mark.parametrize("layout", ["array", "lines"])
@pytest.mark.parametrize("seed", range(40))
def test_one_damaged_byte_costs_one_row(tmp_path: Path, layout: str, seed: int) -> None:
    draw = random.Random(seed)
    parts = [json.dumps(row(number)).encode() for number in range(1, 8)]
    hit = draw.randrange(1, 6)
    part = bytearray(parts[hit])
    at = draw.randrange(len(part))
    kind = draw.choice(("flip", "drop", "insert"))
    if kind == "flip":
        part[at] = draw.choice(b'\x00\xff"{}[],:\\ax')
    elif kind == "drop":
        del part[at]
    else:
        part.insert(at, draw.choice(b'\x00\xff"{}[],:\\ax'))
    parts[hit] = bytes(part)
    data = b"[" + b",\n".join(parts) + b"]" if layout == "array" else b"\n".join(parts)
    path = write(tmp_path, data)
    whole = {f"row {number}" for number in range(1, 8) if number != hit + 1}
    assert whole <= set(readable(path)), bytes(part)
    assert set(faults(path)) <= {hit + 1}, bytes(part)


@given(st.binary(max_size=400))
def test_any_bytes_are_read_to_the_end(tmp_path_factory: pytest.TempPathFactory, data: bytes) -> None:
    path = write(tmp_path_factory.mktemp("any"), data)
    try:
        found = list(read_alpaca(path))
    except BadInput as error:
        assert "rows.json: is " in str(error) or "what is compressed in it is broken" in str(error)
        return
    numbers = [found_row.number for found_row in found]
    assert numbers == sorted(set(numbers))


@given(st.lists(st.sampled_from([*'[]{}",:\\\n ', '{"instruction":', '"a"', "}, {", "\0", "\ud800"]), max_size=60))
def test_any_heap_of_json_signs_is_read_to_the_end(tmp_path_factory: pytest.TempPathFactory, signs: list[str]) -> None:
    path = write(tmp_path_factory.mktemp("signs"), ("[" + "".join(signs)).encode("utf-8", "surrogatepass"))
    assert all(isinstance(found, BadRow) for found in read_alpaca(path))


def test_memory_and_rows_beyond_one_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layouts, "MAX_ROW_BYTES", 300)
    monkeypatch.setattr(layouts, "_READ", 1200)
    parts = [json.dumps(row(number)) for number in range(1, 400)]
    for gap in ("", " " * 5000):
        path = write(tmp_path, "[" + ("," + gap).join(parts) + gap + "]" + gap)
        assert readable(path) == [f"row {number}" for number in range(1, 400)]


def test_line_separators_inside_strings_do_not_end_a_row(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps(row(1, output="a\u2028b\u2029c\x85d"), ensure_ascii=False) + "\n")
    assert [found.output for found in read_alpaca(path) if isinstance(found, AlpacaRow)] == ["a\u2028b\u2029c\x85d"]


def test_a_cut_off_array_keeps_the_whole_rows(tmp_path: Path) -> None:
    path = write(tmp_path, json.dumps([row(1), row(2), row(3)])[:-20])
    assert readable(path) == ["row 1", "row 2"]
    assert list(faults(path)) == [3]


@pytest.mark.parametrize("encoding", ["utf-16", "utf-16-be", "utf-32"])
def test_other_unicode_encodings_are_named(tmp_path: Path, encoding: str) -> None:
    data = json.dumps([row(1)]).encode(encoding)
    path = write(tmp_path, b"\xfe\xff" + data if encoding == "utf-16-be" else data)
    with pytest.raises(BadInput, match="UTF-16 or UTF-32"):
        list(read_alpaca(path))


def test_what_cannot_be_opened_is_bad_input(tmp_path: Path) -> None:
    for path in (tmp_path / "missing.json", tmp_path):
        with pytest.raises(BadInput, match="cannot be read"):
            list(read_alpaca(path))
