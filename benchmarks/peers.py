"""How long does the same work take Corral, and how long distilabel, DataDesigner and Curator, as whole processes?

    python benchmarks/peers.py [--repeats 3] [--peers curator datadesigner] [--in-flight 16 64] [--environments FOLDER]

The work is 200 prompts, each answered once and judged six times over that answer: 1,400 calls. A server in a process of
its own answers each call after 200 ms. Everyone asks it the same prompts: the six of the judges are those that Corral's
crew sends, taken down once, with the prompt and the answer put in.

Each peer is installed into an environment of its own, with its bytecode, at the version below, and is set up for
speed: as many calls in flight as are allowed, no cache, no telemetry, no rate limit. Its pipeline is in
``benchmarks/peer_NAME.py``. The peers ask the sixth judge together with the others; Corral's reads the other five, so
that it is asked after them. Corral is ``corral run`` up to its dataset: ledger, written checks and gates on, an answer
on disk before anything depends on it.

The contestants take turns, in an order that is reversed from one round to the next. Time on the clock begins before the
process starts and ends with it, and processor time is that of the process and its children. ``lost`` counts answers and
scores that are not in what a contestant made; ``asked`` counts the calls that the server saw, probes among them.

The last line is JSON. A ratio is the median over the rounds of Corral's figure by a peer's of the same round, and the
ratio of the best peer is the largest. ``calls_lost`` is Corral's.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import resource
import shutil
import sqlite3
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

PEERS = {
    "distilabel": ["distilabel[openai]==1.5.3", "requests==2.34.2"],  # it imports what it does not ask for
    "datadesigner": ["data-designer==0.9.7"],
    "curator": ["bespokelabs-curator==0.1.31"],
}
PROMPTS = 200
CALLS = 7 * PROMPTS
LATENCY = 0.2
PROMPT, ANSWER = "<<PROMPT>>", "<<ANSWER>>"
"""What stands in the judges' prompts where the prompt and the answer go."""
THINGS = (
    "rain forms|a lock opens|bread rises|a bicycle stays up|tides turn|a mirror works|bees find home|glass is made|"
    "a sail pulls|soap cleans|ice floats|a clock keeps time|leaves change colour|a bridge bears its load|"
    "a kettle whistles|paper is recycled|a magnet pulls|a seed sprouts|wool keeps warm|a compass points north"
).split("|")
READERS = (
    "a child of six|a new colleague|a curious neighbour|a class of engineers|someone in a hurry|a visitor from abroad|"
    "a retired sailor|a young farmer|a museum's guests|a radio audience"
).split("|")
TEXT = (
    "Here is how it goes, in plain words. First something small changes, and nothing seems to happen for a while. "
    "Then the parts begin to push on one another, until the weakest of them gives way and the rest must follow. What "
    "you see at the end is only that last step, number {number} of the morning, which takes a moment and looks easy."
)


class Answering(asyncio.Protocol):
    """One connection of the server: HTTP with a body of known length, answered after ``LATENCY`` seconds."""

    asked = 0
    in_flight = most_in_flight = 0

    def connection_made(self, transport: Any) -> None:
        """Begin."""
        self.transport, self.data = transport, b""

    def data_received(self, data: bytes) -> None:
        """Take what has arrived, and answer when it is a whole request."""
        self.data += data
        head, found, body = self.data.partition(b"\r\n\r\n")
        if not found:
            return
        _, sized, rest = head.lower().partition(b"content-length:")
        if len(body) < (int(rest.split(b"\r\n", 1)[0]) if sized else 0):
            return
        self.data = b""
        if head.startswith(b"POST"):
            kind = Answering
            kind.asked += 1
            kind.in_flight += 1
            kind.most_in_flight = max(kind.most_in_flight, kind.in_flight)
            asyncio.get_running_loop().call_later(LATENCY, self.answer, body)
        elif b"/v1/models" in head:
            self.send({"object": "list", "data": [{"id": "bench", "object": "model"}]})
        else:
            self.send({"asked": Answering.asked, "most_in_flight": Answering.most_in_flight})
            Answering.asked = Answering.most_in_flight = 0

    def answer(self, body: bytes) -> None:
        """Answer a completion: a judge's rating where the request speaks of a score, else a text."""
        Answering.in_flight -= 1
        if b'"stars"' in body:
            text = json.dumps({"stars": 4, "strength": "plain and right", "weakness": "a little short"})
        elif b'"age"' in body:  # Curator asks once whether answers are held to a schema
            text = json.dumps({"name": "Jason", "age": 25})
        elif b"score" in body:
            text = json.dumps({"score": 82, "reason": "it does what was asked"})
        else:
            text = TEXT.format(number=hash(body) % 10_000)
        message = {"role": "assistant", "content": text, "refusal": None}
        choice = {"index": 0, "message": message, "finish_reason": "stop", "logprobs": None}
        usage = {"prompt_tokens": 300, "completion_tokens": 20, "total_tokens": 320}
        self.send(
            {"id": "x", "object": "chat.completion", "created": 0, "model": "bench", "choices": [choice]}
            | {"usage": usage}
        )

    def send(self, answer: Any) -> None:
        """Send a JSON object."""
        sent = json.dumps(answer).encode()
        head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {len(sent)}\r\n\r\n"
        self.transport.write(head.encode() + sent)


