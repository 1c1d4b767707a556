"""Foreign text on a terminal: whatever a model, a server or a file says, it can neither steer the terminal nor hide."""

from __future__ import annotations

import asyncio
import io
import json
import logging
import os
import subprocess
import sys
import threading
import unicodedata
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.table import Table
from rich.text import Text

from corral.cli.ask import show
from corral.cli.judging import _print_judged
from corral.cli.terminal import Terminal
from corral.cli.watch import PlainView, open_view
from state.database import Database
from state.records import GenerationRound, Outcome
from state.request import RunRequest
from state.store import RecordStore
from tests.builders import candidate, judgement, review, sample
from tests.harness import ROOT, Corral
from tools.judging.quality import QualityReport, QualityRow
from tools.progress import Meter, Progress
from tools.visible import one_line, visible

HOSTILE = (
    "start\x1b[2J\x1b]0;T\x07\x1b]52;c;aGk=\x07\x08\x9b31m\u202eevil\u202c\u200b\u2066\u2028\u2029\x85\ufeff\u3164\udc80"
    "\U000e0041\r[bold red]x[/bold red][/nothing]:smile:end"
)
SHOWN = ("\\x1b[2J", "\\u202e", "\\udc80", "[bold red]x[/bold red]", "[/nothing]", ":smile:")


def raw(text: str) -> list[str]:
    """Return the characters of a text that would steer a terminal, or hide."""
    bad = {"Cc", "Cf", "Cs", "Zl", "Zp"}
    return [hex(ord(c)) for c in text if c not in "\n\t" and (unicodedata.category(c) in bad or c == "\u3164")]


def assert_visible(*texts: str, shown: tuple[str, ...] = SHOWN[:2]) -> None:
    joined = "".join(texts)
    assert raw(joined) == []
    unwrapped = joined.replace("\n", "").replace("\u2502", "")
    assert all(part in unwrapped for part in shown), joined


@given(st.text(st.characters()))
def test_visible_text_has_no_character_that_steers_or_hides(text: str) -> None:
    assert raw(visible(text)) == []
    assert "\n" not in one_line(text) and "\t" not in one_line(text)
    assert visible(visible(text)) == visible(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "plain",
        "two\nlines\tand a tab",
        "caf\u00e9 \u00a0 \u2003 \u4f60\u597d \u0645\u0631\u062d\u0628\u0627",
        "\u2764\ufe0f \U0001f600",
    ],
)
def test_what_has_a_shape_stays_as_it_is(text: str) -> None:
    assert visible(text) == text


def terminal() -> tuple[Terminal, io.StringIO]:
    written = io.StringIO()
    return Terminal(file=written, width=500), written


def test_whatever_is_printed_on_a_terminal_is_visible() -> None:
    console, written = terminal()
    table = Table(HOSTILE, title=HOSTILE)
    table.add_row(HOSTILE)
    for thing in (HOSTILE, table, Text("\x1b[31m\u202e" + HOSTILE)):
        console.print(thing)
        assert_visible(written.getvalue(), shown=SHOWN)
        written.seek(written.truncate(0))


def test_a_terminal_keeps_its_own_colours() -> None:
    written = io.StringIO()
    Terminal(file=written, force_terminal=True, color_system="standard").print("red \x1b[2J", style="red")
    assert written.getvalue() == "\x1b[31mred \\x1b[2J\x1b[0m\n"


def test_a_reviewer_sees_what_an_answer_holds() -> None:
    console, written = terminal()
    action = {"name": "review_completion", "args": {"prompt": HOSTILE, "completion": HOSTILE}, "description": HOSTILE}
    show(console, action, "1 of 1")
    assert_visible(written.getvalue(), shown=SHOWN)
    assert written.getvalue().replace("\n", "").count("\\x1b[2J") == 3


def test_progress_and_judgements_are_visible() -> None:
    console, written = terminal()
    PlainView(console).show(Meter().add(Progress(step="train", advance=1, total=1, note=HOSTILE), 0.0))
    assert_visible(written.getvalue(), shown=SHOWN)
    shown = io.StringIO()
    bars = Terminal(file=shown, force_terminal=True, color_system=None, width=500)
    with open_view(bars) as view:
        view.show(Meter().add(Progress(step="train", advance=1, total=2, note=HOSTILE), 0.0))
    assert "\\x1b[2J" in shown.getvalue() and "\x1b[2J" not in shown.getvalue() and "\u202e" not in shown.getvalue()


