"""A run's last checkpoint, read without LangGraph: every field is what LangGraph itself says of it."""

from __future__ import annotations

from typing import Any

import pytest
from langgraph.graph import END, START, StateGraph
from langgraph.types import Command, interrupt

from state.checkpoints import open_checkpointer, prune
from state.database import Database
from state.errors import DamagedCheckpoint
from state.pipeline import DatasetRef, NextRound, PipelineState, RunInput, TrainingDecision, Verdict
from state.request import RunRequest
from state.snapshots import CHECKPOINTED, read_snapshot

CONFIG: Any = {"configurable": {"thread_id": "mine"}}
QUESTION = {"action_requests": [{"name": "sign", "args": {"text": "é\n"}}], "review_configs": []}
DATASET = DatasetRef(version="1", folder="/x/runs/mine/d", sft_rows=1, dpo_rows=2, alpaca_rows=3)
VERDICT = Verdict(
    verdict="better", metric="m", base=0.1, adapter=0.2, difference=0.1, low=0, high=1, prompts=3, scoreboard="/s"
)


def steps(fails: bool) -> Any:
    """A run with a step in a graph of its own that asks, and one that fails."""

    async def first(state: PipelineState) -> PipelineState:
        next_round = NextRound(action="stop", reason="é", wait_seconds=1.5)
        return {"round": 2, "novelty": 0.25, "dataset": DATASET, "next_round": next_round, "warnings": ["one"]}

    async def ask(state: PipelineState) -> PipelineState:
        answer = interrupt(QUESTION)
        return {"capped": answer == "yes", "overspend": None, "verdict": VERDICT}

    async def last(state: PipelineState) -> PipelineState:
        if fails:
            raise ValueError("no 'model'\nhere")
        return {"training_decision": TrainingDecision(action="proceed", reason="", rows_at_once={"sft": 4})}

    inner = StateGraph(PipelineState)
    inner.add_node("ask", ask)
    inner.add_edge(START, "ask")
    inner.add_edge("ask", END)
    graph: Any = StateGraph(PipelineState, input_schema=RunInput)
    graph.add_node("first", first)
    graph.add_node("asking", inner.compile())
    graph.add_node("last", last)
    graph.add_edge(START, "first")
    graph.add_edge("first", "asking")
    graph.add_conditional_edges("asking", lambda state: "last", {"last": "last", "none": END})
    graph.add_edge("last", END)
    return graph


async def same(database: Database, pipeline: Any) -> Any:
    """Demand that both readers say the same, and return what ours says."""
    ours, theirs = await read_snapshot(database, "mine"), await pipeline.aget_state(CONFIG)
    assert dict(ours.values) == theirs.values
    assert ours.next == theirs.next
    assert ours.errors == tuple(str(task.error) for task in theirs.tasks if task.error)
    assert ours.questions == tuple(interrupt.value for interrupt in theirs.interrupts)
    return ours


async def test_every_place_that_a_run_can_stand_at(database: Database) -> None:
    assert (await read_snapshot(database, "mine")).values == {}, "before any checkpointer has made its tables"
    async with open_checkpointer(database) as saver:
        failing, good = (steps(fails).compile(checkpointer=saver) for fails in (True, False))
        assert (await same(database, failing)).values == {}
        start = RunInput(request=RunRequest(name="mine", train={"epochs": 3}))  # type: ignore[arg-type]  # as YAML has it
        await failing.ainvoke(start, CONFIG, durability="sync", interrupt_before=["first"])
        assert (await same(database, failing)).next == ("first",), "stopped before its first step"
        await failing.ainvoke(None, CONFIG, durability="sync")
        waiting = await same(database, failing)
        assert waiting.next == ("asking",) and waiting.questions == (QUESTION,)
        assert isinstance(waiting.values["request"], RunRequest) and waiting.values["dataset"] == DATASET
        with pytest.raises(ValueError, match="model"):
            await failing.ainvoke(Command(resume="yes"), CONFIG, durability="sync")
        failed = await same(database, failing)
        assert failed.next == ("last",) and len(failed.errors) == 1 and failed.values["capped"] is True
        await good.ainvoke(None, CONFIG, durability="sync")
        done = await same(database, good)
        assert done.next == () and done.errors == () and done.values["training_decision"].rows_at_once == {"sft": 4}
        await prune(saver, "mine")
        assert await same(database, good) == done


async def test_a_damaged_checkpoint_is_one_line(database: Database) -> None:
    async with open_checkpointer(database) as saver:
        pipeline = steps(False).compile(checkpointer=saver)
        await pipeline.ainvoke(RunInput(request=RunRequest()), CONFIG, durability="sync")
    sqlite = database.url.get_backend_name() == "sqlite"
    async with database.writing() as connection:
        damage = "UPDATE checkpoints SET checkpoint = x'c1c1'" if sqlite else "UPDATE checkpoints SET checkpoint = '{}'"
        await connection.exec_driver_sql(damage)
    with pytest.raises(DamagedCheckpoint, match="mine"):
        await read_snapshot(database, "mine")


def test_the_list_of_types_has_every_record_of_the_state() -> None:
    from state import pipeline

    records = {
        value
        for value in vars(pipeline).values()
        if isinstance(value, type) and issubclass(value, pipeline.Record) and value is not pipeline.Record
    }
    assert records <= set(CHECKPOINTED)
