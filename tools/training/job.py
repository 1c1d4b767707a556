"""What one training is: its base, its rows, its settings, and how it tells of its progress."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field

from state.errors import BadInput
from state.records import Record, content_hash
from state.request import Training
from tools.files import file_hash
from tools.weights.folders import folder_fingerprint

Recipe = Literal["sft", "dpo", "sft+dpo"]
Phase = Literal["sft", "dpo"]


class TrainingJob(Record):
    """One adapter to train. It is written as JSON for the worker, so paths are strings.

    The row files are JSONL, in the conversational form that TRL takes as it is:

    - SFT: ``{"prompt": [{"role": "user", "content": ...}], "completion": [{"role": "assistant", "content": ...}]}``
    - DPO: ``{"prompt": [...], "chosen": [{"role": "assistant", ...}], "rejected": [{"role": "assistant", ...}]}``

    A prompt may have several turns. Other keys are ignored.
    """

    base: str
    """A local Hugging Face folder, as ``base_folder`` returns it."""
    recipe: Recipe
    sft_file: str | None = None
    dpo_file: str | None = None
    out: str
    """The adapter's folder: made whole at the end, or not at all."""
    seed: int = Field(0, ge=0, lt=2**31)
    settings: Training = Training()
    learning_rate_scale: float = Field(1.0, gt=0, le=1000)
    """Factor on both learning rates, such as 0.5 for a second try."""
    rows_at_once: dict[Phase, int] = Field(default_factory=dict)
    """Rows of one pass, by phase, as decided from memory; a divisor of a process's share of the batch."""
    gradient_checkpointing: bool | None = None
    """Compute activations again in the backward pass; ``None`` for on a GPU and off on a CPU."""
    estimated_seconds: float | None = Field(None, ge=0)
    """Kept in the summary beside the true time."""
    use_cpu: bool = False
    """Keep to the CPU, also where there is a GPU; the launcher sets it from ``settings.accelerate_config``."""

    def phases(self) -> tuple[Phase, ...]:
        """Return the recipe's phases in order."""
        return {"sft": ("sft",), "dpo": ("dpo",), "sft+dpo": ("sft", "dpo")}[self.recipe]  # type: ignore[return-value]

    def rows_file(self, phase: Phase) -> Path:
        """Return the JSONL file of a phase.

        Raises:
            BadInput: the recipe has the phase and the job names no such file, or it is not there.
        """
        name = self.sft_file if phase == "sft" else self.dpo_file
        if name is None:
            raise BadInput(f"train.recipe {self.recipe!r} needs {phase} rows, and the job names no {phase}_file")
        if not Path(name).is_file():
            raise BadInput(f"the {phase} rows {name} are not there")
        return Path(name)

    def identity(self) -> str:
        """Return a hash of everything that decides the adapter: weights, rows, seed and settings, but no path."""
        rows = [file_hash(self.rows_file(phase)) for phase in self.phases()]
        settings = self.settings.model_dump(mode="json", exclude={"save_steps", "rounds", "max_hours", "wait_minutes"})
        cut = [self.rows_at_once, self.gradient_checkpointing]
        return content_hash(
            self.recipe, self.seed, self.learning_rate_scale, settings, cut, rows, folder_fingerprint(Path(self.base))
        )


STOPPED = "stopped.json"
"""Beside ``TrainingJob.out``: the figures of a training that a tripwire stopped."""


class TrainingProgress(Record):
    """One step of a training, as it happens."""

    phase: Literal["start", "sft", "dpo", "save"]
    step: int = 0
    total: int = 0
    """Optimiser steps of this phase; 0 before it is known."""
    loss: float | None = None
    tokens: int = 0
    """Tokens of prompts and completions seen in this phase so far."""
    seconds_left: float | None = None
    """Of this phase, from the pace so far."""
    disk_free: int | None = None
    """Bytes, where the checkpoints are."""
    dropped: int = 0
    """Rows left out because they are longer than ``max_length``."""
