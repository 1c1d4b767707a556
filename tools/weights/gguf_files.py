"""GGUF files for llama.cpp: of a LoRA adapter, and of a base that has none yet.

Names and layouts are those of llama.cpp's own ``convert_lora_to_gguf.py`` and ``convert_hf_to_gguf.py``, for the
architectures that differ from one another by names alone. Prompts reach the server as token ids, so of the vocabulary
only the texts of tokens count, not how a text is cut into them.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from state.errors import BadInput
from tools.files import file_hash, storage_errors
from tools.weights.embedded import embedded_model
from tools.weights.folders import RECORD, folder_fingerprint

ARCHITECTURES = {"llama": "LLAMA", "mistral": "LLAMA", "qwen2": "QWEN2", "qwen3": "QWEN3"}
"""What a model's configuration calls its type, and what GGUF calls it."""
ADVICE = "make its GGUF with llama.cpp's convert_hf_to_gguf.py and put it into the folder, or serve it by vLLM"
PLAIN_LORA = {"use_dora": False, "use_rslora": False, "lora_bias": False, "bias": "none", "modules_to_save": None}
"""The options of a LoRA configuration without which llama.cpp computes something else, and the value that it knows."""
STARTS_WITH = "base_model.model."
"""How PEFT begins the names of an adapter's weights."""


class Shape(NamedTuple):
    """What tells one GGUF's architecture from another's."""

    architecture: str
    layers: int
    width: int
    vocabulary: int


def write_gguf_adapter(adapter: Path, base: Path, out: Path) -> None:
    """Write a LoRA adapter as a GGUF file.

    Args:
        adapter: a PEFT adapter's folder.
        base: its base's folder, for the architecture.
        out: the file.

    Raises:
        BadInput: llama.cpp cannot serve such an adapter, or such a base.
        StorageError: the file cannot be written.
    """
    import gguf
    import numpy as np
    from safetensors import safe_open

    own, config = _json(adapter / "adapter_config.json"), _json(base / "config.json")
    _demand_plain(adapter, own)
    architecture, names = _architecture(base, config)
    part = out.with_name(f".part-{out.name}")
    with storage_errors(out):
        writer = gguf.GGUFWriter(part, architecture)
        writer.add_type("adapter")
        writer.add_string("adapter.type", "lora")
        writer.add_float32("adapter.lora.alpha", float(own["lora_alpha"]))
        weights = adapter / "adapter_model.safetensors"
        with safe_open(str(weights), framework=_framework(weights)) as stored:
            for name in sorted(stored.keys()):
                stem, _, side = name.removeprefix(STARTS_WITH).removesuffix(".weight").rpartition(".lora_")
                place = names.get_name(stem)
                if place is None or side not in ("A", "B"):
                    raise BadInput(f"the adapter {adapter} has a weight that llama.cpp does not know: {name}")
                weight = _as_numbers(stored.get_tensor(name))
                # The rows of a product are those of its left factor, B.
                ordered = _rows_in_order(stem, weight, config) if side == "B" else weight
                writer.add_tensor(f"{place}.weight.lora_{side.lower()}", np.ascontiguousarray(ordered))
        _finish(writer, part, out)


def gguf_of(base: Path, cache: Path) -> Path:
    """Return the GGUF file of a base; one that has none is converted once, which takes seconds for each gigabyte.

    Args:
        base: a local Hugging Face folder, as ``base_folder`` returns it. A GGUF file in it is taken as it is.
        cache: where a converted file is kept.

    Raises:
        BadInput: the file in the folder is of another model, or the architecture is none of ``ARCHITECTURES``.
        StorageError: the cache cannot be written.
    """
    if (embedded := _embedded_of(base)) is not None:
        return embedded
    if found := sorted(base.glob("*.gguf")):
        demand_fit(found[0], base)
        return found[0]
    target = cache / "gguf" / f"{base.name}-{folder_fingerprint(base)[:12]}.gguf"
    if not target.is_file():
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        _convert(base, target)
    return target


