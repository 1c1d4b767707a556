"""Use an installed wheel from outside the checkout: ``python -m tests.wheel ENVIRONMENT FOLDER`` (``.ci/wheel`` does).

First the base install, which has no torch: version, doctor, gates, judges by a URL, a run up to its training, review
and export, and one line for each extra that is missing. Then the extras are added, and the same run trains and is
evaluated. The environment gets them from this one's site-packages, without the editable install of Corral: to install
torch anew would take minutes, and proves nothing more about the wheel.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import sysconfig
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import yaml

from tests.harness import ROOT, request_of, write_prompts
from tests.scripted_server import ScriptedServer
from tests.tiny_model import tiny_model

RUN = "tiny"
ROWS = [
    {
        "instruction": "Describe how glass is made.",
        "input": "",
        "output": "Sand is melted, then shaped and cooled.",
    },
    {"instruction": "Describe how glass is made.", "input": "", "output": "Sand is melted."},
    {"instruction": "Name three rivers in Europe.", "input": "", "output": "The Rhine, the Danube and the Loire."},
]


@dataclass(frozen=True)
class Install:
    """An environment with the wheel in it, used from a folder outside the checkout."""

    environment: Path
    folder: Path
    url: str
    """Of the server that answers."""

    @property
    def packages(self) -> Path:
        """Its site-packages."""
        return Path(sysconfig.get_path("purelib", vars={"base": str(self.environment)}))

    def call(self, program: str, *arguments: str, code: int = 0, **variables: str) -> str:
        """Run one of its programs, which must end with ``code``, and return what it printed."""
        kept = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("CORRAL_", "OPENAI_", "LANG", "PYTHON", "VIRTUAL_ENV"))
        }
        known = {
            "CORRAL_HOME": str(self.folder / "home"),
            "CORRAL_REVIEWER": "tester",
            "OPENAI_API_KEY": "test-key",
            "OPENAI_BASE_URL": self.url,
            "OMP_NUM_THREADS": "1",
            "HF_HUB_OFFLINE": "1",
            "COLUMNS": "200",
        }
        done = subprocess.run(
            [self.environment / "bin" / program, *arguments],
            cwd=self.folder,
            env=kept | known | variables,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=False,
            timeout=600,
        )
        said = f"{program} {' '.join(arguments)}"
        assert done.returncode == code, f"{said}: exit {done.returncode}, not {code}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr, f"{said}: {done.stderr}"
        print(f"ok  {said}", flush=True)
        return done.stdout if code == 0 else done.stdout + done.stderr


def look(install: Install) -> None:
    """Compare the installed files with those of the checkout."""
    for package in ("corral", "graph", "nodes", "seeds", "state", "tools"):
        there, here = (
            {p.relative_to(top) for p in (top / package).rglob("*") if p.is_file() and p.parent.name != "__pycache__"}
            for top in (install.packages, ROOT)
        )
        assert there == here, f"{package}: only in one of wheel and checkout: {sorted(map(str, there ^ here))}"


def use_base(install: Install, config: Path) -> None:
    """Do all that the base install can do, up to the export of a run's dataset."""
    assert install.call("corral", "--version").strip() == f"corral {version('corral')}"
    install.call("python", "-c", "import importlib.util as found; assert found.find_spec('torch') is None")
    found = json.loads(install.call("corral", "doctor", "--json"))
    assert all(one["ok"] for one in found), found
    rows, items = install.folder / "rows.json", install.folder / "items.jsonl"
    rows.write_text(json.dumps(ROWS))
    install.call("corral", "gate", str(rows), "--out", "gated")
    report = json.loads((install.folder / "gated" / "report.json").read_text())
    assert (report["rows"], report["accepted"]) == (3, 2) and report["seeds"] == 175, report
    items.write_text(json.dumps({"prompt": "Describe how glass is made.", "output": ROWS[0]["output"]}) + "\n")
    judged = json.loads(install.call("corral", "judge", str(items), "--config", str(config), "--json"))
    assert judged["failed"] == 0, judged
    stopped = install.call("corral", "run", str(config), "--run-id", RUN, code=3)
    assert "it stops before its training" in stopped and "corral review" in stopped, stopped
    stopped = install.call("corral", "review", RUN, "--all", "approve", code=0)
    assert f"corral export {RUN}" in stopped and "pip install 'corral[train]'" in stopped, stopped
    for kind in ("alpaca", "sft", "dpo"):
        assert install.call("corral", "export", RUN, "--format", kind).strip()


def miss_extras(install: Install) -> None:
    """Ask for what each extra brings, without it: one line that has the command which installs it."""
    postgres = install.call("corral", "runs", code=2, CORRAL_DATABASE_URL="postgresql://localhost/none")
    assert "pip install 'corral[postgres]'" in postgres and len(postgres.splitlines()) == 1, postgres
    embedded = install.call("corral", "run", "seeds:demo", code=2)
    assert "pip install 'corral[train]'" in embedded and len(embedded.splitlines()) == 1, embedded
    judge = install.call("corral", "judge", "items.jsonl", code=2)
    assert "pip install 'corral[train]'" in judge and len(judge.splitlines()) == 2, judge  # behind a note on who judges
    prompts = ("--prompts", "seeds:prompts")
    adapter = install.call("corral", "evaluate", "adapter", *prompts, code=2)
    assert "pip install 'corral[train]'" in adapter, adapter


def use_extras(install: Install) -> None:
    """Train and evaluate what the base install has begun."""
    (install.packages / "extras.pth").write_text(f"{sysconfig.get_path('purelib')}\n")
    where = install.call("python", "-c", "import tools, seeds, torch; print(tools.__file__, seeds.__file__)")
    assert all(path.startswith(str(install.packages)) for path in where.split()), where
    install.call("corral", "resume", RUN, code=3)
    install.call("corral", "approve", RUN)
    (standing,) = json.loads(install.call("corral", "runs", "--json"))
    assert standing["standing"] == "done", standing
    assert (install.folder / "home" / "runs" / RUN / "report.html").stat().st_size > 10_000


def main() -> None:
    """Go through all of it; the first thing that is not as it should be ends it."""
    environment, folder = (Path(argument).resolve() for argument in sys.argv[1:])
    folder.mkdir(parents=True)
    with ScriptedServer() as server:
        install = Install(environment, folder, server.url)
        base, prompts = tiny_model(folder / "base"), write_prompts(folder / "prompts.jsonl")
        request = request_of(server.url, base, prompts, train={"epochs": 2}, unattended=False)
        request["sources"]["seeds"] = "seeds:seed_tasks"
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(request))
        look(install)
        use_base(install, config)
        miss_extras(install)
        use_extras(install)


if __name__ == "__main__":
    main()
