"""Checkpoints, over SQLite and PostgreSQL: our types come back as themselves, and pruning leaves the last."""

import typing
from collections.abc import AsyncIterator
from typing import Any, get_args, get_type_hints

import pytest
from langgraph.checkpoint.sqlite.aio import AsyncSqliteSaver
from langgraph.graph import END, START, StateGraph
from pydantic import BaseModel
from sqlalchemy import func, select, text

from state.checkpoints import CHECKPOINTED, ClosedSerializer, Saver, open_checkpointer, prune
from state.compatibility import FORMER_NAMES
from state.database import Database
from state.errors import StorageError
from state.pipeline import (
    AdapterRef,
    Approval,
    DatasetRef,
    Improvement,
    NextRound,
    Overspend,
    PipelineState,
    RateLimits,
    RunInput,
    TrainingDecision,
)
from state.records import Sample
from state.request import Budget, Judging, RunRequest
from tests.builders import sample, verdict

DATASET = DatasetRef(version="0123", folder="runs/a/datasets/0123", sft_rows=3, dpo_rows=2, alpaca_rows=5)
VALUES: tuple[BaseModel, ...] = (
    RunRequest(name="kept", budget=Budget(dollars=2.5), judge=Judging(review_from=50, accept=60), unattended=True),
    DATASET,
    AdapterRef(id="4567", folder="runs/a/adapter"),
    verdict(),
    Approval(approved=True, reviewer="ada", comment="nul \x00 and \u2028"),
    Overspend(spent=1.0, cap=0.5),
    NextRound(action="retry", reason="too alike", batch_size=20, calls=2),
    RateLimits(requests=3, tokens=400, reset_seconds=1.5),
    TrainingDecision(action="wait", reason="taken", memory_needed=2**33, estimated_seconds=9.5, settled_by="ada"),
    Improvement(version="v1-0001", adapter="registry/v1-0001", action="retrain", corrected=3),
)
CONFIG: dict[str, Any] = {"configurable": {"thread_id": "run"}}


@pytest.fixture
async def saver(database: Database) -> AsyncIterator[Saver]:
    async with open_checkpointer(database) as opened:
        yield opened


def pipeline(saver: Saver, steps: int = 3) -> Any:
    """Return a small graph over the pipeline's own state that writes every kind of value, and then counts."""

    async def fill(state: PipelineState) -> PipelineState:
        return PipelineState(
            run_id="run", dataset=DATASET, adapter=AdapterRef(id="4567", folder="f"), verdict=verdict(),
            approval=Approval(approved=False, reviewer="ada"), overspend=Overspend(spent=1, cap=2), round=0,
            novelty=0.5, next_round=NextRound(action="stop", reason="enough"), warnings=["first"],
        )  # fmt: skip

    async def count(state: PipelineState) -> PipelineState:
        return {"round": state["round"] + 1, "warnings": [f"round {state['round']}"]}

    graph: StateGraph[PipelineState, None, RunInput, PipelineState] = StateGraph(PipelineState, input_schema=RunInput)
    graph.add_node("fill", fill)
    graph.add_node("count", count)
    graph.add_edge(START, "fill")
    graph.add_edge("fill", "count")
    graph.add_conditional_edges(
        "count", lambda state: "more" if state["round"] < steps else "done", {"more": "count", "done": END}
    )
    return graph.compile(checkpointer=saver)


def ours(hint: Any) -> set[type]:
    """Return the models of ours within a type hint."""
    if isinstance(hint, type) and issubclass(hint, BaseModel):
        return {hint}
    return {model for part in get_args(hint) for model in ours(part)}


def test_every_model_in_the_state_may_be_revived() -> None:
    hints = get_type_hints(PipelineState, vars(typing))
    assert {model for hint in hints.values() for model in ours(hint)} == set(CHECKPOINTED)
    assert {type(value) for value in VALUES} == set(CHECKPOINTED)


@pytest.mark.parametrize("value", VALUES, ids=lambda value: type(value).__name__)
def test_a_value_comes_back_as_its_own_type(value: BaseModel) -> None:
    back = ClosedSerializer().loads_typed(ClosedSerializer().dumps_typed(value))
    assert type(back) is type(value) and back == value


def test_a_value_of_an_earlier_version_comes_back_without_what_is_gone(monkeypatch: pytest.MonkeyPatch) -> None:
    kept = ClosedSerializer().dumps_typed(AdapterRef(id="1", folder="a", flags=("warm",)))
    monkeypatch.setitem(FORMER_NAMES, "AdapterRef", {"flags": None})
    assert ClosedSerializer().loads_typed(kept) == AdapterRef(id="1", folder="a")


