"""Preference pairs from judged answers, by the rule and the defaults of the pipeline's own dataset."""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from state.records import Candidate, Judgement, Outcome, Record, Sample
from state.request import Training
from tools.dataset.files import dpo_rows
from tools.dataset.pairing import Rated, pair, rate
from tools.files import write_file
from tools.sources.items import Item


class DPODataset(Record):
    """Pairs, and why the other prompts gave none."""

    rows: tuple[dict[str, Any], ...]
    """Prompt, chosen and rejected, as ``trl.DPOTrainer`` and ``datasets.load_dataset`` take them."""
    without_pair: dict[str, str]
    """By prompt: why it gave no pair."""
    cost: float = 0.0
    """Dollars that judging the answers cost."""

    def save(self, path: Path | str) -> None:
        """Write the rows as JSON lines.

        Raises:
            StorageError: the place cannot be written.
        """
        lines = (json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in self.rows)
        write_file(Path(path), "".join(lines).encode())


def dataset_of(items: Sequence[Item], judgements: Sequence[Judgement]) -> DPODataset:
    """Pair judged answers prompt by prompt, in the prompts' first order.

    Args:
        items: the answers.
        judgements: one for each, in the same order.
    """
    samples: dict[str, Sample] = {}
    rated: defaultdict[str, list[Rated]] = defaultdict(list)
    for item, judgement in zip(items, judgements, strict=True):
        samples.setdefault(item.prompt, item.sample)
        found = rate(item.sample, _settled(item.candidate, judgement), judgement, None, edited=False)
        rated[item.prompt] += [found] if found is not None else []
    pairs = [pair(sample, rated[prompt], Training()) for prompt, sample in samples.items()]
    missing = {p.sample.instruction: _why(rated[p.sample.instruction], p.chosen) for p in pairs if p.rejected is None}
    return DPODataset(rows=tuple(dpo_rows(pairs)), without_pair=missing)


def _settled(candidate: Candidate, judgement: Judgement) -> Candidate:
    return candidate.model_copy(update={"outcome": judgement.outcome})


def _why(rated: Sequence[Rated], chosen: Rated | None) -> str:
    if not rated:
        return "no answer could be judged"
    if chosen is not None:
        weak = any(r.may_be_rejected for r in rated)
        return "the weak answers are of another length" if weak else "no answer has at most two stars"
    if any(r.stars >= 4 and r.candidate.outcome == Outcome.ACCEPTED for r in rated):
        return "the best answers fail a check or repeat themselves"
    return "no answer is accepted with at least four stars"
