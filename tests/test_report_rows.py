"""The browser of all rows: one file that holds every row, can be filtered by what it says, and loads nothing."""

from __future__ import annotations

import base64
import gzip
import hashlib
import io
import json
import re
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from graph.reported import reported
from graph.reporting import write_report
from graph.row_browser import write_rows
from graph.services import Services, open_services
from state.pipeline import PipelineState
from state.records import Candidate, Sample
from state.request import RunRequest
from tests.builders import candidate, judgement, review, sample
from tests.test_reporting import HOSTILE, fill
from tools.report import REPORT, ROWS, rows_beside
from tools.report.rows import CHUNK, FILTERS, RowWriter, row_of
from tools.settings import Settings


def packed(html: str, name: str) -> Any:
    (data,) = re.findall(rf'<script type="application/octet-stream" id="{name}">([^<]*)</script>', html)
    return json.loads(gzip.decompress(base64.b64decode(data)))


def rows_in(html: str) -> list[dict[str, Any]]:
    count = packed(html, "index")["rows"]
    return [row for n in range(-(-count // CHUNK)) for row in packed(html, f"rows-{n}")]


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    async with open_services(Settings(home=tmp_path)) as made:
        await made.store.open_run("run", RunRequest.model_validate({"sources": {"seeds": "moved.jsonl"}}))
        yield made


async def test_every_row_of_a_run_is_in_it_with_where_it_comes_from(services: Services) -> None:
    state = await fill(services)
    path = await write_rows(services, "run", state, services.runs_folder / "run" / REPORT)
    html = path.read_text(encoding="utf-8")
    rows = rows_in(html)
    assert path.name == ROWS
    assert sum(row["kind"] == "instruction" for row in rows) == await services.store.count("run", Sample)
    assert sum(row["kind"] == "answer" for row in rows) == await services.store.count("run", Candidate)
    answers = {row["text"]: row for row in rows if row["kind"] == "answer"}
    good = answers["Fine words on 0."]
    assert good["used"] == "imitated" and good["score"] == 80 and len(good["scores"]) == 5
    assert good["decided"] == "by the judges" and any("(c0)" in line for line in good["calls"])
    assert answers["and on"]["outcome"] == "rejected" and answers["and on"]["reasons"] == ["the answer did not end"]
    index = packed(html, "index")
    for name, values in index["names"].items():
        numbers = index["columns"][name]
        assert [values[n] for n in numbers] == [row[name] for row in rows]
        assert index["counts"][name] == [numbers.count(n) for n in range(len(values))]
    assert index["columns"]["score"] == [row["score"] for row in rows]


async def test_what_models_wrote_is_data_and_the_page_loads_nothing(services: Services) -> None:
    state = await fill(services)
    html = (await write_rows(services, "run", state, services.runs_folder / "run" / REPORT)).read_text()
    assert HOSTILE not in html and HOSTILE in json.dumps(rows_in(html))
    scripts = re.findall(r"<script>(.*?)</script>", html, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(scripts[0].encode()).digest()).decode()
    assert len(scripts) == 1 and f"script-src &#39;sha256-{digest}&#39;" in html and "default-src 'none'" in html
    assert not re.findall(r"https?://|innerHTML|eval\(|insertAdjacent|document\.write", html)
    assert set(re.findall(r'(?:href|src)="([^"]*)"', html)) == {"report.html"}


async def test_the_report_links_to_it_where_it_lies_beside(services: Services, tmp_path: Path) -> None:
    state = await fill(services)
    place = tmp_path / "mine.html"
    assert 'href="mine.rows.html"' not in (await write_report(services, "run", state, out=place)).read_text()
    await write_rows(services, "run", state, place)
    assert rows_beside(place) == tmp_path / "mine.rows.html"
    assert 'href="mine.rows.html"' in (await write_report(services, "run", state, out=place)).read_text()


async def test_a_step_writes_it_once(services: Services) -> None:
    state = await fill(services)

    async def evaluate(state: PipelineState) -> PipelineState:
        return {}

    node = reported(evaluate, services)
    assert await node(state) == {}
    rows = services.runs_folder / "run" / ROWS
    rows.write_text("kept")
    await node(state)
    assert rows.read_text() == "kept" and f'href="{ROWS}"' in (rows.parent / REPORT).read_text()


def test_who_decided_and_which_check_failed_can_be_filtered_by() -> None:
    of = sample("p")
    one = candidate(of, "t")
    check = {"kind": "max_words", "passed": False, "evidence": "9 words"}
    row = row_of(of, one, judgement(one, checks=[check]), review(one.id, "reject", reviewer="ada", comment="dull"))
    assert (row["decided"], row["failed check"], row["stars"]) == ("by a person: ada", "max_words", "4")
    assert "reject by a person: ada: dull" in row["from"]
    assert row_of(of, one, judgement(one, scores=(), outcome="failed"))["score"] is None
    assert row_of(sample("q", score=0.7))["score"] == 70


def test_a_hundred_thousand_rows_are_written_in_bounded_time_and_size() -> None:
    of = sample("Say something of some length about a river, in at most five words, please.")
    one = candidate(of, "The river flows on and on, and nobody asks it where to.")
    made, out = row_of(of, one, judgement(one)), io.BytesIO()
    began, writer = time.process_time(), RowWriter(out, "run", REPORT)
    for _ in range(5_000):
        writer.add(made)
    writer.close()
    seconds = (time.process_time() - began) * 20
    html = out.getvalue().decode()
    index = packed(html, "index")
    assert index["rows"] == 5_000 and len(packed(html, "rows-9")) == CHUNK
    assert seconds < 60
    assert set(index["columns"]) == {*FILTERS, "score"} and index["names"] == {}
