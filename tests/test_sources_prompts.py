"""The prompts file: what loads, what is refused and how, and the file that comes with Corral."""

# ruff: noqa: RUF001 - typographic characters are what is tested

from __future__ import annotations

import importlib.util
import json
from collections import Counter
from pathlib import Path
from types import ModuleType

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from state.errors import BadInput
from state.records import Outcome
from tools.checks import run_checks
from tools.checks.guard import guard
from tools.sources.prompts import load_prompts, prompt_key

SEEDS = Path(__file__).resolve().parents[1] / "seeds"


def write(tmp_path: Path, *rows: object) -> Path:
    path = tmp_path / "prompts.jsonl"
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows), encoding="utf-8")
    return path


def test_a_row_becomes_a_sample(tmp_path: Path) -> None:
    row = {
        "id": "tea-1",
        "prompt": " Praise tea. ",
        "input": "green",
        "checks": [
            {"kind": "must_include", "value": ["tea", "leaf"]},
            {"kind": "max_words", "value": 9},
            {"kind": "quoted"},
        ],
        "split": "heldout",
        "reference": "Tea is a leaf.",
        "category": "praise",
    }
    (sample,) = load_prompts(write(tmp_path, row), 0.0)
    assert sample.instruction == "Praise tea." and sample.input == "green" and sample.output == "Tea is a leaf."
    assert (sample.origin, sample.split, sample.category) == ("prompt", "heldout", "praise")
    assert sample.outcome is Outcome.PENDING
    assert [check.value for check in sample.checks] == [("tea", "leaf"), 9, None]


def test_the_id_is_a_hash_of_prompt_input_and_checks(tmp_path: Path) -> None:
    base = {"prompt": "a", "checks": [{"kind": "max_words", "value": 3}]}
    changed = [{"split": "heldout"}, {"reference": "x"}, {"category": "c"}, {"id": "z"}]
    first = load_prompts(write(tmp_path, base), 0.0)[0].id
    assert all(load_prompts(write(tmp_path, base | change), 0.0)[0].id == first for change in changed)
    others = [base | {"input": "b"}, base | {"checks": []}, base | {"prompt": "A"}]
    assert len({first, *(load_prompts(write(tmp_path, other), 0.0)[0].id for other in others)}) == 4


def test_blank_lines_a_byte_order_mark_and_line_separators_are_read(tmp_path: Path) -> None:
    path = tmp_path / "prompts.jsonl"
    path.write_bytes(b'\xef\xbb\xbf{"prompt": "one"}\r\n\n  \n' + '{"prompt": "two\u2028lines"}'.encode())
    assert [sample.instruction for sample in load_prompts(path, 0.0)] == ["one", "two\u2028lines"]


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("{", r"line 2: not JSON \(an object that goes on over several lines; write each in one line"),
        ("{,", r"line 2: not JSON \(Expecting property name enclosed in double quotes at column 2\)"),
        ("[1]", "line 2: not an object but a list"),
        ("{}", "line 2: 'prompt' is missing"),
        ('{"prompt": "  "}', "line 2: 'prompt': string should have at least 1 character"),
        ('{"prompt": 3}', "line 2: 'prompt': input should be a valid string"),
        ('{"prompt": "a", "chekcs": []}', "line 2: unknown field 'chekcs': did you mean 'checks'"),
        ('{"prompt": "a", "zzz": 1}', "line 2: unknown field 'zzz': use id, prompt"),
        ('{"prompt": "a", "split": "test"}', "line 2: 'split': input should be 'train' or 'heldout'"),
        ('{"prompt": "a", "checks": [{"kind": "max_word", "value": 3}]}', "line 2: .*did you mean 'max_words'"),
        ('{"prompt": "a", "checks": [{"kind": "max_words", "value": 2.5}]}', "line 2: check 1: 'value' must be"),
        ('{"prompt": "a", "checks": [{"kind": "max_words", "value": true}]}', "line 2: check 1: 'value' must be"),
        ('{"prompt": "a", "checks": [{"kind": "quoted"}, {"value": 3}]}', "line 2: check 2: 'kind' is missing"),
        ('{"prompt": "a", "checks": [{"kind": "max_words", "valeu": 3}]}', "line 2: check 1: .*did you mean 'value'"),
        ('{"prompt": "a", "checks": [{"kind": "max_words"}]}', "line 2: check 'max_words' takes a whole number"),
        (
            '{"prompt": "a", "checks": [{"kind": "min_words", "value": 9}, {"kind": "max_words", "value": 5}]}',
            "line 2: 'min_words' and 'max_words' cannot both hold: has at least 9 words, but has at most 5 words",
        ),
        ('{"prompt": "\\ud800"}', 'line 2: "prompt" holds half of a surrogate pair'),
        ('{"prompt": "a\\u0000"}', 'line 2: "prompt" holds a NUL character'),
        ("[" * 100_000, r"line 2: not JSON that can be read \(nested deeper"),
        ('{"prompt": "fine"}', "line 2: this prompt is already on line 1"),
    ],
)
def test_a_broken_line_is_refused_with_its_number(tmp_path: Path, line: str, message: str) -> None:
    with pytest.raises(BadInput, match=message) as caught:
        load_prompts(write(tmp_path, {"prompt": "fine"}, line), 0.1)
    assert "\n" not in str(caught.value) and "prompts.jsonl" in str(caught.value)


