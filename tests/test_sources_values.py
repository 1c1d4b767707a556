"""Null is the default in every file, a number may stand for text, and 0 and 1 are labels that need a meaning."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.cli.main import main
from state.errors import BadInput
from state.request import Gates
from tools.gates import gate_file
from tools.sources.items import item_of, read_items
from tools.sources.labels import ChosenPair, read_labels, read_mapping
from tools.sources.prompts import load_prompts
from tools.sources.seeds import load_seed_tasks
from tools.sources.values import given_input, number_as_text, present

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)
ABSENT = [None, float("nan")]


def written(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return path


def holds_absent(value: Any) -> bool:
    if isinstance(value, dict):
        return any(part is None or part != part or holds_absent(part) for part in value.values())
    return isinstance(value, list) and any(map(holds_absent, value))


@given(JSON)
def test_no_field_is_null_or_nan_and_lists_keep_their_places(value: Any) -> None:
    found = present(value)
    assert not holds_absent(found)
    assert isinstance(value, list) <= (isinstance(found, list) and len(found) == len(value))
    assert repr(present(found)) == repr(found)


@pytest.mark.parametrize(
    ("value", "text"),
    [(42, "42"), (0, "0"), (-1.5, "-1.5"), ("x", "x"), (True, True), (["a"], ["a"]), ([], ""), ({}, "")],
    ids=repr,
)
def test_a_number_counts_as_its_text(value: Any, text: Any) -> None:
    assert number_as_text(value) == text and type(number_as_text(value)) is type(text)


@pytest.mark.parametrize(
    "mark",
    ["<noinput>", " <NoInput>\n", "<no input>", "<no-inputs>", "(no input)", "N/A", "No input required.", "[none]"],
)
def test_the_mark_of_no_input_is_no_input(mark: str) -> None:
    assert given_input(mark) == "" and given_input(f"say {mark}") == f"say {mark}"


@pytest.mark.parametrize("absent", ABSENT, ids=repr)
def test_a_null_field_is_a_missing_one_in_every_file(tmp_path: Path, absent: Any) -> None:
    names = ("input", "reference", "checks", "category", "split", "id")
    prompts = written(tmp_path / "prompts.jsonl", [{"prompt": "Why?"} | dict.fromkeys(names, absent)])
    assert load_prompts(prompts, 0.0) == load_prompts(written(tmp_path / "bare.jsonl", [{"prompt": "Why?"}]), 0.0)

    full = {"id": absent, "is_classification": absent, "name": absent, "category": absent}
    row = {"instruction": "Name one.", "instances": [{"input": absent, "output": "One."}]}
    assert load_seed_tasks(written(tmp_path / "a", [full | row])) == load_seed_tasks(written(tmp_path / "b", [row]))

    alpaca = {"prompt": absent, "instruction": "Describe the animal.", "input": "cats", "checks": absent}
    (item,) = read_items(written(tmp_path / "items.jsonl", [alpaca | {"context": absent, "output": "Soft."}]))
    assert item.prompt == "Describe the animal.\n\ncats" and item.checks == () and item.context == {}

    report = gate_file(
        written(
            tmp_path / "rows.jsonl", [{"instruction": "Explain how glass is made.", "input": absent, "output": "So."}]
        ),
        tmp_path / "out",
        Gates(),
    )
    (line,) = (tmp_path / "out" / "accepted.jsonl").read_text().splitlines()
    assert report.accepted == 1 and json.loads(line)["input"] == ""


def test_numbers_are_texts_where_texts_are_wanted(tmp_path: Path) -> None:
    (prompt,) = load_prompts(written(tmp_path / "p", [{"id": 7, "prompt": "2 + 2?", "input": 0, "reference": 4}]), 0.0)
    assert (prompt.input, prompt.output) == ("0", "4")
    (task,) = load_seed_tasks(
        written(tmp_path / "s", [{"id": 3, "instruction": "Add.", "instances": [{"output": 42}]}])
    )
    assert (task.id, task.output) == ("3", "42")
    item = item_of({"instruction": "Double it.", "input": 0, "output": 0}, "row 1")
    assert (item.prompt, item.output) == ("Double it.\n\n0", "0")
    rows = [{"instruction": "What is the sum of 12 and 30?", "output": 42}]
    assert gate_file(written(tmp_path / "g", rows), tmp_path / "out", Gates()).unreadable == 0


def test_what_was_said_before_a_prompt_is_judged_with_it() -> None:
    row = {"instruction": "And the second?", "output": "Mars.", "history": [["Name two planets.", "Venus and Mars."]]}
    item = item_of(row | {"system": "Answer like a pirate.", "input": "<noinput>"}, "row 1")
    assert item.prompt == (
        "System: Answer like a pirate.\n\nUser: Name two planets.\n\nAssistant: Venus and Mars.\n\nAnd the second?"
    )
    for broken in ({"history": "Name two."}, {"history": [["one"]]}, {"history": [[1, 2]]}, {"system": {"a": 1}}):
        with pytest.raises(BadInput, match=f"row 1: '{next(iter(broken))}' must be"):
            item_of(row | broken, "row 1")


def test_other_columns_come_out_of_the_gates(tmp_path: Path) -> None:
    other = {"system": "Be brief.", "history": [["a", "b"]], "id": "r-17", "category": "open_qa", "row": 5}
    path = written(tmp_path / "rows", [{"instruction": "Explain how glass is made.", "output": "With sand."} | other])
    gate_file(path, tmp_path / "out", Gates())
    (text,) = (tmp_path / "out" / "accepted.jsonl").read_text().splitlines()
    line = json.loads(text)
    assert (line["system"], line["history"], line["id"]) == ("Be brief.", [["a", "b"]], "r-17")
    assert (line["given_category"], line["given_row"], line["row"]) == ("open_qa", 5, 1)


def labelled(tmp_path: Path, labels: Sequence[Any]) -> Path:
    rows = [{"prompt": "p", "output_1": f"x{n}", "output_2": "y", "label": one} for n, one in enumerate(labels)]
    return written(tmp_path / "labels.jsonl", rows)


@pytest.mark.parametrize("labels", [[0, 1, 1], ["0", "1"], [0.0, 1.0], ["1", 0]], ids=repr)
def test_labels_of_0_and_1_alone_need_a_meaning(tmp_path: Path, labels: list[Any]) -> None:
    path = labelled(tmp_path, labels)
    with pytest.raises(BadInput, match="0=1,1=2") as refused:
        read_labels(path)
    assert "\n" not in str(refused.value)
    found = read_labels(path, read_mapping("0=1, 1=2"))
    assert [pair.label for pair in found if isinstance(pair, ChosenPair)] == [1 + int(float(one)) for one in labels]


def test_words_are_labels_by_a_mapping(tmp_path: Path) -> None:
    path = labelled(tmp_path, ["model_a", "Model_B", "both bad"])
    found = read_labels(path, read_mapping("model_a=1,model_b=2,both bad=0"))
    assert [pair.label for pair in found if isinstance(pair, ChosenPair)] == [1, 2, 0]
    with pytest.raises(BadInput, match="'label' is one of x"):
        read_labels(path, read_mapping("x=1"))


@pytest.mark.parametrize("text", ["", "0", "0=3", "0=1,0=2", "=1", "0=1,,1=2"])
def test_a_mapping_that_is_none_is_told(text: str) -> None:
    with pytest.raises(BadInput, match="give LABEL=MEANING"):
        read_mapping(text)


@pytest.mark.parametrize("label", [[1], {"a": 1}, True, 1.5, None, "", 3], ids=repr)
def test_no_label_of_another_kind_is_read(tmp_path: Path, label: Any) -> None:
    with pytest.raises(BadInput, match="'label' is 1, 2 or 0 for a tie"):
        read_labels(labelled(tmp_path, [1, 2, label]))


def test_true_is_no_rating(tmp_path: Path) -> None:
    rows = [{"prompt": "p", "output": "o", "rating": rating} for rating in (1, 2, True)]
    with pytest.raises(BadInput, match="line 3: 'rating' is a number from 1 to 5, not true"):
        read_labels(written(tmp_path / "labels", rows))


@pytest.mark.parametrize("command", ["judge", "calibrate", "gate"])
@pytest.mark.parametrize(
    "deep", ["[" * 100_000, '{"a":' * 100_000, '{"prompt": ' + "[" * 100_000 + "]" * 100_000 + "}"]
)
def test_a_deep_row_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, command: str, deep: str
) -> None:
    monkeypatch.setenv("CORRAL_HOME", str(tmp_path / "home"))
    path = tmp_path / "rows.jsonl"
    path.write_text(deep + "\n")
    out = ["--out", str(tmp_path / "out")] if command == "gate" else []
    monkeypatch.setattr("sys.argv", ["corral", command, str(path), *out])
    with pytest.raises(SystemExit) as ended:
        main()
    printed = capsys.readouterr()
    assert ended.value.code == 2 and len(printed.err.strip().replace("\n", " ")) < 400
    assert "Traceback" not in printed.err + printed.out and "JSON" in printed.err
