"""The base install: what needs an extra says so in one line; and the files that come with Corral are found by name."""

from __future__ import annotations

import importlib.metadata
import json
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec
from pathlib import Path
from typing import Any

import pytest
import yaml

import tools.shipped
from graph.standing import error_in_words
from state.errors import BadInput
from state.extras import EXTRAS, Extra, demand_extra, install_command, missing_modules
from state.request import RunRequest
from tests.harness import Corral, refused, request_of, write_prompts
from tests.scripted_server import ScriptedServer
from tests.test_architecture import ROOT, name_of, sources
from tools.checks.policy import load_policy
from tools.config import load_request
from tools.gates import load_safety_policy
from tools.shipped import find_file, shipped_files
from tools.sources.inputs import named_files
from tools.sources.prompts import load_prompts
from tools.sources.seeds import load_seed_tasks

EVERY_EXTRA = pytest.mark.parametrize("extra", EXTRAS)
NEEDS_TORCH = {
    "tools/training/faster_on_cpu.py",
    "tools/training/inspecting.py",
    "tools/training/probe.py",
    "tools/training/runner.py",
    "tools/training/shared_head.py",
    "tools/training/trainers.py",
    "tools/weights/arithmetic.py",
    "tools/weights/choosing.py",
    "tools/weights/decodable.py",
    "tools/weights/decoding.py",
    "tools/weights/invariance.py",
    "tools/weights/loading.py",
    "tools/weights/slots.py",
    "tools/weights/trials.py",
}
"""Modules of the processes that compute, which the base install never starts."""
NEEDS_POSTGRES = {"state/postgres_savers.py"}
"""Imported only where such a database is opened."""
NEEDS_SERVE = "serving/"
"""The web application, which only `corral serve` and the server import."""


class Missing(MetaPathFinder):
    """Makes modules look as if they were not installed."""

    def __init__(self, names: tuple[str, ...]) -> None:
        self.names = names

    def find_spec(self, name: str, path: Any = None, target: Any = None) -> ModuleSpec | None:
        if any(name == one or name.startswith(f"{one}.") for one in self.names):
            raise ModuleNotFoundError(f"No module named {name!r}", name=name)
        return None


