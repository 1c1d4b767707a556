"""The steps of one run as its page shows them: in the order of the graph, each with how far it is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, assert_never

from graph.standing import RunStatus, Standing
from state.records import Record
from state.snapshots import PIPELINE
from tools.progress import StepProgress
from tools.report.timing import step_times

START, END = "__start__", "__end__"
Stage = Literal["done", "running", "waiting", "stopped", "failed", "to come"]


class StepView(Record):
    """One step."""

    name: str
    stage: Stage
    seconds: float | None
    """How long it has worked so far, in all its rounds; ``None`` where it has not begun."""
    done: int = 0
    total: int | None = None
    """Items, where this application works on the run."""
    pace: str = ""
    """Its rate, and the time left as a range, while it runs."""
    note: str = ""
    turns: tuple[str, ...] = ()
    """Where the run may go from here but to the next step, in words."""


def step_names(graph: Any) -> tuple[str, ...]:
    """Return the names of the graph's steps, in their order; those of the pipeline within an improvement, too."""
    within = dict(graph.get_subgraphs())
    names: list[str] = []
    for name in graph.nodes:
        names += step_names(within[name]) if name == PIPELINE else [name] if name != START else []
    return tuple(names)


def turns_of(graph: Any) -> dict[str, tuple[str, ...]]:
    """Return for each step where else the graph may go after it, such as ``again: back to generate``."""
    order = {name: place for place, name in enumerate(step_names(graph))}
    turns: dict[str, tuple[str, ...]] = {}
    inner = dict(graph.get_subgraphs()).get(PIPELINE)
    for edge in (*graph.get_graph().edges, *(inner.get_graph().edges if inner else ())):
        if edge.source not in order or (inner and edge.data == "measured"):
            continue  # what comes after the pipeline is the next step
        if not edge.conditional or order.get(edge.target) == order.get(edge.source, -2) + 1:
            continue
        where = "the run ends" if edge.target == END else f"back to {edge.target}"
        where = "once more" if edge.target == edge.source else where
        turns[edge.source] = (*turns.get(edge.source, ()), f"{edge.data}: {where}")
    return turns


def step_views(
    names: Sequence[str],
    status: RunStatus,
    times: Iterable[tuple[str, float, float]],
    counts: Mapping[str, StepProgress],
    turns: Mapping[str, tuple[str, ...]],
) -> list[StepView]:
    """Return all steps.

    Args:
        names: in the graph's order.
        status: where the run stands.
        times: (step, began, ended) of the run's work, in seconds.
        counts: how far steps are, where this application works on the run.
        turns: where else the graph may go after a step.
    """
    spent = {one.step: one.seconds for one in step_times(times, {})}
    running = next((name for name in reversed(names) if name in counts and not counts[name].ended), "")
    at = running if status.standing == "running" and running else status.step
    place = names.index(at) if at in names else len(names) if status.standing == "done" else 0
    views = []
    for number, name in enumerate(names):
        stage: Stage = "done" if number < place else "to come"
        if status.standing == "done" and name not in spent and spent:
            stage = "to come"  # a run may end before its last step
        if number == place:
            stage = _stage(status.standing)
        count = counts.get(name)
        views.append(
            StepView(
                name=name,
                stage=stage,
                seconds=spent.get(name),
                done=count.done if count else 0,
                total=count.total if count else None,
                pace=count.in_words if count and not count.ended else "",
                note=count.note if count else "",
                turns=turns.get(name, ()),
            )
        )
    return views


def _stage(standing: Standing) -> Stage:
    """Return how the step stands that the run is at."""
    match standing:
        case "running" | "waiting" | "stopped" | "failed":
            return standing
        case "batched":
            return "waiting"
        case "damaged" | "unreadable":
            return "failed"
        case "new" | "done":
            return "to come"
        case _:
            assert_never(standing)
