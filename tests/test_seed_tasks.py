"""The seed tasks are data that every run starts from, so they are held to the rules that generated tasks must obey."""

from __future__ import annotations

import ast
import json
import re
import sqlite3
from collections import Counter
from itertools import combinations
from pathlib import Path
from typing import Any

import pytest
from rouge_score.rouge_scorer import RougeScorer
from rouge_score.tokenize import tokenize

from tools.sources.seeds import SeedTask, load_seed_tasks

SEEDS = Path(__file__).parent.parent / "seeds" / "seed_tasks.jsonl"
CATEGORIES = {
    "writing",
    "explanation",
    "summarising",
    "classification",
    "extraction",
    "rewriting",
    "translation",
    "comparison",
    "reasoning",
    "mathematics",
    "code",
    "planning",
}
FORBIDDEN = re.compile(
    r"\b(image|graph|picture|file|map|draw|plot|go to|video|audio|music|flowchart|diagram)s?\b", re.IGNORECASE
)
SIMILAR = 0.7


@pytest.fixture(scope="module")
def rows() -> list[dict[str, Any]]:
    return [json.loads(line) for line in SEEDS.read_text(encoding="utf-8").splitlines()]


@pytest.fixture(scope="module")
def tasks() -> list[SeedTask]:
    return load_seed_tasks(SEEDS)


@pytest.fixture(scope="module")
def outputs(tasks: list[SeedTask]) -> dict[str, str]:
    return {task.name: task.output for task in tasks}


def too_similar(texts: list[str]) -> list[tuple[str, str]]:
    """Return the pairs whose ROUGE-L F-measure exceeds 0.7, as rouge_score itself computes it.

    Shared tokens bound the longest common subsequence from above, so only pairs that reach the bound are scored.
    """
    scorer = RougeScorer(["rougeL"], use_stemmer=False)
    counted = [(text, Counter(tokenize(text, None))) for text in texts]
    pairs = []
    for (one, a), (other, b) in combinations(counted, 2):
        reachable = 2 * (a & b).total() >= (SIMILAR - 1e-9) * (a.total() + b.total())
        if reachable and scorer.score(one, other)["rougeL"].fmeasure > SIMILAR:
            pairs.append((one, other))
    return pairs


def test_there_are_175_rows_in_the_format_of_self_instruct(rows: list[dict[str, Any]]) -> None:
    assert [row["id"] for row in rows] == [f"corral_{number:03d}" for number in range(175)]
    for row in rows:
        assert set(row) == {"id", "name", "category", "instruction", "instances", "is_classification"}, row["id"]
        assert re.fullmatch(r"[a-z0-9]+(_[a-z0-9]+)*", row["name"]), row["id"]
        assert isinstance(row["is_classification"], bool), row["id"]
        assert [set(instance) for instance in row["instances"]] == [{"input", "output"}], row["id"]
    assert len({row["name"] for row in rows}) == 175


def test_the_loader_reads_every_row_as_it_stands(rows: list[dict[str, Any]], tasks: list[SeedTask]) -> None:
    assert [task.model_dump(mode="json") for task in tasks] == rows


def test_categories_are_the_twelve_and_balanced(tasks: list[SeedTask]) -> None:
    counts = Counter(task.category for task in tasks)
    assert set(counts) == CATEGORIES
    assert max(counts.values()) - min(counts.values()) <= 1


def test_the_first_twelve_tasks_show_every_category(tasks: list[SeedTask]) -> None:
    assert {task.category for task in tasks[:12]} == CATEGORIES


def test_about_forty_percent_have_an_input(tasks: list[SeedTask]) -> None:
    assert 0.35 <= sum(bool(task.input) for task in tasks) / len(tasks) <= 0.45
    for category in CATEGORIES:
        assert len({bool(task.input) for task in tasks if task.category == category}) == 2, category


def test_classification_is_flagged_and_answered_with_labels(tasks: list[SeedTask]) -> None:
    flagged = [task for task in tasks if task.is_classification]
    assert len(flagged) >= 30
    assert {task.id for task in tasks if task.category == "classification"} <= {task.id for task in flagged}
    for task in flagged:
        for line in task.output.splitlines():
            assert len(line.split()) <= 5, task.id
            assert line[-1] not in ".!?", task.id


def test_instructions_keep_the_content_rules(tasks: list[SeedTask]) -> None:
    for task in tasks:
        text = task.instruction
        assert re.match(r"[A-Za-z]", text), task.id
        assert 10 <= len(text) <= 500, task.id
        assert 4 <= len(text.split()) <= 150, task.id
        assert 1 <= len(re.findall(r"[.?!][\"')]?(?=\s|$)", text)) <= 2, task.id
        assert not text.lower().startswith("write a program"), task.id


