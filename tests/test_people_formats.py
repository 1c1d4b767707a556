"""Ratings out to other tools' files and back: nothing is lost, and what does not fit is told with its place."""

from __future__ import annotations

import asyncio
import json
import warnings
import xml.etree.ElementTree as ET
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import jsonschema
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from corral.cli.main import app
from graph.review_files import export_lines, import_ratings
from graph.runs import Runs, open_runs
from state.errors import BadInput, UnknownRun
from state.records import Criterion, DecisionKind, ItemKind, Rating
from tests.builders import NOON, candidate, judgement, review_task, sample
from tests.test_reviews import fill
from tools.people.decisions import allowed_for
from tools.people.formats import Format, exported, said_in
from tools.people.formats.argilla import user_id
from tools.people.formats.label_studio import labelling_config
from tools.people.formats.said import Said, checked
from tools.people.items import Item
from tools.settings import Settings

FORMATS: tuple[Format, ...] = get_args(Format)
TASK = jsonschema.Draft202012Validator(
    json.loads((Path(__file__).parent / "data" / "label_studio_import.schema.json").read_text())
)
"""Of what Label Studio's API imports."""

words = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=20)
names = st.text("abc é-@.", min_size=1, max_size=8).filter(lambda name: bool(name.strip()) and name == name.strip())


def made_item(kind: ItemKind = "completion") -> Item:
    asked = sample("Name a river.")
    answers = tuple(candidate(asked, text, draw=n) for n, text in enumerate(("The Rhine.", "The Po.")))
    judged = tuple(judgement(one, 3, 60.0) for one in answers)
    task = review_task(answers[0], kind=kind, candidates=tuple(one.id for one in answers) if kind == "pair" else ())
    count = {"instruction": 0, "completion": 1, "pair": 2}[kind]
    return Item(task=task, sample=asked, candidates=answers[:count], judgements=judged[:count])


@st.composite
def rated(draw: st.DrawFn) -> tuple[Item, list[Rating]]:
    item = made_item(draw(st.sampled_from(get_args(ItemKind))))
    raters = draw(st.lists(names, unique=True, max_size=3))
    ratings = []
    for rater in raters:
        decision = draw(st.sampled_from(allowed_for(item.task.kind)))
        stars = st.dictionaries(st.sampled_from(get_args(Criterion)), st.integers(1, 5))
        text = "The Ebro, mended." if decision == "edit" else ""
        fields = {"item_id": item.id, "rater": rater, "decision": decision, "text": text, "comment": draw(words)}
        ratings.append(Rating.model_validate({**fields, "ratings": draw(stars), "decided_at": NOON}))
    return item, ratings


def read(format_: Format, rows: list[dict[str, Any]]) -> list[tuple[str, Said]]:
    return [(f"row {n}", one) for n, row in enumerate(rows, 1) for one in said_in(format_, row)]


@pytest.mark.parametrize("format_", FORMATS)
@settings(max_examples=25, deadline=None)
@given(rated())
def test_nothing_is_lost_on_the_way_out_and_back(format_: Format, made: tuple[Item, list[Rating]]) -> None:
    item, ratings = made
    rows = json.loads(json.dumps(exported(format_, "run", item, ratings)))
    found = checked(read(format_, rows), {item.id: item.task.kind}, NOON + timedelta(days=1))
    assert found.told == ()
    assert {d.rater: d.model_dump() for d in found.drafts} == {r.rater: r.model_dump() for r in ratings}
    if format_ == "label-studio":
        TASK.validate(rows[0])


