"""SFT: the model imitates good completions. The loss is on the completion alone."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from state.pipeline import DatasetRef
from state.request import Training
from tools.dataset.files import SFT
from tools.training.phase import Phase, Row
from tools.weights.template import TokenRow


class SftPhase(Phase):
    """Supervised fine-tuning on rows of ``prompt`` and ``completion``."""

    name = "sft"
    rows_file = SFT
    answers = ("completion",)
    rate_setting = "learning_rate"

    def rows_in(self, dataset: DatasetRef) -> int:
        """Return the number of completions to imitate."""
        return dataset.sft_rows

    def example(self, row: Row, tokens: Sequence[TokenRow]) -> dict[str, Any]:
        """Return tokens and labels: TRL's masking would also train on what the template writes after the end token."""
        return tokens[0]._asdict()

    def trainer_class(self) -> type[Any]:
        """Return TRL's SFT trainer, faster on a CPU."""
        from trl import SFTTrainer

        from tools.training.faster_on_cpu import speed_up
        from tools.training.trainers import FixedRowOrder

        class OrderedSftTrainer(FixedRowOrder, SFTTrainer):  # type: ignore[misc]  # TRL has no types
            def __init__(self, **options: Any) -> None:
                super().__init__(**options)
                speed_up(self)

        return OrderedSftTrainer

    def trainer_config(self, settings: Training, **shared: Any) -> Any:
        """Return TRL's configuration of an SFT."""
        from trl import SFTConfig

        return SFTConfig(**shared)
