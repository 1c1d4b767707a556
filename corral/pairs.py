"""Preference pairs from judged answers, by the rule and the defaults of the pipeline's own dataset."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from corral.arguments import demand_whole, listed, prompt_row
from corral.judges import MultiAgentRLHF, SyntheticFeedbackGenerator
from corral.running import in_sync
from state.errors import BadInput
from state.extras import install_command
from state.records import Candidate, Judgement, Outcome, Record, Sample
from state.request import Training
from tools.dataset.files import dpo_rows
from tools.dataset.pairing import STARS, Rated, StarLimits, pair, rate
from tools.files import write_file
from tools.sources.items import Item, item_of

if TYPE_CHECKING:
    from datasets import Dataset

    from tools.endpoint.plugged import Brought

TOLD = 200
"""Characters kept of what an exception says."""


class DPODataset(Record):
    """Pairs, and why the other prompts gave none. It is a sequence of its rows."""

    rows: tuple[dict[str, Any], ...]
    """Prompt, chosen and rejected, as ``trl.DPOTrainer`` and ``datasets.load_dataset`` take them."""
    without_pair: dict[str, str]
    """By prompt: why it gave no pair."""
    failed: dict[str, str]
    """By prompt: the last error of a variation that could not be generated."""
    failures: int
    """Variations that could not be generated."""
    judged: int
    """Answers that were judged."""
    cost: float = 0.0
    """Dollars that judging the answers cost."""

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:  # type: ignore[override]  # pydantic's own yields the fields
        return iter(self.rows)

    @overload
    def __getitem__(self, index: int) -> dict[str, Any]: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[dict[str, Any], ...]: ...

    def __getitem__(self, index: int | slice) -> dict[str, Any] | tuple[dict[str, Any], ...]:
        return self.rows[index]

    def save(self, path: Path | str) -> None:
        """Write the rows as JSON lines.

        Raises:
            StorageError: the place cannot be written.
        """
        lines = (json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in self.rows)
        write_file(Path(path), "".join(lines).encode())

    def to_hf(self) -> Dataset:
        """Return the rows as a dataset of the package ``datasets``, as ``trl.DPOTrainer`` takes it.

        Raises:
            BadInput: the package is not installed, or there is no pair.
        """
        try:
            from datasets import Dataset
        except ImportError as error:
            raise BadInput(f"to_hf needs the package datasets: {install_command('train')}") from error
        if not self.rows:
            raise BadInput("there is no pair; without_pair says why, by prompt")
        return Dataset.from_list(list(self.rows))


class DPODatasetBuilder:
    """Preference pairs from a model's own variations.

    Args:
        generator: rates the answers.
        chosen_from: stars from which an answer may be chosen, 2 to 5.
        rejected_to: stars up to which one may be rejected, below ``chosen_from``.

    Raises:
        BadInput: the limits do not fit together.
    """

    def __init__(self, generator: SyntheticFeedbackGenerator, *, chosen_from: int = 4, rejected_to: int = 2) -> None:
        if not isinstance(generator, SyntheticFeedbackGenerator | MultiAgentRLHF):
            raise BadInput(f"generator is a SyntheticFeedbackGenerator, not {type(generator).__name__}")
        demand_whole(chosen_from, "chosen_from")
        demand_whole(rejected_to, "rejected_to")
        if not 1 <= rejected_to < chosen_from <= 5:
            raise BadInput(
                f"1 <= rejected_to < chosen_from <= 5 must hold, not {rejected_to} and {chosen_from}: stars are 1 to 5"
            )
        self._generator = generator
        self._limits = StarLimits(chosen=chosen_from, rejected=rejected_to)

    def build_dataset(
        self,
        prompts: Sequence[str | Mapping[str, Any]],
        output_generator: Brought,
        num_variations: int = 4,
        *,
        parallel: int = 8,
    ) -> DPODataset:
        """Build pairs; see ``abuild_dataset``."""
        return in_sync(self.abuild_dataset(prompts, output_generator, num_variations, parallel=parallel))

    async def abuild_dataset(
        self,
        prompts: Sequence[str | Mapping[str, Any]],
        output_generator: Brought,
        num_variations: int = 4,
        *,
        parallel: int = 8,
    ) -> DPODataset:
        """Generate several answers to each prompt, rate them, and pair the best with the worst.

        Args:
            prompts: what is asked; or mappings with ``prompt``, and ``checks`` and ``context`` where there are any.
            output_generator: returns one answer to a prompt, another at each call: a function, a coroutine function, a
                chat model or another Runnable. What it raises costs one variation.
            num_variations: answers for each prompt, at least 2.
            parallel: answers that are generated at a time, at least 1; 1 for a function that is not thread-safe.

        Returns:
            The pairs, by default chosen from 4 to 5 stars and rejected from 1 to 2, why the other prompts gave none,
            and what failed.

        Raises:
            BadInput: fewer than two variations, a prompt that is empty, or a generator that cannot be asked.
            BudgetExceeded, EndpointUnreachable, EndpointRefused: of the judges.
        """
        demand_whole(num_variations, "num_variations", least=2)
        demand_whole(parallel, "parallel")
        asked = [_example(prompt, number) for number, prompt in enumerate(listed(prompts, "prompts"))]
        made = await _variations(asked, output_generator, num_variations, parallel)
        examples = [row | {"model_output": text} for row, texts, _ in made for text in dict.fromkeys(texts)]
        items = [item_of(example, f"example {number}") for number, example in enumerate(examples)]
        before = self._generator.spent
        judgements = await self._generator.judge_all(examples, batch_size=max(parallel, 10))
        dataset = dataset_of(items, judgements, self._limits, made)
        return dataset.model_copy(update={"cost": self._generator.spent - before})


Made = tuple[dict[str, Any], list[str], list[str]]
"""A prompt's row, the answers to it, and the errors of those that failed."""


