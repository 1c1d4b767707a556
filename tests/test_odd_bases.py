"""Bases as people have them: each works as docs/bases.md says, or is refused in one line when a run is created."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch

from state.errors import BadInput
from state.request import Training
from tests.test_training_trainable import edit, template
from tests.tiny_model import tiny_model
from tools.training.trainable import demand_positions, examine
from tools.weights.decodable import last_refusal
from tools.weights.decoding import Prompt, decode, end_tokens
from tools.weights.folders import folder_here
from tools.weights.loading import load_model
from tools.weights.template import load_tokenizer, prompt_tokens, tokenise

DOCS = Path(__file__).parents[1] / "docs" / "bases.md"
Change = Callable[[Path], None]


def loaded(base: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32)


def with_model(change: Callable[[Any], Any], **options: Any) -> Change:
    def changed(base: Path) -> None:
        model = loaded(base)
        (base / "model.safetensors").unlink()
        (change(model) or model).save_pretrained(base, **options)

    return changed


def with_tokenizer(change: Callable[[Any], Any]) -> Change:
    def changed(base: Path) -> None:
        from transformers import AutoTokenizer

        tokenizer = AutoTokenizer.from_pretrained(base)
        change(tokenizer)
        tokenizer.save_pretrained(base)

    return changed


def with_windows(base: Path) -> None:
    from transformers import MistralConfig, MistralForCausalLM

    given = json.loads((base / "config.json").read_text())
    wanted = {"model_type", "architectures", "sliding_window", "layer_types"}
    config = MistralConfig(**{name: value for name, value in given.items() if name not in wanted}, sliding_window=16)
    MistralForCausalLM(config).save_pretrained(base)


def pickled(base: Path) -> None:
    model = loaded(base)
    (base / "model.safetensors").unlink()
    torch.save(model.state_dict(), base / "pytorch_model.bin")


def with_an_adapter(base: Path) -> Any:
    from peft import LoraConfig, get_peft_model

    config = LoraConfig(task_type="CAUSAL_LM", target_modules="all-linear", r=4, init_lora_weights=False)
    return get_peft_model(loaded(base), config)


def merged_into_it(base: Path) -> None:
    model = with_an_adapter(base).merge_and_unload()
    (base / "model.safetensors").unlink()
    model.save_pretrained(base)


def adapter_alone(base: Path) -> None:
    adapter = with_an_adapter(base)
    for file in ("model.safetensors", "config.json"):
        (base / file).unlink()
    adapter.save_pretrained(base)


def sentencepiece_alone(base: Path) -> None:
    from sentencepiece import sentencepiece_model_pb2 as pb2

    proto = pb2.ModelProto()
    proto.trainer_spec.model_type = 2
    proto.trainer_spec.byte_fallback = True
    proto.normalizer_spec.name = "identity"
    pieces = [("<unk>", 2), ("<s>", 3), ("</s>", 3), *((f"<0x{byte:02X}>", 6) for byte in range(256))]
    letters = "\u2581abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789.,?:#"
    for piece, kind in [*pieces, *((letter, 1) for letter in letters)]:
        proto.pieces.add(piece=piece, score=0.0, type=kind)
    for file in ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja"):
        (base / file).unlink()
    (base / "tokenizer.model").write_bytes(proto.SerializeToString())
    written = {"tokenizer_class": "LlamaTokenizer", "eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"}
    (base / "tokenizer_config.json").write_text(json.dumps(written))


def without_a_template(base: Path) -> None:
    (base / "chat_template.jinja").unlink()


REFUSED: Mapping[str, tuple[Change, str]] = {
    "a template that raises": (template("{{ raise_exception('no user, please') }}"), "no user, please"),
    "a template that does not end an answer": (
        template("{% for m in messages %}{{ m.content }}\n{% endfor %}"),
        "does not end an answer with the tokenizer's end token",
    ),
    "a template that shows an answered prompt otherwise": (
        template("{{ messages | length }}{% for m in messages %}{{ m.content }}<|im_end|>{% endfor %}"),
        "renders a prompt differently",
    ),
    "tokens beyond the embeddings": (edit("config.json", vocab_size=1000), "embeddings for 1000 tokens"),
    "added tokens, embeddings not resized": (
        with_tokenizer(lambda tokenizer: tokenizer.add_tokens(["zebrafish"])),
        "its vocabulary has the token 49152, and there are embeddings for 49152 tokens",
    ),
    "no end token": (edit("tokenizer_config.json", eos_token=None, pad_token=None), "has no end token"),
    "fewer positions than `train.max_length`": (
        edit("config.json", max_position_embeddings=64),
        r"train.max_length: 512 is more than the 64 tokens",
    ),
    "pickled weights": (pickled, "pytorch_model.bin is pickled"),
    "Python code of its own (`auto_map`)": (
        edit("config.json", auto_map={"AutoConfig": "own.Config"}),
        "names Python code of the model's own",
    ),
    "an adapter in place of a model": (adapter_alone, "holds an adapter (adapter_config.json)"),
    "an adapter beside the model": (lambda base: with_an_adapter(base).save_pretrained(base), "holds an adapter"),
    "no head, or an encoder": (edit("config.json", model_type="t5", architectures=["T5"]), "no causal language model"),
}
WORKS: Mapping[str, Change] = {
    "no chat template": without_a_template,
    "no pad token": edit("tokenizer_config.json", pad_token=None),
    "a pad token that is the end token": with_tokenizer(lambda one: setattr(one, "pad_token", one.eos_token)),
    "tied embeddings": lambda base: None,
    "embeddings of its own at both ends": with_model(
        lambda model: (
            setattr(model.config, "tie_word_embeddings", False)
            or setattr(model.lm_head, "weight", torch.nn.Parameter(torch.randn_like(model.lm_head.weight)))
        )
    ),
    "more embeddings than tokens": with_model(lambda model: model.resize_token_embeddings(49_200) and None),
    "sliding windows": with_windows,
    "weights in float16": with_model(lambda model: model.half()),
    "a tokenizer of SentencePiece alone": sentencepiece_alone,
    "a merged adapter": merged_into_it,
    "penalties in its generation config": edit("generation_config.json", repetition_penalty=5.0, min_new_tokens=6),
    "weights in several files": with_model(lambda model: None, max_shard_size="1MB"),
}
QUESTIONS = ("Name a river.", "Say in a few words what a lake is, and where the largest of them all lies, and why.")


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("sound"))


@pytest.fixture
def base(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "base"))


def check(base: Path) -> str:
    """Return the one line for which a base is refused; empty where it is not."""
    try:
        folder = folder_here(str(base), base)
        assert folder is not None
        found = examine(folder)
        demand_positions(str(folder), found.positions, Training())
    except BadInput as error:
        return str(error)
    return found.fault


@pytest.mark.parametrize("kind", REFUSED)
def test_what_cannot_be_trained_is_refused_in_one_line(base: Path, kind: str) -> None:
    change, words = REFUSED[kind]
    change(base)
    fault = check(base)
    assert words in fault and "\n" not in fault


@pytest.mark.parametrize("kind", WORKS)
@pytest.mark.filterwarnings("ignore")
def test_what_is_odd_but_sound_is_tokenised_and_answers_as_generate_does(base: Path, kind: str) -> None:
    WORKS[kind](base)
    assert check(base) == ""
    tokenizer, model = load_tokenizer(base, padding_side="left"), load_model(base, None).float()
    assert tokenizer.pad_token_id is not None
    row = tokenise(tokenizer, [{"role": "user", "content": "Why?"}], [{"role": "assistant", "content": "So."}])
    assert (
        row.labels[-1] == tokenizer.eos_token_id and max(row.input_ids) < model.get_input_embeddings().weight.shape[0]
    )
    prompts = [tuple(prompt_tokens(tokenizer, [{"role": "user", "content": text}])) for text in QUESTIONS]
    ends = end_tokens(model, tokenizer)
    found = decode(model, [Prompt(tokens) for tokens in prompts], ends, max_tokens=8, sizes=(2,))
    assert {one.row: one.tokens for one in found} == {
        number: greedy(model, tokens, ends, 8) for number, tokens in enumerate(prompts)
    }
    assert bool(last_refusal(model)) == (kind == "sliding windows")


def greedy(model: Any, tokens: tuple[int, ...], ends: frozenset[int], most: int) -> list[int]:
    """Return what the likeliest next tokens are, one whole pass for each."""
    written: list[int] = []
    with torch.inference_mode():
        while len(written) < most:
            next_one = int(model(input_ids=torch.tensor([[*tokens, *written]])).logits[0, -1].argmax())
            if next_one in ends:
                break
            written.append(next_one)
    return written


def test_the_documentation_lists_each() -> None:
    lines = [line.split("|") for line in DOCS.read_text(encoding="utf-8").splitlines() if line.startswith("| ")]
    told = {cells[1].strip(): cells[2].strip() for cells in lines if cells[2].startswith((" works", " refused"))}
    assert told.keys() == {*WORKS, *REFUSED}
    assert all(told[kind].startswith("works" if kind in WORKS else "refused") for kind in told)
