"""The improvement: from what people said of the deployed version to the next one. Every node and every edge."""

from __future__ import annotations

from typing import Any

from langgraph.graph import END, START, StateGraph

from graph.budget import paying
from graph.entry import Pipeline
from graph.pipeline import build_pipeline
from graph.reported import reported
from graph.routes import after_approve, after_decide, after_pipeline
from graph.services import Services
from graph.steps import step
from nodes.approve import make_approve
from nodes.augment import make_augment
from nodes.collect import make_collect
from nodes.compare import make_compare
from nodes.decide import make_decide
from nodes.deploy import make_deploy
from state.checkpoints import Saver
from state.pipeline import PipelineState, RunInput
from state.snapshots import PIPELINE


def build_improvement(services: Services, checkpointer: Saver | None = None) -> Pipeline:
    """Return the compiled graph; an improvement is a run like others, and the pipeline is one of its steps.

    Args:
        services: what the steps work with.
        checkpointer: keeps the state between steps; ``None`` where the server brings its own.
    """
    store, feedback = services.store, services.feedback
    comparing = make_compare(store, services.calls, services.runs_folder, services.open_endpoint)
    deploying = make_deploy(store, services.registry, services.settings, services.open_endpoint)

    graph: StateGraph[PipelineState, None, Any, PipelineState] = StateGraph(PipelineState, input_schema=RunInput)
    graph.add_node("collect", step(make_collect(store, feedback, services.registry), services))
    graph.add_node("decide", step(make_decide(feedback), services))
    graph.add_node("augment", paying("augment", make_augment(store, services.open_endpoint), services))
    graph.add_node(PIPELINE, build_pipeline(services, part=True))
    graph.add_node("compare", step(reported(comparing, services), services))
    graph.add_node("approve", step(reported(make_approve(), services), services))
    graph.add_node("deploy", step(reported(deploying, services), services))

    graph.add_edge(START, "collect")
    graph.add_edge("collect", "decide")
    graph.add_conditional_edges("decide", after_decide, {"retrain": "augment", "wait": END})
    graph.add_edge("augment", PIPELINE)
    graph.add_conditional_edges(PIPELINE, after_pipeline, {"made": "compare", "nothing": END})
    graph.add_edge("compare", "approve")
    graph.add_conditional_edges("approve", after_approve, {"signed": "deploy", "declined": END})
    graph.add_edge("deploy", END)
    return Pipeline(
        services=services, improves=True, **vars(graph.compile(checkpointer=checkpointer, name="improvement"))
    )
