"""What Corral writes loads elsewhere, and what others write is read: types, Parquet, conversations, data folders."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from state.errors import BadInput
from state.records import Outcome
from state.request import Gates, Training
from tests.builders import candidate, judgement, sample
from tools.dataset.exporting import FORMS, write_form
from tools.dataset.files import DPO, SFT, dataset_writer
from tools.dataset.pairing import pair_all
from tools.dataset.parquet import write_parquet
from tools.gates import gate_file
from tools.sources.alpaca import AlpacaRow, read_alpaca
from tools.sources.columns import Columns, kind_of
from tools.sources.conversations import flattened
from tools.sources.items import item_of, read_items
from tools.sources.reader import BadRow


@pytest.fixture
def load(tmp_path: Path) -> Any:
    import datasets

    datasets.disable_progress_bars()
    return lambda path, kind="json": datasets.load_dataset(
        kind, data_files=str(path), cache_dir=str(tmp_path / "cache"), split="train"
    )


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def written(path: Path, rows: Sequence[dict[str, Any]]) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def dataset(tmp_path: Path, texts: Sequence[tuple[str, str]]) -> Path:
    """Write a dataset with a pair for each (instruction, input)."""
    with dataset_writer(tmp_path / "datasets", "run") as writer:
        for asked, given_ in texts:
            prompt = sample(asked, input=given_, outcome=Outcome.ACCEPTED)
            good, bad = candidate(prompt, "Well. That is it."), candidate(prompt, "Bad. Not at all.", draw=1)
            writer.add(pair_all([prompt], [good, bad], [judgement(good, 5), judgement(bad, 1)], [], Training()))
        return Path(writer.finish([]).folder)


def test_datasets_of_30_mb_load_though_later_rows_are_others(tmp_path: Path, load: Any) -> None:
    """A loader takes columns and types from the first 10 MB: so the rows are as written, with longer texts."""
    folder = dataset(tmp_path, [(f"Say {n:02}.", "something" if n > 50 else "") for n in range(60)])
    for name, answer in ((SFT, "completion"), (DPO, "chosen")):
        rows = sorted(lines(folder / name), key=lambda row: bool(row["prompt"][0]["input"]))
        for row in rows:
            row[answer][0]["content"] *= 30_000
        long = written(tmp_path / name, rows)
        assert long.stat().st_size > 30e6 and rows[-1]["prompt"][0]["input"] == "something"
        assert len(load(long)) == 60


def test_rows_out_of_the_gates_load_though_later_rows_are_others(tmp_path: Path, load: Any) -> None:
    plain = [{"instruction": f"Explain how number {n} is made.", "output": "With sand.", "id": n} for n in range(40)]
    later: list[dict[str, Any]] = [
        {"instruction": "Name a river of France.", "output": "The Loire.", "system": "Be brief.", "id": "r-1"},
        {"instruction": "Say it.", "output": "It.", "history": [], "score": 1.5},
        {"instruction": "Name a poem by Keats.", "output": "To Autumn.", "history": [["a", "b"]], "score": 2},
        {"instruction": "No output."},
        {"instruction": "Draw a map.", "output": ""},
    ]
    gate_file(written(tmp_path / "rows.jsonl", [*plain, *later]), tmp_path / "out", Gates(rouge_threshold=1.0))
    for name in ("accepted", "rejected"):
        rows = lines(tmp_path / "out" / f"{name}.jsonl")
        assert len({tuple(row) for row in rows}) == 1, "the same keys in every row"
        assert len({kind_of(row) for row in rows}) == 1, "the same types in every row"
        assert all(row["reasons"] for row in rows)
        assert len(load(tmp_path / "out" / f"{name}.jsonl")) == len(rows)


VALUES = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=3)
NESTED = st.recursive(VALUES, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner))


@given(st.lists(st.dictionaries(st.sampled_from("abc"), NESTED, max_size=3), max_size=8))
def test_any_columns_get_one_type(rows: list[dict[str, Any]]) -> None:
    columns = Columns()
    for row in rows:
        columns.see(row)
    fitted = [columns.fit(row) for row in rows]
    assert len({tuple(row) for row in fitted}) <= 1
    for name in fitted[0] if fitted else ():
        kinds = {kind_of(row[name]) for row in fitted} - {"[]"}
        assert len(kinds) <= 1 and "mixed" not in "".join(kinds)


def test_parquet_has_what_the_rows_have(tmp_path: Path, load: Any) -> None:
    folder = dataset(tmp_path, [("Say it.", ""), ("Say that.", "something")])
    write_parquet(folder / SFT, tmp_path / "sft.parquet")
    assert load(tmp_path / "sft.parquet", "parquet").to_list() == lines(folder / SFT)


@pytest.mark.parametrize("form", ["sharegpt", "messages", "argilla"])
def test_what_is_written_for_others_is_read_again(tmp_path: Path, form: str, load: Any) -> None:
    folder = dataset(tmp_path, [("Say it.", ""), ("Say that.", "something")])
    (path,) = write_form(folder, form, tmp_path / "out.jsonl")
    asked = {(row["prompt"][0]["content"], row["completion"][0]["content"]) for row in lines(folder / SFT)}
    assert {(item.prompt, item.output) for item in read_items(path)} == asked
    rows = [row for row in read_alpaca(path) if isinstance(row, AlpacaRow)]
    assert {(row.instruction, row.output) for row in rows} == asked
    assert len(load(path)) == 2


def test_a_data_folder_of_llama_factory_names_its_files_and_columns(tmp_path: Path) -> None:
    folder = dataset(tmp_path, [("Say it.", "")])
    write_form(folder, "llama-factory", tmp_path / "data")
    info = json.loads((tmp_path / "data" / "dataset_info.json").read_text())
    for entry in info.values():
        (row,) = lines(tmp_path / "data" / entry["file_name"])
        assert set(entry.get("columns", {}).values()) <= row.keys()
    (pair,) = lines(tmp_path / "data" / "dpo.jsonl")
    assert pair["chosen"]["from"] == pair["rejected"]["from"] == "gpt" and len(pair["conversations"]) == 1


def test_axolotls_config_describes_its_rows(tmp_path: Path) -> None:
    folder = dataset(tmp_path, [("Say it.", "")])
    write_form(folder, "axolotl", tmp_path / "axolotl")
    (described,) = yaml.safe_load((tmp_path / "axolotl" / "axolotl.yaml").read_text())["datasets"]
    (row,) = lines(tmp_path / "axolotl" / described["path"])
    assert set(row[described["field_messages"]][0]) == set(described["message_property_mappings"].values())


def test_a_form_of_a_dataset_without_pairs_is_empty_there(tmp_path: Path) -> None:
    with dataset_writer(tmp_path / "datasets", "run") as writer:
        folder = Path(writer.finish([sample("A seed.", origin="seed", output="By people.")]).folder)
    for form in FORMS:
        write_form(folder, form, tmp_path / form)
    assert (tmp_path / "axolotl" / "dpo.jsonl").read_text() == ""


TALK = [
    ("system", "Be brief."),
    ("user", "Name two planets."),
    ("assistant", "Venus and Mars."),
    ("user", "And a third?"),
    ("assistant", "Saturn."),
]
NAMES = {"user": "human", "assistant": "gpt", "system": "system"}
SHARED = {"conversations": [{"from": NAMES[role], "value": text} for role, text in TALK], "id": "c-1"}
SAID = {"messages": [{"role": role, "content": text} for role, text in TALK], "id": "c-1"}
COMPLETED = {"prompt": SAID["messages"][:4], "completion": SAID["messages"][4:], "id": "c-1"}


@pytest.mark.parametrize("row", [SHARED, SAID, COMPLETED], ids=["sharegpt", "messages", "prompt and completion"])
def test_a_conversation_is_an_instruction_with_its_history(tmp_path: Path, row: dict[str, Any]) -> None:
    assert flattened(row) == {
        "id": "c-1",
        "instruction": "And a third?",
        "output": "Saturn.",
        "system": "Be brief.",
        "history": [["Name two planets.", "Venus and Mars."]],
    }
    item = item_of(row, "row 1")
    assert item.output == "Saturn." and item.prompt.startswith("System: Be brief.\n\nUser: Name two planets.")
    (found,) = read_alpaca(written(tmp_path / "rows.jsonl", [row]))
    assert isinstance(found, AlpacaRow) and found.other["history"] == [["Name two planets.", "Venus and Mars."]]


@pytest.mark.parametrize(
    ("turns", "fault"),
    [
        ("a", "must be a list of turns"),
        ([], "must be a list of turns"),
        ([1], "turn 1, is no object"),
        ([{"from": "somebody", "value": "a"}], "turn 1: 'somebody' is nobody known"),
        ([{"from": "human", "value": 1}], "turn 1: its content must be a string"),
        ([{"from": "gpt", "value": "a"}], "must go from question to answer"),
        ([{"from": "human", "value": "a"}] * 2, "must go from question to answer"),
        ([{"from": "system", "value": "a"}], "has no question"),
    ],
)
def test_a_conversation_that_is_none_is_said_with_its_place(tmp_path: Path, turns: Any, fault: str) -> None:
    with pytest.raises(BadInput, match=fault):
        item_of({"conversations": turns}, "row 1")
    (found,) = read_alpaca(written(tmp_path / "rows.jsonl", [{"conversations": turns}]))
    assert isinstance(found, BadRow) and fault in found.fault


def test_a_data_folder_of_llama_factory_says_what_columns_and_speakers_are_called(tmp_path: Path) -> None:
    info = {
        "shop": {"file_name": "shop.json", "columns": {"prompt": "question", "query": "about", "response": "answer"}},
        "talks": {
            "file_name": "talks.jsonl",
            "formatting": "sharegpt",
            "columns": {"messages": "dialog", "system": "rules"},
            "tags": {"role_tag": "who", "content_tag": "said", "user_tag": "me", "assistant_tag": "you"},
        },
        "elsewhere": {"hf_hub_url": "owner/name"},
    }
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    (tmp_path / "shop.json").write_text(
        json.dumps([{"question": "Sum it up.", "about": "Ice.", "answer": "Ice it is."}])
    )
    turns = [{"who": "me", "said": "Name a planet."}, {"who": "you", "said": "Venus."}]
    written(tmp_path / "talks.jsonl", [{"dialog": turns, "rules": "Be brief."}])
    (row,) = read_alpaca(tmp_path / "shop.json")
    assert isinstance(row, AlpacaRow) and (row.instruction, row.input, row.output) == (
        "Sum it up.",
        "Ice.",
        "Ice it is.",
    )
    (item,) = read_items(tmp_path / "talks.jsonl")
    assert (item.prompt, item.output) == ("System: Be brief.\n\nName a planet.", "Venus.")
    with pytest.raises(
        BadInput, match=r"dataset_info.json: describes data sets; name one of their files: shop.json, talks"
    ):
        read_items(tmp_path / "dataset_info.json")
    info["shop"]["columns"] = {"prompt": "nope", "response": "answer"}
    (tmp_path / "dataset_info.json").write_text(json.dumps(info))
    with pytest.raises(BadInput, match=r"row 1.*no 'nope', which dataset_info.json beside it names for the question"):
        read_items(tmp_path / "shop.json")
    (tmp_path / "dataset_info.json").write_text("{")
    with pytest.raises(BadInput, match=r"dataset_info.json: no JSON .*mend it, or move it away"):
        read_items(tmp_path / "shop.json")
