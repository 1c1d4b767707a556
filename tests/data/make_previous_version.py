"""Make ``previous_version.tar.xz``: a home as the version before the migrations left it, for ``test_previous_version``.

It ran on commit 8a1407cb02a383a4b2be67b09351c08c7c4fb2ff, whose own test helpers it uses. From a checkout of that:

    PYTHONPATH=. python .../tests/data/make_previous_version.py OUT.tar.xz

Three runs lie in one database. ``finished`` went to its end; ``waiting`` waits for a person at review; ``stopped`` was
killed in judge. The request names its files relative to the working folder, as people do. The scripted server has a
port of its own, since its URL is a part of the ledger's keys. Weights are left out.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

from tests.harness import ROOT, Home, request_of, wait_until, write_prompts
from tests.scripted_server import ScriptedServer
from tests.tiny_model import tiny_model

PORT = 18437
SEEDS = 20
"""Seed tasks of the file, the first ones: enough to generate with."""
LEFT_OUT = ("*.safetensors", "*.pt", "*.pth", "*.bin", "checkpoint-*", "tokenizer*", "vocab.json", "*.txt", "*.log")


def start(home: Home, run: str, **sections: object) -> subprocess.Popen[str]:
    """Start a run in the working folder, so that its relative paths lead there."""
    request = request_of(
        f"http://127.0.0.1:{PORT}/v1",
        Path("base"),
        Path("prompts.jsonl"),
        sources={"seeds": "seeds/seed_tasks.jsonl"},
        sampling={"candidates": 2},
        generation={"target": 3, "rounds": 1},
        **sections,
    )
    Home.make(home.folder, request)
    return subprocess.Popen(
        [sys.executable, "-m", "corral.cli", "run", "config.yaml", "--run-id", run],
        cwd=home.folder,
        env=home.environment | {"PYTHONPATH": str(ROOT)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def finish(process: subprocess.Popen[str], code: int) -> None:
    """Wait for a run's end."""
    said = process.communicate(timeout=600)[0]
    assert process.returncode == code, said


def make(work: Path) -> None:
    """Make the three runs in ``work``."""
    write_prompts(work / "prompts.jsonl", training=4, heldout=3)
    (work / "seeds").mkdir()
    lines = (ROOT / "seeds" / "seed_tasks.jsonl").read_text().splitlines(keepends=True)
    (work / "seeds" / "seed_tasks.jsonl").write_text("".join(lines[:SEEDS]))
    tiny_model(work / "base")
    home = Home(work, work / "config.yaml")
    with ScriptedServer(latency=0.05, port=PORT):
        finish(start(home, "finished", seed=0), 0)
        finish(start(home, "waiting", seed=1, unattended=False), 3)
        process = start(home, "stopped", seed=2)
        judged = "SELECT 1 FROM call_uses WHERE run_id = 'stopped' AND purpose LIKE 'judge:%'"
        wait_until(lambda: len(home.query(judged)) >= 13, process)
        process.kill()
        process.wait()
    with sqlite3.connect(work / "home" / "corral.db") as database:
        # The name of the machine that it was made on is nobody's business.
        database.execute("UPDATE runs SET lease_owner = 'laptop:1:0.00' WHERE lease_owner IS NOT NULL")
        database.commit()
        database.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()


def pack(work: Path, out: Path) -> None:
    """Pack the home, the prompts and the seeds."""
    kept = work / "kept"
    shutil.copytree(work / "home", kept / "home", ignore=shutil.ignore_patterns(*LEFT_OUT, "*-wal", "*-shm"))
    shutil.copy(work / "prompts.jsonl", kept)
    shutil.copytree(work / "seeds", kept / "seeds")
    with tarfile.open(out, "w:xz") as archive:
        for path in sorted(kept.iterdir()):
            archive.add(path, path.name, filter=nobodys)


def nobodys(member: tarfile.TarInfo) -> tarfile.TarInfo:
    """Return the member without its owner's name."""
    member.uid = member.gid = 0
    member.uname = member.gname = ""
    return member


if __name__ == "__main__":
    with tempfile.TemporaryDirectory(prefix="corral-previous-") as folder:
        make(Path(folder))
        pack(Path(folder), Path(sys.argv[1]).absolute())
