"""3 of 5: preference pairs for DPO from a model's own variations.

    python -m examples.rlhf.pairs

The generator is any function, coroutine, chat model or Runnable; a variation that fails costs that variation alone.
"""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from corral import DPODatasetBuilder, SyntheticFeedbackGenerator
from corral.pairs import DPODataset

PROMPTS: list[dict[str, Any]] = [
    {"prompt": "Name three rivers of Europe, in at most ten words.", "checks": [{"kind": "max_words", "value": 10}]},
    {"prompt": "Say in one sentence what tides are.", "checks": [{"kind": "max_sentences", "value": 1}]},
]
DRAFTS = {
    PROMPTS[0]["prompt"]: itertools.cycle(
        ["The Rhine, the Danube and the Ebro.", "It is what it is. It is what it is.", "The Ebro, the Po and the Elbe."]
    ),
    PROMPTS[1]["prompt"]: itertools.cycle(
        [
            "The sea rises and falls twice a day, as the moon and the sun pull on it.",
            "Well. There are many things to say. Some are longer than asked. This is one of them.",
        ]
    ),
}


def write(prompt: str) -> str:
    """Return the next draft; put your model's call here."""
    return next(DRAFTS[prompt])


def main(out: Path = Path("pairs.jsonl")) -> DPODataset:
    """Build pairs, and write them as JSON lines."""
    builder = DPODatasetBuilder(SyntheticFeedbackGenerator(), chosen_from=4, rejected_to=2)
    dataset = builder.build_dataset(PROMPTS, write, num_variations=3, parallel=1)
    for row in dataset:
        print(row["chosen"][0]["content"], ">", row["rejected"][0]["content"])
    for prompt, why in dataset.without_pair.items():
        print(f"no pair for {prompt!r}: {why}")
    dataset.save(out)
    print(f"{len(dataset)} pairs of {dataset.judged} answers, {dataset.failures} failed, ${dataset.cost:.4f}; in {out}")
    return dataset


if __name__ == "__main__":
    main()