def test_files_that_cannot_be_read_are_refused(tmp_path: Path) -> None:
    for path, message in [
        (tmp_path / "none.jsonl", r"cannot be read \(.*\); give a file of JSON objects, .* such as"),
        (tmp_path, r"cannot be read \(.*\); give a file of JSON objects, .* such as"),
        (write(tmp_path), "has no rows"),
    ]:
        with pytest.raises(BadInput, match=message):
            load_prompts(path, 0.1)
    latin = tmp_path / "latin.jsonl"
    latin.write_bytes('{"prompt": "é"}'.encode("latin-1"))
    with pytest.raises(BadInput, match=r"line 1: not UTF-8 \(0xe9 at byte 13\); save the file as UTF-8"):
        load_prompts(latin, 0.1)


def test_one_prompt_cannot_be_in_both_splits(tmp_path: Path) -> None:
    train = {"prompt": "Praise tea", "split": "train", "checks": [{"kind": "quoted"}]}
    with pytest.raises(BadInput, match="line 2: this prompt is 'train' on line 1, and 'heldout' here"):
        load_prompts(write(tmp_path, train, {"prompt": "praise  TEA", "split": "heldout"}), 0.1)
    follows = load_prompts(write(tmp_path, {"prompt": "praise tea"}, train), 0.99)
    assert [sample.split for sample in follows] == ["train", "train"]
    apart = [
        {"prompt": "Sum up", "input": "a", "split": "train"},
        {"prompt": "Sum up", "input": "b", "split": "heldout"},
    ]
    assert [sample.split for sample in load_prompts(write(tmp_path, *apart), 0.1)] == ["train", "heldout"]


def test_the_hashed_split_has_the_asked_share_and_is_stable(tmp_path: Path) -> None:
    rows = [{"prompt": f"Tell me about topic {n}"} for n in range(2000)]
    samples = load_prompts(write(tmp_path, *rows), 0.2)
    share = sum(sample.split == "heldout" for sample in samples) / len(samples)
    assert 0.17 < share < 0.23
    later = {sample.id: sample.split for sample in load_prompts(write(tmp_path, *reversed(rows[:500])), 0.2)}
    assert all(later.get(sample.id, sample.split) == sample.split for sample in samples)
    assert all(sample.split == "train" for sample in load_prompts(write(tmp_path, *rows[:50]), 0.0))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=60)
