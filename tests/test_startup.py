"""What is imported before a command does anything: counted, not timed. ``benchmarks/startup.py`` has the seconds."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from state.database import Database
from state.request import RunRequest
from state.store import RecordStore

ROOT = Path(__file__).parent.parent
STAGES = """
import contextlib, io, json, sys

refusals = json.loads(sys.argv[1])

def corral(*arguments):
    from corral.cli.main import main
    sys.argv = ["corral", *arguments]
    with contextlib.redirect_stdout(io.StringIO()), contextlib.suppress(SystemExit):
        main()

found = {}
import corral as door
found["import"] = sorted(sys.modules)
corral("--version")
from corral.cli.main import app
names = [info.name or info.callback.__name__ for info in app.registered_commands]
for name in names:
    corral(name, "--help")
found["help"] = sorted(sys.modules)
corral("runs")
found["runs"] = sorted(sys.modules)
corral("show", "latest")
found["show"] = sorted(sys.modules)
errors = io.StringIO()
with contextlib.redirect_stderr(errors):
    for arguments in refusals:
        corral(*arguments)
found["refused"] = sorted(sys.modules)
print(json.dumps({"names": names, "errors": errors.getvalue(), **found}))
"""
NEVER_TO_LOOK = {
    "accelerate", "aiohttp", "alembic", "crewai", "datasets", "jinja2", "langchain", "langchain_core", "langgraph",
    "langsmith", "nltk", "numpy", "peft", "psycopg", "tenacity", "torch", "transformers", "trl", "xllamacpp", "yaml",
}  # fmt: skip
REFUSALS = (
    ("run", "gone.yaml"),
    ("run", "--set", "sources.prompts=gone.jsonl"),
    *((name, "nobody") for name in ("resume", "review", "approve", "delete", "report")),
    ("judge", "gone.jsonl"),
    ("calibrate", "gone.jsonl"),
    ("compare", "gone.jsonl", "gone.jsonl"),
    ("evaluate", "gone", "--prompts", "gone.jsonl"),
    ("serve", "--host", "0.0.0.0"),
    ("crew", "gone"),
    ("canary", "--end"),
)
NEVER_TO_REFUSE = {
    "accelerate", "alembic", "crewai", "datasets", "fastapi", "langchain", "langchain_core", "langgraph", "langsmith",
    "peft", "psycopg", "torch", "transformers", "trl", "xllamacpp",
}  # fmt: skip
"""What takes a second or more: what is wrong with a command is said without it."""
SMALL = {"tools", "tools.machine", "tools.machine.garbage", "tools.visible"}
"""What every command begins with, without a large import of its own."""
NEVER_FOR_HELP = NEVER_TO_LOOK | {"graph", "nodes", "tools", "sqlalchemy"}
NEVER_TO_IMPORT = NEVER_FOR_HELP | {"pydantic", "typer", "rich", "asyncio", "state"}


async def test_a_command_imports_what_it_needs_and_no_more(tmp_path: Path) -> None:
    database = Database(f"sqlite:///{tmp_path / 'corral.db'}")
    await database.create()
    await RecordStore(database).open_run("first", RunRequest(name="first"))
    await database.close()
    environment = {"CORRAL_HOME": str(tmp_path), "PATH": "", "HOME": str(tmp_path)}
    done = subprocess.run(
        [sys.executable, "-c", STAGES, json.dumps(REFUSALS)],
        cwd=ROOT,
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    found = json.loads(done.stdout)
    assert {"run", "runs", "show", "init", "settings", "delete"} <= set(found["names"])
    packages = {
        stage: {name.split(".")[0] for name in set(found[stage]) - SMALL}
        for stage in ("import", "help", "runs", "show")
    }
    assert packages["import"] & NEVER_TO_IMPORT == set()
    assert packages["help"] & NEVER_FOR_HELP == set()
    assert packages["runs"] & NEVER_TO_LOOK == set() and "graph.accounts" not in found["runs"]
    assert {name.split(".")[0] for name in found["refused"]} & NEVER_TO_REFUSE == set()
    assert found["errors"].count("corral: ") == len(REFUSALS), found["errors"]
    assert packages["show"] & NEVER_TO_LOOK == set() and "graph.accounts" in found["show"]


def test_every_public_name_is_there_and_is_what_a_type_checker_takes_it_for() -> None:
    import corral

    assert sorted(corral.__all__) == list(corral.__all__)
    for name in corral.__all__:
        assert getattr(corral, name).__name__ == name and name in dir(corral)
