"""OpenTelemetry spans over requests, steps and model calls, as the standard ``OTEL_*`` variables say.

Without ``OTEL_EXPORTER_OTLP_ENDPOINT`` nothing of it is imported. A span holds names, counts and times, and no text of
a prompt, an answer or an error. A collector that does not answer holds no run: spans are sent beside the work.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

from tools.settings import Settings

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import TracerProvider

Value: TypeAlias = str | int | float | bool
FLUSH_SECONDS = 3.0
"""How long the end of a process waits for its last spans."""
_provider: TracerProvider | None = None


class Span:
    """A span that is open; where spans are off, it takes attributes and forgets them.

    Args:
        span: OpenTelemetry's; ``None`` where spans are off.
    """

    def __init__(self, span: Any = None) -> None:
        self._span = span

    def note(self, **attributes: Value) -> None:
        """Add attributes; two underscores stand for a dot."""
        if self._span is not None:
            self._span.set_attributes({name.replace("__", "."): value for name, value in attributes.items()})


def configure_spans(settings: Settings) -> None:
    """Send spans where the environment says; once a process."""
    global _provider
    wanted = settings.otel_endpoint and not settings.otel_disabled and settings.otel_exporter == "otlp"
    if not wanted or _provider is not None:
        return
    from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import BatchSpanProcessor

    if settings.otel_protocol == "grpc":
        from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
    else:
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import (  # type: ignore[assignment]
            OTLPSpanExporter,  # of the same name and use, but no common class
        )
    # It would print each failure with its traceback; what cannot be sent is lost, and the run is not touched.
    logging.getLogger("opentelemetry").setLevel(logging.CRITICAL)
    # The program's own name comes first: a service that is named is found by that.
    resource = Resource.create({SERVICE_NAME: "corral"}).merge(OTELResourceDetector().detect())
    # Not the process's global one, which CrewAI sets for its own telemetry. To shut it down at exit would wait long.
    _provider = TracerProvider(resource=resource, shutdown_on_exit=False)
    _provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))


def flush_spans(seconds: float = FLUSH_SECONDS) -> None:
    """Wait until the spans are sent, so many seconds at most; it blocks its thread."""
    if _provider is not None:
        _provider.force_flush(int(seconds * 1000))


@contextmanager
def span(
    name: str,
    *,
    kind: str = "INTERNAL",
    parent: Mapping[str, str] | None = None,
    **attributes: Value,
) -> Iterator[Span]:
    """Time the block as a span under the one that is open, or under a caller's.

    Args:
        name: of few values, such as ``step gate``.
        kind: OpenTelemetry's: ``SERVER`` for a request that came in, ``CLIENT`` for one that went out.
        parent: the headers of a request that came in, with ``traceparent`` where the caller traces, too.
        **attributes: two underscores stand for a dot.
    """
    if _provider is None:
        yield Span()
        return
    from opentelemetry.trace import SpanKind, StatusCode
    from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

    context = None if parent is None else TraceContextTextMapPropagator().extract(parent)
    tracer = _provider.get_tracer("corral")
    with tracer.start_as_current_span(
        name, context, SpanKind[kind], record_exception=False, set_status_on_exception=False
    ) as opened:
        found = Span(opened)
        found.note(**attributes)
        try:
            yield found
        except Exception as error:
            # A question to a person, and a run that is stopped, are no errors; LangGraph names its signals so.
            if not any(one.__name__ == "GraphBubbleUp" for one in type(error).__mro__):
                opened.set_status(StatusCode.ERROR, type(error).__name__)
            raise
