"""Do a run's rows have to fit into memory? 10,000, 100,000 and 1,000,000 rows through store, pages, report and export.

    python benchmarks/scale.py [--most 100000]

Rows are records: of nine, one prompt, four candidates and four judgements, about as long as real ones. Beside them
stand a ledger call for each candidate and two answers for each held-out prompt. A store is filled by bulk inserts; then
each command runs in a process of its own, the interpreter's start included. ``resume`` comes to the review and asks its
first page; ``review`` reads one from the middle of all that waits. ``waves`` sends out the ids of 100,000 pending
candidates, ten waves of them, and leaves their work out. The last line is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import json
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from langgraph.errors import GraphRecursionError
from langgraph.graph import START, StateGraph
from sqlalchemy import Table, text

from graph.fanout import BATCHES, LARGEST_BATCH, fan_out
from graph.inputs import begin
from graph.runs import Runs, open_runs
from nodes.assemble import make_assemble
from nodes.judge import CandidatesToJudge
from state.dimensions import DIMENSIONS
from state.pipeline import AdapterRef, BatchState, PipelineState
from state.records import Answer, Call, Candidate, DimensionScore, Judgement, Outcome, Sample
from state.request import RunRequest
from state.reviewing import ReviewStore
from state.rows import TABLES, row_of
from state.tables import call_uses, calls
from tools.people.asking import review_actions
from tools.people.items import load_items
from tools.settings import load_settings

SIZES = (10_000, 100_000, 1_000_000)
PENDING = 100_000
WAVES = 10
HOUSE = Path(__file__).resolve().parents[1]
SOURCES = {"seeds": str(HOUSE / "seeds" / "seed_tasks.jsonl"), "prompts": None}
RUN, ADAPTER = "scale", "ab" * 16
MEBIBYTE = 1 << 20
CHUNK = 1_000
"""Prompts inserted at a time."""
COMMANDS = {
    "resume": ("resume", RUN),
    "review": (),
    "assemble": (),
    "show": ("show", RUN),
    "report": ("report", RUN),
    "export": ("export", RUN, "--format", "sft", "--out", "exported.jsonl"),
}
"""What is measured, in this order: a command's arguments, or nothing for what this file does itself."""
SYLLABLES = "mi lo ta re vu so na der lin qua stor ben".split()
VOCABULARY = random.Random(0).choices([a + b for a in SYLLABLES for b in SYLLABLES], k=9_973)
"""Words without sense, in an order that hardly repeats itself, as the words of a good answer do."""


def hashed(*parts: object) -> str:
    """Return 32 hex digits, as a record's id has."""
    return hashlib.blake2b(repr(parts).encode(), digest_size=16).hexdigest()


def words(seed: int, count: int) -> str:
    """Return a text of some words, another one for each seed."""
    start = seed * 31 % (len(VOCABULARY) - count)
    return f"{' '.join(VOCABULARY[start : start + count])} {seed}."


def like(row: dict[str, Any], body: dict[str, Any], **columns: Any) -> dict[str, Any]:
    """Return a row that differs from another in these fields of the record, and these columns."""
    return {**row, **columns, "body": {**row["body"], **body}}


def templates() -> dict[Table, dict[str, Any]]:
    """Return a row of each table, made as the store makes it."""
    scores = tuple(DimensionScore(dimension=one, score=50.0, reason=words(1, 14)) for one in DIMENSIONS)
    records = (
        Sample(id="", instruction="", output=words(1, 40), origin="prompt", outcome=Outcome.ACCEPTED),
        Answer(id="", sample_id="", model="base", text="", ended=True),
        Candidate(id="", sample_id="", draw=0, text="", ended=True, call="k" * 64),
        Judgement(id="", candidate_id="", judge="crew-0123", scores=scores, confidence=0.5, feedback=words(1, 40)),
    )
    call = Call.model_validate(
        {
            "key": "",
            "run_id": RUN,
            "purpose": "respond",
            "endpoint": "http://127.0.0.1:1/v1",
            "model": "scripted",
            "request": {"messages": [{"role": "user", "content": words(1, 60)}], "temperature": 1.0, "seed": 1},
            "status": "answered",
            "text": words(1, 150),
            "finish_reason": "stop",
            "prompt_tokens": 80,
            "completion_tokens": 200,
            "cost": 0.0001,
            "started_at": "2026-01-02T12:00:00Z",
            "finished_at": "2026-01-02T12:00:04Z",
        }
    ).model_dump(mode="json")
    rows = {TABLES[type(record)]: row_of(RUN, record) for record in records}
    columns = [column for column in calls.columns.keys() if column != "body"]
    return rows | {calls: {column: call[column] for column in columns} | {"body": call}}


