"""What Corral exports and serves, read by the readers of the tools themselves, on demand: ``make test-readers``.

Each of them pins its own versions of what Corral uses, so each wants an environment of its own, whose Python is named:
``AXOLOTL=/its/bin/python LLAMA_FACTORY=... ARGILLA=... LITELLM_PYTHON=... make test-readers``. One that is not
named is passed over.
"""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from tests.served_registry import ServedRegistry
from tests.test_other_tools import dataset
from tests.test_serving_chat import serving
from tests.tiny_model import tiny_model
from tools.dataset.exporting import write_form

READERS = Path(__file__).parent / "readers"
GOOD, BAD = "Well. That is it.", "Bad. Not at all."


def read_by(tool: str, variable: str, exported: Path | str, tmp_path: Path, base: Path | None = None) -> Any:
    """Return what a tool's own reader makes of an export."""
    if not (python := os.environ.get(variable)):
        pytest.skip(f"{variable} names no Python that has {tool}")
    command = [python, str(READERS / f"by_{tool}.py"), str(exported), str(base or tmp_path), str(tmp_path / "cache")]
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, env=environment, check=False)
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    return dataset(tmp_path, [("Say it.", ""), ("Say that.", "something")])


def test_axolotl_trains_on_the_answers_alone(rows: Path, tmp_path: Path) -> None:
    write_form(rows, "axolotl", tmp_path / "axolotl")
    found = read_by("axolotl", "AXOLOTL", tmp_path / "axolotl", tmp_path, tiny_model(tmp_path / "base"))
    assert [taught for _, taught in found["sft"]] == [f"{GOOD}<|im_end|>"] * 2
    assert [
        asked in whole for (whole, _), asked in zip(found["sft"], ("Say it.", "Say that.\n\nsomething"), strict=True)
    ]
    pair = found["dpo"][1]
    assert "Say that.\n\nsomething" in pair["prompt"]
    assert (pair["chosen"], pair["rejected"]) == (f"{GOOD}<|im_end|>", f"{BAD}<|im_end|>")


def test_llama_factory_aligns_every_dataset_of_the_folder(rows: Path, tmp_path: Path) -> None:
    write_form(rows, "llama-factory", tmp_path / "data")
    found = read_by("llama_factory", "LLAMA_FACTORY", tmp_path / "data", tmp_path)
    asked = {"role": "user", "content": "Say that.\n\nsomething"}
    good, bad = ({"role": "assistant", "content": text} for text in (GOOD, BAD))
    assert found["corral_sft"][1] == [[asked], [good]]
    # Of Alpaca's form it joins instruction and input itself, by one line break.
    assert found["corral_alpaca"][1] == [[asked | {"content": "Say that.\nsomething"}], [good]]
    assert found["corral_dpo"][1] == [[asked], [good, bad]]


def test_litellm_reads_what_is_served(served: ServedRegistry, tmp_path: Path) -> None:
    with serving(served.settings()) as (url, _):
        found = read_by("litellm", "LITELLM_PYTHON", f"{url}/v1", tmp_path)
    assert (found["model"], found["tokens"]) == (served.first, 4)
    assert found["text"] == found["streamed"] != ""
    assert "nobody" in found["refused"]


def test_argilla_takes_every_record(rows: Path, tmp_path: Path) -> None:
    write_form(rows, "argilla", tmp_path / "records.jsonl")
    found = read_by("argilla", "ARGILLA", tmp_path / "records.jsonl", tmp_path)
    assert found == [["Say it.", GOOD], ["Say that.\n\nsomething", GOOD]]
