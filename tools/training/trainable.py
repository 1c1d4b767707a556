"""Whether a base can be trained at all, found before anything is paid for: ``python -m tools.training.trainable BASE``.

One row is rendered and tokenised as training does it, and the adapter is put on the model without its weights. This
runs in a process of its own, which loads what a run should not keep in memory, and once for each base: what was found
good is kept in the cache.
"""

from __future__ import annotations

import importlib.metadata
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_never

from state.errors import BadInput
from state.records import Record, content_hash
from state.request import Training
from tools.files import write_file
from tools.machine.garbage import collect_seldom
from tools.weights.folders import folder_fingerprint
from tools.weights.processes import JsonLines, child_environment, last_words

LIBRARIES = ("torch", "transformers", "peft", "trl")
ROW = (
    [{"role": "user", "content": "Name a river, and say where it is.", "input": "Say it in one sentence."}],
    [{"role": "assistant", "content": "The Rhine is a river in Europe."}],
)
"""The row that is rendered."""


class Trainable(Record):
    """What the child process found of a base."""

    fault: str = ""
    """Why it cannot be trained; empty if it can."""
    positions: int | None = None
    """Tokens that the model can read at most; ``None`` where it has no such limit."""


def demand_trainable(base: Path, settings: Training, cache: Path) -> None:
    """Refuse a base that cannot be trained with these settings; blocks for some seconds the first time.

    Args:
        base: a complete model folder, as ``tools.weights.folders.base_folder`` returns it.
        settings: the request's.
        cache: keeps what was found.

    Raises:
        BadInput: it cannot.
        StorageError: the cache cannot be written.
    """
    found = examined(base, cache)
    if found.fault:
        raise BadInput(f"models.base: {base} cannot be trained: {found.fault}")
    demand_positions(str(base), found.positions, settings)


def demand_positions(base: str, positions: int | None, settings: Training) -> None:
    """Refuse rows longer than the base can read.

    Raises:
        BadInput: ``train.max_length`` is above the base's positions.
    """
    if positions is not None and settings.max_length > positions:
        raise BadInput(
            f"train.max_length: {settings.max_length} is more than the {positions} tokens that {base} can read; set it "
            f"to {positions} or less"
        )