def rows_of(numbers: range, row: dict[Table, dict[str, Any]]) -> dict[Table, list[dict[str, Any]]]:
    """Return the rows of some prompts: of each its own, its answers if it is held out, and its candidates'."""
    found: dict[Table, list[dict[str, Any]]] = {table: [] for table in (*row, call_uses)}
    samples, answers = TABLES[Sample], TABLES[Answer]
    for number in numbers:
        id_, held, written = hashed(number), number % 20 == 0, number % 2
        outcome = "waiting" if number % 50 == 1 else "rejected" if number % 10 == 3 else "accepted"
        reason = "" if outcome == "accepted" else "too_similar"
        body = {"id": id_, "instruction": words(number, 60), "outcome": outcome, "round": written}
        body |= {"split": "heldout" if held else "train", "origin": "generated" if written else "prompt"}
        body |= {"reasons": [f"{reason}: ROUGE-L above 0.7 with {words(number, 12)}"] if reason else []}
        own = {name: body[name] for name in ("id", "outcome", "origin", "round")}
        own |= {"tag": body["split"], "reason": reason}
        found[samples].append(like(row[samples], body, **own))
        for model in ("base", ADAPTER) if held else ():
            answer = {"id": hashed(id_, model), "sample_id": id_, "model": model, "text": words(number, 120)}
            found[answers].append(like(row[answers], answer, id=answer["id"], parent=id_, tag=model))
        for draw in range(4):
            _add_candidate(found, row, id_, 4 * number + draw, draw)
    return found


def _add_candidate(
    found: dict[Table, list[dict[str, Any]]], row: dict[Table, dict[str, Any]], sample: str, seed: int, draw: int
) -> None:
    """Add a candidate of 1 KB, its judgement of 1.5 KB, and its call of 2 KB with the call's use."""
    candidates, judgements = TABLES[Candidate], TABLES[Judgement]
    id_, judged, key, text_ = hashed(sample, draw), hashed(sample, draw, "j"), 2 * hashed(seed), words(seed, 150)
    stars, outcome = ((5, "accepted"), (2, "rejected"), (3, "waiting"), (1, "rejected"))[draw]
    body = {"id": id_, "sample_id": sample, "draw": draw, "text": text_, "call": key, "outcome": outcome}
    found[candidates].append(like(row[candidates], body, id=id_, parent=sample, outcome=outcome))
    said = {"id": judged, "candidate_id": id_, "stars": stars, "overall": 18.0 * stars, "outcome": outcome}
    found[judgements].append(like(row[judgements], said, id=judged, parent=id_, outcome=outcome))
    found[calls].append(like(row[calls], {"key": key, "text": text_}, key=key))
    found[call_uses].append({"run_id": RUN, "key": key, "purpose": "respond"})


async def insert(runs: Runs, rows: dict[Table, list[dict[str, Any]]]) -> None:
    """Insert rows in one transaction."""
    async with runs.services.database.writing() as connection:
        for table, some in rows.items():
            if some:
                await connection.execute(table.insert(), some)