def demand_fit(gguf_file: Path, base: Path) -> None:
    """Refuse a GGUF file that is not of a base's shape.

    Raises:
        BadInput: it is no GGUF file, or another model's; one line that names what differs.
    """
    config = _json(base / "config.json")
    architecture, _ = _architecture(base, config)
    wanted = Shape(architecture, config["num_hidden_layers"], config["hidden_size"], config["vocab_size"])
    found = shape_of(gguf_file)
    for name, here, there in zip(("architecture", "layers", "width", "vocabulary"), found, wanted, strict=True):
        if here != there:
            raise BadInput(f"{gguf_file} does not fit the base {base}: {name} {here} in the file, {there} in the base")


def shape_of(gguf_file: Path) -> Shape:
    """Return a GGUF file's shape; its weights are not read.

    Raises:
        BadInput: it is no GGUF file.
    """
    import gguf

    try:
        reader = gguf.GGUFReader(gguf_file)
        architecture = str(reader.fields["general.architecture"].contents())
        layers = int(reader.fields[f"{architecture}.block_count"].contents())
        width = int(reader.fields[f"{architecture}.embedding_length"].contents())
        vocabulary = len(reader.fields["tokenizer.ggml.tokens"].data)
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise BadInput(f"{gguf_file} cannot be read as a GGUF model: {' '.join(str(error).split())}") from error
    return Shape(architecture, layers, width, vocabulary)


def _embedded_of(base: Path) -> Path | None:
    """Return the embedded model's file if the folder was unpacked from it."""
    try:
        source, embedded = _json(base / RECORD)["gguf"], embedded_model()
    except (BadInput, KeyError):
        return None
    return embedded if file_hash(embedded) == source else None


def _demand_plain(adapter: Path, own: Mapping[str, Any]) -> None:
    kind = own.get("peft_type")
    if kind != "LORA":
        raise BadInput(f"the adapter {adapter} is of the kind {kind}; llama.cpp serves LoRA alone")
    for name, plain in PLAIN_LORA.items():
        if own.get(name, plain) not in (plain, [] if plain is None else plain):
            raise BadInput(f"the adapter {adapter} has {name}: {own[name]}, which llama.cpp does not serve")
    if own.get("alpha_pattern") or own.get("rank_pattern"):
        raise BadInput(f"the adapter {adapter} has ranks of its own for some layers, which llama.cpp does not serve")


def _architecture(base: Path, config: Mapping[str, Any]) -> tuple[str, Any]:
    """Return GGUF's name of an architecture, and its map of the names of weights."""
    import gguf

    kind = str(config.get("model_type"))
    if kind not in ARCHITECTURES:
        known = ", ".join(ARCHITECTURES)
        raise BadInput(f"the base {base} is a {kind}, and only {known} can be made a GGUF here; {ADVICE}")
    architecture = gguf.MODEL_ARCH[ARCHITECTURES[kind]]
    return gguf.MODEL_ARCH_NAMES[architecture], gguf.get_tensor_name_map(architecture, config["num_hidden_layers"])