def examined(base: Path, cache: Path) -> Trainable:
    """Return what is found of a base, by a child process or by an earlier one."""
    versions = [importlib.metadata.version(name) for name in LIBRARIES]
    kept = cache / "trainable" / f"{content_hash(folder_fingerprint(base), versions)[:24]}.json"
    try:
        return Trainable.model_validate_json(kept.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        pass
    command = [sys.executable, "-m", "tools.training.trainable", str(base)]
    child = subprocess.run(
        command, env=child_environment(threads=1), capture_output=True, text=True, stdin=subprocess.DEVNULL, check=False
    )
    if child.returncode:
        return Trainable(fault=last_words(child.stderr, child.returncode))
    found = Trainable.model_validate_json(child.stdout)
    if not found.fault:
        write_file(kept, found.model_dump_json().encode())
    return found


def examine(base: Path) -> Trainable:
    """Examine a base in this process."""
    try:
        config, model = _model(base)
        _demand(base, config, model)
    except BadInput as error:
        return Trainable(fault=str(error))
    text = config.get_text_config()
    positions = getattr(text, "max_position_embeddings", None) or getattr(text, "n_positions", None)
    return Trainable(positions=positions)


def adapter_config(settings: Training, model: Any) -> Any:
    """Return the fresh adapter that a training puts on a model.

    Args:
        settings: the request's.
        model: the base; by ``method`` ``full`` the adapter is a copy of each of its modules that has weights, so that
            everything that takes adapters takes it, too.
    """
    from peft import LoraConfig
    from peft.utils.constants import DUMMY_TARGET_MODULES

    match settings.method:
        case "lora":
            return LoraConfig(
                task_type="CAUSAL_LM",
                target_modules="all-linear",
                r=settings.lora_rank,
                lora_alpha=settings.lora_alpha,
                lora_dropout=settings.lora_dropout,
            )
        case "full":
            return LoraConfig(
                task_type="CAUSAL_LM",
                target_modules=DUMMY_TARGET_MODULES,
                modules_to_save=sorted({name.rsplit(".", 1)[-1] for name, one in model.named_modules() if _holds(one)}),
                ensure_weight_tying=True,
            )
        case _:
            assert_never(settings.method)


def _holds(module: Any) -> bool:
    return next(module.parameters(recurse=False), None) is not None


def _model(base: Path) -> tuple[Any, Any]:
    """Return a base's configuration, and the model without its weights."""
    import torch
    from transformers import AutoConfig, AutoModelForCausalLM

    config = _tried("its configuration cannot be read", AutoConfig.from_pretrained, base)

    def bare() -> Any:
        with torch.device("meta"):
            return AutoModelForCausalLM.from_config(config)

    return config, _tried("it is no causal language model that transformers knows", bare)


def _demand(base: Path, config: Any, model: Any) -> None:
    """Refuse what training would fail at, with the reason."""
    from peft import get_peft_model

    from tools.weights.template import load_tokenizer, tokenise

    for missing in missing_weights(base):
        raise BadInput(missing)
    embeddings = model.get_input_embeddings().weight.shape[0]
    if model.get_output_embeddings() is None:
        raise BadInput("it has no language-model head")
    tokenizer = _tried("its tokenizer cannot be loaded", load_tokenizer, base)
    if tokenizer.eos_token_id is None:
        raise BadInput("its tokenizer has no end token, so no answer can end")
    tokens = _tried("a row cannot be rendered", tokenise, tokenizer, *ROW).input_ids
    used = {
        "an ordinary text": max(tokens),
        "its end token": tokenizer.eos_token_id,
        "its pad token": tokenizer.pad_token_id,
    }
    used["its vocabulary"] = max((number for number in _ordinary(tokenizer)), default=0)
    for what, number in used.items():
        if number is None or number >= embeddings:
            raise BadInput(
                f"the tokenizer and the weights do not belong together: {what} has the token {number}, and there are "
                f"embeddings for {embeddings} tokens"
            )
    if quantised := getattr(config, "quantization_config", None):
        _tried("its weights are quantised", _demand_quantised, quantised)
    _tried(
        "no LoRA adapter can be put on it",
        get_peft_model,
        model,
        adapter_config(Training(), model),
        low_cpu_mem_usage=True,
    )


def missing_weights(base: Path) -> Iterator[str]:
    """Yield what is wrong with the weights' files: shards that an index names and that are not there, broken heads."""
    from safetensors import SafetensorError, safe_open

    for index in sorted(base.glob("*.index.json")):
        try:
            shards = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
        except (OSError, ValueError, KeyError, AttributeError) as error:
            yield f"{index.name} cannot be read ({error})"
            continue
        absent = [name for name in shards if not (base / name).is_file()]
        if absent:
            yield f"{index.name} names {len(absent)} files that are not there, such as {absent[0]}"
    for file in sorted(base.glob("*.safetensors")):
        try:
            with safe_open(file, framework="np"):
                pass
        except (SafetensorError, OSError) as error:
            yield f"{file.name} is broken or cut short ({error})"


def _ordinary(tokenizer: Any) -> set[int]:
    """Return the tokens of ordinary text: special ones may stand beyond the embeddings where they are never used."""
    special = {number for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    return set(tokenizer.get_vocab().values()) - special


def _demand_quantised(quantised: Any) -> None:
    from transformers.quantizers import AutoHfQuantizer

    AutoHfQuantizer.from_config(quantised, pre_quantized=True).validate_environment()


def _tried(fault: str, work: Any, *arguments: Any, **options: Any) -> Any:
    """Return what a library's function returns.

    Raises:
        BadInput: it failed; each library raises another kind of exception.
    """
    try:
        return work(*arguments, **options)
    except BadInput:
        raise
    except Exception as error:
        reason = " ".join(str(error).split()) or type(error).__name__
        raise BadInput(f"{fault}: {reason[:400]}") from error


def main(base: Path) -> None:
    """Print what is found of a base as one JSON line."""
    lines = JsonLines()
    lines.write(**examine(base).model_dump())


if __name__ == "__main__":
    collect_seldom()
    main(Path(sys.argv[1]))
