"""What the judges' own process leaves out of CrewAI: it is missed by nobody there, and told where it is."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
CODE = """
import asyncio, json, logging, sys

logged = []
logging.basicConfig(handlers=[type("Kept", (logging.Handler,), {"emit": lambda self, r: logged.append(r.msg)})()])
from tools.judging.crewai_unused import leave_out_unused
from tools.judging.worker import prepare_crewai

leave_out_unused()
module = prepare_crewai()
import crewai
from crewai.rag.chromadb.config import ChromaDBConfig
from crewai.rag.chromadb.factory import create_client
from tools.judging.answers import ExpertRating, Opinion, PairChoice
from state.request import Judging
from tools.judging.wording import panel_of

class Backend:
    errors = {}

    async def ask(self, member, prompt):
        if member == "pair":
            return PairChoice(better="second")
        if member == "expert":
            return ExpertRating(stars=4)
        return Opinion(dimension=member, score=80, own=80, reason="")

async def judged():
    panel = panel_of(Judging())
    draw = await module.JudgingCrew(panel).judge("a text", Backend())
    pair = await module.PairCrew(panel).judge("two texts", Backend())
    return [len(draw.opinions), draw.expert.stars, pair.better]

def told(work):
    try:
        return str(work())
    except Exception as error:
        return f"{type(error).__name__}: {error}"

print(json.dumps({
    "judged": asyncio.run(judged()),
    "logged": logged,
    "whole": crewai.RuntimeState is not None,
    "real": sorted(n for n, m in sys.modules.items() if n.split(".")[0] in ("chromadb", "fastapi") and hasattr(m, "__file__")),
    "request": [name for name in ("fastapi", "tools.endpoint") if sys.modules.get(name)],
    "store": told(lambda: create_client(ChromaDBConfig())),
}))
"""  # noqa: E501


@pytest.fixture(scope="module")
def report() -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-c", CODE],
        env={"PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


def test_both_crews_work_without_what_is_left_out(report: dict[str, Any]) -> None:
    assert report["judged"] == [5, 4, "second"]


def test_nothing_of_it_is_imported_and_crewai_notices_nothing(report: dict[str, Any]) -> None:
    assert report["real"] == [] and report["request"] == []
    assert report["logged"] == [] and report["whole"]


def test_who_asks_for_it_all_the_same_is_told(report: dict[str, Any]) -> None:
    assert report["store"].startswith("RuntimeError: chromadb")
    assert report["store"].endswith("is left out of the judging process, which never needs it")
