from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from state.errors import BadInput
from tools.sources.seeds import load_seed_tasks

ROOT = Path(__file__).parent.parent
GOOD: dict[str, Any] = {
    "id": "a",
    "name": "greeting",
    "instruction": "Greet a new neighbour.",
    "instances": [{"input": "", "output": "Hello!"}],
    "is_classification": False,
    "category": "Writing",
}


def write(path: Path, *rows: dict[str, Any] | str) -> Path:
    lines = [row if isinstance(row, str) else json.dumps(row, ensure_ascii=False) for row in rows]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def test_a_task_keeps_every_field(tmp_path: Path) -> None:
    more = {**GOOD, "id": "b", "instances": [{"input": "x", "output": "y"}, {"input": "p", "output": "q"}]}
    first, second = load_seed_tasks(write(tmp_path / "s.jsonl", GOOD, "", more))
    assert (first.id, first.name, first.category, first.is_classification) == ("a", "greeting", "writing", False)
    assert (first.instruction, first.input, first.output) == ("Greet a new neighbour.", "", "Hello!")
    assert [(i.input, i.output) for i in second.instances] == [("x", "y"), ("p", "q")]


def test_category_and_foreign_keys_are_optional(tmp_path: Path) -> None:
    row = {key: value for key, value in GOOD.items() if key not in ("category", "id", "name", "is_classification")}
    (task,) = load_seed_tasks(write(tmp_path / "s.jsonl", {**row, "source": "elsewhere"}))
    assert (task.category, task.id, task.name, task.is_classification) == ("", "line_1", "line_1", False)


def test_line_separators_inside_a_string_do_not_end_the_line(tmp_path: Path) -> None:
    text = "one\u2028two\u2029three\x85four"
    (task,) = load_seed_tasks(write(tmp_path / "s.jsonl", {**GOOD, "instruction": text}))
    assert task.instruction == text


def test_windows_line_ends_and_a_byte_order_mark_are_fine(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_bytes(b"\xef\xbb\xbf" + json.dumps(GOOD).encode() + b"\r\n" + json.dumps({**GOOD, "id": "b"}).encode())
    assert [task.id for task in load_seed_tasks(path)] == ["a", "b"]


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ('{"id": ', "not JSON"),
        ("[" * 100_000, "not JSON"),
        ('["a"]', "not an object but a list"),
        ("null", "not an object but null"),
        (json.dumps({**GOOD, "id": [7]}), '"id" must be a string, not a list'),
        (json.dumps({key: GOOD[key] for key in GOOD if key != "instruction"}), '"instruction" is missing'),
        (json.dumps({**GOOD, "instruction": "  "}), '"instruction" is empty'),
        (json.dumps({**GOOD, "instances": []}), '"instances" must be a list of at least one'),
        (json.dumps({**GOOD, "instances": ["x"]}), "instance 1 must be a JSON object, not a string"),
        (json.dumps({**GOOD, "instances": [GOOD["instances"][0], {"input": ""}]}), 'instance 2: "output" is missing'),
        (json.dumps({**GOOD, "is_classification": "no"}), '"is_classification" must be true or false'),
        (json.dumps({**GOOD, "instruction": "a\0b"}), "NUL"),
        (json.dumps({**GOOD, "instruction": "a\ud800b"}), "surrogate"),
        (json.dumps({**GOOD, "name": "again"}), "the id 'a' was already used on line 1"),
    ],
)
def test_a_broken_line_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    path = write(tmp_path / "s.jsonl", GOOD, "", line)
    with pytest.raises(BadInput) as caught:
        load_seed_tasks(path)
    assert f"{path}, line 3: " in str(caught.value)
    assert complaint in str(caught.value)
    assert "\n" not in str(caught.value)


def test_other_encodings_are_named(tmp_path: Path) -> None:
    path = tmp_path / "s.jsonl"
    path.write_bytes(json.dumps(GOOD).encode() + b"\n" + '{"id": "\xe9"}'.encode("latin-1"))
    with pytest.raises(BadInput, match=r"line 2: not UTF-8 \(0xe9 at byte 9\); save the file as UTF-8"):
        load_seed_tasks(path)


def test_a_file_without_tasks_or_without_existence_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"has no rows; give .* each a seed task in Self-Instruct's format"):
        load_seed_tasks(write(tmp_path / "empty.jsonl", ""))
    with pytest.raises(BadInput, match=r"missing\.jsonl: cannot be read \(No such file .*sources\.seeds"):
        load_seed_tasks(tmp_path / "missing.jsonl")
    with pytest.raises(BadInput, match="cannot be read"):
        load_seed_tasks(tmp_path)


def test_self_instructs_own_file_loads() -> None:
    path = ROOT.parent / "shared" / "data" / "self_instruct_seed_tasks.jsonl"
    if not path.exists():
        pytest.skip("the shared data is not here")
    tasks = load_seed_tasks(path)
    assert len(tasks) == 175
    assert all(task.instruction and task.output for task in tasks)
    assert any(task.is_classification for task in tasks)
