"""``/metrics``: the meters of this process, and the figures of the home, in Prometheus's text format."""

from __future__ import annotations

import time
from collections.abc import Iterator

from fastapi import APIRouter, Depends, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from graph.figures import Figures, figures_of
from serving.access import who
from serving.meters import meters_of
from serving.services import OpenRuns

router = APIRouter(dependencies=[Depends(who)])

KEPT_SECONDS = 10.0
"""How long figures of the home are told again before they are counted anew: a database may hold millions of rows."""


@router.get("/metrics")
async def tell_metrics(request: Request, runs: OpenRuns) -> Response:
    """Return all metrics."""
    kept: tuple[float, Figures] | None = getattr(request.app.state, "figures", None)
    if kept is None or time.monotonic() - kept[0] > KEPT_SECONDS:
        kept = request.app.state.figures = time.monotonic(), await figures_of(runs.services)
    home = CollectorRegistry()
    home.register(HomeCollector(kept[1]))
    text = generate_latest(meters_of(request).registry) + generate_latest(home)
    return Response(text, media_type=CONTENT_TYPE_LATEST)


class HomeCollector(Collector):
    """The figures of the home as metrics.

    Args:
        figures: of the home.
    """

    def __init__(self, figures: Figures) -> None:
        self._figures = figures

    def collect(self) -> Iterator[Metric]:
        """Yield each metric with its values."""
        figures = self._figures
        runs = GaugeMetricFamily("corral_runs", "Runs, by where they stand.", labels=["standing"])
        for standing, count in figures.runs.items():
            runs.add_metric([standing], count)
        rows = GaugeMetricFamily("corral_rows", "Rows of all runs, by outcome.", labels=["kind", "outcome"])
        for (kind, outcome), count in figures.rows.items():
            rows.add_metric([kind, outcome], count)
        backlog = GaugeMetricFamily("corral_review_backlog", "Rows that wait for a person.", labels=["kind"])
        for kind, count in figures.waiting.items():
            backlog.add_metric([kind], count)
        yield from (runs, rows, backlog, *self._calls())
        kappa = GaugeMetricFamily(
            "corral_judge_kappa", "A judge's agreement with people beyond chance.", labels=["judge", "figure"]
        )
        for judge, estimate in figures.kappa.items():
            for name in ("value", "low", "high"):
                kappa.add_metric([judge, name], getattr(estimate, name))
        given = GaugeMetricFamily(
            "corral_feedback", "Feedback on served answers, by version and stars.", labels=["version", "stars"]
        )
        for (version, stars), count in figures.feedback.items():
            given.add_metric([version, stars], count)
        yield from (kappa, given)

    def _calls(self) -> Iterator[Metric]:
        calls = CounterMetricFamily("corral_calls", "Model calls in the ledger.", labels=["status"])
        tokens = CounterMetricFamily("corral_call_tokens", "Tokens of the calls in the ledger.", labels=["kind"])
        spent = CounterMetricFamily("corral_spent_dollars", "Dollars that all calls in the ledger cost.")
        left = GaugeMetricFamily(
            "corral_budget_left_dollars", "Dollars that a run which is not done may still spend.", labels=["run"]
        )
        used = self._figures.calls
        for one in used:
            calls.add_metric([one.status], one.calls)
        tokens.add_metric(["prompt"], sum(one.prompt_tokens for one in used))
        tokens.add_metric(["completion"], sum(one.completion_tokens for one in used))
        spent.add_metric([], sum(one.dollars for one in used))
        for run, dollars in self._figures.left.items():
            left.add_metric([run], dollars)
        yield from (calls, tokens, spent, left)
