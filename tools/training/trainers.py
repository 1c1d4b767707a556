"""What the trainers of all phases share: a fixed order of rows, and a callback that reports, seals and stops."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.distributed import barrier
from torch.utils.data import Sampler
from transformers import TrainerCallback

from state.errors import TrainingError
from state.request import Training
from tools.machine.resources import memory_share
from tools.training.phase import Figures, Phase
from tools.training.probe import DISTINCT, STEP
from tools.training.rows import training_order
from tools.training.sealing import demand_taken, seal
from tools.training.tripwires import flags, tripped


def device_share() -> float:
    """Return the share of the memory of the device that trains that is taken, in [0, 1]."""
    if not torch.cuda.is_available():
        return memory_share()
    free, total = torch.cuda.mem_get_info()
    return 1.0 - free / total


class FixedOrder(Sampler[int]):
    """A sampler that yields given indices."""

    def __init__(self, order: Sequence[int]) -> None:
        self.order = order

    def __iter__(self) -> Iterator[int]:
        return iter(self.order)

    def __len__(self) -> int:
        return len(self.order)


class FixedRowOrder:
    """Mixed into a trainer, lets it take the rows in the order of ``training_order``, which holds all epochs."""

    args: Any
    _order: list[int]

    def fix_order(self, lengths: Sequence[int], epochs: float, seed: int) -> None:
        """Set the order of all epochs. Call it before ``train``."""
        batch = self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps * self.args.world_size
        self._order = training_order(lengths, epochs, batch, seed)

    def _get_train_sampler(self, train_dataset: Any = None) -> FixedOrder:
        return FixedOrder(self._order)


class Reporter(TrainerCallback):  # type: ignore[misc]  # transformers has no types
    """Emits each step, seals each checkpoint, and stops a broken training.

    Args:
        phase: what is trained.
        emit: called with the fields of a JSON line.
        folder: where the checkpoints are.
        settings: the request's.
        taken: the working folder, which another process may take.
        too_long: rows left out because they are longer than ``max_length``.
        already_templated: rows left out because a text in them already holds the chat template's marks.
    """

    def __init__(
        self,
        phase: Phase,
        emit: Callable[..., None],
        folder: Path,
        settings: Training,
        taken: Path,
        *,
        too_long: int,
        already_templated: int,
    ) -> None:
        self._phase = phase
        self._emit = emit
        self._folder = folder
        self._settings = settings
        self._taken = taken
        self._too_long = too_long
        self._already_templated = already_templated
        self._began = time.monotonic()
        self._first_step = 0

    def on_train_begin(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Start the clock for the time left."""
        self._began = time.monotonic()
        self._first_step = state.global_step

    def on_step_end(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Stop before a checkpoint is written if another process goes on with the training.

        Raises:
            TrainingError: it does.
        """
        demand_taken(self._taken)

    def on_log(self, args: Any, state: Any, control: Any, logs: dict[str, float] | None = None, **_: Any) -> None:
        """Report a step, or stop.

        Raises:
            TrainingError: a tripwire; the message has the reason.
        """
        if not logs or "loss" not in logs:
            return
        reason = tripped(self._phase, steps_of(state.log_history), self._settings)
        if reason is not None:
            raise TrainingError(reason)
        pace = (time.monotonic() - self._began) / max(1, state.global_step - self._first_step)
        self._emit(
            event="progress",
            phase=self._phase.name,
            step=state.global_step,
            total=state.max_steps,
            loss=logs["loss"],
            tokens=int(logs.get("num_tokens", 0)),
            seconds_left=round(pace * (state.max_steps - state.global_step), 1),
            dropped=self._too_long,
            memory_share=round(device_share(), 4),
            disk_free=shutil.disk_usage(self._folder).free if self._folder.exists() else None,
        )

    def on_save(self, args: Any, state: Any, control: Any, **_: Any) -> None:
        """Seal the checkpoint that was just written; an incomplete one has no seal and is never resumed from."""
        if args.world_size > 1:
            barrier()  # each process has written a file of its own into it
        if state.is_world_process_zero:
            seal(self._folder / f"checkpoint-{state.global_step}")

    def summary(self, history: Sequence[dict[str, float]], rows: int, planned: int, resumed: bool) -> dict[str, Any]:
        """Return what the phase did, from the trainer's log: counts, the series with a figure for each step, and flags.

        Args:
            history: the log's entries, those before a resume among them.
            rows: rows trained on.
            planned: steps that it should have made.
            resumed: whether this process went on from a checkpoint; ``seconds`` then counts from there.
        """
        steps = steps_of(history)
        probes = [entry for entry in history if DISTINCT in entry]
        distinct = [round(entry[DISTINCT], 4) for entry in probes]
        return {
            "phase": self._phase.name,
            "rows": rows,
            "dropped": self._too_long,
            "already_templated": self._already_templated,
            "steps": len(steps),
            "planned_steps": planned,
            "tokens": int(steps[-1].get("num_tokens", 0)) if steps else 0,
            "seconds": round(time.monotonic() - self._began, 1),
            "resumed": resumed,
            **{name: [round(step[key], 6) for step in steps] for name, key in self._phase.series.items()},
            "probe_steps": [entry[STEP] for entry in probes],
            "probe_distinct3": distinct,
            "flags": flags(self._phase, steps, distinct, self._already_templated),
        }


def steps_of(history: Sequence[dict[str, float]]) -> list[Figures]:
    """Return the entries of a trainer's log that are the figures of one optimiser step."""
    return [entry for entry in history if "loss" in entry]
