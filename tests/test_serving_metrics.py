"""What a monitor reads: each metric by Prometheus's own parser, and each query of the dashboard has its metric."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from fastapi.testclient import TestClient
from prometheus_client.parser import text_string_to_metric_families

from graph.served import give_feedback, record_answer
from serving.meters import Meters
from state.records import Outcome
from state.request import Budget, RunRequest
from tests.browsing import ADA, TOKENS, client
from tests.builders import NOON, call, candidate, judgement, sample
from tests.harness import ROOT
from tools.judging.calibration import Calibration
from tools.judging.trust import save_calibration
from tools.statistics.bootstrap import Estimate


def calibration() -> Calibration:
    some = Estimate(value=0.5, low=0.3, high=0.7)
    fields = {
        "judge": "crew-1",
        "kind": "pairs",
        "labels": 9,
        "failed": 0,
        "curve": (),
        "labels_hash": "h",
        "seconds": 0,
    }
    return Calibration.model_validate(fields | {"agreement": some, "kappa": some, "alpha": some, "made_at": NOON})


def fill(browser: TestClient) -> None:
    """Leave something of everything in the home."""
    runs: Any = browser.app.state.runs  # type: ignore[attr-defined]
    services = runs.services

    async def work() -> None:
        await services.store.open_run("first", RunRequest(budget=Budget(dollars=2.0)))
        one, held = sample(outcome=Outcome.WAITING), sample("Another one.")
        drawn = candidate(held, outcome=Outcome.WAITING)
        await services.store.add("first", [one, held])
        await services.store.add("first", [drawn])
        await services.store.add("first", [judgement(drawn)])
        await services.calls.put(call("k", "first"))
        await record_answer(services, "a", version="v1-00000000", messages=[{"role": "user", "content": "?"}], text="!")
        await give_feedback(services, "a", "ada", stars=2)

    assert browser.portal is not None
    browser.portal.call(work)


def told(browser: TestClient) -> dict[str, dict[str, float]]:
    """Return all samples: by name, then by labels."""
    answer = browser.get("/metrics")
    assert answer.status_code == 200 and answer.headers["content-type"].startswith("text/plain; version=")
    found: dict[str, dict[str, float]] = {}
    for family in text_string_to_metric_families(answer.text):
        assert family.documentation and family.name.startswith("corral_")
        assert family.type != "counter" or all(s.name.endswith(("_total", "_created")) for s in family.samples)
        for one in family.samples:
            found.setdefault(one.name, {})[",".join(f"{k}={v}" for k, v in sorted(one.labels.items()))] = one.value
    return found


def test_the_home_is_told_in_figures(tmp_path: Path) -> None:
    save_calibration(calibration(), tmp_path)
    with client(tmp_path) as browser:
        fill(browser)
        found = told(browser)
    assert found["corral_runs"] == {"standing=new": 1}
    assert found["corral_rows"]["kind=sample,outcome=accepted"] == 1
    assert found["corral_review_backlog"] == {"kind=sample": 1, "kind=candidate": 1}
    assert found["corral_calls_total"] == {"status=answered": 1}
    assert found["corral_call_tokens_total"] == {"kind=prompt": 3, "kind=completion": 2}
    assert found["corral_spent_dollars_total"] == {"": 0.5} and found["corral_budget_left_dollars"] == {
        "run=first": 1.5
    }
    assert found["corral_feedback"] == {"stars=2,version=v1-00000000": 1}
    assert len(found["corral_judge_kappa"]) == 3


def test_requests_are_counted_by_route_and_never_by_path(tmp_path: Path) -> None:
    with client(tmp_path) as browser:
        browser.get("/runs/one")
        browser.get("/runs/two")
        browser.get("/no/such/place")
        found = told(browser)["corral_http_requests_total"]
    assert found["method=GET,route=/runs/{run_id},status=404"] == 2
    assert found["method=GET,route=(none),status=404"] == 1
    assert not any("one" in labels.split("route=")[1].split(",")[0].split("/") for labels in found)


def test_answers_tokens_and_the_queue_are_measured(tmp_path: Path) -> None:
    with client(tmp_path) as browser:
        meters: Meters = browser.app.state.meters  # type: ignore[attr-defined]
        meters.answered("v1-00000000", seconds=2.0, first_token_seconds=0.3, prompt_tokens=7, completion_tokens=11)
        meters.watch_queue(lambda: 3, lambda: 2)
        meters.load_seconds.set_function(lambda: 1.5)
        found = told(browser)
    assert found["corral_answers_total"] == {"version=v1-00000000": 1}
    assert found["corral_served_tokens_total"]["kind=completion,version=v1-00000000"] == 11
    assert found["corral_answer_first_token_seconds_bucket"]["le=0.5,version=v1-00000000"] == 1
    assert (found["corral_queue_requests"], found["corral_answers_in_progress"]) == ({"": 3}, {"": 2})
    assert found["corral_model_load_seconds"] == {"": 1.5}


def test_each_query_of_the_dashboard_has_its_metric_and_each_metric_a_query(tmp_path: Path) -> None:
    save_calibration(calibration(), tmp_path)
    dashboard = json.loads((ROOT / "docs" / "grafana.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    with client(tmp_path) as browser:
        fill(browser)
        meters: Meters = browser.app.state.meters  # type: ignore[attr-defined]
        meters.answered("v", seconds=1, first_token_seconds=1, prompt_tokens=1, completion_tokens=1)
        browser.get("/healthz")
        found = told(browser)
    asked = {name for query in queries for name in re.findall(r"corral_\w+", query)}
    assert asked <= found.keys() and len(queries) > 10
    shown = {re.sub(r"_(bucket|sum|count|total|created)$", "", name) for name in asked}
    assert {re.sub(r"_(bucket|sum|count|total|created)$", "", name) for name in found} == shown
    assert all(query.count("(") == query.count(")") for query in queries)


def test_metrics_need_a_token_where_there_are_tokens(tmp_path: Path) -> None:
    with client(tmp_path, serve_tokens=TOKENS) as browser:
        assert browser.get("/metrics").status_code == 401
        assert browser.get("/metrics", headers={"authorization": f"Bearer {ADA}"}).status_code == 200