def test_no_other_type_is_revived_and_nothing_is_pickled() -> None:
    kept = ClosedSerializer()
    assert not isinstance(kept.loads_typed(kept.dumps_typed(sample())), Sample)
    with pytest.raises(TypeError):
        kept.dumps_typed(object())


async def test_a_run_comes_back_from_the_database_with_its_types(saver: Saver, database_url: str) -> None:
    await pipeline(saver).ainvoke({"request": VALUES[0]}, CONFIG, durability="sync")
    database = Database(database_url)
    async with open_checkpointer(database) as other:
        values = (await pipeline(other).aget_state(CONFIG)).values
    await database.close()
    assert values["request"] == VALUES[0] and type(values["request"]) is RunRequest
    assert values["dataset"] == DATASET and type(values["dataset"]) is DatasetRef
    found = {name: type(values[name]) for name in ("adapter", "verdict", "approval", "overspend", "next_round")}
    assert set(found.values()) <= set(CHECKPOINTED) and len(set(found.values())) == 5
    assert (values["round"], values["warnings"]) == (3, ["first", "round 0", "round 1", "round 2"])


async def test_a_clients_plain_request_is_kept_as_a_request(saver: Saver) -> None:
    await pipeline(saver).ainvoke({"request": {"name": "plain", "judge": {"accept": 80}}}, CONFIG)
    values = (await pipeline(saver).aget_state(CONFIG)).values
    assert values["request"] == RunRequest(name="plain", judge=Judging(accept=80))


async def test_pruning_leaves_the_last_and_the_thread_can_be_read_and_resumed(saver: Saver) -> None:
    graph = pipeline(saver)
    await graph.ainvoke({"request": VALUES[0]}, CONFIG, durability="sync")
    other: dict[str, Any] = {"configurable": {"thread_id": "other"}}
    await graph.ainvoke({"request": VALUES[0]}, other, durability="sync")
    before = await graph.aget_state(CONFIG)
    kept = [point async for point in saver.alist(other)]
    assert len([point async for point in saver.alist(CONFIG)]) > 3

    await prune(saver, "run")

    assert len([point async for point in saver.alist(CONFIG)]) == 1
    after = await graph.aget_state(CONFIG)
    assert (after.values, after.next, after.config) == (before.values, before.next, before.config)
    assert [point async for point in saver.alist(other)] == kept
    await graph.aupdate_state(CONFIG, {"round": 1}, as_node="fill")
    result = await graph.ainvoke(None, CONFIG)
    assert (result["round"], result["dataset"]) == (3, DATASET)


async def test_pruning_leaves_no_value_that_nothing_refers_to(saver: Saver, database: Database) -> None:
    tables = {"writes"} if isinstance(saver, AsyncSqliteSaver) else {"checkpoint_writes", "checkpoint_blobs"}
    await pipeline(saver, steps=2).ainvoke({"request": VALUES[0]}, CONFIG, durability="sync")
    await prune(saver, "run")
    few = {table: await _rows(database, table) for table in tables}
    for thread in ("run", "longer"):
        config: dict[str, Any] = {"configurable": {"thread_id": thread}}
        await pipeline(saver, steps=12).ainvoke({"request": VALUES[0], "round": 0}, config, durability="sync")
        await prune(saver, thread)
    assert {table: await _rows(database, table) for table in tables} == {table: 2 * few[table] for table in tables}


async def _rows(database: Database, table: str) -> int:
    async with database.reading() as connection:
        return int((await connection.execute(select(func.count()).select_from(text(table)))).scalar_one())


async def test_pruning_again_or_what_never_ran_does_nothing(saver: Saver) -> None:
    await prune(saver, "never")
    await pipeline(saver).ainvoke({"request": VALUES[0]}, CONFIG)
    await prune(saver, "run")
    await prune(saver, "run")
    assert (await pipeline(saver).aget_state(CONFIG)).values["round"] == 3


@pytest.mark.parametrize("url", ["sqlite:////no/such/folder/corral.db", "postgresql://nobody@127.0.0.1:1/none"])
async def test_a_database_out_of_reach_is_a_storage_error(url: str) -> None:
    with pytest.raises(StorageError, match=r"the checkpoints in .* cannot be used: .+ \(see 'corral doctor'\)"):
        async with open_checkpointer(Database(url)):
            raise AssertionError("opened")
