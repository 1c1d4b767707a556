"""What a phase of a training is. Each phase is one object in a file of its own; ``recipe.PHASES`` lists them."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from state.pipeline import DatasetRef
from state.request import Training
from tools.checklists.items import CheckItem
from tools.training.rows import read_conversations
from tools.weights.template import TokenRow, tokenise

Row = dict[str, Any]
"""A conversational row: ``prompt`` and each answer are lists of chat turns."""
Figures = Mapping[str, float]
"""TRL's figures of one optimiser step: ``loss``, ``grad_norm``, and for DPO ``logps/chosen``, ``rewards/chosen``..."""


class Phase(ABC):
    """One phase of a training: it trains a LoRA adapter, a fresh one or that of the phase before it.

    The methods that import torch or TRL do so when they are called, and only the training process calls them.
    """

    name: ClassVar[str]
    """As a recipe names it."""
    rows_file: ClassVar[str]
    """The file in the dataset's folder that it trains on."""
    answers: ClassVar[tuple[str, ...]]
    """The keys of a row's answers. The prompt and one answer make one token sequence."""
    rate_setting: ClassVar[str]
    """The field of ``state.request.Training`` that holds its peak learning rate."""
    reference_passes: ClassVar[int] = 0
    """Forward passes over all rows before the first step, to score a reference model."""
    series: ClassVar[Mapping[str, str]] = {"losses": "loss", "gradient_norms": "grad_norm"}
    """The series in its summary, one figure a step, and what TRL calls that figure."""
    starts: ClassVar[Mapping[str, tuple[str, float]]] = {}
    """Where a series of a sound training starts: a label and the value, by series. The report marks it on the curve."""

    @property
    def sequences(self) -> int:
        """Return the number of token sequences in a row."""
        return len(self.answers)

    @abstractmethod
    def rows_in(self, dataset: DatasetRef) -> int:
        """Return how many rows a dataset has for this phase."""

    def read(self, path: Path) -> list[Row]:
        """Return the rows of a file.

        Raises:
            BadInput: a row is malformed, or there is none.
        """
        return read_conversations(path, ("prompt", *self.answers))

    def tokenise(self, tokenizer: Any, row: Row) -> list[TokenRow]:
        """Return the token sequences of a row, one for each answer.

        Raises:
            BadInput: the chat template cannot be used for training; see ``tools.weights.template.tokenise``.
        """
        return [tokenise(tokenizer, row["prompt"], row[answer]) for answer in self.answers]

    def example(self, row: Row, tokens: Sequence[TokenRow]) -> dict[str, Any]:
        """Return what the trainer gets for a row: by default the row itself, which TRL then tokenises."""
        return row

    @abstractmethod
    def trainer_class(self) -> type[Any]:
        """Return the trainer: one of TRL's with ``tools.training.trainers.FixedRowOrder``."""

    @abstractmethod
    def trainer_config(self, settings: Training, **shared: Any) -> Any:
        """Return the trainer's configuration.

        Args:
            settings: the request's.
            **shared: what all phases have in common, as ``transformers.TrainingArguments`` names it.
        """

    def learning_rate(self, settings: Training) -> float:
        """Return the peak learning rate."""
        rate: float = getattr(settings, self.rate_setting)
        return rate

    def tripped(self, steps: Sequence[Figures], settings: Training) -> str | None:
        """Return why this phase must stop after its last step, or ``None``; ``tripwires`` has the tests of all phases.

        Args:
            steps: the figures of all steps so far; at least one.
            settings: the request's.
        """
        return None

    def row_items(self, rows: Sequence[Row]) -> list[CheckItem]:
        """Return what this phase alone checks in its rows."""
        return []
