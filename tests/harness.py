"""A whole run on a scripted endpoint and a tiny model: what the kill test and the server test share."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from state.call_rows import joined

ROOT = Path(__file__).parent.parent
SEEDS = Path(__file__).parent / "data" / "few_seed_tasks.jsonl"
"""The first of the seed tasks that come with Corral: half of them are trained on, so all would take minutes."""
TOPICS = (
    "kettles",
    "ladders",
    "lanterns",
    "anchors",
    "saddles",
    "marbles",
    "bridges",
    "candles",
    "violins",
    "harbours",
)


Corral = Callable[..., tuple[int, str, str]]
"""The command line in this process: exit code, standard output, standard error."""


def refused(result: tuple[int, str, str], *words: str) -> None:
    """Demand that a command was refused: exit code 2 and one line with these words."""
    code, _, error = result
    assert code == 2, result
    assert error.count("\n") == 1, error
    assert all(word in error for word in words), error


def write_prompts(path: Path, training: int = 8, heldout: int = 4) -> Path:
    """Write prompts that some scripted answers pass and others fail."""
    rows = [
        {
            "prompt": f"Tell me something useful about {topic}, in at most six sentences.",
            "checks": [{"kind": "max_sentences", "value": 6}],
            "split": "train" if number < training else "heldout",
        }
        for number, topic in enumerate(f"{size} {topic}" for size in ("small", "large") for topic in TOPICS)
        if number < training + heldout
    ]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def request_of(url: str, base: Path, prompts: Path, **sections: Any) -> dict[str, Any]:
    """Return a request as a config file holds it."""
    endpoint = {"base_url": url, "model": "scripted", "concurrency": 4}
    request: dict[str, Any] = {
        "name": "trial",
        "unattended": True,
        "sources": {"prompts": str(prompts), "seeds": str(SEEDS)},
        "models": {"generator": endpoint, "policy": endpoint, "judge": endpoint, "base": str(base)},
        "generation": {"target": 4, "rounds": 1},
        "sampling": {"candidates": 3},
        "judge": {"review_from": 50, "accept": 70},
        "train": {"recipe": "sft", "epochs": 3, "batch_size": 4, "save_steps": 2, "lora_rank": 4, "lora_alpha": 8},
        "evaluate": {"max_tokens": 12, "resamples": 200},
    }
    for name, values in sections.items():
        request[name] = {**request.get(name, {}), **values} if isinstance(values, dict) else values
    return request


@dataclass
class Home:
    """A home folder, and the command line over it."""

    folder: Path
    config: Path

    @classmethod
    def make(cls, folder: Path, request: dict[str, Any]) -> Home:
        """Make the folder and the config in it."""
        folder.mkdir(parents=True, exist_ok=True)
        config = folder / "config.yaml"
        config.write_text(yaml.safe_dump(request))
        return cls(folder, config)

    @property
    def environment(self) -> dict[str, str]:
        """What the child processes see."""
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("CORRAL_", "OPENAI_", "LANG"))}
        return kept | {
            "CORRAL_HOME": str(self.folder / "home"),
            "CORRAL_REVIEWER": "tester",
            "OPENAI_API_KEY": "test-key",
            "OMP_NUM_THREADS": "1",
            "LANGGRAPH_STRICT_MSGPACK": "true",
            "LANGGRAPH_NO_VERSION_CHECK": "true",
            "LANGGRAPH_CLI_NO_ANALYTICS": "1",
            "LANGSMITH_TRACING": "false",
            "HF_HUB_OFFLINE": "1",
        }

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        """Start ``corral`` with these arguments."""
        return subprocess.Popen(
            [sys.executable, "-m", "corral.cli", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )

    def corral(self, *arguments: str, code: int = 0) -> str:
        """Run ``corral`` to its end and return what it printed; its exit code must be ``code``."""
        process = self.start(*arguments)
        try:
            output = process.communicate(timeout=900)[0]
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        assert process.returncode == code, f"exit {process.returncode}, not {code}:\n{output}"
        return output

    def query(self, sql: str) -> list[tuple[Any, ...]]:
        """Ask the run's database; empty before it has its tables."""
        try:
            with sqlite3.connect(
                f"file:{self.folder / 'home' / 'corral.db'}?mode=ro", uri=True, timeout=30
            ) as database:
                return database.execute(sql).fetchall()
        except sqlite3.OperationalError:
            return []

    def answered(self) -> list[dict[str, Any]]:
        """Return the answered calls of the ledger, each with its request."""
        texts = dict[str, str](self.query("SELECT id, text FROM request_texts"))  # type: ignore[arg-type]  # of two columns
        bodies = [json.loads(row[0]) for row in self.query("SELECT body FROM calls WHERE status = 'answered'")]
        return [body | {"request": joined(body["request"], texts)} for body in bodies]

    def datasets(self) -> dict[str, bytes]:
        """Return the data files of the only dataset version, by name."""
        (folder,) = (self.folder / "home" / "runs").glob("*/datasets/*")
        return {
            p.name: p.read_bytes() for p in sorted(folder.iterdir()) if p.name not in ("manifest.json", "README.md")
        }


def wait_until(condition: Callable[[], Any], process: subprocess.Popen[str], seconds: float = 120) -> Any:
    """Return the condition's value once it is true; fail with the process's output if that ends first."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        assert process.poll() is None, f"ended early:\n{process.stdout.read() if process.stdout else ''}"
        time.sleep(0.02)
    process.kill()
    raise AssertionError(f"still not so after {seconds} s:\n{process.stdout.read() if process.stdout else ''}")


def stop_between_writes(process: subprocess.Popen[Any], database: Path) -> None:
    """Stop a process with SIGSTOP while it does not write to its SQLite file: nobody could take that lock from it."""
    while True:
        process.send_signal(signal.SIGSTOP)
        try:
            with closing(sqlite3.connect(database, timeout=0.2, isolation_level=None)) as connection:
                connection.execute("BEGIN IMMEDIATE")
                connection.execute("ROLLBACK")
                return
        except sqlite3.OperationalError:
            process.send_signal(signal.SIGCONT)
            time.sleep(0.005)