@given(
    st.lists(
        st.fixed_dictionaries(
            {"prompt": st.sampled_from(["tea", "Tea", " tea ", "sea", "ＳＥＡ", "sun"])},
            optional={"split": st.sampled_from(["train", "heldout"]), "category": st.sampled_from("ab")},
        ),
        min_size=1,
        max_size=6,
    ),
    st.floats(0, 0.99),
)
def test_no_prompt_is_ever_in_both_splits(tmp_path: Path, rows: list[dict[str, str]], share: float) -> None:
    try:
        samples = load_prompts(write(tmp_path, *rows), share)
    except BadInput:
        return
    splits: dict[str, set[str]] = {}
    for sample in samples:
        splits.setdefault(prompt_key(sample.instruction, sample.input), set()).add(sample.split)
    assert all(len(found) == 1 for found in splits.values())


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=200)
@given(st.binary(max_size=80))
def test_any_bytes_load_or_are_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "any.jsonl"
    path.write_bytes(data)
    with pytest.raises(BadInput) as caught:
        load_prompts(path, 0.1)
    assert "\n" not in str(caught.value).replace(str(path), "")


def test_the_shipped_prompts_are_as_promised() -> None:
    samples = load_prompts(SEEDS / "prompts.jsonl", 0.1)
    train = [sample for sample in samples if sample.split == "train"]
    heldout = [sample for sample in samples if sample.split == "heldout"]
    trained = {check.kind for sample in train for check in sample.checks}
    assert len(train) >= 200 and len(heldout) >= 300 and len(trained) >= 18
    new = [sample for sample in heldout if not trained.intersection(check.kind for check in sample.checks[:1])]
    assert len(new) >= len(heldout) / 3
    assert sum(len(sample.checks) == 2 for sample in train) >= 60
    assert min(Counter(check.kind for sample in train for check in sample.checks).values()) >= 10


def test_shipped_references_pass_their_own_checks() -> None:
    found = [sample for sample in load_prompts(SEEDS / "prompts.jsonl", 0.1) if sample.output]
    assert len(found) >= 20 and all(sample.split == "heldout" for sample in found)
    for sample in found:
        assert all(result.passed for result in run_checks(sample.checks, sample.output)), sample.prompt
        assert guard(sample.prompt, sample.output, True) == ()


def test_any_head_of_the_shipped_file_holds_many_kinds() -> None:
    samples = load_prompts(SEEDS / "prompts.jsonl", 0.1)
    train = [sample for sample in samples if sample.split == "train"][:40]
    heldout = [sample for sample in samples if sample.split == "heldout"][:60]
    assert len({check.kind for sample in train for check in sample.checks}) >= 18
    assert len({check.kind for sample in heldout for check in sample.checks}) >= 24
    assert 0.25 < sum(sample.category == "new kinds" for sample in heldout) / len(heldout) < 0.42


def generator() -> ModuleType:
    spec = importlib.util.spec_from_file_location("make_prompts", SEEDS / "make_prompts.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_script_reproduces_the_shipped_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    module = generator()
    (tmp_path / "prompt_parts.yaml").write_bytes((SEEDS / "prompt_parts.yaml").read_bytes())
    monkeypatch.setattr(module, "HERE", tmp_path)
    module.main()
    assert (tmp_path / "prompts.jsonl").read_bytes() == (SEEDS / "prompts.jsonl").read_bytes()


def test_held_out_topics_are_not_near_any_training_topic() -> None:
    module = generator()
    parts = module.yaml.safe_load((SEEDS / "prompt_parts.yaml").read_text(encoding="utf-8"))
    frame = {
        "a",
        "an",
        "the",
        "to",
        "of",
        "on",
        "for",
        "in",
        "is",
        "that",
        "who",
        "how",
        "why",
        "what",
        "about",
        "by",
        "with",
    }
    frame |= {
        "explain",
        "describe",
        "give",
        "advice",
        "tell",
        "beginner",
        "write",
        "short",
        "your",
        "from",
        "at",
        "and",
    }
    frame |= {
        "story",
        "message",
        "review",
        "note",
        "email",
        "letter",
        "product",
        "description",
        "social",
        "media",
        "post",
    }

    def content(topic: tuple[str, str, list[str]]) -> set[str]:
        return set(topic[1].lower().rstrip(".").split()) - frame

    train = [content(topic) for topic in module.topics(parts, "train")]
    for topic in module.topics(parts, "heldout"):
        for other in train:
            shared = content(topic) & other
            assert len(shared) < 2 or len(shared) / len(content(topic) | other) < 0.4, (topic, other)