def test_a_judgements_reasons_are_visible(capsys: pytest.CaptureFixture[str]) -> None:
    of = judgement(candidate(sample(HOSTILE), HOSTILE), judge=HOSTILE, reasons=(HOSTILE,))
    row = QualityRow(row=1, prompt=HOSTILE, output=HOSTILE, judgement=of)
    none = dict.fromkeys(("mean_overall", "mean_stars", "mean_confidence"))
    counts = dict.fromkeys(("accepted", "waiting", "rejected", "failed"), 0)
    report = QualityReport.model_validate(
        {"judge": HOSTILE, "rows": (row,), "dimensions": {}, "failed_checks": {}} | none | counts
    )
    _print_judged(report)
    assert_visible(capsys.readouterr().out)


@pytest.fixture
def hostile_server() -> Iterator[str]:
    class Answers(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({"error": {"message": HOSTILE}}).encode()
            self.send_response(418)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", 0), Answers)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}/v1"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.mark.parametrize(
    "arguments",
    [
        ("show", HOSTILE),
        ("resume", HOSTILE),
        ("review", HOSTILE),
        ("approve", HOSTILE, "--comment", "x"),
        ("report", HOSTILE),
        ("export", HOSTILE, "--format", "sft"),
        ("rollback", HOSTILE),
        ("run", HOSTILE),
        ("run", "--set", f"{HOSTILE}=1"),
        ("run", "--set", f"train.{HOSTILE}=1"),
        ("run", "--run-id", HOSTILE),
        ("gate", HOSTILE, "--out", "/none"),
        ("judge", HOSTILE),
        ("compare", HOSTILE, HOSTILE),
        ("calibrate", HOSTILE),
        ("evaluate", HOSTILE, "--prompts", HOSTILE),
    ],
    ids=lambda arguments: " ".join(arguments[:2]).split("start")[0],
)
def test_a_command_names_what_it_was_given_visibly(corral: Corral, arguments: tuple[str, ...]) -> None:
    code, out, error = corral(*arguments)
    assert code == 2 and error
    assert_visible(out, error, shown=())


def test_a_servers_words_are_visible(corral: Corral, hostile_server: str) -> None:
    code, out, error = corral("run", "--set", f"models.judge={{base_url: '{hostile_server}', model: m}}")
    assert code != 0 and error.count("\n") == 1
    assert_visible(out, error)


async def fill(home: Path) -> None:
    database = Database(f"sqlite:///{home / 'corral.db'}")
    await database.create()
    store = RecordStore(database)
    await store.open_run("mine", RunRequest())
    rows = [sample(HOSTILE, reasons=(HOSTILE,), outcome=Outcome.REJECTED)]
    await store.add("mine", rows)
    await store.add("mine", [candidate(rows[0], HOSTILE, outcome=Outcome.REJECTED, reasons=(HOSTILE,))])
    await store.add("mine", [review("x", reviewer=HOSTILE)])
    await store.add(
        "mine",
        [GenerationRound(id="r", round=1, offered=1, accepted=0, novelty=0.5, decision=HOSTILE, reason=HOSTILE)],
    )
    await database.close()


def test_a_run_with_hostile_rows_is_shown_visibly_and_exactly_as_json(corral: Corral, tmp_path: Path) -> None:
    asyncio.run(fill(tmp_path / "home"))
    for command in (("runs",), ("show", "mine")):
        code, out, error = corral(*command)
        assert code == 0, (out, error)
        assert_visible(out, error, shown=SHOWN[:1] if command[0] == "show" else ())
    code, out, _ = corral("show", "mine", "--json")
    assert json.loads(out)["accounts"]["rounds"][0]["reason"] == HOSTILE


def test_rows_that_cannot_be_read_are_named_visibly(corral: Corral, tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_text(json.dumps({HOSTILE: 1}) + "\n" + HOSTILE.replace("\udc80", "") + "\n")
    _, out, error = corral("gate", str(tmp_path / "rows.jsonl"), "--out", str(tmp_path / "out"))
    assert_visible(out, error, shown=())


def test_what_python_prints_itself_is_visible() -> None:
    code = (
        "import logging, corral.cli.terminal as t; t.make_visible(); text = 'a\\x1b[2J\\u202e'\n"
        "logging.getLogger('stranger').warning(text)\nlogging.getLogger('tools.x').warning(text)\n"
        "raise ValueError(text)"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 1
    assert raw(done.stderr) == [] and done.stderr.count("a\\x1b[2J\\u202e") == 3


def test_the_last_resort_is_visible(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from corral.cli.terminal import make_visible

    monkeypatch.setattr(logging, "lastResort", logging.lastResort)
    monkeypatch.setattr(sys, "excepthook", sys.excepthook)
    make_visible()
    assert logging.lastResort is not None
    logging.lastResort.handle(logging.makeLogRecord({"msg": HOSTILE, "levelno": logging.WARNING}))
    assert_visible(capsys.readouterr().err, shown=SHOWN)