def _example(prompt: str | Mapping[str, Any], number: int) -> dict[str, Any]:
    row = prompt_row(prompt, f"prompt {number}")
    item_of(row | {"output": ""}, f"prompt {number}")
    return row


async def _variations(rows: Sequence[dict[str, Any]], generator: Brought, each: int, parallel: int) -> list[Made]:
    """Return the answers to each prompt; a call that fails leaves its error."""
    from langchain_core.runnables import Runnable

    from tools.endpoint.plugged import brought_transport, call_function

    if not isinstance(generator, Runnable):
        brought_transport(generator)
    room = asyncio.Semaphore(parallel)

    async def one(prompt: str) -> tuple[str, str]:
        async with room:
            try:
                asked = (
                    generator.ainvoke(prompt) if isinstance(generator, Runnable) else call_function(generator, prompt)
                )
                given = await asked
            # It is the caller's own: anything may come of it, and it costs this variation alone.
            except Exception as error:
                return "", f"{type(error).__name__}: {' '.join(str(error).split())}"[:TOLD]
        text = given if isinstance(given, str) else getattr(given, "text", None)
        if not isinstance(text, str) or not text.strip():
            return "", "it returned no text"
        return text, ""

    async def all_of(row: dict[str, Any]) -> Made:
        prompt = item_of(row | {"output": ""}, "a prompt").prompt
        found = await asyncio.gather(*(one(prompt) for _ in range(each)))
        return row, [text for text, error in found if not error], [error for _, error in found if error]

    return list(await asyncio.gather(*(all_of(row) for row in rows)))


def dataset_of(
    items: Sequence[Item], judgements: Sequence[Judgement], limits: StarLimits = STARS, made: Sequence[Made] = ()
) -> DPODataset:
    """Pair judged answers prompt by prompt, in the prompts' first order.

    Args:
        items: the answers.
        judgements: one for each, in the same order.
        limits: which stars may be chosen and rejected.
        made: what became of each prompt's variations, those that failed too.
    """
    samples: dict[str, Sample] = {}
    rated: defaultdict[str, list[Rated]] = defaultdict(list)
    for item, judgement in zip(items, judgements, strict=True):
        samples.setdefault(item.prompt, item.sample)
        found = rate(item.sample, _settled(item.candidate, judgement), judgement, None, edited=False, limits=limits)
        rated[item.prompt] += [found] if found is not None else []
    pairs = [pair(sample, rated[prompt], Training()) for prompt, sample in samples.items()]
    missing = {
        p.sample.instruction: _why(rated[p.sample.instruction], p.chosen, limits) for p in pairs if p.rejected is None
    }
    failed = {item_of(row | {"output": ""}, "a prompt").prompt: errors[-1] for row, _, errors in made if errors}
    missing |= {prompt: f"every variation failed: {error}" for prompt, error in failed.items() if prompt not in samples}
    return DPODataset(
        rows=tuple(dpo_rows(pairs)),
        without_pair=missing,
        failed=failed,
        failures=sum(len(errors) for _, _, errors in made),
        judged=len(items),
    )


def _settled(candidate: Candidate, judgement: Judgement) -> Candidate:
    return candidate.model_copy(update={"outcome": judgement.outcome})


def _why(rated: Sequence[Rated], chosen: Rated | None, limits: StarLimits) -> str:
    if not rated:
        return "no answer could be judged"
    if chosen is not None:
        weak = any(r.may_be_rejected for r in rated)
        most = f"at most {IN_WORDS[limits.rejected]} {'star' if limits.rejected == 1 else 'stars'}"
        return "the weak answers are of another length" if weak else f"no answer has {most}"
    if any(r.stars >= limits.chosen and r.candidate.outcome == Outcome.ACCEPTED for r in rated):
        return "the best answers fail a check or repeat themselves"
    return f"no answer is accepted with at least {IN_WORDS[limits.chosen]} stars"


IN_WORDS = ("", "one", "two", "three", "four", "five")
