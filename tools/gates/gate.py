"""What a gate is. To add one: a file with its class, and an entry in ``pipeline.GATE_CLASSES``."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar

from state.records import Sample
from state.request import Gates
from tools.gates.results import GateResult, Issue, Severity, Similar, result_of
from tools.gates.safety_policy import SafetyPolicy

Opinion = Callable[[Sample], tuple[float, str] | None]
"""Returns a model's opinion on one row: a score in [0, 1] and a reason, or ``None`` where there is none. It is not
awaited: ask the model beforehand."""


@dataclass(frozen=True)
class GateInputs:
    """What every gate is made from.

    Attributes:
        settings: thresholds of the run.
        policy: the safety policy.
        opinion: returns a model's opinion on a row, if a model was asked.
    """

    settings: Gates
    policy: SafetyPolicy
    opinion: Opinion | None = None


class Gate(ABC):
    """One gate: it finds the faults of a row.

    Args:
        inputs: what every gate is made from.
    """

    name: ClassVar[str]
    codes: ClassVar[tuple[str, ...]] = ()
    """Codes of its issues, by which a report tells what stopped a row; empty where they are not known beforehand."""

    def __init__(self, inputs: GateInputs) -> None:
        self.inputs = inputs

    @abstractmethod
    def issues(self, sample: Sample) -> list[Issue]:
        """Return the row's faults; none for a row that is fine."""

    def counted(self, sample: Sample) -> list[Issue]:
        """Return the row's faults but for those of rules that are off, each with the weight that the settings give."""
        settings = self.inputs.settings
        found = [issue for issue in self.issues(sample) if issue.code not in settings.off]
        return [
            issue.model_copy(update={"severity": Severity(settings.severity[issue.code])})
            if issue.code in settings.severity
            else issue
            for issue in found
        ]

    def judge(self, sample: Sample) -> GateResult:
        """Return what the gate found in a row."""
        return result_of(self.name, self.counted(sample), self.inputs.settings)

    def similar(self, sample: Sample) -> Similar | None:
        """Return the nearest kept instructions, where the gate knows them and they are recorded."""
        return None

    def keep(self, instruction: str) -> None:  # noqa: B027  # most gates remember nothing
        """Remember an instruction that later rows are compared with."""