async def serve() -> None:
    """Serve until the process is ended; the first line printed is the base URL."""
    server = await asyncio.get_running_loop().create_server(Answering, "127.0.0.1", 0)
    print(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/v1", flush=True)
    await server.serve_forever()


@contextmanager
def served() -> Iterator[str]:
    """Run the server in a process, and yield its base URL."""
    with subprocess.Popen([sys.executable, __file__, "--serve"], stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None  # it was asked for
            yield server.stdout.readline().strip()
        finally:
            server.terminate()


async def judges_prompts() -> list[str]:
    """Return the six prompts that the crew sends, with ``PROMPT`` and ``ANSWER`` in them."""
    from benchmarks.judging import Recorder
    from state.records import Candidate, Check, Sample
    from state.request import Judging
    from tools.judging import CrewJudge

    sample = Sample(id="s", instruction=PROMPT, checks=(Check(kind="max_words", value=90),))
    recorder = Recorder()
    await CrewJudge(recorder, Judging()).judge(
        sample, Candidate(id="c", sample_id="s", draw=0, text=ANSWER, ended=True)
    )
    return recorder.prompts


def write_work(folder: Path) -> None:
    """Write the work for Corral, as a prompts file, and for the peers."""
    asked = [f"Explain to {reader} how {thing}, in at most 90 words." for reader in READERS for thing in THINGS]
    rows = [{"prompt": one, "checks": [{"kind": "max_words", "value": 90}], "split": "train"} for one in asked]
    rows.append({"prompt": "Explain how snow falls.", "checks": rows[0]["checks"], "split": "heldout"})  # not answered
    (folder / "prompts.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "work.json").write_text(json.dumps({"prompts": asked, "judges": asyncio.run(judges_prompts())}))


def install(environments: Path, peer: str) -> Path:
    """Return the Python of a peer's environment, which is made where it is not there."""
    folder = environments / peer
    python = folder / "bin" / "python"
    if not python.exists():
        print(f"installing {PEERS[peer][0]}", flush=True)
        uv = [sys.executable, "-m", "uv"]
        made = [[*uv, "venv", "--quiet", "--python", "3.11", str(folder)]]
        made.append([*uv, "pip", "install", "--quiet", "--compile-bytecode", "--python", str(python), *PEERS[peer]])
        for command in made:
            subprocess.run(command, check=True)
    return python


@dataclass(frozen=True)
class Took:
    """What one contestant took, once."""

    wall: float
    cpu: float
    asked: int
    most_in_flight: int
    lost: int


def run_corral(url: str, in_flight: int, work: Path, out: Path) -> list[str]:
    """Write Corral's config and return its command."""
    model = {"base_url": url, "model": "bench", "concurrency": in_flight}
    request = {
        "name": "race",
        "unattended": True,
        "preview": True,  # it ends with the dataset
        "sources": {"prompts": str(work / "prompts.jsonl")},
        "models": {"generator": model, "policy": model, "judge": model},
        "generation": {"target": 0},
        "sampling": {"candidates": 1},
    }
    (out / "race.yaml").write_text(yaml.safe_dump(request))
    return [sys.executable, "-m", "corral.cli", "run", str(out / "race.yaml"), "--run-id", "race"]


def kept_by_corral(out: Path) -> int:
    """Return how many answers and scores are in what the run made."""
    with closing(sqlite3.connect(out / "corral" / "corral.db")) as database:
        answers = database.execute("SELECT count(*) FROM candidates WHERE outcome = 'accepted'").fetchone()[0]
        bodies = [json.loads(row[0]) for row in database.execute("SELECT body FROM judgements")]
    rows = sum(1 for file in (out / "corral/runs/race").glob("datasets/*/sft.jsonl") for _ in file.open())
    scores = sum(len(body["scores"]) + (body["stars"] is not None) for body in bodies)
    return min(answers, rows) + scores


def environment(out: Path, environments: Path) -> dict[str, str]:
    """Return what a contestant's process sees: folders of its own, and nothing that calls home.

    The tokenizer with which peers count tokens comes with a package of Curator's, so that nobody has to download it.
    """
    tokenizer = next(environments.glob("curator/lib/*/site-packages/litellm/litellm_core_utils/tokenizers"), out)
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("CORRAL_", "OPENAI_", "LANG", "PYTHON"))}
    return kept | {
        "HOME": str(out),
        "PYTHONPATH": str(ROOT),
        "CORRAL_HOME": str(out / "corral"),
        "OPENAI_API_KEY": "none",
        "OMP_NUM_THREADS": "1",
        "LANGSMITH_TRACING": "false",
        "HF_HOME": str(out / "hf"),
        "HF_HUB_OFFLINE": "1",
        "CURATOR_DISABLE_CACHE": "1",
        "CURATOR_CACHE_DIR": str(out / "curator"),
        "CURATOR_DISABLE_RICH_DISPLAY": "1",
        "TELEMETRY_ENABLED": "false",
        "DISTILABEL_CACHE_DIR": str(out / "distilabel"),
        "DISTILABEL_LOG_LEVEL": "WARNING",
        "TIKTOKEN_CACHE_DIR": str(tokenizer),
        "DATA_DESIGNER_HOME": str(out / "datadesigner"),
        "DATA_DESIGNER_DISABLE_VERSION_CHECK": "1",
    }


def seen_by(url: str) -> tuple[int, int]:
    """Return the calls that the server has seen since it was last asked, and how many were in flight at most."""
    with urllib.request.urlopen(url.removesuffix("/v1") + "/seen") as answer:
        seen = json.load(answer)
    return seen["asked"], seen["most_in_flight"]


def race(name: str, python: Path | None, url: str, in_flight: int, work: Path, environments: Path) -> Took:
    """Let one contestant do the work once.

    Raises:
        SystemExit: its process failed.
    """
    out = Path(tempfile.mkdtemp(prefix=f"{name}-"))
    script = str(ROOT / "benchmarks" / f"peer_{name}.py")
    command = (
        run_corral(url, in_flight, work, out)
        if python is None
        else [str(python), script, url, str(in_flight), str(work / "work.json"), str(out)]
    )
    seen_by(url)
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(command, cwd=out, env=environment(out, environments), capture_output=True, text=True)
    wall, after = time.monotonic() - began, resource.getrusage(resource.RUSAGE_CHILDREN)
    if done.returncode:
        raise SystemExit(f"{name} ended with {done.returncode}:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}")
    asked, most = seen_by(url)
    kept = kept_by_corral(out) if python is None else int(done.stdout.strip().splitlines()[-1])
    shutil.rmtree(out)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Took(wall, cpu, asked, most, CALLS - kept)


def ratio(rounds: list[dict[str, Took]], figure: str) -> float:
    """Return the median ratio of Corral's figure by that of the peer that makes it largest."""
    peers = rounds[0].keys() - {"corral"}
    return max(
        statistics.median(getattr(one["corral"], figure) / getattr(one[peer], figure) for one in rounds)
        for peer in peers
    )


def processor() -> str:
    """Return the processor's kind."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = next((line.partition(": ")[2] for line in lines if line.startswith("model name")), platform.processor())
    return f"{named}, {os.cpu_count()} cores"


def main() -> None:
    """Race, and print the table and the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--peers", nargs="*", choices=PEERS, default=list(PEERS))
    parser.add_argument("--in-flight", nargs="+", type=int, default=[16, 64])
    parser.add_argument("--environments", type=Path, help="where the peers are installed, to be used again")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        return asyncio.run(serve())
    found: dict[str, float] = {}
    lost = 0
    with tempfile.TemporaryDirectory(prefix="peers-") as folder, served() as url:
        work = Path(folder)
        write_work(work)
        environments = options.environments or work / "environments"
        pythons: dict[str, Path | None] = {"corral": None} | {one: install(environments, one) for one in options.peers}
        print(f"{processor()}; {CALLS} calls, {LATENCY * 1000:.0f} ms each")
        print(f"{'in flight':>9}  {'contestant':13}{'wall s':>8}{'CPU s':>8}{'asked':>7}{'at once':>9}{'lost':>6}")
        for in_flight in options.in_flight:
            rounds: list[dict[str, Took]] = []
            for number in range(options.repeats):
                order = list(pythons)[:: -1 if number % 2 else 1]
                rounds.append({one: race(one, pythons[one], url, in_flight, work, environments) for one in order})
                for one in pythons:
                    took = rounds[-1][one]
                    print(
                        f"{in_flight:9}  {one:13}{took.wall:8.1f}{took.cpu:8.1f}{took.asked:7}"
                        f"{took.most_in_flight:9}{took.lost:6}",
                        flush=True,
                    )
            lost += sum(one["corral"].lost for one in rounds)
            if options.peers:
                found[f"wall_ratio_best_peer_{in_flight}"] = round(ratio(rounds, "wall"), 3)
                found[f"cpu_ratio_best_peer_{in_flight}"] = round(ratio(rounds, "cpu"), 3)
    print(json.dumps(found | {"calls_lost": lost}))


if __name__ == "__main__":
    main()
