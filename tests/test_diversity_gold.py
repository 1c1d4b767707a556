"""A finished run of Stanford's generator: the same ten nearest, the same means, every row kept."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tools.gates import DiversityIndex

DATA = Path(__file__).resolve().parents[2] / "shared" / "data"
GOLD, SEEDS = DATA / "regen_gold.json", DATA / "self_instruct_seed_tasks.jsonl"


@pytest.mark.skipif(not (GOLD.exists() and SEEDS.exists()), reason="the shared data are not here")
def test_figures_equal_the_recorded_ones() -> None:
    index = DiversityIndex()
    kept: list[str] = []
    for line in SEEDS.read_text(encoding="utf-8").split("\n"):
        if line.strip():
            kept.append(json.loads(line)["instruction"])
            index.add(kept[-1])
    assert len(index) == 175
    rows = json.loads(GOLD.read_text(encoding="utf-8"))
    assert len(rows) == 2006
    for number, row in enumerate(rows):
        found = index.most_similar([row["instruction"]], k=10)[0]
        recorded = row["most_similar_instructions"]
        assert found.scores == pytest.approx(sorted(recorded.values(), reverse=True), abs=1e-9), number
        assert found.mean == pytest.approx(row["avg_similarity_score"], abs=1e-9), number
        lowest = min(recorded.values()) + 1e-9
        named = {kept[at] for at, score in zip(found.positions, found.scores, strict=True) if score > lowest}
        assert named <= set(recorded), number
        assert index.offer(row["instruction"]) is None, number
        kept.append(row["instruction"])
