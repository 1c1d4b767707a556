"""A program that judges one text and reports what else happened; ``test_judging_crewai_import`` runs it.

Prints one JSON object: the outcome, changed signal handlers, which of CrewAI's packages this process has imported, and
blocking calls in the event loop as ``langgraph dev`` finds them. ``WATCH`` is what each process begins with: it notes
folders and files written, addresses connected to, and what was imported.
"""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

WATCH = """
import os, sys

notes = os.open({notes!r}, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
WRITES = ("os.mkdir", "os.rename", "os.remove", "os.symlink")

def note(kind, what):
    os.write(notes, f"{{kind}} {{what}}\\n".encode())

def watch(event, arguments):
    if event == "open" and isinstance(arguments[1], str) and set(arguments[1]) & set("wax+"):
        note("wrote", arguments[0])
    elif event in WRITES:
        note("wrote", arguments[0])
    elif event == "socket.connect" and isinstance(arguments[1], tuple):
        note("reached", f"{{arguments[1][0]}}:{{arguments[1][1]}}")
    elif event == "socket.getaddrinfo":
        note("reached", f"{{arguments[0]}}:{{arguments[1]}}")
    elif event == "import" and arguments[0] in ("crewai", "openai"):
        note("imported", arguments[0])

sys.addaudithook(watch)
"""


async def main(url: str, folder: Path) -> dict[str, Any]:
    """Judge one text twice over: once to load, once with the blocking calls watched."""
    from langgraph_runtime_inmem.queue import _enable_blockbuster

    from state.request import Judging
    from tests.builders import candidate, sample
    from tests.judging_support import ledgered
    from tools.judging import CrewJudge

    asked = sample("Name three rivers of Europe.")
    _enable_blockbuster()
    async with ledgered(url, folder) as endpoint:
        crew = CrewJudge(endpoint, Judging(), seed=1)
        made = await asyncio.gather(*(crew.judge(asked, candidate(asked, f"The Rhine, {n} times.")) for n in range(3)))
    return {"outcomes": [judgement.outcome for judgement in made], "reasons": [j.reasons for j in made]}


if __name__ == "__main__":
    handlers = {s: signal.getsignal(s) for s in signal.valid_signals()}
    report = asyncio.run(main(sys.argv[1], Path(sys.argv[2])))
    changed = [s for s, handler in handlers.items() if signal.getsignal(s) != handler]
    report |= {"here": [name for name in ("crewai", "openai") if name in sys.modules]}
    print(json.dumps(report | {"signals": changed}))
