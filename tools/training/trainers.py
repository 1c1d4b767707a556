"""TRL's trainers with a fixed order of rows, and the callback that reports, seals checkpoints and trips."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

from torch.distributed import barrier
from torch.utils.data import Sampler
from transformers import TrainerCallback
from trl import DPOTrainer, SFTTrainer

from state.errors import TrainingError
from tools.training.job import Phase
from tools.training.probe import DISTINCT, STEP
from tools.training.quicken import score_completions_only, skip_input_casts
from tools.training.rows import training_order
from tools.training.sealing import seal
from tools.training.tripwires import Figures, flags, tripped

SERIES: dict[Phase, dict[str, str]] = {"sft": {"losses": "loss", "gradient_norms": "grad_norm"}}
"""The series of a summary, a figure for each step, and what TRL calls it. Margins are rewards: beta times nats. The
log-probabilities are means over the batch of whole answers, in nats."""
SERIES["dpo"] = SERIES["sft"] | {
    "margins": "rewards/margins",
    "accuracies": "rewards/accuracies",
    "chosen_logps": "logps/chosen",
    "rejected_logps": "logps/rejected",
}


class FixedOrder(Sampler[int]):
    """A sampler that yields given indices."""

    def __init__(self, order: Sequence[int]) -> None:
        self.order = order

    def __iter__(self) -> Iterator[int]:
        return iter(self.order)

    def __len__(self) -> int:
        return len(self.order)


class _Ordered:
    """Trains on rows in the order of ``training_order``, which holds all epochs; quickly on a CPU."""

    args: Any
    model: Any
    _order: list[int]

    def fix_order(self, lengths: Sequence[int], epochs: float, seed: int) -> None:
        """Fix the order of all epochs. Must be called before ``train``."""
        batch = self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        self._order = training_order(lengths, epochs, batch, seed)

    def quicken(self) -> None:
        """Apply ``tools.training.quicken`` where it helps. Must be called before the first step, and once."""
        if self.args.use_cpu:
            score_completions_only(self.model.get_base_model())
            if self.args.bf16:
                skip_input_casts(self.model)

    def _get_train_sampler(self, train_dataset: Any = None) -> FixedOrder:
        return FixedOrder(self._order)


class OrderedSFT(_Ordered, SFTTrainer):  # type: ignore[misc]  # TRL has no types
    """SFT on pre-tokenised rows."""

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.quicken()


class OrderedDPO(_Ordered, DPOTrainer):  # type: ignore[misc]  # TRL has no types
    """DPO on conversational pairs. Its reference is the model it starts from: the base, or base and SFT adapter."""

    def _precompute_ref_logps(self, dataset: Any, *args: Any) -> Any:
        # TRL calls this inside its constructor, and the reference must be scored by the head that trains.
        self.quicken()
        # For rows in memory each process would make up a file of its own, and all but the writer's would be missing.
        folder = Path(self.args.output_dir)
        dataset._get_cache_file_path = lambda fingerprint: str(folder / f"reference-{fingerprint}.arrow")
        return super()._precompute_ref_logps(dataset, *args)


class Reporter(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Emits each step, seals each checkpoint, and stops a broken training.

    Args:
        phase: what is trained.
        emit: called with the fields of a JSON line.
        folder: where the checkpoints are.
        beta: of DPO.
        dropped: rows left out as too long.
        doubled: rows left out as they hold the chat template's own marks.
    """

    def __init__(
        self, phase: Phase, emit: Callable[..., None], folder: Path, beta: float, *, dropped: int, doubled: int
    ) -> None:
        self._phase = phase
        self._emit = emit
        self._folder = folder
        self._beta = beta
        self._dropped = dropped
        self._doubled = doubled
        self._began = time.monotonic()
        self._first_step = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock that the pace is taken from."""
        self._began = time.monotonic()
        self._first_step = state.global_step

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Report a step, or stop.

        Raises:
            TrainingError: a tripwire; the message has the reason.
        """
        if not logs or "loss" not in logs:
            return
        reason = tripped(self._phase, steps_of(state.log_history), self._beta)
        if reason is not None:
            raise TrainingError(reason)
        pace = (time.monotonic() - self._began) / max(1, state.global_step - self._first_step)
        self._emit(
            event="progress",
            phase=self._phase,
            step=state.global_step,
            total=state.max_steps,
            loss=logs["loss"],
            tokens=int(logs.get("num_tokens", 0)),
            seconds_left=round(pace * (state.max_steps - state.global_step), 1),
            dropped=self._dropped,
            disk_free=shutil.disk_usage(self._folder).free if self._folder.exists() else None,
        )

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Seal the checkpoint just written, so that a torn one is never resumed from."""
        if args.world_size > 1:
            barrier()  # each process has written a file of its own into it
        if state.is_world_process_zero:
            seal(self._folder / f"checkpoint-{state.global_step}")

    def summary(self, history: Sequence[dict[str, float]], rows: int, planned: int, resumed: bool) -> dict[str, Any]:
        """Return what the phase did, from the trainer's log: figures, one of each series for a step, and flags.

        Args:
            history: the log's entries, those before a resume among them.
            rows: rows trained on.
            planned: steps that it was to make.
            resumed: whether this process went on from a checkpoint; ``seconds`` then counts from there.
        """
        steps = steps_of(history)
        probes = [entry for entry in history if DISTINCT in entry]
        distinct = [round(entry[DISTINCT], 4) for entry in probes]
        return {
            "phase": self._phase,
            "rows": rows,
            "dropped": self._dropped,
            "doubled": self._doubled,
            "steps": len(steps),
            "planned_steps": planned,
            "tokens": int(steps[-1].get("num_tokens", 0)) if steps else 0,
            "seconds": round(time.monotonic() - self._began, 1),
            "resumed": resumed,
            **{name: [round(step[key], 6) for step in steps] for name, key in SERIES[self._phase].items()},
            "probe_steps": [entry[STEP] for entry in probes],
            "probe_distinct3": distinct,
            "flags": flags(self._phase, steps, distinct, self._doubled),
        }


def steps_of(history: Sequence[dict[str, float]]) -> list[Figures]:
    """Return the entries of a trainer's log that are the figures of one optimiser step."""
    return [entry for entry in history if "loss" in entry]
