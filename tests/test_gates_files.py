"""A whole file through the gates: every row written somewhere and counted, all files together or none."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from state.errors import BadInput, StorageError
from state.request import Gates
from tools.gates import gate_file
from tools.gates.pipeline import GatePipeline

ALPACA = Path(__file__).resolve().parents[2] / "shared" / "data" / "alpaca_9k.json"
NAMES = {"accepted.jsonl", "review.jsonl", "rejected.jsonl", "report.json"}
SETTINGS = Gates()


def row(instruction: str, given: str = "", output: str = "A fitting answer.") -> dict[str, str]:
    return {"instruction": instruction, "input": given, "output": output}


ROWS: list[Any] = [
    row("Name three large rivers of Europe."),
    row("Name three large rivers of Asia."),
    row("Summarise the following article in one line."),
    row("Describe how glass is made from sand.", "<noinput>"),
    row("Explain how a lock on a canal works.", "", ""),
    {"instruction": "Explain how a lock on a canal works."},
    row("Explain how a lock on a canal works."),
    "no row",
]


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]


@pytest.mark.parametrize("layout", ["array", "lines"])
def test_every_row_is_written_and_counted(tmp_path: Path, layout: str) -> None:
    path, out = tmp_path / "rows.json", tmp_path / "out" / "deep"
    path.write_text(json.dumps(ROWS) if layout == "array" else "\n".join(map(json.dumps, ROWS)))
    done: list[int] = []
    report = gate_file(path, out, SETTINGS, on_progress=done.append)
    assert (report.rows, report.accepted, report.waiting, report.rejected, report.unreadable) == (8, 2, 1, 3, 2)
    assert [line["row"] for line in lines(out / "accepted.jsonl")] == [1, 7]
    assert [line["row"] for line in lines(out / "review.jsonl")] == [3]
    rejected = lines(out / "rejected.jsonl")
    assert [line["row"] for line in rejected] == [2, 4, 5, 6, 8]
    assert [[reason.split(":")[0] for reason in line["reasons"]] for line in rejected] == [
        ["too_similar"],
        ["noinput_left"],
        ["empty_output"],
        ["unreadable"],
        ["unreadable"],
    ]
    assert [(bad.row, bad.fault) for bad in report.unreadable_rows] == [
        (6, 'lacks "output"'),
        (8, "not an object but a string"),
    ]
    assert json.loads((out / "report.json").read_text()) == json.loads(report.model_dump_json())
    assert {file.name for file in out.iterdir()} == NAMES
    assert report.gates["content"].met == 6 and report.gates["content"].passed == 4
    assert report.diversity == 0.75
    assert report.figures.rows == 2
    assert done[-1] == 8


def test_accepted_rows_are_alpaca_rows_again(tmp_path: Path) -> None:
    path, again = tmp_path / "rows.json", tmp_path / "again"
    path.write_text(
        json.dumps([row("Erkläre Tee — in English, please?", "日本\u2028"), row("Describe how glass is made.")])
    )
    gate_file(path, tmp_path / "out", SETTINGS)
    report = gate_file(tmp_path / "out" / "accepted.jsonl", again, SETTINGS)
    assert report.rows == report.accepted == 2
    assert lines(again / "accepted.jsonl")[0]["input"] == "日本\u2028"


def test_a_fault_of_an_accepted_row_is_no_reason_why_it_was_not_accepted(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([row("Name three large rivers of Europe"), row("Describe how glass is made.", "", "")]))
    report = gate_file(path, tmp_path / "out", Gates(preset="guide"))
    assert sum(report.small_faults.values()) == 1 and report.accepted == 1
    (kept,) = lines(tmp_path / "out" / "accepted.jsonl")
    assert {reason.split(":")[0] for reason in kept["reasons"]} == set(report.small_faults)
    (refused,) = lines(tmp_path / "out" / "rejected.jsonl")
    assert {reason.split(":")[0] for reason in refused["reasons"]} == set(report.reasons)


def test_seeds_count_as_kept(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([row("Name three large rivers of Asia.")]))
    report = gate_file(path, tmp_path / "out", SETTINGS, seeds=["Name three large rivers of Europe."])
    assert (report.seeds, report.rejected, report.reasons) == (1, 1, {"too_similar": 1})


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b" \n\n",
        b"[]",
        b"[ ]\n",
        b"instruction,input,output\na,b,c\n",
        b"\x1f\x8b\x08\x00garbage",
        b'{"data": []}',
        b"\x00" * 100,
        b"[[[[[[",
        b'[{"instruction": "a"}]',
        b"null",
        b"\xff\xfea\x00",
    ],
)
def test_nothing_usable_is_bad_input_in_one_line(tmp_path: Path, content: bytes) -> None:
    path, out = tmp_path / "rows.json", tmp_path / "out"
    path.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        gate_file(path, out, SETTINGS)
    assert "rows.json" in str(caught.value) and "\n" not in str(caught.value)
    assert not out.exists() or not list(out.iterdir())


def test_a_missing_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="missing"):
        gate_file(tmp_path / "missing.json", tmp_path / "out", SETTINGS)
    assert not (tmp_path / "out").exists()


def test_results_never_overwrite_what_they_are_made_from(tmp_path: Path) -> None:
    path = tmp_path / "accepted.jsonl"
    path.write_text(json.dumps(ROWS[0]))
    with pytest.raises(BadInput, match="another folder"):
        gate_file(path, tmp_path, SETTINGS)
    with pytest.raises(BadInput, match="not a folder"):
        gate_file(path, path, SETTINGS)
    assert json.loads(path.read_text()) == ROWS[0]


def test_earlier_results_stay_until_new_ones_are_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path, out = tmp_path / "rows.json", tmp_path / "out"
    path.write_text(json.dumps(ROWS))
    gate_file(path, out, SETTINGS)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    judge = GatePipeline.judge

    def killed(self: GatePipeline, samples: Any) -> Any:
        if samples[0].output == "":
            raise KeyboardInterrupt
        return judge(self, samples)

    monkeypatch.setattr(GatePipeline, "judge", killed)
    with pytest.raises(KeyboardInterrupt):
        gate_file(path, out, SETTINGS)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_a_folder_that_cannot_be_made_is_a_storage_error(tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(ROWS))
    with pytest.raises(StorageError):
        gate_file(path, path / "out", SETTINGS)


@pytest.mark.skipif(not ALPACA.exists(), reason="the shared data are not here")
def test_the_real_defects_of_alpaca_are_found(tmp_path: Path) -> None:
    everything = json.loads(ALPACA.read_text(encoding="utf-8"))
    rows = [
        row
        for at, row in enumerate(everything)
        if at % 8 == 0 or not row["output"] or len(row["input"]) in range(3, 21)
    ]
    path = tmp_path / "rows.json"
    path.write_text(json.dumps(rows))
    report = gate_file(path, tmp_path, SETTINGS)
    rejected = {line["row"]: line for line in lines(tmp_path / "rejected.jsonl")}
    for number, content in enumerate(rows, start=1):
        if not content["output"].strip() or "noinput" in content["input"].lower():
            assert number in rejected, content
    assert report.rows == len(rows) == report.accepted + report.waiting + report.rejected
    assert report.reasons["empty_output"] == 4
    assert report.reasons["noinput_left"] > 100
    assert report.reasons["placeholder_input"] > 10
    assert report.accepted > 0.9 * len(rows)
    counted = Counter(reason.split(":")[0] for line in rejected.values() for reason in line["reasons"])
    assert counted["empty_output"] == 4
