"""The pipeline as it is drawn, and as the server would serve it."""

from __future__ import annotations

import json
from itertools import pairwise
from pathlib import Path

from graph.pipeline import build_pipeline, draw
from graph.services import make_services
from tools.settings import Settings

ROOT = Path(__file__).parent.parent


def pipeline(tmp_path: Path):
    return build_pipeline(make_services(Settings(home=tmp_path)))


def test_drawing_in_docs_is_the_graph(tmp_path: Path) -> None:
    assert (ROOT / "docs" / "pipeline.mmd").read_text().strip() == draw(pipeline(tmp_path)).strip()


def test_steps_follow_the_design(tmp_path: Path) -> None:
    edges = {(e.source, e.target) for e in pipeline(tmp_path).get_graph().edges}
    line = "__start__ generate gate respond judge review assemble train evaluate approve deploy __end__".split()
    loops = {("gate", "generate"), ("review", "review"), ("evaluate", "train")}
    stops = {("gate", "__end__"), ("approve", "__end__")}
    assert edges == set(pairwise(line)) | loops | stops


def test_branches_are_labelled(tmp_path: Path) -> None:
    labels = {e.data for e in pipeline(tmp_path).get_graph().edges if e.conditional}
    assert labels == {"again", "enough", "nothing", "waiting", "settled", "worse", "measured", "signed", "declined"}


def test_input_form_is_the_request(tmp_path: Path) -> None:
    schema = pipeline(tmp_path).get_input_jsonschema()
    request = schema["$defs"]["RunRequest"]
    assert set(schema["properties"]) == {"request"}
    assert {"models", "generation", "judge", "train", "budget"} <= set(request["properties"])
    assert request["properties"]["unattended"]["description"]


def test_langgraph_json_names_what_is_there() -> None:
    config = json.loads((ROOT / "langgraph.json").read_text())
    module, name = config["graphs"]["corral"].split(":")
    assert (module, name) == ("graph.app", "pipeline")
    assert config["checkpointer"]["path"] == "graph.app.checkpointer"
    assert config["http"]["app"] == "serving.app:app"
