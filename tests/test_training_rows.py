"""Rows of training: read with clear refusals, ordered with every row once an epoch."""

import errno
import json
import shutil
from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.errors import BadInput
from tools.training.job import TrainingJob
from tools.training.recipe import PHASES
from tools.training.rows import TOKENS_AT_ONCE, read_conversations, rows_at_once, training_order
from tools.training.sealing import last_whole_checkpoint, read_seal, seal
from tools.training.worker import storage_trouble
from tools.weights.folders import folder_fingerprint
from tools.weights.template import IGNORED, tokenise

PROMPT = [{"role": "user", "content": "Name a colour."}]
ANSWER = [{"role": "assistant", "content": "Blue."}]
LENGTHS = st.lists(st.integers(1, 500), min_size=1, max_size=80)


@given(LENGTHS, st.integers(1, 4), st.integers(1, 16), st.integers(0, 9))
def test_every_row_is_trained_on_once_in_each_epoch(lengths: list[int], epochs: int, batch: int, seed: int) -> None:
    order = training_order(lengths, epochs, batch, seed)
    assert Counter(order) == {row: epochs for row in range(len(lengths))}
    assert order == training_order(lengths, epochs, batch, seed)


@given(LENGTHS, st.floats(0.01, 3.0))
def test_a_part_of_an_epoch_takes_its_share_of_the_rows(lengths: list[int], epochs: float) -> None:
    order = training_order(lengths, epochs, 4, 0)
    assert len(order) == max(1, round(len(lengths) * epochs))
    assert max(Counter(order).values()) <= int(epochs) + 1


@given(st.integers(1, 64), st.sampled_from([1, 2]), st.integers(1, 5000), st.booleans())
def test_a_step_is_cut_into_equal_parts_that_fit(batch: int, sequences: int, longest: int, on_cpu: bool) -> None:
    together = rows_at_once(batch, sequences, longest, on_cpu)
    assert batch % together == 0
    assert together == 1 or together * sequences * longest <= TOKENS_AT_ONCE[on_cpu]
    larger = [rows for rows in range(together + 1, batch + 1) if batch % rows == 0]
    assert all(rows * sequences * longest > TOKENS_AT_ONCE[on_cpu] for rows in larger)


def test_batches_hold_rows_of_like_length() -> None:
    lengths = list(range(10, 650, 10))
    order = training_order(lengths, 1, 8, 3)
    spread = [max(b) - min(b) for k in range(0, 64, 8) if (b := [lengths[row] for row in order[k : k + 8]])]
    assert max(spread) == 70
    assert order != sorted(order)


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("{", "line 2: not JSON"),
        ("[1]", "line 2: not an object but a list"),
        (json.dumps({"prompt": PROMPT}), "line 2: 'completion' must be a list"),
        (json.dumps({"prompt": PROMPT, "completion": "Blue."}), "line 2: 'completion' must be a list"),
        (json.dumps({"prompt": [{"role": "user"}], "completion": ANSWER}), "line 2: 'prompt' must be a list"),
    ],
)
def test_a_malformed_row_is_named(tmp_path: Path, line: str, complaint: str) -> None:
    file = tmp_path / "sft.jsonl"
    file.write_text(json.dumps({"prompt": PROMPT, "completion": ANSWER, "id": "x"}) + "\n" + line + "\n")
    with pytest.raises(BadInput, match=complaint):
        read_conversations(file, ("prompt", "completion"))


def test_no_rows_are_refused(tmp_path: Path) -> None:
    (tmp_path / "sft.jsonl").write_text("\n")
    with pytest.raises(BadInput, match="no rows"):
        read_conversations(tmp_path / "sft.jsonl", ("prompt",))


class _LetterTokenizer:
    """One token a character; the end token is ``#``."""

    eos_token_id = ord("#")

    def __init__(self, template: str = "plain") -> None:
        self.template = template

    def apply_chat_template(
        self, turns: list[dict[str, str]], tokenize: bool, add_generation_prompt: bool = False
    ) -> str:
        end = "" if self.template == "endless" else "#"
        text = "".join(f"{turn['role'][0]}:{turn['content']}{end}\n" for turn in turns)
        head = "think:" if self.template == "thinking" else "a:"
        return text + (head if add_generation_prompt else "")

    def __call__(self, text: str, add_special_tokens: bool) -> dict[str, list[int]]:
        return {"input_ids": [ord(letter) for letter in text]}


