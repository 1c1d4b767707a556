"""What one training is: its base, its rows and its settings; and what it reports while it runs."""

from __future__ import annotations

from pathlib import Path

from pydantic import Field

from state.errors import BadInput
from state.records import Record, content_hash
from state.request import Training
from tools.files import file_hash
from tools.training.phase import Phase
from tools.training.recipe import phases_of
from tools.weights.adapters import ADAPTER_WEIGHTS
from tools.weights.folders import folder_fingerprint
from tools.weights.number_format import NumberFormat

_WITHOUT_EFFECT = {"save_steps", "rounds", "min_examples", "max_hours", "wait_minutes", "report_to"}
"""Settings that change no weight."""
_LATER = ("method", "scheduler", "warmup_ratio")
"""Settings that came later. At their defaults they change no identity: what an earlier version began goes on."""


class TrainingJob(Record):
    """One adapter to train. It is written as JSON for the worker, so paths are strings.

    The dataset's files are JSONL, in TRL's conversational form:

    - SFT: ``{"prompt": [{"role": "user", "content": ...}], "completion": [{"role": "assistant", "content": ...}]}``
    - DPO: ``{"prompt": [...], "chosen": [{"role": "assistant", ...}], "rejected": [{"role": "assistant", ...}]}``

    A prompt may have several turns. Other keys are ignored.
    """

    base: str
    """A local Hugging Face folder, as ``base_folder`` returns it."""
    recipe: str
    dataset: str
    """The folder with the rows of each phase, in a file of the name that ``Phase.rows_file`` gives."""
    out: str
    """The adapter's folder: made whole at the end, or not at all."""
    seed: int = Field(0, ge=0, lt=2**31)
    settings: Training = Training()
    start: str = ""
    """The folder of the adapter that the first phase goes on with; empty for a fresh one."""
    learning_rate_scale: float = Field(1.0, gt=0, le=1000)
    """Factor on the learning rates of all phases, such as 0.5 for a second try."""
    rows_at_once: dict[str, int] = Field(default_factory=dict)
    """Rows of one pass, by phase, as decided from memory: a divisor of the rows that each process has of a batch."""
    gradient_checkpointing: bool | None = None
    """Compute activations again in the backward pass; ``None`` means yes on a GPU and no on a CPU."""
    number_format: NumberFormat | None = None
    """What a CPU computes in, as decided; ``None`` for what its instructions suggest, and on a GPU."""
    estimated_seconds: float | None = Field(None, ge=0)
    """Written into the summary, beside the time it took."""
    use_cpu: bool = False
    """Use the CPU even where there is a GPU; the launcher sets it from ``settings.accelerate_config``."""

    def phases(self) -> tuple[Phase, ...]:
        """Return the recipe's phases in order.

        Raises:
            BadInput: a phase is unknown, or named twice.
        """
        return phases_of(self.recipe)

    def rows_file(self, phase: Phase) -> Path:
        """Return the JSONL file of a phase.

        Raises:
            BadInput: it is not there.
        """
        path = Path(self.dataset) / phase.rows_file
        if not path.is_file():
            raise BadInput(f"train.recipe {self.recipe!r} needs {phase.name} rows, and {path} is not there")
        return path

    def identity(self) -> str:
        """Return a hash of everything that the adapter depends on: weights, rows, seed and settings, but no path."""
        rows = [file_hash(self.rows_file(phase)) for phase in self.phases()]
        usual = {name for name in _LATER if getattr(self.settings, name) == Training.model_fields[name].default}
        settings = self.settings.model_dump(mode="json", exclude=_WITHOUT_EFFECT | usual)
        # Whether activations are computed again changes no weight; the place that it had in the hash is kept.
        cut = [self.rows_at_once, False]
        start = [file_hash(Path(self.start) / ADAPTER_WEIGHTS)] if self.start else []
        base = folder_fingerprint(Path(self.base))
        decided = [{"number_format": self.number_format}] if self.number_format else []  # earlier versions had none
        parts = (self.recipe, self.seed, self.learning_rate_scale, settings, cut, rows, base)
        return content_hash(*parts, *start, *decided)


STOPPED = "stopped.json"
"""The file beside ``TrainingJob.out`` with the figures of a training that a tripwire stopped."""


class TrainingProgress(Record):
    """One step of a training, as it happens."""

    phase: str
    """The name of a phase; ``start`` before the first and ``save`` after the last."""
    step: int = 0
    total: int = 0
    """Optimiser steps of this phase; 0 before it is known."""
    loss: float | None = None
    tokens: int = 0
    """Tokens of prompts and completions seen in this phase so far."""
    seconds_left: float | None = None
    """Of this phase, from the pace so far."""
    disk_free: int | None = None
    """Free bytes on the disk of the checkpoints."""
    memory_share: float | None = None
    """Of the memory of the device that trains, the share that is taken, by whatever program."""
    dropped: int = 0
    """Rows left out because they are longer than ``max_length``."""
