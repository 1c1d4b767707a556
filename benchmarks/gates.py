"""How often is each rule of the gates right? Both presets on rows that were labelled by reading them.

    python benchmarks/gates.py [--data FOLDER]

``tests/data/gate_rows.jsonl`` holds forty rows of our own. ``tests/data/gate_labels.jsonl`` labels 416 public rows by
file, number and hash, without their text, which is not ours to give: FOLDER has the files (alpaca_9k.json,
regen_gold.json, pandalm_human.json, llmbar_natural.json, self_instruct_seed_tasks.jsonl). They are all rows that a rule
of either preset stopped when they were drawn (of the 154 with "noinput" left in the input, 40), and 140 that none
did. So precision holds for these files; recall is over the faults among the labelled rows, not over all files.

A rule's precision is the share of its hits at which a reader saw the fault that it names. A preset's precision is the
share of the rows that it stops in which a reader saw any fault; its recall, the share of faulty rows that it stops. The
last line is JSON.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from scipy.stats import binomtest

from state.records import Outcome, Sample
from state.request import Gates
from tools.gates import GatePipeline
from tools.gates.results import reason_code

LABELS = Path(__file__).resolve().parents[1] / "tests" / "data"
Preset = Literal["alpaca", "modern"]


@dataclass(frozen=True)
class Labelled:
    """A row, and the faults that a reader saw in it."""

    instruction: str
    input: str
    output: str
    faults: frozenset[str]


@dataclass(frozen=True)
class Measured:
    """What a preset did on the labelled rows."""

    hits: Counter[str]
    """Hits of each rule."""
    right: Counter[str]
    """Those of them at which the fault was there."""
    stopped: int
    """Rows that were not accepted."""
    rightly: int
    """Those of them with a fault."""
    faulty: int

    @property
    def precision(self) -> float:
        """Share of the stopped rows that have a fault, in [0, 1]."""
        return self.rightly / self.stopped

    @property
    def recall(self) -> float:
        """Share of the rows with a fault that were stopped, in [0, 1]."""
        return self.rightly / self.faulty


def own_rows() -> Iterator[Labelled]:
    """Yield the rows of our own."""
    for row in _lines(LABELS / "gate_rows.jsonl"):
        yield Labelled(row["instruction"], row["input"], row["output"], frozenset(row["faults"]))


def public_rows(folder: Path) -> Iterator[Labelled]:
    """Yield the labelled rows of the public files that are in a folder; a row that has changed ends it."""
    files: dict[str, list[tuple[str, str, str]]] = {}
    for label in _lines(LABELS / "gate_labels.jsonl"):
        path = folder / label["file"]
        if not path.exists():
            continue
        if label["file"] not in files:
            files[label["file"]] = [_texts(row) for row in _rows(path)]
        texts = files[label["file"]][label["row"]]
        if hashlib.sha256("\0".join(texts).encode()).hexdigest()[:16] != label["sha256"]:
            raise SystemExit(f"{path}, row {label['row']}: not the row that was labelled")
        yield Labelled(*texts, frozenset(label["faults"]))


def measure(rows: list[Labelled], preset: Preset) -> Measured:
    """Put labelled rows through a preset's gates, each for itself, so that none repeats another."""
    hits: Counter[str] = Counter()
    right: Counter[str] = Counter()
    stopped = rightly = 0
    for number, row in enumerate(rows):
        sample = Sample(id=str(number), instruction=row.instruction, input=row.input, output=row.output)
        decision = _gates(preset).judge([sample])[0]
        codes = set(map(reason_code, decision.reasons))
        hits.update(codes)
        right.update(codes & row.faults)
        if decision.outcome is not Outcome.ACCEPTED:
            stopped += 1
            rightly += bool(row.faults)
    return Measured(hits, right, stopped, rightly, sum(bool(row.faults) for row in rows))


def main() -> None:
    """Measure, print the tables, and the figures as JSON."""
    arguments = argparse.ArgumentParser(description="The precision of the gates' rules on labelled rows.")
    arguments.add_argument("--data", type=Path, default=None, help="folder of the public files")
    folder = arguments.parse_args().data
    rows = [*own_rows(), *(public_rows(folder) if folder else ())]
    found: dict[Preset, Measured] = {"alpaca": measure(rows, "alpaca"), "modern": measure(rows, "modern")}
    print(f"{len(rows)} labelled rows, {found['alpaca'].faulty} of them with a fault\n")
    for preset, measured in found.items():
        print(f"{preset:<8}{'rule':<26}{'hits':>6}{'right':>7}{'precision':>11}  95% interval")
        for code, count in measured.hits.most_common():
            right = measured.right[code]
            low, high = binomtest(right, count).proportion_ci(method="wilson")
            print(f"{'':<8}{code:<26}{count:>6}{right:>7}{right / count:>11.2f}  [{low:.2f}, {high:.2f}]")
        print(f"{'':<8}{'rows stopped':<26}{measured.stopped:>6}{measured.rightly:>7}{measured.precision:>11.2f}")
        print(f"{'':<8}{'recall':<26}{measured.faulty:>6}{measured.rightly:>7}{measured.recall:>11.2f}\n")
    print(json.dumps(_figures(found)))


def _figures(found: dict[Preset, Measured]) -> dict[str, float]:
    return {
        "precision_alpaca": round(found["alpaca"].precision, 3),
        "precision_modern": round(found["modern"].precision, 3),
        "recall_alpaca": round(found["alpaca"].recall, 3),
        "recall_modern": round(found["modern"].recall, 3),
    }


def _gates(preset: Preset) -> GatePipeline:
    return GatePipeline(Gates(preset=preset), [])


def _lines(path: Path) -> Iterator[dict[str, Any]]:
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)


def _rows(path: Path) -> list[dict[str, Any]]:
    return list(_lines(path)) if path.suffix == ".jsonl" else json.loads(path.read_text(encoding="utf-8"))


def _texts(row: dict[str, Any]) -> tuple[str, str, str]:
    """Return instruction, input and output, whichever of the five files the row is from."""
    if "instances" in row:
        return row["instruction"], row["instances"][0]["input"], row["instances"][0]["output"]
    if "output_1" in row:
        return row["input"], "", row["output_1"]
    return row["instruction"], row["input"], str(row["output"] if "output" in row else row["response1"])


if __name__ == "__main__":
    main()