async def fill(runs: Runs, size: int) -> None:
    """Make the run, with ``size`` rows, as one that has been judged."""
    request = RunRequest.model_validate({"sources": SOURCES, "train": {"recipe": "sft+dpo"}})
    await begin(runs.services, RUN, request)
    row = templates()
    for start in range(0, size // 9, CHUNK):
        numbers = range(start, min(start + CHUNK, size // 9))
        await insert(runs, rows_of(numbers, row))
    await runs.pipeline.aupdate_state(thread(), {"request": request, "round": 1}, as_node="judge")


async def review(runs: Runs, _size: int) -> None:
    """Read one page of what waits, from the middle, and make its question."""
    request, people = await runs.services.store.request_of(RUN), ReviewStore(runs.services.database)
    waiting = await people.count(RUN)
    tasks = await people.tasks(RUN, start=waiting // 2, size=request.review.page)
    items = await load_items(runs.services.store, RUN, tasks)
    print(len(review_actions(items, request)), "of", waiting)


async def assemble(runs: Runs, _size: int) -> None:
    """Write the dataset, and note it in the run's state, with an adapter that has answered."""
    store, home = runs.services.store, runs.services.settings.home
    state = PipelineState(run_id=RUN, request=await store.request_of(RUN))
    update = await make_assemble(store, runs.services.runs_folder, home)(state)
    adapter = AdapterRef(id=ADAPTER, folder=str(runs.services.runs_folder / RUN / "adapter"))
    await runs.pipeline.aupdate_state(thread(), {**update, "adapter": adapter}, as_node="train")


async def waves(runs: Runs, size: int) -> None:
    """Print the bytes of checkpoints that a superstep of a fan-out over ``size`` pending candidates leaves."""
    request = RunRequest.model_validate({"sources": SOURCES})
    await begin(runs.services, RUN, request)
    table = TABLES[Candidate]
    row = templates()[table]
    for start in range(0, size, CHUNK):
        ids = [hashed(number) for number in range(start, min(start + CHUNK, size))]
        await insert(runs, {table: [like(row, {"id": id_}, id=id_) for id_ in ids]})

    async def work(_state: BatchState) -> PipelineState:
        return {}

    graph = StateGraph(PipelineState)
    graph.add_node("judge", fan_out("judge", CandidatesToJudge(runs.services.store), work, runs.services))
    graph.add_edge(START, "judge")
    compiled = graph.compile(checkpointer=runs.saver)
    try:
        await compiled.ainvoke({"request": request}, {**thread(), "recursion_limit": 2 * WAVES}, durability="sync")
    except GraphRecursionError:
        pass  # as many waves as are to be measured
    checkpoints, writes = (
        "SELECT count(*), sum(length(checkpoint) + length(metadata)) FROM checkpoints",
        "SELECT count(*), sum(length(value)) FROM writes",
    )
    async with runs.services.database.reading() as connection:
        (supersteps, kept), (_, written) = [
            (await connection.execute(text(query))).one() for query in (checkpoints, writes)
        ]
    print(json.dumps({"bytes": kept + written, "supersteps": supersteps, "ids": WAVES * BATCHES * LARGEST_BATCH}))


def thread() -> Any:
    """Return the configuration that names the run."""
    return {"configurable": {"thread_id": RUN}}


def here(task: str, size: int) -> None:
    """Do one task in this process."""
    works = {"fill": fill, "review": review, "assemble": assemble, "waves": waves}

    async def work() -> None:
        async with open_runs(load_settings()) as runs:
            await works[task](runs, size)

    asyncio.run(work())


def measured(command: list[str], home: Path, accepts: tuple[int, ...] = (0,)) -> tuple[float, float, str]:
    """Run a command over a home; return its peak of resident memory in MiB, its seconds, and what it printed."""
    environment = os.environ | {"CORRAL_HOME": str(home), "PYTHONPATH": str(HOUSE)}
    began = time.perf_counter()
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(command, cwd=home, env=environment, stdout=output, stderr=output)
        _, status, usage = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        output.seek(0)
        said = output.read()
    if os.waitstatus_to_exitcode(status) not in accepts:
        sys.exit(f"{' '.join(command)} ended with status {os.waitstatus_to_exitcode(status)}:\n{said}")
    unit = 1 if sys.platform == "darwin" else 1024
    return usage.ru_maxrss * unit / MEBIBYTE, seconds, said


def measure(size: int) -> dict[str, tuple[float, float]]:
    """Fill a home with so many rows; return MiB and seconds of each command, and print them."""
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        home, found = Path(folder), {}
        _, seconds, _ = measured([sys.executable, __file__, "--task", "fill", "--most", str(size)], home)
        bytes_ = sum(path.stat().st_size for path in home.glob("corral.db*"))
        print(f"{size:>9,}  filled in {seconds:.0f} s, a database of {bytes_ / MEBIBYTE:,.0f} MiB", flush=True)
        for name, arguments in COMMANDS.items():
            own = [__file__, "--task", name, "--most", str(size)]
            command = [sys.executable, *(["-m", "corral.cli", *arguments] if arguments else own)]
            memory, seconds, _ = measured(command, home, (0, 3))
            found[name] = memory, seconds
            print(f"{size:>9,}  {name:8}  {memory:>9,.0f}  {seconds:>8.1f}", flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--most", type=int, default=SIZES[-1], help="leave out the sizes above")
    parser.add_argument("--task", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.task:
        here(arguments.task, arguments.most)
        return
    print("     rows  command   peak MiB of resident memory   seconds of the clock, the interpreter's start included")
    found = {size: measure(size) for size in SIZES if size <= arguments.most}
    with tempfile.TemporaryDirectory(prefix="scale-") as folder:
        command = [sys.executable, __file__, "--task", "waves", "--most", str(PENDING)]
        left = json.loads(measured(command, Path(folder))[2].splitlines()[-1])
    each = left["bytes"] / left["supersteps"] / 1024
    left_by = f"{left['supersteps']} checkpoints of {each:.1f} KiB each"
    print(f"waves: {left['ids']:,} of {PENDING:,} pending ids sent out, {left_by}")
    first, last = SIZES[1:]
    growth = [found[last][name][0] / found[first][name][0] for name in COMMANDS] if last in found else []
    print("growth: the greatest ratio, over the commands, of the peak at 1,000,000 rows to that at 100,000")
    show = found.get(last, {}).get("show", (None, None))
    print(
        json.dumps(
            {
                "rss_mb_show_1m": show[0] and round(show[0], 1),
                "seconds_show_1m": show[1] and round(show[1], 1),
                "checkpoint_kb_per_superstep_100k": round(each, 1),
                "growth_100k_1m": round(max(growth), 2) if growth else None,
            }
        )
    )


if __name__ == "__main__":
    main()
