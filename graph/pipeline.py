"""The pipeline: every node and every edge, top to bottom."""

from __future__ import annotations

from typing import Any

from langgraph.graph import END, START, StateGraph

from graph.budget import paying
from graph.entry import Pipeline
from graph.fanout import fan_out
from graph.reported import reported
from graph.routes import after_approve, after_evaluate, after_gate, after_review
from graph.services import Services
from graph.steps import step
from graph.training import training
from nodes.approve import make_approve
from nodes.assemble import make_assemble
from nodes.deploy import make_deploy
from nodes.evaluate import make_evaluate
from nodes.gate import make_gate
from nodes.generate import make_generate
from nodes.judge import CandidatesToJudge, make_judge
from nodes.respond import PromptsToAnswer, make_respond
from nodes.review import make_review
from state.checkpoints import Saver
from state.pipeline import PipelineState, RunInput


def build_pipeline(services: Services, checkpointer: Saver | None = None, *, part: bool = False) -> Pipeline:
    """Return the compiled graph.

    Args:
        services: what the steps work with.
        checkpointer: keeps the state between steps; ``None`` where the server brings its own.
        part: whether it is a step of another graph, which takes its state along and signs the adapter itself.
    """
    store, runs_folder, cache = services.store, services.runs_folder, services.cache
    # The calls of these three steps may wait for a batch.
    generating = make_generate(store, services.calls, services.open_deferring)
    responding = make_respond(store, services.open_deferring)
    judging = make_judge(store, services.open_deferring)

    graph: StateGraph[PipelineState, None, Any, PipelineState]
    graph = StateGraph(PipelineState, input_schema=PipelineState if part else RunInput)
    graph.add_node("generate", paying("generate", generating, services))
    graph.add_node("gate", step(make_gate(store, services.calls, services.open_endpoint), services))
    graph.add_node("respond", fan_out("respond", PromptsToAnswer(store), responding, services))
    graph.add_node("judge", fan_out("judge", CandidatesToJudge(store), judging, services))
    graph.add_node("review", step(make_review(store), services))
    assembling = make_assemble(store, runs_folder, services.settings.home, services.open_endpoint)
    graph.add_node("assemble", step(assembling, services))
    graph.add_node("train", training(store, runs_folder, cache, services))
    evaluating = make_evaluate(store, services.calls, runs_folder, services.open_endpoint)
    graph.add_node("evaluate", step(reported(evaluating, services), services))
    if not part:
        deploying = make_deploy(store, services.registry, services.settings, services.open_endpoint)
        graph.add_node("approve", step(reported(make_approve(), services), services))
        graph.add_node("deploy", step(reported(deploying, services), services))

    graph.add_edge(START, "generate")
    graph.add_edge("generate", "gate")
    graph.add_conditional_edges("gate", after_gate, {"again": "generate", "enough": "respond", "nothing": END})
    graph.add_edge("respond", "judge")
    graph.add_edge("judge", "review")
    graph.add_conditional_edges("review", after_review, {"waiting": "review", "settled": "assemble"})
    graph.add_edge("assemble", "train")
    graph.add_edge("train", "evaluate")
    graph.add_conditional_edges("evaluate", after_evaluate, {"worse": "train", "measured": END if part else "approve"})
    if not part:
        graph.add_conditional_edges("approve", after_approve, {"signed": "deploy", "declined": END})
        graph.add_edge("deploy", END)
    return Pipeline(services=services, **vars(graph.compile(checkpointer=checkpointer, name="corral")))


def draw(pipeline: Any) -> str:
    """Return the graph as Mermaid text."""
    return str(pipeline.get_graph().draw_mermaid())
