"""CPU-seconds until a command has done its work, and what is imported for it.

    python benchmarks/startup.py [REPEATS]

Each command runs ``REPEATS`` times (5 where none is given) in a process of its own, over a temporary home with one run.
Figures are the medians of user and system time of the child, which another process on the machine changes less than the
time on the clock. The ten dearest imports are those with the most time of their own, without what they import, as
``-X importtime`` counts them in one more run. The last line is JSON.

Imported when they are needed, and why:

* every command's own modules: ``--help`` needs the arguments alone (2.5 of 2.8 seconds before)
* the arguments of all other commands: Typer reads those of the one that is asked for (0.1 seconds)
* LangGraph, LangChain and LangSmith: only to work on a run; to look at one its last checkpoint is read
  (``state/snapshots.py``; 1.3 seconds). What is wrong with a command, such as a run that is not there, is said
  before they are loaded
* aiohttp, tenacity and the transports: to ask a model
* numpy: to measure, not to show what was measured
* SQLAlchemy and pydantic: for all that reads a run or a config
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import resource
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from graph.inputs import begin  # noqa: E402  # found from a checkout, too
from graph.services import open_services  # noqa: E402  # found from a checkout, too
from state.request import RunRequest  # noqa: E402  # found from a checkout, too
from tools.settings import Settings  # noqa: E402  # found from a checkout, too

CORRAL = ("-m", "corral.cli")
COMMANDS: dict[str, tuple[str, ...]] = {
    "help": (*CORRAL, "--help"),
    "run --help": (*CORRAL, "run", "--help"),
    "version": (*CORRAL, "--version"),
    "runs": (*CORRAL, "runs"),
    "show": (*CORRAL, "show", "latest"),
    "settings": (*CORRAL, "settings", "train"),
    "import": ("-c", "import corral"),
    "python": ("-c", "pass"),
}
IMPORT = re.compile(r"import time:\s+(\d+) \|\s+\d+ \|\s+(\S+)")


def cpu_seconds(arguments: tuple[str, ...], home: str) -> float:
    """Return the user and system time of one child; it must end well."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run([sys.executable, *arguments], cwd=ROOT, env=_environment(home), capture_output=True, check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def dearest_imports(arguments: tuple[str, ...], home: str, most: int = 10) -> list[tuple[str, float]]:
    """Return the modules whose own import takes longest, with its milliseconds."""
    command = [sys.executable, "-X", "importtime", *arguments]
    done = subprocess.run(command, cwd=ROOT, env=_environment(home), capture_output=True, text=True, check=True)
    found = [(name, int(micros) / 1000) for micros, name in IMPORT.findall(done.stderr)]
    return sorted(found, key=lambda one: -one[1])[:most]


def _environment(home: str) -> dict[str, str]:
    # What is installed is compiled already, whatever this shell says of writing such files.
    kept = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    return kept | {"CORRAL_HOME": home, "OMP_NUM_THREADS": "1"}


async def make_home(home: str) -> None:
    """Make a home with one run in it, which has its inputs and its estimate, as ``corral run`` leaves them."""
    async with open_services(Settings(home=Path(home))) as services:  # type: ignore[call-arg]  # by name
        await begin(services, "first", RunRequest(name="first"))


def main() -> None:
    """Measure, and print the table and the JSON line."""
    repeats = int(sys.argv[1]) if sys.argv[1:] else 5
    with tempfile.TemporaryDirectory() as home:
        asyncio.run(make_home(home))
        medians = {}
        print(f"{'command':12}{'CPU-s':>8}{'least':>8}{'most':>8}   of {repeats}")
        for name, arguments in COMMANDS.items():
            cpu_seconds(arguments, home)  # the first one writes .pyc files
            seconds = [cpu_seconds(arguments, home) for _ in range(repeats)]
            medians[name] = statistics.median(seconds)
            print(f"{name:12}{medians[name]:8.2f}{min(seconds):8.2f}{max(seconds):8.2f}")
        for name in ("help", "runs", "show", "import"):
            print(f"\nthe ten dearest imports of {name}, in ms")
            for module, millis in dearest_imports(COMMANDS[name], home):
                print(f"{millis:8.1f}  {module}")
    kept = ("help", "version", "runs", "show", "import")
    print(json.dumps({f"cpu_{name}": round(medians[name], 3) for name in kept}))


if __name__ == "__main__":
    main()
