"""Public sets of people's choices between two answers, read as they are published.

| set | what a row has |
| --- | --- |
| PandaLM | ``instruction``, ``input``, ``response1``, ``response2``, ``annotator1`` to ``annotator3``: 1, 2, 0 a tie |
| auto-j | ``prompt``, ``response 1``, ``response 2``, ``label``: 0 the first, 1 the second, 2 a tie |
| LLMBar | ``input``, ``output_1``, ``output_2``, ``label``: 1 or 2 |
| JudgeBench | ``question``, ``response_A``, ``response_B``, ``label``: ``A>B`` or ``B>A`` |
| alpaca_eval | ``instruction``, ``output_1``, ``output_2``, ``preference``: 1, 2, 0 or 1.5 a tie |
| RewardBench 1, 2 | ``prompt``, ``chosen``, ``rejected``: a text or a list of them; ``subset`` |
| MT-Bench | ``conversation_a``, ``conversation_b``, ``winner``: ``model_a``, ``model_b``, ``tie``; ``turn`` |

A row that names its rater is one rater's word; the raters of one pair are put together by ``tools.sources.labels``. A
set that lists the better answer first has its order drawn by a hash, since a judge of positions would be flattered.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from state.errors import BadInput
from state.records import content_hash
from tools.sources.items import prompt_of
from tools.sources.values import number_as_text, present

Row = Mapping[str, Any]
ANNOTATORS = ("annotator1", "annotator2", "annotator3")


class GoldPair(NamedTuple):
    """One row of a set: a pair, and what one or several raters chose.

    Attributes:
        prompt: what was asked.
        outputs: both answers.
        choices: 1, 2 or 0 for a tie, by rater; the rater's name is empty where the set has none.
        source: the part of the set that the row belongs to; empty where it names none.
    """

    prompt: str
    outputs: tuple[str, str]
    choices: tuple[tuple[str, int], ...]
    source: str = ""


def gold_pairs(row: Row, where: str) -> list[GoldPair] | None:
    """Return the pairs of a row of one of the sets; ``None`` where it is of no such set.

    Args:
        row: the row.
        where: its place, for the error.

    Raises:
        BadInput: it has the keys of a set and a value that the set does not have.
    """
    for keys, read in _SETS:
        if all(key in row for key in keys):
            return read(row, where)
    return None


def _pandalm(row: Row, where: str) -> list[GoldPair]:
    choices = tuple((name, _choice(row[name], where, {1: 1, 2: 2, 0: 0})) for name in ANNOTATORS if name in row)
    outputs = (_text(row, "response1", where), _text(row, "response2", where))
    return [GoldPair(_prompt(row, where), outputs, choices, _source(row, "motivation_app"))]


def _auto_j(row: Row, where: str) -> list[GoldPair]:
    choice = _choice(row["label"], where, {0: 1, 1: 2, 2: 0})
    outputs = (_text(row, "response 1", where), _text(row, "response 2", where))
    return [GoldPair(_text(row, "prompt", where), outputs, (("", choice),), _source(row, "scenario"))]


def _judge_bench(row: Row, where: str) -> list[GoldPair]:
    choice = _choice(row["label"], where, {"A>B": 1, "B>A": 2, "A=B": 0, "B=A": 0})
    outputs = (_text(row, "response_A", where), _text(row, "response_B", where))
    return [GoldPair(_text(row, "question", where), outputs, (("", choice),), _source(row, "source"))]


def _alpaca_eval(row: Row, where: str) -> list[GoldPair]:
    choice = _choice(row["preference"], where, {1: 1, 2: 2, 0: 0, 1.5: 0})
    rater = str(row.get("annotator_index", row.get("annotator", "")))
    outputs = (_text(row, "output_1", where), _text(row, "output_2", where))
    return [GoldPair(_prompt(row, where), outputs, ((rater, choice),), _source(row, "dataset"))]


def _reward_bench(row: Row, where: str) -> list[GoldPair]:
    prompt = _text(row, "prompt", where)
    good, bad = _texts(row["chosen"], "chosen", where), _texts(row["rejected"], "rejected", where)
    return [_in_drawn_order(prompt, better, worse, _source(row, "subset")) for better in good[:1] for worse in bad]


def _in_drawn_order(prompt: str, better: str, worse: str, source: str) -> GoldPair:
    first = int(content_hash("order", prompt, *sorted((better, worse)))[0], 16) < 8
    outputs = (min(better, worse), max(better, worse)) if first else (max(better, worse), min(better, worse))
    return GoldPair(prompt, outputs, (("", 1 if outputs[0] == better else 2),), source)


def _mt_bench(row: Row, where: str) -> list[GoldPair]:
    choice = _choice(row["winner"], where, {"model_a": 1, "model_b": 2, "tie": 0, "tie (bothbad)": 0})
    talks = [_talk(row[name], name, where) for name in ("conversation_a", "conversation_b")]
    said = [turn for turn in talks[0][:-1] if turn[0] == "user"]
    prompt = "\n\n".join(text for _, text in said)
    source = f"turn {row['turn']}" if "turn" in row else ""
    return [GoldPair(prompt, (talks[0][-1][1], talks[1][-1][1]), ((str(row.get("judge", "")), choice),), source)]


def _talk(turns: Any, name: str, where: str) -> list[tuple[str, str]]:
    good = isinstance(turns, list) and len(turns) > 1 and all(isinstance(turn, dict) for turn in turns)
    if not good or not all(isinstance(turn.get("content"), str) for turn in turns):
        raise BadInput(f"{where}: '{name}' must be a list of turns, each with 'role' and 'content'")
    return [(str(turn.get("role")), turn["content"]) for turn in turns]


def _choice(label: Any, where: str, meanings: Mapping[Any, int]) -> int:
    if isinstance(label, str) and label.strip().lstrip("-").isdigit():
        label = int(label)
    if isinstance(label, bool) or not isinstance(label, int | float | str) or label not in meanings:
        raise BadInput(f"{where}: the choice {label!r} is none of {', '.join(map(str, meanings))}")
    return meanings[label]


def _text(row: Row, name: str, where: str) -> str:
    value = number_as_text(present({name: row[name]}).get(name, ""))
    if isinstance(value, bool):  # a spreadsheet has made it of the word
        value = str(value)
    if not isinstance(value, str):
        raise BadInput(f"{where}: '{name}' must be a text")
    return value


def _texts(value: Any, name: str, where: str) -> Sequence[str]:
    found = [value] if isinstance(value, str) else value
    if not isinstance(found, list) or not found or not all(isinstance(text, str) for text in found):
        raise BadInput(f"{where}: '{name}' must be a text or a list of texts")
    return found


def _prompt(row: Row, where: str) -> str:
    """Return instruction and input; the input alone where the instruction is empty."""
    given = row.get("instruction")
    empty = isinstance(given, str) and not given.strip()
    return prompt_of({"prompt": row.get("input")} if empty else row, where)


def _source(row: Row, name: str) -> str:
    value = row.get(name)
    return value if isinstance(value, str) else ""


_SETS: Sequence[tuple[tuple[str, ...], Callable[[Row, str], list[GoldPair]]]] = (
    (("response1", "response2", "annotator1"), _pandalm),
    (("response 1", "response 2", "label"), _auto_j),
    (("response_A", "response_B", "label"), _judge_bench),
    (("output_1", "output_2", "preference"), _alpaca_eval),
    (("conversation_a", "conversation_b", "winner"), _mt_bench),
    (("prompt", "chosen", "rejected"), _reward_bench),
)
"""LLMBar's rows have the shape of Corral's own; see ``tools.sources.labels``."""
