"""approve: a person signs the adapter on its scoreboard; an unattended run signs only what is shown to be better."""

from __future__ import annotations

from collections.abc import Sequence
from typing import assert_never

from langgraph.types import interrupt

from state.pipeline import Approval, Node, PipelineState, Verdict
from tools.people.decisions import consequences
from tools.people.questions import Action, HumanAnswer, answer_schema, question
from tools.progress import report_progress

POLICY = "policy:better-only"


def make_approve() -> Node:
    """Return the node."""

    async def approve(state: PipelineState) -> PipelineState:
        verdict, request, against = state["verdict"], state["request"], state.get("against")
        doubts = perplexity_doubt(verdict, request.evaluate.max_perplexity)
        if request.unattended:
            approval = unattended_approval(verdict, [*state["adapter"].flags, *doubts], against)
            report_progress("approve", 1, total=1, note=approval.reviewer)
            return {"approval": approval}
        notes = [*state.get("warnings", []), *doubts]
        actions = [approval_action(verdict, state["adapter"].folder, notes, against)]
        answer = interrupt(question(actions), response_schema=answer_schema(actions))
        approval = apply_approval(answer)
        report_progress("approve", 1, total=1, note=approval.reviewer)
        return {"approval": approval}

    return approve


def approval_action(verdict: Verdict, adapter: str, warnings: list[str], against: Verdict | None = None) -> Action:
    """Return what a person is asked to sign.

    Args:
        verdict: against the base.
        adapter: its folder.
        warnings: what a person should know before.
        against: the verdict against the deployed adapter, where one is to be replaced.
    """
    words = [verdict_in_words(verdict), *([verdict_in_words(against, "the deployed one")] if against else [])]
    return Action(
        name="deploy_adapter",
        args={"adapter": adapter, "scoreboard": verdict.scoreboard, "verdict": verdict.verdict},
        description="\n".join([*words, *(f"Warning: {line}" for line in warnings)]),
        allowed=("approve", "reject"),
    )


def verdict_in_words(verdict: Verdict, other: str = "its base") -> str:
    """Return the verdict as one line with its figures; ``other`` is what the adapter was measured against."""
    match verdict.verdict:
        case "better":
            claim = f"better than {other}"
        case "not shown":
            claim = "not shown to be better" if other == "its base" else f"not shown to be better than {other}"
        case "worse":
            claim = f"worse than {other}"
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


def unattended_approval(verdict: Verdict, doubts: Sequence[str], against: Verdict | None = None) -> Approval:
    """Return what the policy decides: deploy an adapter that is better, and of which there is no doubt.

    Where one is deployed already, the new one must be better than that, and no worse than the base.
    """
    better = verdict.verdict == "better" if against is None else against.verdict == "better"
    words = [verdict_in_words(verdict), *([verdict_in_words(against, "the deployed one")] if against else [])]
    approved = better and verdict.verdict != "worse" and not doubts
    return Approval(approved=approved, reviewer=POLICY, comment="; but ".join(["; ".join(words), *doubts]))


def apply_approval(answer: HumanAnswer) -> Approval:
    """Return the person's decision."""
    decision = answer.decisions[0]
    return Approval(approved=consequences(decision.type).agrees, reviewer=answer.reviewer, comment=decision.message)
