"""LangSmith as an observer that cannot hold a run: it sends beside the work, and the end waits three seconds for it."""

from __future__ import annotations

import logging
import threading
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any
from uuid import UUID, uuid5

from state.masking import masked
from state.records import Record
from tools.settings import Settings

if TYPE_CHECKING:
    from langsmith import Client

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 3.0
"""How long the end of a command waits for traces."""
FEEDBACK_IS_QUEUED = "0.8.10"
"""The version of a server from which the library sends feedback beside the work, as it does traces."""
_lock = threading.Lock()
_observer: Observer | None = None
calls_traced: ContextVar[bool] = ContextVar("calls_traced", default=False)
"""Whether a program traces the model calls that it makes here."""


def observe(settings: Settings) -> None:
    """Make the client by which LangChain's libraries and ours trace, where tracing is on; once a process.

    A program that made LangSmith's cached client itself keeps that.
    """
    if settings.langsmith_tracing:
        observer(settings)


def observer(settings: Settings) -> Observer:
    """Return the process's observer, whether or not its runs are traced."""
    global _observer
    with _lock:
        if _observer is None:
            hidden = settings.langsmith_hide_inputs or settings.langsmith_hide_outputs
            _observer = Observer(settings.langsmith_endpoint, hidden=hidden)
        return _observer


@contextmanager
def tracing_calls() -> Iterator[None]:
    """Trace the model calls of the block, whatever the settings say of all others."""
    token = calls_traced.set(True)
    try:
        yield
    finally:
        calls_traced.reset(token)


def flush_traces(seconds: float = FLUSH_SECONDS) -> None:
    """Wait for the traces to be sent, and say in one line where some were not; it blocks its thread.

    Args:
        seconds: the longest wait.
    """
    if _observer is not None:
        _observer.flush(seconds)


class Opinion(Record):
    """What somebody said of an answer, as LangSmith's feedback."""

    key: str
    """Its name there, such as ``judge.overall``."""
    score: float | None = None
    value: str = ""
    """What was decided, in a word."""
    who: str
    """The judge's identity, or the person's or policy's name."""
    comment: str = ""
    said_in: str
    """The record's id, from which the feedback's own follows."""


def attach(said: Opinion, call: UUID, tree: UUID, settings: Settings) -> None:
    """Hang an opinion on the trace of a call; it is sent beside the work.

    Args:
        said: the opinion. Its comment is left out where the texts of traces are hidden.
        call: the call's trace.
        tree: the root of the tree that it is in.
        settings: the environment's.
    """
    from langsmith.utils import LangSmithWarning

    if _observer is None:
        return
    hidden = settings.langsmith_hide_inputs or settings.langsmith_hide_outputs
    with warnings.catch_warnings(action="ignore", category=LangSmithWarning):  # the project's id is not known here
        _observer.client.create_feedback(
            run_id=call,
            trace_id=tree,
            key=said.key,
            score=said.score,
            value=said.value or None,
            comment=None if hidden else said.comment or None,
            source_info={"who": said.who},
            feedback_source_type="model" if said.key.startswith("judge.") else "api",
            feedback_id=uuid5(tree, f"{said.said_in} {said.key}"),
        )


def error_told(error: str | None, hidden: bool) -> str | None:
    """Return what a trace says of an error; a question to a person is none, and its text is the run's, not LangSmith's.

    Args:
        error: the library's: the exception as Python shows it, with its traceback.
        hidden: whether only its kind may be told.
    """
    if error is None or error.startswith("GraphInterrupt("):
        return None
    return error.partition("(")[0] if hidden else error


class Observer:
    """LangSmith's client, with an end to every wait.

    Args:
        place: the server, for messages.
        hidden: whether texts are left out, so that an error is told by its kind alone.
    """

    def __init__(self, place: str, *, hidden: bool = False) -> None:
        import requests
        from langsmith import Client, run_trees
        from langsmith.schemas import LangSmithInfo
        from urllib3.util import Retry

        class Session(requests.Session):
            """Ends every request in time: a server that answers no more is not waited for."""

            ends = None

            def request(self, *arguments: Any, **options: Any) -> requests.Response:
                left = FLUSH_SECONDS if self.ends is None else min(FLUSH_SECONDS, self.ends - time.monotonic())
                if left <= 0:
                    raise requests.ConnectionError("it gave no answer in time")
                return super().request(*arguments, **options | {"timeout": left})

        class DaemonClient(Client):
            """Its threads end with the process, whatever they wait for: a name that is looked up has no timeout."""

            # Read by the library where it starts each thread.
            _use_daemon_threads = property(lambda self: True, lambda self, value: None)

            def create_run(self, *given: Any, **options: Any) -> None:
                super().create_run(*given, **options | {"error": error_told(options.get("error"), hidden)})

            def update_run(self, *given: Any, **options: Any) -> None:
                super().update_run(*given, **options | {"error": error_told(options.get("error"), hidden)})

        self.place = masked(place)
        self.failed: Exception | None = None
        self.session: Any = Session()
        # What failed is told at the end, in one line; the library would print each try, and the server's words raw.
        logging.getLogger("langsmith").setLevel(logging.CRITICAL)
        options: dict[str, Any] = {
            "session": self.session,
            "retry_config": Retry(total=0, raise_on_status=False, raise_on_redirect=False),
            # Without a server's answer, and without the threads of a pool that compresses, which are joined at the end.
            "info": LangSmithInfo(version=FEEDBACK_IS_QUEUED),
            "tracing_error_callback": self._failed,
        }
        # Where every tracer of the process looks for its client; the public way to it takes no class.
        if run_trees._CLIENT is None:
            run_trees._CLIENT = DaemonClient(**options)
        self.client: Client = run_trees._CLIENT

    def flush(self, seconds: float) -> None:
        """Wait for the traces, and tell what became of them; see ``flush_traces``."""
        self.session.ends = time.monotonic() + seconds
        try:
            self.client.flush(timeout=seconds)
            queue = self.client.tracing_queue
            left = queue.unfinished_tasks if queue is not None else 0
        finally:
            self.session.ends = None
        if left or self.failed is not None:
            why = masked(" ".join(str(self.failed or "no answer in time").split()))[:200]
            logger.warning(
                "traces were not sent to LangSmith at %s: %s; the run itself is not touched", self.place, why
            )
        self.failed = None

    def _failed(self, error: Exception) -> None:
        self.failed = self.failed or error
