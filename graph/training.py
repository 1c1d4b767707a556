"""The train step: decide whether to begin, ask where a person should, and train. A small graph, drawn as one node."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, assert_never

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph

from graph.services import Services
from graph.steps import step
from nodes.train import ask_about_training, make_decide, make_train
from state.pipeline import PipelineState
from state.store import RecordStore


def training(
    store: RecordStore, runs_folder: Path, cache: Path, services: Services
) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Return the step.

    The decision is a node of its own, so that a decision or an answer is kept when a killed training goes on: other
    settings would give another adapter.

    Args:
        store: the record store.
        runs_folder: holds a folder for each run, of the run's name.
        cache: where the converted embedded base is kept.
        services: the process's services.
    """
    flow = StateGraph(PipelineState)
    flow.add_node("decide", step(make_decide(store, runs_folder, cache), services))
    flow.add_node("ask", step(ask_about_training, services))
    flow.add_node("train", step(make_train(runs_folder, cache), services))
    flow.add_edge(START, "decide")
    flow.add_conditional_edges("decide", after_decision, {"open": "ask", "settled": "train"})
    flow.add_conditional_edges("ask", after_answer, {"again": "decide", "settled": "train"})
    flow.add_edge("train", END)
    return flow.compile(name="train if it fits")  # what a trace calls it


def after_decision(state: PipelineState) -> Literal["open", "settled"]:
    """Ask a person where the training would wait or be changed, and no policy has answered."""
    decision = state["training_decision"]
    match decision.action:
        case "proceed":
            return "settled"
        case "optimise" | "wait" | "abort":
            return "settled" if decision.settled_by else "open"
        case _:
            assert_never(decision.action)


def after_answer(state: PipelineState) -> Literal["again", "settled"]:
    """Survey the machine again where a person chose to wait."""
    return "settled" if state["training_decision"].settled_by else "again"
