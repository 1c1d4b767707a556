"""Write seeds/prompts.jsonl from the topics and wordings in prompt_parts.yaml: ``python seeds/make_prompts.py``.

Kinds take turns, and every third prompt makes a second demand that goes with the first. Held-out rows have topics of
their own and, one in three, a kind that no training row has. The rows of each split are mixed, so that any head of them
holds the kinds in about the same shares.
"""

from __future__ import annotations

import json
import random
from itertools import cycle, islice
from pathlib import Path
from typing import Any

import yaml

HERE = Path(__file__).parent
TRAIN_ROWS, KNOWN_ROWS, NEW_ROWS = 210, 180, 102
COMMON = ("the", "very", "people", "is", "and")
"""Words to avoid in place of the topic's own, every other time: harder to do without."""

Parts = dict[str, Any]
Topic = tuple[str, str, list[str]]
"""The sort of request, the request, and the words that belong to it."""


def topics(parts: Parts, split: str) -> list[Topic]:
    """Return a split's topics in the file's order."""
    rows = [(sort, *line.split(" | ")) for sort, found in parts[f"{split}_topics"].items() for line in found]
    return [(sort, request, words.split(", ")) for sort, request, words in rows]


def make_rows(parts: Parts, split: str, kinds: list[str], count: int, category: str, seed: int) -> list[dict[str, Any]]:
    """Return ``count`` prompts; every topic is used about equally often, every kind exactly so."""
    chance = random.Random(seed)
    left: list[Topic] = []
    used: set[tuple[str, str]] = set()
    wordings = {kind: cycle(chance.sample(found, len(found))) for kind, found in parts["wordings"].items()}
    rows = []
    for index, kind in enumerate(islice(cycle(kinds), count)):
        asked = [kind, chance.choice(parts["partners"][kind])] if index % 3 == 2 else [kind]
        sorts = set.intersection(*(set(parts["suits"].get(one, parts["train_topics"])) for one in asked))
        topic = next((topic for topic in left if topic[0] in sorts and (topic[1], kind) not in used), None)
        if topic is None:
            left += chance.sample(topics(parts, split), len(topics(parts, split)))
            topic = next(topic for topic in left if topic[0] in sorts and (topic[1], kind) not in used)
        left.remove(topic)
        used.add((topic[1], kind))
        prompt, checks = topic[1], []
        for position, one in enumerate(asked):
            value, filled = argument(parts, one, topic, chance)
            wording = next(text for text in wordings[one] if position == 0 or "{request}" not in text)
            prompt = with_demand(prompt, wording, filled)
            checks.append({"kind": one} if value is None else {"kind": one, "value": value})
        rows.append({"prompt": prompt, "checks": checks, "split": split, "category": category})
    return rows


def argument(parts: Parts, kind: str, topic: Topic, chance: random.Random) -> tuple[Any, dict[str, Any]]:
    """Return a check's argument, and what fills the gaps of its wording."""
    if kind in parts["counts"]:
        number = chance.choice(parts["counts"][kind])
        return number, {"n": number}
    if kind in parts["phrases"]:
        phrase = chance.choice(parts["phrases"][kind])
        return phrase, {"phrase": phrase}
    if kind == "must_include":
        pair = chance.sample(topic[2], 2)
        return pair, {"a": pair[0], "b": pair[1]}
    if kind == "must_avoid":
        word = chance.choice([chance.choice(topic[2]), chance.choice(COMMON)])
        return word, {"a": word}
    return None, {}


def with_demand(request: str, wording: str, filled: dict[str, Any]) -> str:
    """Return a request with one demand before it or after it."""
    if "{request}" in wording:
        return wording.format(request=request[0].lower() + request[1:], **filled)
    return f"{request} {wording.format(**filled)}"


def mixed(*groups: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Return the rows of several groups, each spread evenly over the whole."""
    placed = [
        ((index + 0.5) / len(group), rank, row) for rank, group in enumerate(groups) for index, row in enumerate(group)
    ]
    return [row for *_, row in sorted(placed, key=lambda entry: entry[:2])]


def all_rows(parts: Parts) -> list[dict[str, Any]]:
    """Return the whole file's rows."""
    known, new = parts["known_kinds"], parts["new_kinds"]
    facts = [{**fact, "split": "heldout", "category": "facts"} for fact in parts["facts"]]
    return [
        *make_rows(parts, "train", known, TRAIN_ROWS, "known kinds", seed=1),
        *mixed(
            make_rows(parts, "heldout", known, KNOWN_ROWS, "known kinds", seed=2),
            make_rows(parts, "heldout", new, NEW_ROWS, "new kinds", seed=3),
            facts,
        ),
    ]


def main() -> None:
    """Write the file beside this script."""
    parts = yaml.safe_load((HERE / "prompt_parts.yaml").read_text(encoding="utf-8"))
    lines = (json.dumps(row, ensure_ascii=False) + "\n" for row in all_rows(parts))
    (HERE / "prompts.jsonl").write_text("".join(lines), encoding="utf-8")


if __name__ == "__main__":
    main()
