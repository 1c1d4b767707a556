"""approve: a person signs the adapter on its scoreboard; an unattended run signs only what is shown to be better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from langgraph.types import interrupt

from state.pipeline import Approval, Node, PipelineState, Verdict
from tools.people.decisions import consequences
from tools.people.questions import Action, HumanAnswer, answer_schema, question

POLICY = "policy:better-only"


def make_approve() -> Node:
    """Return the node."""

    async def approve(state: PipelineState) -> PipelineState:
        verdict, request = state["verdict"], state["request"]
        doubts = perplexity_doubt(verdict, request.evaluate.max_perplexity)
        if request.unattended:
            return {"approval": unattended_approval(verdict, [*state["adapter"].flags, *doubts])}
        actions = [approval_action(verdict, state["adapter"].folder, [*state.get("warnings", []), *doubts])]
        answer = interrupt(question(actions), response_schema=answer_schema(actions))
        return {"approval": apply_approval(answer)}

    return approve


def approval_action(verdict: Verdict, adapter: str, warnings: list[str]) -> Action:
    """Return what a person is asked to sign."""
    return Action(
        name="deploy_adapter",
        args={"adapter": adapter, "scoreboard": verdict.scoreboard, "verdict": verdict.verdict},
        description="\n".join([verdict_in_words(verdict), *(f"Warning: {line}" for line in warnings)]),
        allowed=("approve", "reject"),
    )


def verdict_in_words(verdict: Verdict) -> str:
    """Return the verdict as one line with its figures."""
    match verdict.verdict:
        case "better":
            claim = "better than its base"
        case "not shown":
            claim = "not shown to be better"
        case "worse":
            claim = "worse than its base"
        case _:
            assert_never(verdict.verdict)
    return (
        f"The adapter is {claim}: {verdict.metric} {verdict.base:.3f} -> {verdict.adapter:.3f}, "
        f"difference {verdict.difference:+.3f} [{verdict.low:+.3f}, {verdict.high:+.3f}] "
        f"over {verdict.prompts} held-out prompts"
    )


def perplexity_doubt(verdict: Verdict, most: float) -> list[str]:
    """Return a warning if the adapter's language has suffered: its perplexity is over ``most`` times the base's."""
    ratio = verdict.perplexity_ratio
    if ratio is None or ratio <= most:
        return []
    return [f"its perplexity on held-out text is {ratio:.2f} times the base's, above evaluate.max_perplexity, {most:g}"]


def unattended_approval(verdict: Verdict, doubts: Sequence[str]) -> Approval:
    """Return what the policy decides: deploy an adapter that is better, and of which there is no doubt."""
    comment = "; but ".join([verdict_in_words(verdict), *doubts])
    return Approval(approved=verdict.verdict == "better" and not doubts, reviewer=POLICY, comment=comment)


def apply_approval(answer: HumanAnswer) -> Approval:
    """Return the person's decision."""
    decision = answer.decisions[0]
    return Approval(approved=consequences(decision.type).agrees, reviewer=answer.reviewer, comment=decision.message)
