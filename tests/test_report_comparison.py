"""Two runs compared: what differs, and both adapters on the prompts that both have, paired."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from typer.testing import CliRunner

import graph.run_comparison
from corral.cli.main import app
from graph.run_comparison import write_comparison
from graph.services import Services, open_services
from state.errors import BadInput
from state.pipeline import AdapterRef, PipelineState
from state.records import Answer, Outcome, Sample
from state.request import RunRequest
from tests.builders import sample
from tests.test_report_page import HOSTILE, Page, facts
from tools.report.run_comparison import parts_of, render_comparison
from tools.settings import Settings
from tools.statistics.significance import mcnemar

A, B = "aa" * 16, "bb" * 16


@pytest.fixture
async def services(tmp_path: Path) -> AsyncIterator[Services]:
    async with open_services(Settings(home=tmp_path, database_url=f"sqlite:///{tmp_path}/corral.db")) as made:
        yield made


def heldout(number: int) -> Sample:
    return sample(
        f"Ask {number}?", split="heldout", outcome=Outcome.ACCEPTED, checks=[{"kind": "max_words", "value": 3}]
    )


async def fill(services: Services, run: str, adapter: str, prompts: range, passing: int, epochs: int) -> None:
    await services.store.open_run(run, RunRequest.model_validate({"train": {"epochs": epochs}}))
    samples = [heldout(n) for n in prompts]
    await services.store.add(run, samples)
    answers = [
        Answer(
            id=adapter + s.id, sample_id=s.id, model=adapter, ended=True,
            text="Three fine words." if n < passing else "far too many words by far",
        )
        for n, s in zip(prompts, samples, strict=True)
    ]  # fmt: skip
    await services.store.add(run, answers)


async def test_both_adapters_are_held_against_each_other_on_the_prompts_that_both_answered(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(services, "one", A, range(0, 40), 10, epochs=1)
    await fill(services, "two", B, range(10, 50), 40, epochs=2)
    states: dict[str, PipelineState] = {
        "one": {"adapter": AdapterRef(id=A, folder=str(tmp_path))},
        "two": {"adapter": AdapterRef(id=B, folder=str(tmp_path))},
    }

    async def state_of(services: Services, run_id: str) -> PipelineState:
        return states.get(run_id, {})

    monkeypatch.setattr(graph.run_comparison, "state_of", state_of)
    out = tmp_path / "page.html"
    (line,) = await write_comparison(services, "one", "two", out)
    assert "guarded on 30 shared held-out prompts: second less first +100.0 points" in line
    assert line.endswith("the second is better")
    page = Page(out.read_text())
    assert "first 0.0, second 100.0 of 100" in page.text and "train.epochs" in page.text
    assert f"p {mcnemar([False] * 30, [True] * 30):.3f}" in page.text
    (back,) = await write_comparison(services, "two", "one", out)
    assert "second less first \N{MINUS SIGN}100.0 points" in back and back.endswith("the first is better")
    states["two"] = {}
    assert await write_comparison(services, "one", "two", out) == ["run two has no adapter yet"]
    with pytest.raises(BadInput, match="compared with itself"):
        await write_comparison(services, "one", "one", out)


def test_what_differs_stands_out_and_what_models_wrote_is_text() -> None:
    first = facts(HOSTILE)
    second = facts(HOSTILE, request=RunRequest.model_validate({"seed": 7}), costs=None)
    parts = {part.title: part for part in parts_of(first, second)}
    assert {row.name for row in parts["Settings that differ"].rows} == {"seed", "sources.seeds"}
    assert {row.second for row in parts["Cost"].rows} == {"-"}
    assert not any(row.differs for row in parts["Rows"].rows)
    html = render_comparison(first, second, [], first.written_at)
    page = Page(html)
    assert not {"script", "link", "img", "iframe", "form"} & set(page.tags)
    assert "cannot be held against the other" in page.text and "Each against its own base" in page.text


async def test_the_command_line_compares_two_runs_and_asks_before_it_overwrites(
    services: Services, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(services, "one", A, range(2), 1, epochs=1)
    await fill(services, "two", B, range(2), 2, epochs=1)
    monkeypatch.setenv("CORRAL_HOME", str(tmp_path))
    monkeypatch.setenv("CORRAL_DATABASE_URL", f"sqlite:///{tmp_path}/corral.db")
    monkeypatch.chdir(tmp_path)
    done = await asyncio.to_thread(CliRunner().invoke, app, ["report", "one", "two"])
    assert done.exit_code == 0 and "one-against-two.html" in done.stdout, done.output
    assert "run one has no adapter yet" in done.stdout and "run two has no adapter yet" in done.stdout
    again = await asyncio.to_thread(CliRunner().invoke, app, ["report", "one", "two"])
    assert isinstance(again.exception, BadInput) and "--yes overwrites it" in str(again.exception)
    one = await asyncio.to_thread(CliRunner().invoke, app, ["report", "one", "--out", "mine.html"])
    assert one.exit_code == 0 and Path("mine.html").exists() and Path("mine.rows.html").exists()
