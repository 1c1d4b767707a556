"""The history of ratings: by day, judge and version, its drift, and the alert."""

from __future__ import annotations

import json
from datetime import date, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from corral.feedback import SyntheticFeedback
from corral.monitor import RLHFMonitor
from graph.quality import quality_history
from graph.served import give_feedback, record_answer
from graph.services import Services, open_services
from state.errors import BadInput
from state.request import RunRequest
from tests.builders import candidate, judgement, sample
from tests.harness import Corral
from tools.improvement.quality import DayQuality, alerts, drifts, merged
from tools.settings import Settings

FIRST = date(2026, 1, 1)


def day(after: int, *stars: int, judge: str = "crew", version: str = "v1") -> DayQuality:
    ratings = {one: stars.count(one) for one in stars}
    return DayQuality(day=FIRST + timedelta(days=after), judge=judge, version=version, ratings=ratings)


def test_a_day_has_its_mean_spread_and_share_chosen() -> None:
    one = day(0, 5, 4, 1, 2)
    assert (one.mean, one.spread, one.chosen_share) == (3.0, pytest.approx(1.5811, abs=1e-4), 0.5)


@given(st.lists(st.tuples(st.integers(0, 3), st.sampled_from("ab"), st.integers(1, 5)), max_size=20))
def test_merging_loses_no_rating_and_does_it_once(rows: list[tuple[int, str, int]]) -> None:
    days = merged(day(after, stars, judge=judge) for after, judge, stars in rows)
    assert sum(len(one.stars) for one in days) == len(rows) and merged(days) == days
    assert [(one.day, one.judge, one.version) for one in days] == sorted({(d.day, d.judge, d.version) for d in days})


def test_drift_is_the_last_week_against_the_first() -> None:
    steady = [day(n, *[3, 4, 5] * 5, judge="steady") for n in range(30)]
    falling = [day(n, *([5, 4] * 8 if n < 10 else [2, 3] * 8), judge="falling") for n in range(30)]
    fresh = [day(n, 1, judge="fresh") for n in range(6)]
    found = {one.judge: one for one in drifts(merged([*steady, *falling, *fresh]))}
    assert set(found) == {"steady", "falling"}, "one week alone says nothing of drift"
    assert found["falling"].difference.value == -2.0 and found["falling"].difference.high < -1.5
    assert found["steady"].difference.low <= 0 <= found["steady"].difference.high


@pytest.mark.parametrize(
    ("days", "raised"),
    [
        ([day(0, 1, 1)], 0),
        ([day(3, 3, 4)], 0),
        ([day(3, 3, 3), day(9, 4)], 1),
        ([day(4, 1, version="old"), day(9, 5, version="new")], 1),
        ([], 0),
    ],
)
def test_an_alert_is_of_the_last_seven_days(days: list[DayQuality], raised: int) -> None:
    assert len(alerts(days, FIRST + timedelta(days=9))) == raised


async def fill(services: Services) -> None:
    await services.store.open_run("first", RunRequest())
    of = sample()
    drawn = [candidate(of, f"Text {n}", draw=n) for n in range(3)]
    await services.store.add("first", [judgement(one, stars) for one, stars in zip(drawn, (5, 3, 3), strict=True)])
    asked = [{"role": "user", "content": "?"}]
    await record_answer(services, "a", version="v1-00000000", messages=asked, text="!")
    for number, stars in enumerate((2, 3)):
        await give_feedback(services, "a", f"rater-{number}", stars=stars)


def served(stars: int | None, judge: str = "crew-2") -> SyntheticFeedback:
    fields: dict[str, Any] = {"reasons": (), "strengths": (), "weaknesses": (), "confidence": 1.0, "judge": judge}
    return SyntheticFeedback(overall_rating=stars, is_chosen=(stars or 0) >= 4, **fields)


async def test_the_history_is_of_runs_of_people_and_of_what_was_tracked(tmp_path: Path) -> None:
    settings = Settings(home=tmp_path)
    async with open_services(settings) as services:
        await fill(services)
    watching = RLHFMonitor(settings=settings)
    for _ in range(2):  # the same batch counts once, though this test is within an event loop
        watching.track_feedback_quality([served(4), served(None), served(2)], version="v9", day=FIRST)
    found = {(one.judge, one.version): one.ratings for one in RLHFMonitor(settings=settings).quality_by_day()}
    assert found == {
        ("crew-1", "embedded"): {3: 2, 5: 1},
        ("people", "v1-00000000"): {2: 1, 3: 1},
        ("crew-2", "v9"): {2: 1, 4: 1},
    }
    assert watching.drift() == []
    with pytest.raises(BadInput, match="keeps nothing"):
        RLHFMonitor().quality_by_day()


async def test_both_databases_count_alike_and_without_previews(tmp_path: Path, database_url: str) -> None:
    async with open_services(Settings(home=tmp_path, database_url=database_url)) as services:
        await fill(services)
        await services.store.open_run("looked-at", RunRequest(preview=True))
        await services.store.add("looked-at", [judgement(candidate(sample("Say it."), "It."), 1, judge="crew-9")])
        found = [(one.judge, one.ratings) for one in await quality_history(services)]
    assert found == [("crew-1", {3: 2, 5: 1}), ("people", {2: 1, 3: 1})]


class Hook(BaseHTTPRequestHandler):
    received: ClassVar[list[Any]] = []

    def do_POST(self) -> None:
        Hook.received.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Be quiet."""


@pytest.fixture
def rated(tmp_path: Path) -> None:
    import asyncio

    async def work() -> None:
        async with open_services(Settings(home=tmp_path / "home")) as services:
            await fill(services)

    asyncio.run(work())


@pytest.mark.usefixtures("rated")
def test_an_alert_is_printed_sent_and_an_exit_code(corral: Corral, monkeypatch: pytest.MonkeyPatch) -> None:
    hook = HTTPServer(("127.0.0.1", 0), Hook)
    thread = Thread(target=hook.handle_request)
    thread.start()
    monkeypatch.setenv("CORRAL_ALERT_WEBHOOK", f"http://127.0.0.1:{hook.server_port}/secret-path")
    code, out, error = corral("monitor", "--fail-below", "3.5")
    thread.join()
    hook.server_close()
    assert code == 1 and "mean 2.50 of 2 ratings in 7 days, below 3.5" in error
    assert "people" in out and "crew-1" in out and "67%" not in error
    assert "mean 2.50" in Hook.received[-1]["text"]
    code, _, error = corral("monitor", "--fail-below", "2.0")
    assert code == 0 and not error
    code, out, error = corral("monitor", "--json")
    assert code == 0 and "secret-path" not in error and "could not be told: ConnectionError" in error
    assert [row["mean"] for row in json.loads(out)["days"]] == [3.6667, 2.5]


def test_without_any_rating_nothing_is_wrong(corral: Corral) -> None:
    assert corral("monitor", "--fail-below", "3.5")[:2] == (0, "nobody has rated anything yet\n")
    assert corral("monitor", "--fail-below", "6")[0] == 2
