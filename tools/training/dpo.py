"""DPO: the model turns from rejected answers to chosen ones (Rafailov et al. 2023).

The reference is the model that the phase starts from: the base, or the base with the adapter of the phase before.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import Any, ClassVar

from state.pipeline import DatasetRef
from state.request import Training
from tools.checklists.items import CheckItem, item
from tools.dataset.files import DPO
from tools.training.phase import Figures, Phase, Row
from tools.training.tripwires import WINDOW

START_TOLERANCE = 0.02
"""How far the first loss may be from ln 2, and beta times the margin from 0: rounding of bfloat16, and no more."""
FORGOTTEN = 2.0
"""How many times as unlikely, in nats, chosen answers may have become: a perplexity squared. That DPO lowers them
somewhat is usual (Razin et al. 2024, "Unintentional unalignment")."""
FORGOTTEN_NATS = 20.0
"""And by how many nats an answer at least: the nats of an answer known by heart double at almost nothing."""


class DpoPhase(Phase):
    """Direct preference optimisation on rows of ``prompt``, ``chosen`` and ``rejected``."""

    name = "dpo"
    rows_file = DPO
    answers = ("chosen", "rejected")
    rate_setting = "dpo_learning_rate"
    reference_passes = 1
    # Margins are rewards: beta times nats. Log-probabilities are means over the batch of whole answers, in nats.
    series: ClassVar[Mapping[str, str]] = {
        **Phase.series,
        "margins": "rewards/margins",
        "accuracies": "rewards/accuracies",
        "chosen_logps": "logps/chosen",
        "rejected_logps": "logps/rejected",
    }
    starts: ClassVar[Mapping[str, tuple[str, float]]] = {"losses": ("ln 2", 0.6931)}

    def rows_in(self, dataset: DatasetRef) -> int:
        """Return the number of pairs."""
        return dataset.dpo_rows

    def trainer_class(self) -> type[Any]:
        """Return TRL's DPO trainer, faster on a CPU."""
        from trl import DPOTrainer

        from tools.training.faster_on_cpu import speed_up
        from tools.training.trainers import FixedRowOrder

        class OrderedDpoTrainer(FixedRowOrder, DPOTrainer):  # type: ignore[misc]  # TRL has no types
            def _precompute_ref_logps(self, dataset: Any, *args: Any) -> Any:
                # TRL calls this inside its constructor, and the reference must be scored by the head that trains.
                speed_up(self)
                # Weights that will be sharded wait in main memory until the first step; the rows are on the device.
                if self.model.device.type != self.accelerator.device.type:
                    self.model.to(self.accelerator.device)
                # TRL lets each process name a cache file of its own, but only one of them writes.
                folder = Path(self.args.output_dir)
                dataset._get_cache_file_path = lambda fingerprint: str(folder / f"reference-{fingerprint}.arrow")
                return super()._precompute_ref_logps(dataset, *args)

        return OrderedDpoTrainer

    def trainer_config(self, settings: Training, **shared: Any) -> Any:
        """Return TRL's configuration of a DPO that scores its reference once, before the first step."""
        from trl import DPOConfig

        return DPOConfig(**shared, beta=settings.dpo_beta, precompute_ref_log_probs=True)

    def tripped(self, steps: Sequence[Figures], settings: Training) -> str | None:
        """Stop at a wrong reference, and when the model forgets the chosen answers."""
        return _wrong_reference(steps[0]) if len(steps) == 1 else _forgotten(steps, settings.dpo_beta)

    def row_items(self, rows: Sequence[Row]) -> list[CheckItem]:
        """Check that the two answers of each pair differ."""
        same = sum(row["chosen"] == row["rejected"] for row in rows)
        return [item("chosen differs from rejected", not same, f"{same} of {len(rows)} pairs are the same text")]


def _wrong_reference(first: Figures) -> str | None:
    """At the first step the model is its own reference, so all log-probability ratios are 0."""
    loss, margin = first["loss"], first.get("rewards/margins", 0.0)
    if abs(loss - math.log(2)) <= START_TOLERANCE and abs(margin) <= 2 * START_TOLERANCE:
        return None
    return (
        f"dpo starts at loss {loss:.4f} and margin {margin:.4f} instead of ln 2 = 0.6931 and 0: "
        "its reference is not the model it starts from"
    )


def _forgotten(steps: Sequence[Figures], beta: float) -> str | None:
    """Compare chosen answers with the reference, which is the model at the start, on the same rows."""
    recent = [figures for figures in steps[-WINDOW:] if "logps/chosen" in figures]
    if len(recent) < WINDOW:
        return None
    now = -fmean([figures["logps/chosen"] for figures in recent])
    fall = -fmean([figures["rewards/chosen"] for figures in recent]) / beta
    start = now - fall
    if fall < FORGOTTEN_NATS or now < FORGOTTEN * start:
        return None
    return (
        f"dpo step {len(steps)}: the chosen answers collapse: their log-probability fell from {-start:.1f} to "
        f"{-now:.1f} over the last {WINDOW} steps; lower train.dpo_learning_rate or raise train.dpo_beta"
    )