@pytest.fixture
def without(monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Return a function that takes an extra away until the test ends."""

    def take(extra: Extra) -> None:
        for name in [one for one in sys.modules if one.startswith(tuple(f"{m}." for m in EXTRAS[extra]))]:
            monkeypatch.delitem(sys.modules, name)
        for name in EXTRAS[extra]:
            monkeypatch.delitem(sys.modules, name, raising=False)
        monkeypatch.setattr(sys, "meta_path", [Missing(EXTRAS[extra]), *sys.meta_path])

    return take


def test_the_extras_are_those_of_the_project() -> None:
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert set(declared) == {*EXTRAS, "deepspeed", "dev"}, "deepspeed compiles for the machine's CUDA"
    assert all(f"{extra}" in declared["dev"][0] for extra in EXTRAS)


@EVERY_EXTRA
def test_an_extra_that_is_installed_is_not_asked_for(extra: Extra) -> None:
    assert missing_modules(extra) == ()
    demand_extra(extra, "this")


def test_every_module_of_the_base_install_imports_without_the_extras() -> None:
    """In a process of its own, in which no module of an extra can be imported."""
    modules = [
        name_of(path).removesuffix(".py").removesuffix("/__init__").replace("/", ".")
        for path in sources()
        if name_of(path) not in NEEDS_TORCH | NEEDS_POSTGRES
        and not name_of(path).startswith(NEEDS_SERVE)
        and path.stem != "__main__"
        and path.name != "env.py"
    ]
    names = [*(name for extra in EXTRAS.values() for name in extra), "safetensors", "huggingface_hub", "psycopg"]
    # CrewAI, which takes seconds, is imported by the wheel's own check.
    imports_crewai = ("tools.judging.crew", "tools.judging.crewai_quiet", "tools.crews.llms", "tools.crews.building")
    for name in (*imports_crewai, "graph.crews.crewai_tools"):
        modules.remove(name)
    code = (
        "import sys, importlib; from tests.test_extras import Missing\n"
        f"sys.meta_path.insert(0, Missing({tuple(names)!r}))\n"
        f"for name in {modules!r}: importlib.import_module(name)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("origin", "said"),
    [
        (None, "pip install 'corral[train]'"),
        ({"url": "file:///a/corral.whl", "archive_info": {}}, "pip install 'corral[train]'"),
        ({"url": "file:///my%20code", "dir_info": {}}, "pip install '/my code[train]'"),
        ({"url": "file:///code", "dir_info": {"editable": True}}, "pip install --editable '/code[train]'"),
    ],
)
def test_an_extra_is_installed_from_where_corral_came_from(
    monkeypatch: pytest.MonkeyPatch, origin: dict[str, Any] | None, said: str
) -> None:
    class Installed:
        def read_text(self, name: str) -> str | None:
            return json.dumps(origin) if name == "direct_url.json" and origin else None

    monkeypatch.setattr(importlib.metadata, "distribution", lambda name: Installed())
    assert install_command("train") == said


@pytest.mark.parametrize(
    ("extra", "arguments"),
    [
        ("train", ("run", "seeds:demo")),
        ("train", ("run", "seeds:demo", "--set", "models.generator.base_url=weights")),
        ("train", ("evaluate", "adapter", "--prompts", "seeds:prompts")),
        ("train", ("judge", "items.jsonl")),
        ("postgres", ("runs",)),
    ],
)
def test_what_needs_an_extra_says_so_in_one_line(
    corral: Corral,
    without: Any,
    extra: Extra,
    arguments: tuple[str, ...],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    without(extra)
    monkeypatch.chdir(tmp_path)
    Path("items.jsonl").write_text('{"prompt": "Name a river.", "output": "The Rhine."}\n')
    if extra == "postgres":
        monkeypatch.setenv("CORRAL_DATABASE_URL", "postgresql://localhost/none")
    code, printed, said = corral(*arguments)
    last = said.strip().rsplit("\n", 1)[-1]  # behind a note that the embedded model judges
    refused((code, printed, f"{last}\n"), "which is not installed", install_command(extra))


def test_a_run_of_the_base_install_stops_with_its_dataset(corral: Corral, without: Any, tmp_path: Path) -> None:
    without("train")
    with ScriptedServer(keys=["good-key"]) as server:
        prompts = write_prompts(tmp_path / "prompts.jsonl", training=2, heldout=1)
        few = {"generation": {"target": 0}, "sampling": {"candidates": 1}}
        request = request_of(server.url, Path("nobody/no-model"), prompts, **few)
        del request["models"]["generator"]  # the embedded one, which is not here and not asked
        (tmp_path / "config.yaml").write_text(yaml.safe_dump(request))
        code, out, error = corral("run", str(tmp_path / "config.yaml"), "--run-id", "mine")
    dataset = json.loads(corral("show", "mine", "--json")[1])["dataset"]
    assert code == 0 and dataset["folder"] in out and "corral export mine" in out, (out, error)
    assert install_command("train") in out and "rror" not in error
    assert corral("export", "mine", "--format", "sft", "--out", str(tmp_path / "sft.jsonl"))[0] == 0
    expected = json.loads((tmp_path / "home" / "runs" / "mine" / "estimate.json").read_text())
    assert [one["stage"] for one in expected["stages"]] == ["generate", "gate", "respond", "judge"]
    refused(corral("resume", "mine"), "the training needs", install_command("train"))
    (run,) = json.loads(corral("runs", "--json")[1])
    assert (run["standing"], run["step"], run["detail"]) == ("stopped", "train", "")


def test_what_the_base_install_lacks_is_named_by_its_setting(corral: Corral, without: Any) -> None:
    without("train")
    refused(corral("run", "--set", "models.policy.base_url=http://127.0.0.1:9/v1"), "models.generator, models.judge: ")


def test_init_offers_no_model_that_is_not_there(
    corral: Corral, without: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without("train")
    file, url = tmp_path / "mine.yaml", "http://gpu:8000/v1"
    refused(corral("init", str(file), "--endpoint", "embedded"), install_command("train"))
    monkeypatch.delenv("OPENAI_API_KEY")
    refused(corral("init", str(file)), "no model is at hand", "--url", install_command("train"))
    assert not file.exists()
    assert corral("init", str(file), "--url", url, "--model", "m")[0] == 0
    models = load_request(file).models
    assert models.generator == models.policy == models.judge and models.policy.base_url == url


@pytest.mark.parametrize(
    ("kept", "said"),
    [
        ("BadInput('it is \\'odd\\'')", "it is 'odd'"),
        ('TrainingError("it isn\'t there")', "it isn't there"),
        ("ValueError('x')", "ValueError: x"),
        ("OSError(28, 'No space left')", "OSError(28, 'No space left')"),
        ("Odd(<object>)", "Odd(<object>)"),
    ],
)
def test_an_error_that_is_kept_is_shown_as_its_message(kept: str, said: str) -> None:
    assert error_in_words(kept) == said


def test_the_doctor_knows_the_base_install(
    corral: Corral, without: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    without("train")
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    code, out, _ = corral("doctor", "--json")
    (found,) = (one for one in json.loads(out) if install_command("train") in one["advice"])
    assert code == 1 and not found["ok"], "nothing can answer: neither the embedded model nor a server"
    file = tmp_path / "mine.yaml"
    assert corral("init", str(file), "--url", "http://127.0.0.1:9/v1", "--model", "m")[0] == 0
    checks = json.loads(corral("doctor", str(file), "--json")[1])
    (found,) = (one for one in checks if one["what"] == "training and embedded model")
    assert found["ok"] and install_command("train") in found["advice"], "this config asks a server alone"


@pytest.mark.parametrize("name", ["seed_tasks", "prompts", "demo", "proof", "large", "policies/safety"])
def test_what_comes_with_corral_is_found_by_name_from_any_folder(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_file(f"seeds:{name}").is_file()


def test_names_stand_wherever_a_path_does(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_request(Path("seeds:demo")).name == "demo"
    assert len(load_seed_tasks(Path("seeds:seed_tasks"))) == 175
    assert load_prompts(Path("seeds:prompts"), 0.1)
    assert load_policy(Path("seeds:policies/strategy")).rules
    assert load_safety_policy(Path("seeds:policies/safety")).rules
    assert all(path.is_file() for path in named_files(RunRequest(), ()).values()), "the defaults are by name"


def test_a_name_that_is_unknown_names_the_nearest(corral: Corral) -> None:
    refused(corral("run", "seeds:demos"), "seeds:demos", "did you mean seeds:demo?")
    refused(corral("run", "--set", "sources.prompts=seeds:promts"), "seeds:promts", "did you mean seeds:prompts?")
    refused(corral("gate", "seeds:seeds", "--out", "gated"), "seeds:seeds", "seeds:seed_tasks")


def test_an_installation_without_its_data_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tools.shipped, "FOLDER", tmp_path / "seeds")
    with pytest.raises(BadInput, match=r"lacks its data, .*seeds.*pip install --force-reinstall --no-deps corral"):
        shipped_files()


def test_a_python_that_is_too_old_is_told_before_anything_is_installed(tmp_path: Path) -> None:
    for name in ("Makefile", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, tmp_path)
    old = tmp_path / "python3.10"
    old.write_text("#!/bin/sh\nexit 1\n")  # what sys.exit(not ...) of the Makefile's question ends with
    old.chmod(0o755)
    done = subprocess.run(
        ["make", "install", f"PYTHON={old}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 2 and "Corral needs Python 3.11 to 3.13; say which: make PYTHON=" in done.stdout
    assert not (tmp_path / ".venv").exists()


def test_a_path_is_taken_as_it_is(tmp_path: Path) -> None:
    assert find_file(tmp_path / "seeds") == tmp_path / "seeds"
    assert find_file("./seeds:demo") == Path("./seeds:demo")
