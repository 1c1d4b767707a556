"""Public sets of choices between two answers, read as they are published, and what is told of odd labels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from state.errors import BadInput
from tools.sources.labels import ChosenPair, read_label_set

GOLD: dict[str, list[dict[str, Any]]] = {
    "PandaLM": [
        {"instruction": "p", "input": "q", "response1": "a", "response2": "b"}
        | {"annotator1": 1, "annotator2": 1, "annotator3": 2}
    ],
    "auto-j": [{"prompt": "p", "response 1": "a", "response 2": "b", "label": 0, "scenario": "code"}],
    "LLMBar": [{"input": "p", "output_1": "a", "output_2": "b", "label": 1}],
    "JudgeBench": [{"question": "p", "response_A": "a", "response_B": "b", "label": "A>B", "source": "mmlu"}],
    "alpaca_eval": [
        {"instruction": "p", "output_1": "a", "output_2": "b", "preference": 1, "annotator": name, "dataset": "koala"}
        for name in "xyz"
    ],
    "MT-Bench": [
        {
            "conversation_a": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "a"}],
            "conversation_b": [{"role": "user", "content": "p"}, {"role": "assistant", "content": "b"}],
            "winner": "model_a",
            "judge": "expert_1",
            "turn": 1,
        }
    ],
    "RewardBench 2": [{"prompt": "p", "chosen": ["a"], "rejected": ["b"], "subset": "Focus"}],
}
MORE = {"prompt": "z", "output_1": "x", "output_2": "y", "label": 2}


@pytest.mark.parametrize("name", list(GOLD))
def test_public_gold_is_read_as_it_is(name: str, tmp_path: Path) -> None:
    path = tmp_path / "gold.json"
    rows = [*GOLD[name], {"prompt": "z", "output_1": "x", "output_2": "y", "label": 1}, MORE | {"prompt": "w"}]
    path.write_text(json.dumps(rows))
    found = read_label_set(path)
    pair = next(label for label in found.labels if isinstance(label, ChosenPair) and label.first.prompt[0] == "p")
    better = pair.first if pair.label == 1 else pair.second
    assert better.output == "a" and pair.label != 0 and len(found.labels) == 3
    assert len(pair.raters) == {"PandaLM": 3, "alpaca_eval": 3}.get(name, 0)
    assert "3 labels: under" in "; ".join(found.notes)


def test_contradictions_copies_ties_and_empty_answers_are_told(tmp_path: Path) -> None:
    rows = [MORE, MORE, {"prompt": "q", "output_1": "x", "output_2": "", "label": 1}]
    rows += [{"prompt": "r", "output_1": "x", "output_2": "y", "label": label} for label in (1, 2)]
    rows += [{"prompt": "s", "output_1": one, "output_2": other, "label": 0} for one, other in (("x", "y"), ("y", "x"))]
    rows += [{"prompt": "Что такое дождь?", "output_1": "x", "output_2": "y", "label": 1}]
    path = tmp_path / "labels.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    found = read_label_set(path)
    told = "; ".join(found.notes)
    assert [label.label for label in found.labels if isinstance(label, ChosenPair)] == [2, 1, 1, 2, 0, 1]
    for part in (
        "labels that are copies of others, and count once: 2",
        "each of which counts: 2",
        "pairs of which an answer is empty: 1",
        "ties, on which who never says tie is wrong: 1 of 6",
        "prompts in another script than Latin: 1 of 6",
        "nobody can say how far people agree",
    ):
        assert part in told, told


@pytest.mark.parametrize(
    ("row", "fault"),
    [
        ({"question": "p", "response_A": "a", "response_B": "b", "label": "C>D"}, "the choice 'C>D' is none of A>B"),
        ({"prompt": "p", "chosen": [], "rejected": ["b"]}, "'chosen' must be a text or a list"),
        ({"conversation_a": "p", "conversation_b": [], "winner": "tie"}, "'conversation_a' must be a list of turns"),
        ({"prompt": "p", "response 1": 3.5, "response 2": ["b"], "label": 1}, "'response 2' must be a text"),
    ],
)
def test_a_broken_row_of_a_set_is_refused_by_its_place(row: dict[str, Any], fault: str, tmp_path: Path) -> None:
    path = tmp_path / "gold.jsonl"
    path.write_text(json.dumps(row))
    with pytest.raises(BadInput, match="line 1") as refused:
        read_label_set(path)
    assert fault in str(refused.value)