def _rows_in_order(stem: str, weight: Any, config: Mapping[str, Any]) -> Any:
    """Return a weight as GGUF has it: Llama's rotary halves of queries and keys are interleaved there."""
    heads = {"q_proj": "num_attention_heads", "k_proj": "num_key_value_heads"}.get(stem.rpartition(".")[2])
    if heads is None or ARCHITECTURES[config["model_type"]] != "LLAMA":
        return weight
    count = config.get(heads) or config["num_attention_heads"]
    halves = weight.reshape(count, 2, weight.shape[0] // count // 2, *weight.shape[1:])
    return halves.swapaxes(1, 2).reshape(weight.shape)


def _convert(base: Path, target: Path) -> None:
    import gguf
    from safetensors import safe_open

    config = _json(base / "config.json")
    architecture, names = _architecture(base, config)
    handle, part = tempfile.mkstemp(dir=target.parent, prefix=".part-")
    os.close(handle)
    with storage_errors(target):
        writer = gguf.GGUFWriter(part, architecture)
        _describe(writer, base, config)
        _vocabulary(writer, base, config["vocab_size"])
        for file in sorted(base.glob("model*.safetensors")):
            with safe_open(str(file), framework=_framework(file)) as stored:
                for name in stored.keys():
                    stem = name.removesuffix(".weight").removesuffix(".bias")
                    place = names.get_name(stem)
                    if place is None:
                        raise BadInput(f"the base {base} has a weight that llama.cpp does not know: {name}; {ADVICE}")
                    weight = _rows_in_order(stem, _as_numbers(stored.get_tensor(name)), config)
                    kind = _number_format(weight.ndim, config)
                    writer.add_tensor(place + name[len(stem) :], gguf.quants.quantize(weight, kind), raw_dtype=kind)
        _finish(writer, Path(part), target)


def _framework(file: Path) -> str:
    """Return how a file is read: NumPy knows no bfloat16, and torch takes seconds to import."""
    from safetensors import safe_open

    with safe_open(str(file), framework="np") as stored:
        return "pt" if any(stored.get_slice(name).get_dtype() == "BF16" for name in stored.keys()) else "np"


def _as_numbers(weight: Any) -> Any:
    import numpy as np

    return np.asarray(weight, dtype=np.float32) if isinstance(weight, np.ndarray) else weight.float().numpy()


def _number_format(dimensions: int, config: Mapping[str, Any]) -> Any:
    """Return the format of a weight: the base's own for matrices, so that what is served is what was trained."""
    import gguf

    half = str(config.get("dtype") or config.get("torch_dtype")).removeprefix("torch.")
    if dimensions == 1 or half not in ("bfloat16", "float16"):
        return gguf.GGMLQuantizationType.F32
    return gguf.GGMLQuantizationType.BF16 if half == "bfloat16" else gguf.GGMLQuantizationType.F16


def _describe(writer: Any, base: Path, config: Mapping[str, Any]) -> None:
    rope = config.get("rope_parameters") or config.get("rope_scaling") or {}
    if rope.get("rope_type", rope.get("type", "default")) != "default":
        raise BadInput(f"the base {base} stretches its positions ({rope}), which is not converted here; {ADVICE}")
    heads = config["num_attention_heads"]
    head = config.get("head_dim") or config["hidden_size"] // heads
    writer.add_name(base.name)
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(heads)
    writer.add_head_count_kv(config.get("num_key_value_heads") or heads)
    writer.add_key_length(head)
    writer.add_value_length(head)
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(float(rope.get("rope_theta") or config.get("rope_theta") or 10_000.0))
    writer.add_rope_dimension_count(head)
    writer.add_vocab_size(config["vocab_size"])


def _vocabulary(writer: Any, base: Path, size: int) -> None:
    import gguf
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    stored = _json(base / "tokenizer.json")
    if "ByteLevel" not in json.dumps(stored.get("decoder")):
        raise BadInput(f"the base {base} has a tokenizer that is not of bytes, which is not converted here; {ADVICE}")
    words = {number: word for word, number in tokenizer.get_vocab().items()}
    added = {number: token.special for number, token in tokenizer.added_tokens_decoder.items()}
    kinds = [
        gguf.TokenType.UNUSED
        if number not in words
        else gguf.TokenType.NORMAL
        if number not in added
        else gguf.TokenType.CONTROL
        if added[number]
        else gguf.TokenType.USER_DEFINED
        for number in range(size)
    ]
    merges = [merge if isinstance(merge, str) else " ".join(merge) for merge in stored["model"]["merges"]]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("default")
    writer.add_token_list([words.get(number, f"[PAD{number}]") for number in range(size)])
    writer.add_token_types(kinds)
    writer.add_token_merges(merges)
    writer.add_add_bos_token(False)
    for special, add in (("bos", writer.add_bos_token_id), ("eos", writer.add_eos_token_id)):
        if (number := getattr(tokenizer, f"{special}_token_id")) is not None:
            add(number)


def _finish(writer: Any, part: Path, out: Path) -> None:
    try:
        writer.write_header_to_file()
        writer.write_kv_data_to_file()
        writer.write_tensors_to_file()
        writer.close()
        os.replace(part, out)
    finally:
        part.unlink(missing_ok=True)


def _json(path: Path) -> dict[str, Any]:
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise BadInput(f"{path} cannot be read: {error}") from error
    if not isinstance(found, dict):
        raise BadInput(f"{path} is no JSON object")
    return found