@pytest.mark.parametrize("kind", get_args(ItemKind))
def test_argillas_own_client_reads_the_records_and_writes_the_same(kind: ItemKind, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from argilla.records import Record
        from argilla.records._io import JsonIO
    item = made_item(kind)
    decision: DecisionKind = "prefer_b" if kind == "pair" else "approve"
    rating = Rating(item_id=item.id, rater="ada", decision=decision, ratings={"overall": 4}, decided_at=NOON)
    rows = exported("argilla", "run", item, [rating])
    (tmp_path / "records.json").write_text(json.dumps(rows))
    (record,) = JsonIO._records_from_json(tmp_path / "records.json")
    assert isinstance(record, Record) and record.id == item.id
    assert record.fields["prompt"] == item.sample.prompt and str(next(iter(record.responses)).user_id) == user_id("ada")
    JsonIO.to_json([record], tmp_path / "back.json")
    back = json.loads((tmp_path / "back.json").read_text())
    assert checked(read("argilla", back), {item.id: kind}, NOON).drafts[0].model_dump() == rating.model_dump()


def test_label_studios_tasks_fit_the_config_that_stands_beside_them() -> None:
    item = made_item("pair")
    given = {"rater": "ada", "decision": "prefer_b", "comment": "why", "ratings": {"honesty": 2}}
    rating = Rating.model_validate({"item_id": item.id, "decided_at": NOON, **given})
    (task,) = exported("label-studio", "run", item, [rating])
    config = ET.fromstring(labelling_config())
    controls = {element.get("name"): element for element in config.iter() if element.get("toName")}
    shown = {str(element.get("value")).removeprefix("$") for element in config.iter("Text")}
    assert all(isinstance(task["data"][name], str) for name in shown)
    for region in task["annotations"][0]["result"]:
        control = controls[region["from_name"]]
        assert control.tag.lower() == region["type"] and control.get("toName") == region["to_name"]
        assert "choices" not in region["value"] or region["value"]["choices"][0] in {
            choice.get("value") for choice in control.iter("Choice")
        }


def test_who_decided_in_label_studio_is_known_by_what_its_export_says() -> None:
    region = {"from_name": "decision", "type": "choices", "value": {"choices": ["approve"]}}
    people = [{"completed_by": 3}, {"completed_by": {"id": 4, "email": "bo@example.org"}}, {"was_cancelled": True}]
    row = {"data": {"item_id": "i"}, "annotations": [{"result": [region], **one} for one in people]}
    assert [one.rater for one in said_in("label-studio", row)] == ["label-studio-3", "bo@example.org"]


FAULTS = [
    ({"item_id": "nobody's"}, 'line 1: no item "nobody\'s" of this run goes to people'),
    ({"item_id": ["x"]}, "no item ['x'] of this run"),
    ({"rater": ""}, "'' is no person's name"),
    ({"rater": "policy:midpoint"}, "is no person's name"),
    ({"decision": "prefer_a"}, "one of approve, edit, reject, cannot_judge, skip, not 'prefer_a'"),
    ({"decision": "edit", "text": "  "}, "an edit carries the new text"),
    ({"text": 3}, "its text and its comment are words"),
    ({"ratings": {"overall": 6}}, "overall is 6, and stars go from 1 to 5"),
    ({"ratings": {"overall": True}}, "overall is True"),
    ({"ratings": {"charm": 3}}, "'charm' is no criterion; they are instruction_following"),
    ({"decided_at": "yesterday"}, "'yesterday' is no time, such as 20"),
]


@pytest.mark.parametrize(("change", "told"), FAULTS)
def test_what_does_not_fit_is_told_with_its_place(change: dict[str, Any], told: str) -> None:
    row = {"item_id": "i", "rater": "ada", "decision": "approve", "ratings": {"overall": 3}} | change
    found = checked([("line 1", Said(**row)), ("line 2", Said("i", "bo", "reject"))], {"i": "completion"}, NOON)
    assert [draft.rater for draft in found.drafts] == ["bo"]
    assert len(found.told) == 1 and found.told[0].startswith("line 1: ") and told in found.told[0]


def test_two_raters_of_one_name_are_told_and_the_first_counts() -> None:
    said = [
        ("line 1", Said("i", "ada", "approve")), ("line 2", Said("i", "ada", "reject")),
        ("line 3", Said("i", "ada", "approve")), ("line 4", Said("j", "ada", "reject")),
    ]  # fmt: skip
    found = checked(said, {"i": "completion", "j": "completion"}, NOON)
    assert [(d.item_id, d.decision) for d in found.drafts] == [("i", "approve"), ("j", "reject")]
    assert found.told == ("line 2: ada on line 1 says otherwise of item i, and counts; give two people two names",)
    sent = [Rating(item_id="i", rater="ada", decision="reject", decided_at=NOON)]
    again = checked(said[:1], {"i": "completion"}, NOON, sent)
    assert again.drafts == () and "has sent another decision on item i, which counts" in again.told[0]
    assert checked([("line 1", Said("i", "ada", "reject"))], {"i": "completion"}, NOON, sent).told == ()


@pytest.mark.parametrize(
    ("format_", "row"),
    [
        ("jsonl", {"rater": "ada"}), ("jsonl", {"item_id": "i", "ratings": [3]}), ("argilla", {"fields": {}}),
        ("argilla", {"id": "i", "responses": {"decision": [{"user_id": "u"}]}}),
        ("argilla", {"id": "i", "responses": {"decision": [{"value": "a", "user_id": "u"}] * 2}}),
        ("label-studio", {"data": {}}), ("label-studio", {"data": {"item_id": "i"}, "annotations": [3]}),
        ("label-studio", {"data": {"item_id": "i"}, "annotations": [{"result": [{"value": 3}]}]}),
    ],
)  # fmt: skip
def test_a_row_of_another_format_says_why(format_: Format, row: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"it |'ratings'|answer|twice|annotation|region"):
        said_in(format_, row)


@pytest.fixture
async def runs(tmp_path: Path) -> AsyncIterator[Runs]:
    async with open_runs(Settings(home=tmp_path, database_url=f"sqlite:///{tmp_path}/corral.db")) as opened:
        yield opened


@pytest.mark.parametrize("format_", FORMATS)
async def test_a_file_that_was_filled_in_elsewhere_decides(format_: Format, runs: Runs, tmp_path: Path) -> None:
    await fill(runs, items=4, raters=1)
    exported_ = "".join([line async for line in export_lines(runs.services, "run", format_)])
    rows = json.loads(exported_) if format_ != "jsonl" else [json.loads(line) for line in exported_.splitlines()]
    assert len(rows) == 4 and read(format_, rows) == []
    for n, row in enumerate(rows):
        filled = {"decision": ["approve", "reject", "skip"][n % 3]}
        if format_ == "jsonl":
            row |= {**filled, "rater": "ada"}
        elif format_ == "argilla":
            row["responses"] = {"decision": [{"value": filled["decision"], "user_id": user_id("ada")}]}
        else:
            region = {"from_name": "decision", "value": {"choices": [filled["decision"]]}}
            row["annotations"] = [{"result": [region], "completed_by": {"email": "ada"}}]
    path = tmp_path / "filled"
    lines = [json.dumps(row) for row in rows]
    path.write_text("\n".join([*lines, "not json", *lines[:1]]) if format_ == "jsonl" else json.dumps(rows))
    taken = await import_ratings(runs.services, "run", format_, path)
    assert (taken.sent, taken.settled) == (3, 3)
    assert len(taken.told) == (format_ == "jsonl") and all("line 5" in line for line in taken.told)
    again = await import_ratings(runs.services, "run", format_, path)
    assert again.sent == 0
    late = path.with_suffix(".late")
    decided = rows[0]["data"]["item_id"] if format_ == "label-studio" else rows[0].get("item_id", rows[0].get("id"))
    late.write_text(json.dumps({"item_id": decided, "rater": "bo", "decision": "reject"}))
    (told,) = (await import_ratings(runs.services, "run", "jsonl", late)).told
    who = user_id("ada") if format_ == "argilla" else "ada"
    assert f"item {decided} was approved by {who} on" in told and "already, which counts; the rating is kept" in told
    back = "".join([line async for line in export_lines(runs.services, "run", format_)])
    assert "ada" in back or user_id("ada") in back


async def test_a_file_of_another_format_and_an_unknown_run_are_refused(runs: Runs, tmp_path: Path) -> None:
    await fill(runs)
    path = tmp_path / "labels.jsonl"
    path.write_text('{"prompt": "p"}\n{"prompt": "q"}')
    with pytest.raises(BadInput, match=r"labels.jsonl is no argilla file of ratings: line 1: it is no record"):
        await import_ratings(runs.services, "run", "argilla", path)
    with pytest.raises(UnknownRun):
        [line async for line in export_lines(runs.services, "other", "jsonl")]


async def test_the_command_line_writes_a_file_and_takes_it_back(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(runs, items=2)
    monkeypatch.setenv("CORRAL_HOME", str(tmp_path))
    monkeypatch.setenv("CORRAL_DATABASE_URL", f"sqlite:///{tmp_path}/corral.db")
    out = tmp_path / "items.json"

    async def corral(*arguments: str | Path) -> Any:
        return await asyncio.to_thread(CliRunner().invoke, app, ["review", "run", *map(str, arguments)])

    done = await corral("--export", out, "--format", "label-studio")
    assert done.exit_code == 0, done.output
    assert len(json.loads(out.read_text())) == 2 and ET.parse(f"{out}.labelling.xml")
    assert isinstance((await corral("--export", out)).exception, BadInput)
    assert (await corral("--export", out, "--format", "label-studio", "--yes")).exit_code == 0
    ratings = tmp_path / "ratings.jsonl"
    assert (await corral("--export", ratings)).exit_code == 0
    rows = [json.loads(line) | {"rater": "ada", "decision": "approve"} for line in ratings.read_text().splitlines()]
    ratings.write_text("\n".join(json.dumps(row) for row in [*rows, {**rows[0], "ratings": {"overall": 9}}]))
    done = await corral("--import", ratings)
    assert done.exit_code == 2 and "line 3: overall is 9, and stars go from 1 to 5" in done.stderr
    assert "2 ratings taken, 2 items decided by them, 1 line did not fit" in done.stdout
    assert isinstance((await corral("--import", ratings, "--export", out)).exception, BadInput)
