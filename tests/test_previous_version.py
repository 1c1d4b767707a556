"""A home that the version before left: its database opens, and its runs are shown, reported and gone on with.

``data/make_previous_version.py`` made it. Nothing in the database is rewritten here: the places in it are those of the
machine it was made on, and are not there.
"""

from __future__ import annotations

import json
import shutil
import sqlite3
import tarfile
from collections import Counter
from pathlib import Path

import pytest
from sqlalchemy import Connection, MetaData, inspect, text

from graph.runs import open_runs
from state.calls import CallStore
from state.checkpoints import CHECKPOINTED
from state.database import Database
from state.errors import StorageError, UnreadableRun
from state.migrations import HEAD, VERSION_TABLE
from state.records import Judgement, Outcome, Sample
from state.request import RunRequest
from state.rows import TABLES
from state.store import RecordStore
from state.tables import metadata
from tests.builders import call, candidate, judgement, sample
from tests.data.make_previous_version import PORT
from tests.harness import Corral, refused
from tests.scripted_answers import request_hash
from tests.scripted_server import ScriptedServer
from tests.tiny_model import tiny_model
from tools.settings import load_settings

ARCHIVE = Path(__file__).parent / "data" / "previous_version.tar.xz"
STANDING = {"finished": ("done", ""), "waiting": ("waiting", "review"), "stopped": ("stopped", "judge")}


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Unpack the home, away from the files of its runs."""
    with tarfile.open(ARCHIVE) as archive:
        archive.extractall(tmp_path, filter="data")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    return tmp_path / "home"


def standings(corral: Corral) -> dict[str, tuple[str, str]]:
    code, out, error = corral("runs", "--json")
    assert code == 0, error
    return {run["run_id"]: (run["standing"], run["step"]) for run in json.loads(out)}


def change(home: Path, sql: str) -> None:
    with sqlite3.connect(home / "corral.db") as database:
        database.execute(sql)
    database.close()


@pytest.mark.usefixtures("home")
def test_its_runs_are_listed_and_shown(corral: Corral) -> None:
    assert standings(corral) == STANDING
    for run in STANDING:
        code, out, error = corral("show", run, "--json")
        accounts = json.loads(out)["accounts"]
        assert code == 0, error
        assert accounts["costs"] == [] and "prompts.jsonl" not in accounts["costs_note"]
        assert "seeds/seed_tasks.jsonl" in accounts["costs_note"], "the estimate is left out, with the reason"
        assert all(row["total"] == sum(row[one] for one in OUTCOMES) for row in accounts["rows"])
        assert {"judge.accuracy", "respond"} <= {used["purpose"] for used in accounts["calls"]}
    code, out, _ = corral("show", "finished")
    assert code == 0 and "Base against adapter on 3 held-out prompts" in out, "its scoreboard is found where it is now"


OUTCOMES = ("accepted", "rejected", "waiting", "pending", "failed")


@pytest.mark.parametrize("run", STANDING)
def test_its_runs_are_reported(run: str, corral: Corral, home: Path) -> None:
    code, _, error = corral("report", run, "--out", "page.html")
    page = Path("page.html").read_text()
    assert code == 0, error
    assert "judge.accuracy" in page and "not known" in page
    assert ('id="scoreboard"' in page) == (run == "finished")


def test_a_run_without_its_files_says_what_to_copy_where(corral: Corral, home: Path) -> None:
    inputs = home / "runs" / "waiting" / "inputs"
    answer = ("review", "waiting", "--all", "reject")
    refused(corral(*answer), "seeds/seed_tasks.jsonl", f"copy it to {inputs / 'seeds.jsonl'}")
    inputs.mkdir()
    shutil.copy(home.parent / "seeds" / "seed_tasks.jsonl", inputs / "seeds.jsonl")
    refused(corral(*answer), "prompts.jsonl", f"copy it to {inputs / 'prompts.jsonl'}")
    assert standings(corral) == STANDING, "nothing is lost by asking"
    shutil.copy(home.parent / "prompts.jsonl", inputs / "prompts.jsonl")
    # There is no model to train here, so it fails behind the review.
    code, _, error = corral(*answer)
    assert code == 2 and "models.base" in error and error.count("\n") == 1
    assert standings(corral)["waiting"] == ("failed", "train")
    assert json.loads(corral("show", "waiting", "--json")[1])["accounts"]["costs"] != []


@pytest.mark.usefixtures("in_this_process")
def test_a_killed_run_goes_on_to_its_end(
    corral: Corral, home: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(home.parent)
    tiny_model(Path("base"))
    paid = [json.loads(body) for (body,) in _rows(home, "SELECT body FROM calls WHERE status = 'answered'")]
    with ScriptedServer(port=PORT) as server:
        code, _, error = corral("resume", "stopped")
        assert code == 0, error
        asked = Counter(seen.hash for seen in server.answered)
    assert asked and not {request_hash(one["request"]) for one in paid} & set(asked), "nothing is paid for twice"
    shown = json.loads(corral("show", "stopped", "--json")[1])
    assert shown["status"]["standing"] == "done" and shown["verdict"]["prompts"] == 3
    assert all(row["pending"] == 0 for row in shown["accounts"]["rows"])
    assert sorted(path.name for path in (home / "runs" / "stopped" / "inputs").iterdir()) == [
        "manifest.json",
        "prompts.jsonl",
        "seeds.jsonl",
    ]


def _rows(home: Path, sql: str) -> list[tuple[str]]:
    with sqlite3.connect(home / "corral.db") as database:
        rows = database.execute(sql).fetchall()
    database.close()
    return rows


@pytest.mark.usefixtures("home", "corral")
async def test_what_its_checkpoints_hold_comes_back_as_what_it_was() -> None:
    async with open_runs(load_settings()) as runs:
        state = await runs.state("finished")
        for name in ("request", "dataset", "adapter", "verdict", "approval", "training_decision", "next_round"):
            assert type(state[name]) in CHECKPOINTED  # type: ignore[literal-required]  # a key of the state
        assert state["request"] == RunRequest.model_validate(state["request"].model_dump())
        assert state["request"].judge.review_from == 50
        assert Path(state["dataset"].folder).is_dir() and Path(state["verdict"].scoreboard).is_file()


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ("json_set(request, '$.judge.mood', 1)", "judge.mood: unknown here"),
        ("json_set(request, '$.train', json('[]'))", "train: Input should be a valid dictionary"),
        ("json_remove(request, '$.models.policy.model')", None),
    ],
)
def test_a_request_that_cannot_be_read_is_one_line_and_hides_no_other_run(
    edit: str, said: str | None, corral: Corral, home: Path
) -> None:
    corral("runs")
    change(home, f"UPDATE runs SET request = {edit} WHERE run_id = 'waiting'")
    if said is None:  # what has a default is not missed
        assert standings(corral) == STANDING
        return
    assert standings(corral) == STANDING | {"waiting": ("unreadable", "")}
    assert "unreadable" in corral("runs")[1]
    for command in (("show", "waiting"), ("report", "waiting"), ("resume", "waiting"), ("review", "waiting")):
        refused(corral(*command), f"the request of run waiting cannot be read ({said}", "start it anew")


def test_a_request_of_a_newer_format_is_one_line(corral: Corral, home: Path) -> None:
    corral("runs")
    change(home, "UPDATE runs SET format = 99 WHERE run_id = 'waiting'")
    refused(corral("show", "waiting"), "run waiting was begun by a newer version", "format 99")


def test_a_database_of_a_newer_version_is_one_line(corral: Corral, home: Path) -> None:
    corral("runs")
    change(home, f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    refused(corral("runs"), "a newer version of Corral has written the database", "9999", "install that version")


async def test_its_tables_become_what_a_new_database_gets(home: Path) -> None:
    found = []
    for place in (home / "corral.db", home / "new.db"):
        database = Database(f"sqlite:///{place}")
        await database.create()
        await database.create()
        async with database.reading() as connection:
            tables = await connection.run_sync(_tables)
            assert (await connection.execute(text(f"SELECT version_num FROM {VERSION_TABLE}"))).scalars().all() == [
                HEAD
            ]
        await database.close()
        found.append(tables)
    old, new = found
    assert {name: old[name] for name in metadata.tables} == new == {name: new[name] for name in metadata.tables}


def _tables(connection: object) -> dict[str, tuple[dict[str, tuple[str, bool]], set[tuple[str, ...]]]]:
    reflected = MetaData()
    reflected.reflect(connection, only=lambda name, _: name in metadata.tables)  # type: ignore[arg-type]
    return {
        name: (
            {column.name: (str(column.type), bool(column.nullable)) for column in table.columns},
            {(str(index.name), *index.columns.keys()) for index in table.indexes},
        )
        for name, table in reflected.tables.items()
    }


async def test_the_first_tables_are_migrated_in_both_databases(database: Database) -> None:
    store, calls = RecordStore(database), CallStore(database)
    await store.open_run("old", RunRequest())
    await calls.put(call("k", "old"))
    await calls.use("old", "k", "judge:accuracy")
    held = sample("Held.", split="heldout", outcome=Outcome.REJECTED, reasons=("too_short: 1 word",))
    written = sample("Told.", origin="generated", round=2, call="k")
    await store.add("old", [held, written])
    drawn = candidate(held)
    await store.add("old", [drawn])
    await store.add("old", [judgement(drawn)])
    async with database.writing() as connection:
        await connection.run_sync(_make_first_tables)
        await connection.execute(text(f"DROP TABLE {VERSION_TABLE}"))
    await database.create()
    assert await store.request_of("old") == RunRequest()
    assert [tally.purpose for tally in await calls.tally("old")] == ["judge.accuracy"]
    assert sorted([row async for row in store.reasons("old", Sample)]) == [
        ("heldout", "prompt", "rejected", "too_short", 1),
        ("train", "generated", "accepted", "", 1),
    ]
    assert await store.find("old", Sample, round=2) == [written] and await store.count_parents("old", Sample) == 1
    assert await store.tally("old", Judgement) == {("crew-1", "accepted"): 1}
    async with database.writing() as connection:
        assert VERSION_TABLE in await connection.run_sync(lambda sync: inspect(sync).get_table_names())
        await connection.execute(text("UPDATE runs SET format = 99"))
        await connection.execute(text(f"UPDATE {VERSION_TABLE} SET version_num = '9999'"))
    with pytest.raises(UnreadableRun, match="newer version"):
        await store.request_of("old")
    with pytest.raises(StorageError, match=r"revision 9999, here \d+"):
        await database.create()


LATER = ("format", "lease_epoch", "spent", "reserved", "in_doubt")
"""Columns of runs that came with revisions."""


def _make_first_tables(connection: Connection) -> None:
    """Take away what came with the revisions; the values of columns that stay are what the first version wrote."""
    for index in [index for table in metadata.tables.values() for index in table.indexes]:
        connection.execute(text(f"DROP INDEX {index.name}"))
    for table in ("review_tasks", "drafts", "ratings"):
        connection.execute(text(f"DROP TABLE {table}"))
    for table in sorted({table.name for table in TABLES.values()} - {"review_tasks", "drafts", "ratings"}):
        connection.execute(text(f"ALTER TABLE {table} DROP COLUMN reason"))
        connection.execute(text(f"CREATE INDEX {table}_parent ON {table} (run_id, parent)"))
        connection.execute(text(f"CREATE INDEX {table}_outcome ON {table} (run_id, tag, outcome)"))
    for table, column in (("samples", "origin"), ("samples", "round"), *(("runs", name) for name in LATER)):
        connection.execute(text(f"ALTER TABLE {table} DROP COLUMN {column}"))
    connection.execute(text("UPDATE samples SET parent = ''"))
    connection.execute(text("UPDATE judgements SET tag = ''"))
    connection.execute(text("CREATE INDEX ix_calls_run_id ON calls (run_id)"))


def test_the_newest_revision_is_the_one_that_is_noted() -> None:
    from alembic.script import ScriptDirectory

    import state.migrations

    scripts = ScriptDirectory(str(Path(str(state.migrations.__file__)).parent))
    assert scripts.get_heads() == [HEAD]
    revisions = [script.revision for script in scripts.walk_revisions()]
    assert revisions == sorted(revisions, reverse=True), "numbers, so that a newer one is greater"
