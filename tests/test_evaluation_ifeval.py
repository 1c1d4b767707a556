"""IFEval in a run: one sample for all runs, a block of its own on the scoreboard, and nothing of it in the training."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from corral.cli.outcome import print_scoreboard
from graph.preflight import check_sources
from nodes.generate import given_prompts
from state.errors import BadInput
from state.records import Answer, Outcome, Sample
from state.request import Evaluation, RunRequest
from tests.builders import ifeval_file
from tools.checks import run_checks
from tools.evaluation.ifeval import PublicAccuracies, fixed_sample, public_accuracies
from tools.evaluation.scoreboard import Scoreboard, score_answers
from tools.evaluation.standalone import IFEVAL_TOKENS
from tools.gates.held_out import REASON, held_out
from tools.gates.results import GateDecision
from tools.registry.card import card_facts, model_card
from tools.report.board import read_board
from tools.sources.inputs import IFEVAL, named_files, with_copies
from tools.sources.prompts import load_prompts


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return ifeval_file(tmp_path / "input_data.jsonl", 40)


@pytest.fixture
def samples(file: Path) -> list[Sample]:
    return load_prompts(file, 1.0)


def answers(samples: list[Sample], text: str, model: str = "base") -> list[Answer]:
    return [Answer(id=model + one.id, sample_id=one.id, model=model, text=text, ended=True) for one in samples]


def measured(samples: list[Sample]) -> PublicAccuracies:
    """An adapter that says in many words what the base says in few, behind a first line with a comma."""
    base, adapter = answers(samples, "one, two"), answers(samples, "Sure, here:\n" + "word " * 200, "adapter")
    found = public_accuracies(samples, 541, base, adapter, Evaluation(resamples=200), 0)
    assert found is not None
    return found


def test_the_sample_is_the_same_for_every_order_and_a_part_of_a_larger_one(samples: list[Sample]) -> None:
    shuffled = random.Random(1).sample(samples, len(samples))
    assert fixed_sample(shuffled, 10) == fixed_sample(samples, 10) == fixed_sample(samples, 25)[:10]
    assert fixed_sample(samples, 10) != samples[:10] and len(fixed_sample(samples, 100)) == 40
    assert sorted(one.id for one in fixed_sample(samples, None)) == sorted(one.id for one in samples)


def test_four_accuracies_with_intervals(samples: list[Sample]) -> None:
    found = measured(samples)
    strict, _, loose, instructions = found.accuracies
    assert (strict.in_words, strict.adapter, loose.in_words, loose.adapter) == (
        "prompt-level, strict", 0.0, "prompt-level, loose", 21 / 40,
    )  # fmt: skip
    asked = [run_checks(one.checks, "Sure, here:\n" + "word " * 200, loose=True) for one in samples]
    passed = sum(bool(result.passed) for results in asked for result in results)
    assert instructions.count == 80 and instructions.adapter == passed / 80 > instructions.base
    assert 0 < loose.interval.low < loose.interval.value < loose.interval.high
    assert (found.prompts, found.of, found.max_tokens) == (40, 541, 512) and found.max_tokens < IFEVAL_TOKENS
    assert public_accuracies([], 541, [], [], Evaluation(), 0) is None


def test_the_block_stands_apart_in_terminal_report_and_card(samples: list[Sample], tmp_path: Path) -> None:
    held = [one.model_copy(update={"id": f"own{one.id}", "outcome": Outcome.ACCEPTED}) for one in samples[:12]]
    alone = score_answers(held, answers(held, "one, two"), answers(held, "one two", "adapter"), Evaluation(), 0)
    board = alone.model_copy(update={"ifeval": measured(samples)})
    path = tmp_path / "scoreboard.json"
    path.write_text(board.model_dump_json(), encoding="utf-8")
    assert Scoreboard.model_validate_json(path.read_text(encoding="utf-8")) == board
    assert board.record("x") == alone.record("x"), "the verdict knows nothing of it"

    terminal = Console(width=120, record=True, file=(tmp_path / "out").open("w"))
    print_scoreboard(terminal, path)
    shown = terminal.export_text()
    assert "IFEval's accuracy" in shown and "instruction-level, loose" in shown
    assert "fixed sample of 40 of 541 prompts" in shown and "no part of the verdict" in shown

    raw: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    read, before = read_board(raw), read_board(raw | {"ifeval": None})
    assert read is not None and before is not None
    assert [group.title for group in read.groups] == [*(group.title for group in before.groups), "IFEval"]
    assert read.slices == before.slices and read.deciding == before.deciding
    assert [metric.name for metric in read.groups[-1].metrics] == [one.in_words for one in board.ifeval.accuracies]  # type: ignore[union-attr]  # set above
    assert "IFEval" in dict(read.facts)

    facts = card_facts("mine", "run", RunRequest(), tmp_path, "a" * 32)
    card = model_card(facts, board, form="peft")
    assert "| prompt-level, loose | 0.000 | 0.525 | +0.525 [" in card and "IFEval" in card
    assert "IFEval" not in model_card(facts, alone, form="peft")


def request(file: Path, rows: list[dict[str, Any]], **sources: Any) -> RunRequest:
    prompts = file.with_name("prompts.jsonl")
    own = [*rows, {"prompt": "Say hello to a friend.", "split": "heldout"}]
    prompts.write_text("".join(json.dumps(row) + "\n" for row in own), encoding="utf-8")
    return RunRequest.model_validate(
        {"sources": {"prompts": str(prompts), **sources}, "evaluate": {"ifeval": str(file)}}
    )


def test_what_is_given_for_the_training_may_not_repeat_it(file: Path, tmp_path: Path) -> None:
    near = {"prompt": "tell me of the lighthouse number 3 on its rock without a comma", "split": "train"}
    for door in (check_sources, given_prompts):
        with pytest.raises(BadInput, match=r"sources\.prompts: 1 that .* evaluate\.ifeval, the first: 'tell me of"):
            door(request(file, [near]))
    check_sources(request(file, [near | {"split": "heldout"}]))
    seeds = tmp_path / "seeds.jsonl"
    task = {"id": "s", "name": "s", "instruction": near["prompt"], "instances": [{"input": "", "output": "Here."}]}
    seeds.write_text(json.dumps(task) + "\n", encoding="utf-8")
    with pytest.raises(BadInput, match=r"sources\.seeds: 1 that"):
        check_sources(request(file, [], seeds=str(seeds)))


def test_generated_rows_may_not_repeat_it_or_a_held_out_prompt(file: Path) -> None:
    held = held_out(request(file, []))
    accepted = GateDecision(sample_id="s", outcome=Outcome.ACCEPTED, score=1.0)
    for text in ("Tell me of the lighthouse number 8 on its rock without a comma!", "Say hello to a friend"):
        decided = held.decide(Sample(id="s", instruction=text), accepted)
        assert (decided.outcome, decided.reasons) == (Outcome.REJECTED, (REASON,))
    assert held.decide(Sample(id="s", instruction="Name three rivers of Europe."), accepted) == accepted


def test_the_run_owns_a_copy_and_refuses_what_is_not_ifevals(file: Path, tmp_path: Path) -> None:
    asked = request(file, [])
    assert named_files(asked, ())[IFEVAL] == file
    assert with_copies(asked, {IFEVAL: tmp_path / "copy"}).evaluate.ifeval == str(tmp_path / "copy")
    strange = tmp_path / "strange.jsonl"
    strange.write_text('{"prompt": "Say hello."}\n', encoding="utf-8")
    with pytest.raises(BadInput, match=r"strange\.jsonl has 1 prompt not of IFEval's, the first: 'Say hello"):
        check_sources(request(strange, []))
    with pytest.raises(BadInput, match=r"gone\.jsonl"):
        check_sources(request(tmp_path / "gone.jsonl", []))
