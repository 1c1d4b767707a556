"""Logs: a run's events in its folder, in order; levels; no secret; one line whatever is said."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import SecretStr

from corral import RunRequest, open_runs
from state.errors import BadInput, CorralError
from tests.harness import request_of, write_prompts
from tests.scripted_server import ScriptedServer
from tools.logs import MASK, PACKAGES, RUN_LOG, JsonFormatter, configure_logs, flush_logs, logged_run
from tools.settings import Settings

logger = logging.getLogger("tools.something")


@pytest.fixture(autouse=True)
def loggers_as_before() -> Iterator[None]:
    yield
    for name in PACKAGES:
        logging.getLogger(name).handlers.clear()
        logging.getLogger(name).propagate = True
        logging.getLogger(name).setLevel(logging.NOTSET)


def settings_of(folder: Path, **values: Any) -> Settings:
    return Settings.model_validate({"home": folder / "home"} | values)


def lines_of(folder: Path) -> list[dict[str, Any]]:
    flush_logs()
    path = folder / RUN_LOG
    return [json.loads(line) for line in path.read_text().splitlines()] if path.exists() else []


def record(message: str, **extra: object) -> logging.LogRecord:
    return logging.makeLogRecord({"name": "tools.x", "levelname": "INFO", "msg": message, **extra})


async def test_a_runs_events_are_in_its_folder_in_order(tmp_path: Path) -> None:
    with ScriptedServer() as server:
        written = request_of(
            server.url, Path("nobody/no-model"), write_prompts(tmp_path / "prompts.jsonl"), unattended=False
        )
        async with open_runs(settings_of(tmp_path)) as runs:
            run_id = await runs.create(RunRequest.model_validate(written), "mine")
            [_ async for _ in runs.advance(run_id)]
            with pytest.raises(BadInput, match="does not fit"):
                [_ async for _ in runs.advance(run_id, {"decisions": []})]
            with pytest.raises(CorralError, match="no-model"):  # there is no model to train
                while True:
                    items = len((await runs.interrupts(run_id))[0].value["action_requests"])
                    answer = {"decisions": [{"type": "reject"}] * items, "reviewer": "tester"}
                    [_ async for _ in runs.advance(run_id, answer)]
    lines = lines_of(tmp_path / "home" / "runs" / "mine")
    assert all(line["run"] == "mine" and set(line) >= {"time", "level", "event", "logger"} for line in lines)
    ofrun = [line["event"] for line in lines if "step" not in line]
    assert ofrun[:4] == ["run created", "run started", "run waiting", "run resumed"]
    assert ofrun[-1] == "run failed"
    ended = list(dict.fromkeys(line["step"] for line in lines if line["event"] == "step ended"))
    assert {line["task"] for line in lines if line.get("step") == "respond"} >= {"next_wave", "respond"}
    assert ended[:4] == ["generate", "gate", "respond", "judge"] and "assemble" in ended
    assert all(line["seconds"] >= 0 for line in lines if line["event"] == "step ended")
    steps = {line["event"]: line for line in lines if "step" in line}
    assert steps["step waits for a person"]["step"] == steps["answer refused"]["step"] == "review"
    assert steps["step failed"]["level"] == "ERROR" and "no-model" in steps["step failed"]["error"]


async def test_a_call_that_failed_after_its_tries_is_a_warning(tmp_path: Path) -> None:
    from state.calls import CallStore
    from state.database import Database
    from state.request import Endpoint
    from tools.endpoint import open_endpoint
    from tools.endpoint.chat import ChatCall

    settings = settings_of(tmp_path)
    configure_logs(settings)
    database = Database(settings.database_url)
    await database.create()
    spec = Endpoint(base_url="http://127.0.0.1:9/v1", model="none", attempts=1)
    endpoint = await open_endpoint(spec, CallStore(database), "mine", settings)
    call = ChatCall(purpose="judge", messages=[{"role": "user", "content": "Hello"}])
    with logged_run("mine", tmp_path / "mine", "judge"), pytest.raises(CorralError):
        await endpoint.complete(call)
    await database.close()
    (line,) = lines_of(tmp_path / "mine")
    assert (line["level"], line["event"], line["purpose"], line["step"]) == ("WARNING", "call failed", "judge", "judge")
    assert "127.0.0.1:9" in line["error"] and line["attempts"] == 1


def log_at_every_level(folder: Path) -> None:
    with logged_run("mine", folder):
        for level in ("debug", "info", "warning", "error"):
            getattr(logger, level)(level)


@pytest.mark.parametrize(
    ("level", "kept"),
    [
        (None, ["info", "warning", "error"]),
        ("DEBUG", ["debug", "info", "warning", "error"]),
        ("ERROR", ["error"]),
    ],
)
def test_the_level_filters_and_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], level: str | None, kept: list[str]
) -> None:
    configure_logs(settings_of(tmp_path, log_level=level))
    log_at_every_level(tmp_path / "mine")
    assert [line["event"] for line in lines_of(tmp_path / "mine")] == kept
    shown = [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]
    assert shown == (kept if level else [])


def test_a_warning_of_no_run_is_shown_in_plain_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    configure_logs(settings_of(tmp_path))
    root = logging.StreamHandler(sys.stderr)
    logging.root.addHandler(root)
    try:
        logger.info("quiet")
        logger.warning("waiting for %d answers", 3)
        logger.warning("no version", extra={"version": "v2", "error": "not\nthere, 100%s"})
        with logged_run("mine", tmp_path / "mine"):
            logger.warning("in the run's log alone")
    finally:
        logging.root.removeHandler(root)
    shown = capsys.readouterr().err
    assert shown == "waiting for 3 answers\nno version; version v2; error not\\nthere, 100%s\n"


def test_configuring_twice_logs_once(tmp_path: Path) -> None:
    for _ in range(2):
        configure_logs(settings_of(tmp_path))
    log_at_every_level(tmp_path / "mine")
    assert len(lines_of(tmp_path / "mine")) == 3


def test_two_runs_at_once_have_a_log_each(tmp_path: Path) -> None:
    configure_logs(settings_of(tmp_path))
    with logged_run("outer", tmp_path / "outer"):
        with logged_run("inner", tmp_path / "inner", "gate"):
            logger.info("inside")
        logger.info("outside")
    logger.info("of no run")
    assert [line["event"] for line in lines_of(tmp_path / "outer")] == ["outside"]
    assert [(line["event"], line["step"]) for line in lines_of(tmp_path / "inner")] == [("inside", "gate")]


def test_a_log_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    configure_logs(settings_of(tmp_path))
    with logged_run("mine", Path("/proc/none")):
        logger.info("lost")
    log_at_every_level(tmp_path / "mine")
    assert len(lines_of(tmp_path / "mine")) == 3


@pytest.mark.parametrize(
    ("said", "written"),
    [
        ("the key my-own-key is refused", f"the key {MASK} is refused"),
        ("Incorrect API key: sk-proj-abcdefgh1234567", f"Incorrect API key: {MASK}"),
        ("Authorization: Bearer abc.def", f"Authorization: Bearer {MASK}"),
        ("postgresql://ada:pass@host/db", f"postgresql://{MASK}@host/db"),
        ("http://host/v1?api_key=12345&x=1", f"http://host/v1?api_key={MASK}&x=1"),
        ("a risk-free task-force of http://127.0.0.1:9/v1", "a risk-free task-force of http://127.0.0.1:9/v1"),
    ],
)
def test_a_secret_is_masked(tmp_path: Path, said: str, written: str) -> None:
    configure_logs(settings_of(tmp_path, openai_api_key=SecretStr("my-own-key,none")))
    with logged_run("mine", tmp_path / "mine"):
        logger.warning("%s", said, extra={"error": CorralError(said)})
    (line,) = lines_of(tmp_path / "mine")
    assert line["event"] == line["error"] == written


def test_an_exception_has_its_traceback_in_the_same_line() -> None:
    try:
        raise ValueError("wrong")
    except ValueError as error:
        info = (ValueError, error, error.__traceback__)
    line = JsonFormatter().format(record("it broke", exc_info=info))
    assert "\n" not in line and "ValueError: wrong" in json.loads(line)["traceback"]


@given(st.text(), st.text() | st.integers() | st.floats(allow_nan=False) | st.none() | st.booleans())
def test_whatever_is_said_is_one_plain_line(text: str, value: object) -> None:
    said = f"{text}\n\x1b[2J\u202e{text}"
    line = JsonFormatter().format(record("%s", args=(said,), field=value))
    assert line.isascii() and line.isprintable()
    read = json.loads(line)
    assert MASK in line or (read["event"], read["field"]) == (said, value)
