"""CrewAI in a process of its own: nothing written at home, nothing reached but the endpoint, no handler replaced."""

import json
import os
import subprocess
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.judging_alone import WATCH
from tests.scripted_server import ScriptedServer
from tools.judging.crewai_import import OPENAI, _without_openai

ROOT = Path(__file__).parent.parent


def judge_alone(home: str, folder: Path) -> tuple[dict[str, Any], str, str]:
    """Return the report, the endpoint's address and what was said on stderr."""
    environment = {name: os.environ[name] for name in ("PATH", "TMPDIR", "LD_LIBRARY_PATH") if name in os.environ}
    # Both processes begin with what watches them.
    (folder / "watched").mkdir(exist_ok=True)
    notes = folder / "notes.txt"
    notes.unlink(missing_ok=True)
    (folder / "watched" / "sitecustomize.py").write_text(WATCH.format(notes=str(notes)))
    path = os.pathsep.join([str(folder / "watched"), str(ROOT)])
    environment |= {"HOME": home, "PYTHONPATH": path, "PYTHONDONTWRITEBYTECODE": "1", "OMP_NUM_THREADS": "1"}
    with ScriptedServer() as server:
        command = [sys.executable, "-m", "tests.judging_alone", server.url, str(folder)]
        done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, timeout=120)
        assert done.returncode == 0, done.stderr
        report = json.loads(done.stdout.splitlines()[-1])
        noted = [line.partition(" ")[::2] for line in notes.read_text().splitlines()]
        report |= {kind: [what for of, what in noted if of == kind] for kind in ("wrote", "reached", "imported")}
        return report, f"127.0.0.1:{server.port}", done.stdout + done.stderr


@pytest.fixture(scope="module", params=["empty", "unwritable"])
def alone(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Judge with an empty home, then with one that cannot even be made."""
    folder = tmp_path_factory.mktemp("alone")
    home = folder / "home"
    home.mkdir()
    report, address, said = judge_alone(str(home) if request.param == "empty" else "/dev/null/home", folder)
    return report, address, said, home


def test_texts_are_judged(alone: Any) -> None:
    report = alone[0]
    assert len(report["outcomes"]) == 3 and "failed" not in report["outcomes"], report["reasons"]


def test_nothing_is_written_at_home(alone: Any) -> None:
    report, _, _, home = alone
    assert list(home.iterdir()) == []
    assert [path for path in report["wrote"] if path.startswith((str(home), "/dev/null/home"))] == []


def test_nothing_is_reached_but_the_endpoint(alone: Any) -> None:
    report, address, _, _ = alone
    assert set(report["reached"]) == {address}


def test_signal_handlers_stay_and_nothing_is_said(alone: Any) -> None:
    report, _, said, _ = alone
    assert report["signals"] == []
    assert len(said.splitlines()) == 1, said


def test_crewai_is_imported_in_its_own_process_alone_and_the_package_openai_nowhere(alone: Any) -> None:
    assert alone[0]["here"] == [] and set(alone[0]["imported"]) == {"crewai"}


def test_a_model_of_openais_is_known_as_one_once_there_is_any(monkeypatch: pytest.MonkeyPatch) -> None:
    real = ModuleType(OPENAI)
    setattr(real, "OpenAICompletion", type("OpenAICompletion", (), {}))  # noqa: B010
    monkeypatch.delitem(sys.modules, OPENAI, raising=False)
    with _without_openai():
        asked = sys.modules[OPENAI].OpenAICompletion
    assert OPENAI not in sys.modules and not isinstance(real.OpenAICompletion(), asked)
    monkeypatch.setitem(sys.modules, OPENAI, real)
    assert isinstance(real.OpenAICompletion(), asked) and not isinstance(3, asked)