def test_no_task_needs_more_than_text(tasks: list[SeedTask]) -> None:
    for task in tasks:
        for text in (task.instruction, task.input, task.output):
            assert not FORBIDDEN.search(text), task.id


def test_texts_are_clean_and_short(tasks: list[SeedTask]) -> None:
    lengths = [len(f"{task.input} {task.output}".split()) for task in tasks]
    assert max(lengths) < 100
    assert sum(length < 60 for length in lengths) > len(lengths) * 2 / 3
    for task in tasks:
        assert task.output, task.id
        assert "noinput" not in task.input.lower(), task.id
        for text in (task.instruction, task.input, task.output):
            assert text == text.strip(), task.id
            assert not re.search(r"[^\S \n]|[\x00-\x09\x0b-\x1f]| \n", text), task.id


def test_no_two_instructions_are_alike(tasks: list[SeedTask]) -> None:
    assert too_similar([task.instruction for task in tasks]) == []


def test_a_planted_near_copy_is_found(tasks: list[SeedTask]) -> None:
    texts = [task.instruction for task in tasks]
    longest = max(texts, key=len)
    copy = longest.rsplit(" ", 2)[0]
    assert too_similar([*texts, copy]) == [(longest, copy)]


def test_no_input_and_output_come_twice(tasks: list[SeedTask]) -> None:
    inputs = Counter(task.input for task in tasks if task.input)
    assert [text for text, count in inputs.items() if count > 1] == []
    long_outputs = Counter(task.output for task in tasks if len(task.output.split()) > 5)
    assert [text for text, count in long_outputs.items() if count > 1] == []
    pairs = Counter((task.input, task.output) for task in tasks if task.input or not task.is_classification)
    assert [pair for pair, count in pairs.items() if count > 1] == []


def test_verbs_and_openings_vary(tasks: list[SeedTask]) -> None:
    openings = Counter(task.instruction.split()[0] for task in tasks)
    assert len(openings) >= 80
    assert max(openings.values()) <= len(tasks) / 10
    questions = sum(task.instruction.endswith("?") for task in tasks)
    assert 0.2 <= questions / len(tasks) <= 0.5


def test_python_answers_parse(tasks: list[SeedTask]) -> None:
    python = [
        task
        for task in tasks
        if task.category == "code" and "Python" in task.instruction and not task.is_classification
    ]
    assert len(python) >= 6
    for task in python:
        try:
            ast.parse(task.output)
        except SyntaxError as error:
            pytest.fail(f"{task.id}: {error}")


@pytest.mark.parametrize(
    ("name", "expression", "expected"),
    [
        ("python_count_vowels", "count_vowels('Education')", 5),
        ("fix_off_by_one", "sum_to(10)", 55),
        ("python_palindrome", "is_palindrome('Never odd or even')", True),
        ("python_palindrome", "is_palindrome('corral')", False),
        ("python_merge_sorted", "merge([1, 4], [2, 4, 9])", [1, 2, 4, 4, 9]),
        ("python_unique_in_order", "unique", [3, 1, 2]),
        ("python_fibonacci_generator", "list(fibonacci(13))", [0, 1, 1, 2, 3, 5, 8]),
    ],
)
def test_python_answers_do_what_was_asked(
    outputs: dict[str, str], name: str, expression: str, expected: object
) -> None:
    scope: dict[str, Any] = {}
    exec(outputs[name], scope)
    assert eval(expression, scope) == expected


def test_sql_and_regex_answers_do_what_was_asked(outputs: dict[str, str]) -> None:
    with sqlite3.connect(":memory:") as database:
        database.executescript(
            "CREATE TABLE orders (customer_id INTEGER); INSERT INTO orders VALUES (1), (2), (2);"
            "CREATE TABLE books (price REAL, year INTEGER); INSERT INTO books VALUES (100, 2009), (100, 2010);"
        )
        assert database.execute(outputs["sql_orders_per_customer"]).fetchall() == [(2, 2), (1, 1)]
        database.execute(outputs["sql_raise_old_prices"])
        assert database.execute("SELECT price FROM books ORDER BY year").fetchall() == [(105.0,), (100.0,)]
    clock = re.compile(outputs["regex_clock_time"])
    shown = (f"{hour:02d}:{minute:02d}" for hour in range(30) for minute in range(70))
    assert sum(bool(clock.search(text)) for text in shown) == 24 * 60


def test_sums_written_in_answers_add_up(tasks: list[SeedTask]) -> None:
    number = r"\d+(?:\.\d+)?"
    side = rf"{number}(?: ?[-+*/] ?{number})*"
    equations = [
        (task.id, match.group().split(" = "))
        for task in tasks
        for match in re.finditer(rf"(?<![\w.]){side}(?: = {side})+", task.output)
    ]
    assert len(equations) >= 15
    for identity, sides in equations:
        values = [eval(text) for text in sides]
        assert values == pytest.approx([values[0]] * len(values)), identity
