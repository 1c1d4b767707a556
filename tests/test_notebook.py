"""The notebooks, run from first cell to last against the scripted server and a tiny model; no outputs in git."""

from __future__ import annotations

import os
from pathlib import Path

import nbformat
import pytest
import yaml
from nbclient import NotebookClient

from tests.harness import ROOT, Home, request_of, write_prompts
from tests.scripted_server import ScriptedServer
from tests.tiny_model import tiny_model

NOTEBOOK = ROOT / "notebooks" / "first_run.ipynb"
PARAMETERS = "parameters"
"""The tag, as papermill has it, of the cell that a program may replace."""

SMALL = {
    "generation": {"target": 0},
    "train": {"epochs": 1, "seed_share": 0.0},
    "evaluate": {"sampled_draws": 0, "judged_pairs": 0},
}
"""Sections that keep the run short: what the notebook shows does not depend on them."""
IN_THE_KERNEL = """
from pytest import MonkeyPatch
from tests.in_this_process import stay_in_this_process
stay_in_this_process(MonkeyPatch())
"""
"""Lines before the parameters: the kernel trains and answers itself, which imports once what four processes would."""


def read(path: Path) -> nbformat.NotebookNode:
    return nbformat.read(path, as_version=4)


def run(folder: Path, config: Path) -> str:
    """Run the first notebook in a folder, with another config, and return all that it printed."""
    return execute(NOTEBOOK, folder, f"{IN_THE_KERNEL}config = {str(config)!r}")[0]


def execute(path: Path, folder: Path, given: str | None = None) -> tuple[str, int]:
    """Run a notebook in a folder, with other parameters; return all that it printed, and how many pictures it drew."""
    notebook = read(path)
    (parameters,) = [cell for cell in notebook.cells if PARAMETERS in cell.metadata.get("tags", [])]
    parameters.source = given or parameters.source
    NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(folder)}}).execute()
    outputs = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    pictures = sum("image/png" in output.get("data", {}) for output in outputs)
    return "".join(output.get("text", "") for output in outputs), pictures


@pytest.mark.parametrize("path", sorted((ROOT / "notebooks").glob("*.ipynb")), ids=lambda path: path.name)
def test_notebooks_are_valid_and_hold_no_outputs(path: Path) -> None:
    notebook = read(path)
    nbformat.validate(notebook)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    assert cells and all(cell.outputs == [] and cell.execution_count is None for cell in cells)


def test_the_notebook_runs_from_its_folder_and_from_the_root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer() as server:
        base = tiny_model(tmp_path / "base")
        config = tmp_path / "config.yaml"
        prompts = write_prompts(tmp_path / "prompts.jsonl", training=6, heldout=2)
        config.write_text(yaml.safe_dump(request_of(server.url, base, prompts, **SMALL)))
        for name, value in Home(tmp_path, config).environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]))
        first = run(NOTEBOOK.parent, config)
        asked = len(server.requests)
        second = run(ROOT, config)
        explored, pictures = execute(ROOT / "notebooks" / "explore_a_run.ipynb", tmp_path)
        trained, curves = execute(ROOT / "notebooks" / "training_curves.ipynb", tmp_path)
    assert "trial-" in first and " done\n" in first and " rows\n" in first and "->" in first
    assert "train " in first and "evaluate " in first, "the log tells what each step took"
    steps = [line for line in first.splitlines() if line == "train"]
    assert steps == ["train"] and "train" not in second.splitlines(), "the second takes the run that the first made"
    assert len(server.requests) == asked
    assert "candidates" in explored and "accepted" in explored and pictures == 2
    assert "flags:" in trained and "loss" in trained and "->" in trained and curves >= 2


def test_judges_are_held_against_people(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer() as server:
        for name, value in Home(tmp_path, tmp_path).environment.items():
            monkeypatch.setenv(name, value)
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_MODEL", "scripted")
        monkeypatch.setenv("PYTHONPATH", str(ROOT))
        said, pictures = execute(ROOT / "notebooks" / "judges_against_people.ipynb", tmp_path)
    assert "12 answers, $0.0000, judged by crew/scripted/" in said and pictures == 1
    assert "always saying the same would agree on 0.50" in said and "of 6 pairs in the people's order" in said
