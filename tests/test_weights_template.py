"""Alpaca's format on a base without a chat template: its words and mask, the same in training and answering."""

from pathlib import Path
from typing import Any

import pytest

from state.errors import BadInput
from tests.builders import sample
from tests.tiny_model import tiny_model
from tools.dataset.files import sft_rows
from tools.endpoint.chat import user_message
from tools.weights.template import IGNORED, alpaca_template, load_tokenizer, tokenise

WITHOUT = (
    "Below is an instruction that describes a task. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Response:"
)
WITH = (
    "Below is an instruction that describes a task, paired with an input that provides further context. "
    "Write a response that appropriately completes the request.\n\n"
    "### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:"
)
"""As the project published them, word for word."""
ROWS = [
    ("Name a colour.", "", "Blue."),
    ("Translate into French.", "Good morning,\n\neverybody", "Bonjour à tous"),
    ("  Keep my spaces  ", "", " and mine "),
    ("Which number is larger?", "7 {{ bos_token }} 12", ":12"),
]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a base without a chat template."""
    folder = tiny_model(tmp_path_factory.mktemp("bare"))
    (folder / "chat_template.jinja").unlink()
    return folder


def dataset_row(instruction: str, input_: str, output: str) -> dict[str, Any]:
    """Return the SFT row that a run writes."""
    return sft_rows([], [sample(instruction, input=input_, output=output)])[0]


@pytest.mark.parametrize(("instruction", "input_", "output"), ROWS)
def test_the_mask_of_both_templates_token_by_token(base: Path, instruction: str, input_: str, output: str) -> None:
    """The oracle tokenises the published words and the answer by itself, and masks what is not the answer."""
    from transformers import AutoTokenizer

    plain = AutoTokenizer.from_pretrained(base)
    words = (WITH if input_ else WITHOUT).format(instruction=instruction, input=input_)
    source = plain(words, add_special_tokens=False)["input_ids"]
    target = plain(output + plain.eos_token, add_special_tokens=False)["input_ids"]
    found = tokenise(load_tokenizer(base), **dataset_row(instruction, input_, output))
    assert found.input_ids == source + target
    assert found.labels == [IGNORED] * len(source) + target
    assert found.labels[-1] == plain.eos_token_id


def test_an_answering_model_is_asked_what_the_trained_one_was(base: Path) -> None:
    tokenizer = load_tokenizer(base, padding_side="left")
    asked = tokenizer.apply_chat_template(
        [user_message("Add.\n\n1 and 2", "1 and 2")], add_generation_prompt=True, tokenize=False
    )
    assert asked == WITH.format(instruction="Add.", input="1 and 2")
    assert tokenizer.pad_token_id is not None and tokenizer.padding_side == "left"


def test_a_model_with_a_template_of_its_own_sees_the_whole_prompt(tmp_path: Path) -> None:
    tokenizer = load_tokenizer(tiny_model(tmp_path))
    asked = tokenizer.apply_chat_template([user_message("Add.\n\n1 and 2", "1 and 2")], tokenize=False)
    assert asked == tokenizer.apply_chat_template([{"role": "user", "content": "Add.\n\n1 and 2"}], tokenize=False)
    assert "Add.\n\n1 and 2<|im_end|>" in asked and "### " not in asked


def test_turns_follow_each_other_and_a_system_turn_is_refused(base: Path) -> None:
    tokenizer = load_tokenizer(base)
    turns = [user_message("One?"), {"role": "assistant", "content": "1"}, user_message("Two?")]
    end = tokenizer.eos_token
    expected = f"{WITHOUT.format(instruction='One?')}1{end}\n\n{WITHOUT.format(instruction='Two?')}"
    assert tokenizer.apply_chat_template(turns, tokenize=False) == expected
    with pytest.raises(Exception, match="no turn of the role system"):
        tokenizer.apply_chat_template([{"role": "system", "content": "Be kind."}], tokenize=False)


class _Tokenizer:
    """One that writes a begin token by itself, or does not."""

    name_or_path = "somewhere"
    bos_token_id = 1

    def __init__(self, begins: bool, eos_token: str | None = "</s>") -> None:
        self._begins = begins
        self.eos_token = eos_token

    def __call__(self, text: str) -> dict[str, Any]:
        return {"input_ids": ([1] if self._begins else []) + [ord(letter) for letter in text]}


def test_the_begin_token_is_written_where_the_tokenizer_writes_it() -> None:
    assert alpaca_template(_Tokenizer(begins=True)).startswith("{{- bos_token -}}")
    assert "bos_token" not in alpaca_template(_Tokenizer(begins=False))
    with pytest.raises(BadInput, match="no end token"):
        alpaca_template(_Tokenizer(begins=True, eos_token=None))