def test_the_loss_is_on_the_completion_and_its_end_token_alone() -> None:
    row = tokenise(_LetterTokenizer(), PROMPT, ANSWER)
    assert "".join(map(chr, row.input_ids)) == "u:Name a colour.#\na:Blue.#"
    assert [chr(label) for label in row.labels if label != IGNORED] == list("Blue.#")
    assert row.labels.count(IGNORED) == len("u:Name a colour.#\na:")


@pytest.mark.parametrize(("template", "complaint"), [("thinking", "differently"), ("endless", "does not end")])
def test_a_template_that_cannot_be_masked_is_refused(template: str, complaint: str) -> None:
    with pytest.raises(BadInput, match=complaint):
        tokenise(_LetterTokenizer(template), PROMPT, ANSWER)


def test_the_newest_whole_checkpoint_is_found_and_torn_ones_go(tmp_path: Path) -> None:
    for number in (5, 10, 15, 20):
        folder = tmp_path / f"checkpoint-{number}"
        (folder / "inner").mkdir(parents=True)
        (folder / "inner" / "weights").write_bytes(bytes(number))
        if number != 20:
            seal(folder)
    (tmp_path / "checkpoint-15" / "inner" / "weights").write_bytes(b"cut")
    assert last_whole_checkpoint(tmp_path) == tmp_path / "checkpoint-10"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["checkpoint-10", "checkpoint-5"]


def test_a_seal_breaks_with_any_file(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("1")
    seal(tmp_path, job="x")
    record = read_seal(tmp_path)
    assert record is not None and record["job"] == "x"
    (tmp_path / "a").unlink()
    assert read_seal(tmp_path) is None


def test_a_job_is_known_by_content_and_not_by_path(tmp_path: Path) -> None:
    def job(folder: str, row: str, **options: object) -> TrainingJob:
        place = tmp_path / folder
        place.mkdir(exist_ok=True)
        (place / "config.json").write_text("{}")
        (place / "sft.jsonl").write_text(row)
        options = {"base": str(place), "recipe": "sft", "dataset": str(place), **options}
        return TrainingJob.model_validate(options | {"out": str(place / "out")})

    first = job("a", "1").identity()
    assert job("b", "1").identity() == first
    assert len({first, job("a", "2").identity(), job("a", "1", seed=1).identity()}) == 3
    (tmp_path / "a" / "model.safetensors").write_bytes(b"weights")
    assert job("a", "1").identity() != first


def test_missing_rows_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="needs dpo rows"):
        TrainingJob(base="b", recipe="dpo", dataset=str(tmp_path), out="o").rows_file(PHASES["dpo"])
    with pytest.raises(BadInput, match="not there"):
        TrainingJob(base="b", recipe="sft", dataset=str(tmp_path / "no"), out="o").rows_file(PHASES["sft"])
    with pytest.raises(BadInput, match="empty or not there"):
        folder_fingerprint(tmp_path / "nowhere")


def test_a_full_disk_is_told_from_other_failures(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    full = OSError(errno.ENOSPC, "No space left on device")
    assert "No space left" in (storage_trouble(full, tmp_path) or "")
    assert storage_trouble(RuntimeError("shapes differ"), tmp_path) is None
    monkeypatch.setattr(shutil, "disk_usage", lambda _: SimpleNamespace(free=0))
    assert "disk is full" in (storage_trouble(RuntimeError("file write failed"), tmp_path) or "")


def test_the_attention_follows_the_rows() -> None:
    from tools.training.faster_on_cpu import EAGER_UP_TO, attention_for

    assert attention_for(EAGER_UP_TO, on_cpu=True) == "eager"
    assert attention_for(EAGER_UP_TO + 1, on_cpu=True) == "sdpa"
    assert attention_for(10, on_cpu=False) == "sdpa"


def test_all_end_tokens_count() -> None:
    from tools.weights.decoding import end_tokens

    for configured, wanted in ((2, {2, 7}), ([2, 3], {2, 3, 7}), (None, {7})):
        model = SimpleNamespace(generation_config=SimpleNamespace(eos_token_id=configured))
        assert end_tokens(model, SimpleNamespace(eos_token_id=7)) == wanted
