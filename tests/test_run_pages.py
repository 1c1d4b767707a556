"""The runs' pages: steps as in the graph, counts, and the questions that a run asks beside its review."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from fastapi.testclient import TestClient

from graph.standing import RunStatus
from serving.headers import CSP
from serving.steps import step_names, step_views, turns_of
from state.pipeline import AdapterRef, DatasetRef, NextRound, Overspend
from state.request import RunRequest
from tests.browsing import PAGE, client, form
from tests.builders import verdict
from tests.harness import Corral, refused, write_prompts
from tests.test_report_page import scoreboard
from tools.progress import Meter, Progress, StepProgress

HOSTILE = "<script>document.title='taken'</script>\x1b[31m\u202e"


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[TestClient]:
    with client(tmp_path / "home") as opened:
        yield opened


def bring(browser: TestClient, folder: Path, state: dict[str, Any], after: str, run: str = "first") -> None:
    """Make a run whose steps up to one are done, with the state that they would have left."""
    runs = browser.app.state.runs  # type: ignore[attr-defined]
    prompts = write_prompts(folder / "prompts.jsonl", 1, 1)
    given = {"sources": {"prompts": str(prompts)}, "generation": {"target": 0}}

    async def write() -> None:
        request = RunRequest.model_validate(given)
        await runs.create(request, run)
        config = {"configurable": {"thread_id": run}}
        kept = await runs.services.store.request_of(run)
        await runs.pipeline.aupdate_state(config, {"request": kept, **state}, as_node=after)

    assert browser.portal is not None
    browser.portal.call(write)


def evaluated(folder: Path) -> dict[str, Any]:
    """Return the state of a run whose adapter was measured."""
    (folder / "adapter").mkdir()
    (folder / "adapter" / "adapter_config.json").write_text("{}")
    (folder / "scoreboard.json").write_text(json.dumps(scoreboard(words=f"Better. {HOSTILE}")))
    return {
        "training_round": 1,
        "dataset": DatasetRef(version="v", folder=str(folder), sft_rows=1, dpo_rows=0, alpaca_rows=0),
        "adapter": AdapterRef(id="f" * 32, folder=str(folder / "adapter")),
        "verdict": verdict(scoreboard=str(folder / "scoreboard.json")),
        "warnings": [HOSTILE],
    }


def standing(browser: TestClient, run: str = "first") -> RunStatus:
    return RunStatus.model_validate(browser.get(f"/runs/{run}/progress").json()["status"])


def until(found: Callable[[], Any]) -> Any:
    for _ in range(600):
        if value := found():
            return value
        time.sleep(0.05)
    raise AssertionError("still not so after half a minute")


def waits(browser: TestClient, step: str) -> RunStatus:
    """Go on with the run, and return where it waits."""
    assert browser.post("/runs/first/resume", data=form(browser)).status_code == 303
    status: RunStatus = until(lambda: (s := standing(browser)).standing == "waiting" and s)
    assert status.step == step
    return status


def question(browser: TestClient) -> str:
    page = browser.get("/runs/first", headers=PAGE).text
    return page.partition('name="question" value="')[2].partition('"')[0]


def test_an_adapter_is_decided_on_beside_its_scoreboard_once(
    browser: TestClient, corral: Corral, tmp_path: Path
) -> None:
    bring(browser, tmp_path, evaluated(tmp_path), "evaluate")
    waits(browser, "approve")
    refused(corral("approve", "first", "--budget", "3"), "waits with deploy_adapter, not with raise_budget")
    page = browser.get("/runs/first", headers=PAGE).text
    asked = page.partition('class="asked"')[2].partition("</section>")[0]
    assert "Scoreboard" in asked and "+0.200" in asked and "+0.100 to +0.300" in asked and 'value="approve"' in asked
    assert "<script>document" not in page and r"\x1b[31m\u202e" in page and "<svg" in asked
    given = form(browser, question=question(browser), decision="reject", comment="fine")
    wrong = browser.post("/runs/first/answer", data={**given, "decision": "edit"}, headers=PAGE)
    assert wrong.status_code == 422 and "must be one of approve, reject" in wrong.text and 'value="fine"' in wrong.text
    stale = browser.post("/runs/first/answer", data={**given, "question": "other"})
    assert stale.status_code == 409 and "asks something else" in stale.json()["detail"]
    assert browser.post("/runs/first/answer", data=given, headers=PAGE).status_code == 303
    until(lambda: standing(browser).standing == "done")
    page = browser.get("/runs/first", headers=PAGE).text
    assert "declined by tester: fine" in page and "The report</a>" in page
    report = browser.get("/runs/first/report.html", headers=PAGE)
    assert report.is_success and "script-src 'none'; sandbox allow-same-origin" in report.headers[CSP]
    rows = browser.get("/runs/first/rows.html", headers=PAGE)
    assert rows.is_success and "default-src 'none'" in rows.headers[CSP] and "sha256-" in rows.text
    second = browser.post("/runs/first/answer", data={**given, "decision": "approve"})
    assert second.status_code == 409 and "declined by tester" in second.json()["detail"]


def test_a_budget_is_raised_in_place_and_a_wrong_sum_stays_to_be_mended(browser: TestClient, tmp_path: Path) -> None:
    state = {
        "accepted": 1,
        "overspend": Overspend(spent=1.0, cap=1.0),
        "next_round": NextRound(action="proceed", reason=""),
    }
    bring(browser, tmp_path, state, "gate")
    waits(browser, "respond")
    given = form(browser, question=question(browser), decision="edit", comment="more")
    for wrong in ("abc", "0.5", "inf"):
        told = browser.post("/runs/first/answer", data={**given, "dollars": wrong}, headers=PAGE)
        assert told.status_code == 422 and "above 1" in unescape(told.text) and f'value="{wrong}"' in told.text
        assert 'value="more"' in told.text and standing(browser).standing == "waiting"
    assert browser.post("/runs/first/answer", data={**given, "dollars": "5"}).status_code == 303
    until(lambda: standing(browser).standing == "failed")  # it has no rows to make a dataset of
    assert "of $5.0000 spent" in browser.get("/runs/first/live", headers=PAGE).text


def test_a_run_of_nobody_is_listed_and_shown(browser: TestClient, tmp_path: Path) -> None:
    assert "no runs yet" in browser.get("/runs", headers=PAGE).text
    bring(browser, tmp_path, {"accepted": 0, "next_round": NextRound(action="stop", reason="")}, "generate")
    assert ">first</a>" in browser.get("/runs", headers=PAGE).text
    page = browser.get("/runs/first", headers=PAGE).text
    assert 'aria-current="step"' in page and "Go on with it" in page and "does not add up" not in page


# Steps


def status(word: str, step: str = "") -> RunStatus:
    return RunStatus.model_validate({"run_id": "r", "created_at": "", "standing": word, "step": step})


NAMES = ("generate", "gate", "respond", "judge", "review")


def stages(*given: Any, counts: dict[str, StepProgress] | None = None, times: Any = ()) -> dict[str, str]:
    views = step_views(NAMES, status(*given), times, counts or {}, {})
    return {view.name: view.stage for view in views}


def test_steps_stand_as_the_run_does() -> None:
    assert set(stages("new").values()) == {"to come"}
    for word in ("running", "waiting", "stopped", "failed"):
        found = stages(word, "respond")
        assert found == {"generate": "done", "gate": "done", "respond": word, "judge": "to come", "review": "to come"}
    assert set(stages("done", times=[(name, 0.0, 1.0) for name in NAMES]).values()) == {"done"}
    # A run that found nothing to answer ends early.
    early = stages("done", times=[("generate", 0.0, 1.0), ("gate", 1.0, 2.0)])
    assert early["gate"] == "done" and early["respond"] == "to come"


def test_a_running_step_is_the_last_whose_count_is_not_full() -> None:
    meter = Meter()
    for event in (Progress(step="gate", total=2), Progress(step="gate", advance=2), Progress(step="respond", total=3)):
        meter.add(event, 0.0)
    assert stages("running", "gate", counts={at.step: at for at in meter.steps(1.0)})["respond"] == "running"


def test_steps_and_turns_are_the_graphs(browser: TestClient) -> None:
    pipeline = browser.app.state.runs.pipeline  # type: ignore[attr-defined]
    line = "generate gate respond judge review assemble train evaluate approve deploy"
    assert " ".join(step_names(pipeline)) == line
    assert {step: tuple(sorted(turns)) for step, turns in turns_of(pipeline).items()} == {
        "gate": ("again: back to generate", "nothing: the run ends"),
        "review": ("waiting: once more",),
        "evaluate": ("worse: back to train",),
        "approve": ("declined: the run ends",),
    }
