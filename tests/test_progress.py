"""What a person sees while a step runs: counts that add up, a rate, and a range of time left from the first seconds."""

from __future__ import annotations

import asyncio
import math
import random
import threading
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.graph import START, StateGraph
from scipy.stats import gamma
from typing_extensions import TypedDict

from graph.runs import Runs, open_runs
from state.request import RunRequest
from tests.harness import request_of, write_prompts
from tests.scripted_server import ScriptedServer
from tools.pace import Pace, gamma_range, left_in_words, rate_in_words
from tools.progress import ItemProgress, Meter, Progress
from tools.settings import Settings

# Rates and ranges


@given(st.floats(0.02, 50), st.integers(2, 400))
def test_a_steady_step_ends_within_its_range(rate: float, total: int) -> None:
    pace, half = Pace(0.0), max(1, total // 2)
    for n in range(1, half + 1):
        pace.add(n / rate, 1)
    left = pace.left(half / rate, total - half)
    assert left is not None and left[0] <= (total - half) / rate * 1.01
    assert left[1] is None or left[1] >= (total - half) / rate * 0.99
    assert pace.rate(half / rate) == pytest.approx(rate, rel=0.3 if half < 4 else 0.02)


def test_the_rate_is_of_the_last_minute() -> None:
    pace = Pace(0.0)
    for n in range(1, 21):
        pace.add(10.0 * n, 1)  # slow at first, as a model that warms up
    for n in range(1, 121):
        pace.add(200 + n, 1)
    assert pace.rate(320) == pytest.approx(1.0, rel=0.05)
    low, high = pace.left(320, 500) or (0, 0)
    assert low < 500 < (high or 0) and (high or 0) < 700


def test_what_it_takes_to_begin_is_not_in_the_rate() -> None:
    pace = Pace(0.0)
    for n in range(6):
        pace.add(100.0 + n, 1)  # a model was loaded for 99 seconds
    assert pace.rate(105) == pytest.approx(1.0)
    low, high = pace.left(105, 60) or (0, 0)
    assert 30 < low < 60 < (high or 0) < 200


def test_side_by_side_calls_tell_no_more_than_one() -> None:
    together, apart = Pace(0.0), Pace(0.0)
    for n in range(1, 5):
        for _ in range(8):
            together.add(10.0 * n, 1)
        apart.add(10.0 * n, 8)
    assert together.left(40, 100) == apart.left(40, 100)


def test_before_anything_is_done_the_estimate_speaks_or_what_is_known_already() -> None:
    assert Pace(0.0).left(0.0, 5) is None
    low, high = Pace(0.0).left(30.0, 10) or (0, 0)
    assert high is None and 15 < low < 30
    estimated = Pace(0.0, expected=120).left(20.0, 0)
    assert estimated == (50, 200)
    over = Pace(0.0, expected=10).left(27.0, 0) or (0, 0)
    assert 13 < over[0] < 27 and over[1] is None, "an estimate that has passed promises nothing any more"


@given(st.integers(0, 500))
def test_the_range_is_the_gamma_distributions(count: int) -> None:
    low, high = gamma_range(count)
    exact = gamma.ppf([0.1, 0.9], count + 0.5)
    assert high == pytest.approx(exact[1], rel=0.03) and low == pytest.approx(exact[0], rel=0.05, abs=0.01)


def test_the_range_holds_the_truth_as_often_as_it_says() -> None:
    draw, held = random.Random(4), 0
    for _ in range(400):
        pace, now = Pace(0.0), 0.0
        for _ in range(20):
            now += 1 + draw.expovariate(0.5)  # 3 seconds each in the mean, never two in one burst
            pace.add(now, 1)
        low, high = pace.left(now, 100) or (0, None)
        held += low <= 300 <= (high or math.inf)
    assert held > 0.75 * 400


@pytest.mark.parametrize(
    ("left", "words"),
    [
        (None, ""), ((0.2, None), ""), ((40, None), "over 40 s left"), ((130, None), "over 2.2 min left"),
        ((31, 58), "30 to 60 s left"), ((3, 3.2), "about 3 s left"), ((70, 200), "1.2 to 3.3 min left"),
        ((600, 1200), "10 to 20 min left"), ((6000, 9000), "1.7 to 2.5 h left"), ((600, 605), "about 10 min left"),
    ],
)  # fmt: skip
def test_time_left_is_told_as_a_range(left: Any, words: str) -> None:
    assert left_in_words(left) == words


def test_rates_have_a_unit_that_can_be_read() -> None:
    assert [rate_in_words(rate) for rate in (None, 0, 2.34, 120, 0.2, 0.001)] == [
        "", "", "2.3/s", "120/s", "12/min", "3.6/h",
    ]  # fmt: skip


# What events add up to


@given(st.lists(st.tuples(st.sampled_from(["a", "b"]), st.integers(0, 5)), max_size=30))
def test_counts_add_up(events: list[tuple[str, int]]) -> None:
    meter, sums = Meter(), Counter[str]()
    for n, (step, advance) in enumerate(events):
        sums[step] += advance
        assert meter.add(Progress(step=step, advance=advance), float(n)).done == sums[step]
    assert {at.step: at.done for at in meter.steps(100.0)} == dict(sums) | {s: 0 for s, _ in events if not sums[s]}


def test_a_new_total_counts_from_what_is_done() -> None:
    meter = Meter()
    assert meter.add(Progress(step="judge", total=4), 0.0).total == 4
    done = meter.add(Progress(step="judge", advance=4), 10.0)
    assert done.ended and done.left is None and done.in_words == "24/min"
    again = meter.add(Progress(step="judge", total=6), 100.0)
    assert (again.done, again.total, again.seconds, again.ended) == (4, 10, 0.0, False)
    assert meter.reach("dpo", 3, 9, 5.0).total == 9 and meter.reach("dpo", 5, 9, 6.0).done == 5


def test_in_its_first_seconds_a_step_says_what_is_known() -> None:
    meter = Meter()
    assert meter.add(Progress(step="judge", total=40), 0.0).in_words == "first one pending"
    assert meter.standing("judge", 5.0).in_words == "first one pending, over 4 s left"
    learned = Meter()
    begun = learned.add(Progress(step="judge", total=40, expected=80), 0.0)
    assert begun.in_words == "first one pending, 0.7 to 2.7 min left"
    assert "pending" not in learned.add(Progress(step="judge", advance=1), 9.0).in_words


def test_an_estimate_stands_where_no_total_is_known() -> None:
    at = Meter().add(Progress(step="train", expected=120, note="loading"), 0.0)
    assert (at.total, at.in_words) == (None, "60 to 240 s left") or at.in_words == "1 to 4 min left"


class Empty(TypedDict):
    done: bool


async def test_calls_of_an_item_show_before_the_item_is_done_and_sum_to_one() -> None:
    async def work(state: Empty) -> Empty:
        items = ItemProgress("judge", 3)
        one, other = items.begin(), items.begin()
        await asyncio.sleep(0.55)
        for _ in range(5):
            one.answered()  # two more than expected: asked again
        thread = threading.Thread(target=other.answered)
        thread.start()
        thread.join()
        for item in (one, other):
            item.end()
        return state

    graph = StateGraph(Empty)
    graph.add_node("work", work)
    graph.add_edge(START, "work")
    told = [event async for event in graph.compile().astream({"done": False}, stream_mode="custom")]
    assert len(told) >= 3 and told[0]["advance"] == pytest.approx(1 / 3)
    assert sum(event["advance"] for event in told) == pytest.approx(2)
    meter = Meter()
    assert [meter.add(Progress.model_validate(event), float(n)).done for n, event in enumerate(told)][-1] == 2


# Who watches a run from elsewhere


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
async def runs(tmp_path: Path) -> AsyncIterator[Runs]:
    async with open_runs(Settings(home=tmp_path / "home")) as opened:
        yield opened


async def test_a_plain_stream_of_custom_events_holds_what_happens_inside_long_steps(
    runs: Runs, server: ScriptedServer, tmp_path: Path
) -> None:
    prompts = write_prompts(tmp_path / "prompts.jsonl", training=3, heldout=1)
    written = request_of(
        server.url, Path("nobody/no-model"), prompts, sampling={"candidates": 2}, generation={"target": 0}
    )
    request = {"request": RunRequest.model_validate(written)}
    modes = ["custom", "updates"]
    thread = {"configurable": {"thread_id": "one"}}
    sums: Counter[str] = Counter()
    updated = []
    async for mode, event in runs.pipeline.astream(request, thread, stream_mode=modes, interrupt_after=["respond"]):
        if mode == "custom":
            sums[event["step"]] += event["advance"]
        else:
            updated += list(event)
    assert sums["respond"] == pytest.approx(3)
    assert set(updated) - {"__interrupt__"} == {"generate", "gate", "respond"}
