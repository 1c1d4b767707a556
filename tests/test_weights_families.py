"""The decoder writes what ``generate`` writes, for every family of causal models that transformers can build tiny."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from random import Random
from typing import Any

import pytest
import torch

from tests.causal_families import SIZES, families, tiny
from tools.weights.decodable import last_refusal, refusal
from tools.weights.decoding import Prompt, decode, logits_in_a_batch
from tools.weights.loading import load_model

HEAD = (5, 6, 7)
LENGTHS = (9, 26, 40, 26)
NEW = 10
COMMON = ("llama", "mistral", "gemma2", "gpt2", "mpt", "mamba", "recurrent_gemma")
"""Full attention, windows of two kinds, learned positions, distances, a state, both: the others take minutes.
``TEST_FAMILIES=all`` tries all of them."""
WANTED = os.environ.get("TEST_FAMILIES", "")
SECONDS = 60


def prompts() -> list[tuple[int, ...]]:
    draw = Random(1)
    return [(*HEAD, *(draw.randrange(8, 95) for _ in range(length))) for length in LENGTHS]


def expected(model: Any) -> list[list[int]]:
    return [
        model.generate(
            input_ids=torch.tensor([tokens]),
            attention_mask=torch.ones(1, len(tokens), dtype=torch.long),
            max_new_tokens=NEW,
            do_sample=False,
            eos_token_id=[],
            pad_token_id=0,
        )[0, len(tokens) :].tolist()
        for tokens in prompts()
    ]


def too_slow(*_: object) -> None:
    raise TimeoutError("it takes too long")


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize(
    "name", [name for name in families() if WANTED == "all" or name in (WANTED.split(",") if WANTED else COMMON)]
)
def test_each_row_is_what_generate_writes(name: str) -> None:
    signal.signal(signal.SIGALRM, too_slow)
    signal.alarm(SECONDS)
    try:
        model = tiny(name)
        wanted = expected(model)
    except Exception as error:  # each family raises its own
        if name in COMMON:
            raise
        pytest.skip(f"cannot be built from these sizes, or not generate: {type(error).__name__}: {str(error)[:80]}")
    finally:
        signal.alarm(0)
    asked = [Prompt(tokens) for tokens in prompts()]
    found = {one.row: one for one in decode(model, asked, frozenset(), max_tokens=NEW, sizes=(2,), head=HEAD)}
    print(f"\n{name}: {refusal(model, 200, logits_in_a_batch) or 'in batches'}")
    assert [found[row].tokens for row in range(len(asked))] == wanted


@pytest.mark.parametrize("family", ["mistral", "gemma2", "gpt_oss"])
@pytest.mark.filterwarnings("ignore")
def test_a_window_wider_than_all_rows_is_decoded_in_batches(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(SIZES, "sliding_window", 200)
    model = tiny(family)
    found = decode(model, [Prompt(one) for one in prompts()], frozenset(), max_tokens=NEW, sizes=(2,), head=HEAD)
    assert {one.row: one.tokens for one in found} == dict(enumerate(expected(model)))
    assert last_refusal(model) == ""


def test_a_window_that_no_row_reaches_is_none() -> None:
    model = tiny("mistral")
    assert "attend to 16 tokens" in refusal(model, 16, logits_in_a_batch)
    assert refusal(model, 15, logits_in_a_batch) == "" or "layers" not in refusal(model, 15, logits_in_a_batch)


def test_memory_that_ran_out_in_the_trial_says_nothing_of_the_model() -> None:
    model = tiny("llama")

    def without_memory(*_: object) -> list[torch.Tensor]:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB")

    with pytest.raises(torch.OutOfMemoryError):
        refusal(model, 100, without_memory)
    assert refusal(model, 100, logits_in_a_batch) == "" and last_refusal(model) == ""


def test_draws_by_generate_follow_the_rows_own_noise_and_end_alike() -> None:
    model = tiny("mistral")

    def drawn(order: list[int]) -> dict[int, list[int]]:
        asked = [Prompt(prompts()[place], Random(place)) for place in order]
        found = decode(model, asked, frozenset({50}), max_tokens=NEW, sizes=(2,), temperature=0.9, top_p=0.9)
        return {order[one.row]: one.tokens for one in found}

    assert drawn([0, 1, 2]) == drawn([2, 1, 0]) and len(set(map(tuple, drawn([0, 1, 2]).values()))) == 3
    first = expected(model)[0]
    assert "attend to 16 tokens" in last_refusal(model)
    (ended,) = decode(model, [Prompt(prompts()[0])], frozenset({first[2]}), max_tokens=NEW, sizes=(1,))
    place = first.index(first[2])
    assert (ended.tokens, ended.ended) == (first[:place], True)


@pytest.mark.parametrize(
    "changed",
    [
        {"modules_to_save": ["lm_head"]},
        {"modules_to_save": ["embed_tokens"]},
        {"modules_to_save": ["embed_tokens", "lm_head"]},
        {"target_modules": ["q_proj", "lm_head"]},
        {"target_modules": ["q_proj", "embed_tokens"]},
        {"target_modules": ["q_proj", "embed_tokens", "lm_head"]},
        {"trainable_token_indices": [4, 5, 6]},
    ],
    ids=repr,
)
@pytest.mark.filterwarnings("ignore")
def test_an_adapter_on_tied_embeddings_is_merged_into_what_it_changes(tmp_path: Path, changed: dict[str, Any]) -> None:
    """PEFT adds what was learned for the output layer to the embeddings, too, where both are one."""
    from peft import LoraConfig, PeftModel, get_peft_model
    from transformers import LlamaConfig, LlamaForCausalLM

    sizes = {"vocab_size": 99, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 1}
    heads = {"num_attention_heads": 4, "num_key_value_heads": 2}
    LlamaForCausalLM(LlamaConfig(tie_word_embeddings=True, **sizes, **heads)).save_pretrained(tmp_path / "base")
    base = LlamaForCausalLM.from_pretrained(tmp_path / "base")
    given = {"target_modules": ["q_proj"], **changed}
    trained = get_peft_model(base, LoraConfig(r=4, init_lora_weights=False, **given))
    for weights in trained.parameters():
        if weights.requires_grad:
            weights.data += torch.randn_like(weights) * 0.1
    trained.save_pretrained(tmp_path / "adapter")
    ids = torch.arange(3, 40)[None]
    with torch.inference_mode():
        again = LlamaForCausalLM.from_pretrained(tmp_path / "base")
        unmerged = PeftModel.from_pretrained(again, str(tmp_path / "adapter")).eval()(ids).logits
        loaded = load_model(tmp_path / "base", tmp_path / "adapter").float()(ids).logits
    assert torch.allclose(loaded, unmerged, atol=0.05 * float(unmerged.std()))
