"""The oracle of ``benchmarks/judge_to_adapter.py``: it answers a crew's own prompts, and errs as often as it should."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.judge_to_adapter import Oracle, parsed, parted, request_of, written
from state.records import Check
from tests.builders import sample
from tools.checks import run_checks
from tools.judging.subject import pair_subject, subject
from tools.judging.wording import load_wording
from tools.sources.prompts import load_prompts

RIVERS = sample("Name three rivers of Europe, in at most ten words.", checks=(Check(kind="max_words", value=10),))
GOOD, BAD = (
    "The Rhine, the Danube and the Ebro.",
    "The Rhine and the Danube and the Ebro and the Elbe flow by.",
)


def asked(task: str, text: str) -> str:
    """Return a crew's prompt for a subject."""
    return text + "\n\n" + load_wording().tasks[task]["expected_output"]


def test_it_answers_what_the_crew_asks() -> None:
    oracle = Oracle(samples={RIVERS.prompt: RIVERS}, kappa=1.0)
    for text, score, stars in ((GOOD, 90, 5), (BAD, 10, 1)):
        shown = subject(RIVERS.prompt, text, run_checks((), text), None, 6000)
        assert oracle.reply(asked("judge", shown))["score"] == score
        assert oracle.reply(asked("expert", shown))["stars"] == stars
    pair = pair_subject(RIVERS.prompt, (BAD, GOOD), ((), ()), None, 6000)
    assert oracle.reply(asked("pair", pair))["better"] == "second"


@pytest.mark.parametrize("kappa", [0.0, 0.6])
def test_it_is_right_as_often_as_its_kappa_says(kappa: float) -> None:
    oracle = Oracle(samples={RIVERS.prompt: RIVERS}, kappa=kappa)
    texts = [f"The Rhine, the Danube and river {number}." for number in range(800)]
    right = sum(oracle.says_good(RIVERS.prompt, text) for text in texts) / len(texts)
    assert abs(right - (1 + kappa) / 2) < 0.06


def test_a_judges_arm_gets_no_checks_to_train_by(tmp_path: Path) -> None:
    training, heldout = parted(5, 4)
    path = written(tmp_path / "p.jsonl", training, heldout, checks=False)
    rows = load_prompts(path, 0.0)
    assert [len(row.checks) > 0 for row in rows] == [False] * 5 + [True] * 4
    made = request_of("oracle-0-3", path, {"base_url": "http://127.0.0.1:9/v1", "model": "o"}, parsed([]))
    assert made.sampling.repairs == 0 and made.models.judge.model == "o"
