"""The question that a run asks when its budget is used up, and the step that asks it."""

from __future__ import annotations

import math
from typing import Any, Literal

from langgraph.graph import END, START, StateGraph
from langgraph.graph.state import CompiledStateGraph
from langgraph.types import interrupt

from graph.batching import add_waiting
from graph.services import Services
from graph.steps import step
from state.pipeline import Node, Overspend, PipelineState
from tools.people.decisions import consequences
from tools.people.questions import Action, HumanAnswer, answer_schema, question


def budget_action(overspend: Overspend) -> Action:
    """Return what a person is asked: to double the cap, to set another one, or to go on without paid calls."""
    proposed = round(max(2 * overspend.cap, 0.01), 4)
    return Action(
        name="raise_budget",
        args={"dollars": proposed},
        allowed=("approve", "edit", "reject"),
        editable="dollars",
        description=(
            f"The budget is used up: ${overspend.spent:.4f} of ${overspend.cap:.4f} is spent, and the next call would "
            f"pass it. Approve to set the cap to ${proposed:.4f}, edit 'dollars' to set another cap, or reject to go "
            "on with what is paid for."
        ),
    )


def new_cap(answer: HumanAnswer, overspend: Overspend) -> float | None:
    """Return the cap in dollars that a person set, or ``None`` where the budget stays as it is.

    Raises:
        ValueError: the edited sum is no number above the cap.
    """
    decision = answer.decisions[0]
    if not consequences(decision.type).agrees:
        return None
    asked = budget_action(overspend).args | (decision.edited_action.args if decision.edited_action else {})
    try:
        dollars = float(str(asked["dollars"]))
    except ValueError:
        dollars = math.nan
    if not overspend.cap < dollars < math.inf:
        raise ValueError(f"the new cap must be a number of dollars above {overspend.cap:g}, not {asked['dollars']!r}")
    return dollars


async def ask_for_budget(services: Services, run_id: str, overspend: Overspend) -> bool:
    """Ask a person about the budget and follow the answer.

    Returns:
        Whether the cap is final: from now on a call that would pass it fails.
    """
    actions = [budget_action(overspend)]
    schema = answer_schema(actions, check=lambda answer: new_cap(answer, overspend))
    cap = new_cap(interrupt(question(actions), response_schema=schema), overspend)
    if cap is not None:
        await services.calls.raise_cap(run_id, cap)
    return cap is None


def paying(name: str, work: Node, services: Services) -> CompiledStateGraph[Any, Any, Any, Any]:
    """Return a step that asks for money when its budget ends, and waits for its batches; drawn as one node.

    It goes on where it stopped.

    Asking is a task of its own, so that each answer is read once: a task that asked twice would take its first answer
    for its second question, too. What was paid for is in the ledger, so that working again costs nothing. A fanned-out
    step asks between its waves instead, once for all batches.

    Args:
        name: the step's name.
        work: does the step's work; returns ``overspend`` where the budget ended first.
        services: the process's services.
    """

    async def ask(state: PipelineState) -> PipelineState:
        overspend = state.get("overspend")
        if overspend is None or state.get("capped"):
            return {"overspend": None}
        return {"overspend": None, "capped": await ask_for_budget(services, state["run_id"], overspend)}

    paid = StateGraph(PipelineState)
    paid.add_node("ask", step(ask, services))
    paid.add_node(name, step(work, services))
    paid.add_edge(START, "ask")
    paid.add_edge("ask", name)
    paid.add_conditional_edges(name, after_work, {"unpaid": "ask", "deferred": "send", "done": END})
    add_waiting(paid, name, services)
    return paid.compile(name=f"{name} within the budget")  # what a trace calls it


def after_work(state: PipelineState) -> Literal["unpaid", "deferred", "done"]:
    """Ask if the budget ended before the work did, unless a person has said that it is final; wait for a batch."""
    if state.get("deferred"):
        return "deferred"
    return "unpaid" if state.get("overspend") and not state.get("capped") else "done"
