"""Prompts that no training row may repeat: those of the evaluation."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from state.errors import BadInput
from state.records import Outcome, Sample
from state.request import RunRequest
from tools.gates.diversity import DiversityIndex
from tools.gates.results import GateDecision
from tools.sources.prompts import heldout_prompts, ifeval_prompts
from tools.sources.seeds import load_seed_tasks

REASON = "held_out: it repeats a held-out prompt"


class HeldOut:
    """Knows the prompts of the evaluation.

    Args:
        prompts: their texts.
        threshold: ROUGE-L above which an instruction repeats one of them, as in the diversity gate.
    """

    def __init__(self, prompts: Sequence[str], threshold: float) -> None:
        self._index = DiversityIndex(threshold)
        for prompt in prompts:
            self._index.add(prompt)

    def __len__(self) -> int:
        return len(self._index)

    def repeats(self, instruction: str) -> bool:
        """Return whether an instruction repeats one of them."""
        return self._index.match(instruction) is not None

    def decide(self, sample: Sample, decision: GateDecision) -> GateDecision:
        """Return the gates' decision, or a rejection of what repeats a held-out prompt, whatever rule is off."""
        if not self.repeats(sample.instruction):
            return decision
        return decision.model_copy(update={"outcome": Outcome.REJECTED, "reasons": (REASON,)})


def held_out(request: RunRequest) -> HeldOut:
    """Return the prompts of a request's evaluation.

    Raises:
        BadInput: a file of them cannot be read.
    """
    return HeldOut([row.instruction for row in heldout_prompts(request)], request.gates.rouge_threshold)


def demand_ifeval_unseen(request: RunRequest, prompts: Sequence[Sample]) -> None:
    """Demand that what a person gives for the training repeats no prompt of ``evaluate.ifeval``.

    Args:
        request: the run's.
        prompts: those of its file.

    Raises:
        BadInput: a training prompt or a seed task does; the message has the first of them, and how many there are.
    """
    held = HeldOut([row.instruction for row in ifeval_prompts(request)], request.gates.rouge_threshold)
    if not len(held):
        return
    given = {
        "sources.prompts": [one.instruction for one in prompts if one.split == "train"],
        "sources.seeds": [task.instruction for task in load_seed_tasks(Path(request.sources.seeds))],
    }
    for name, instructions in given.items():
        if found := [one for one in instructions if held.repeats(one)]:
            raise BadInput(
                f"{name}: {len(found)} that would be trained on repeat a prompt of evaluate.ifeval, the first: "
                f"{found[0][:80]!r}; take them out, or leave evaluate.ifeval out"
            )
