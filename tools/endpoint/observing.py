"""LangSmith as an observer that cannot hold a run: it sends beside the work, and the end waits three seconds for it."""

from __future__ import annotations

import logging
import threading
import time
from typing import TYPE_CHECKING, Any

from state.masking import masked
from tools.settings import Settings

if TYPE_CHECKING:
    from langsmith import Client

logger = logging.getLogger(__name__)

FLUSH_SECONDS = 3.0
"""How long the end of a command waits for traces."""
_lock = threading.Lock()
_observer: Observer | None = None


def observe(settings: Settings) -> None:
    """Make the client by which LangChain's libraries and ours trace, where tracing is on; once a process.

    A program that made LangSmith's cached client itself keeps that.
    """
    global _observer
    if not settings.langsmith_tracing:
        return
    with _lock:
        if _observer is None:
            _observer = Observer(settings.langsmith_endpoint)


def flush_traces(seconds: float = FLUSH_SECONDS) -> None:
    """Wait for the traces to be sent, and say in one line where some were not; it blocks its thread.

    Args:
        seconds: the longest wait.
    """
    if _observer is not None:
        _observer.flush(seconds)


class Observer:
    """LangSmith's client, with an end to every wait.

    Args:
        place: the server, for messages.
    """

    def __init__(self, place: str) -> None:
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

        self.place = masked(place)
        self.failed: Exception | None = None
        self.session: Any = Session()
        # What failed is told at the end, in one line; the library would print each try, and the server's words raw.
        logging.getLogger("langsmith").setLevel(logging.CRITICAL)
        options: dict[str, Any] = {
            "session": self.session,
            "retry_config": Retry(total=0, raise_on_status=False, raise_on_redirect=False),
            # Without a server's answer, and without the threads of a pool that compresses, which are joined at the end.
            "info": LangSmithInfo(),
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
