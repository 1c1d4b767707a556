"""How much memory a training needs and how long it takes: pure arithmetic on a few figures of model and rows.

Both are estimates. The time is compared with the true one after each training; the memory is rather too high than too
low.
"""

from __future__ import annotations

from collections.abc import Sequence

from pydantic import Field

from state.records import Record
from state.request import Training

LIBRARIES_BYTES = 1_500_000_000
"""Python, torch and what they load, in one process: measured on a CPU. On an H200 a CUDA context took 0.9 GB."""
ADAPTER_BYTES = 16
"""For each trained weight: float32 weight and gradient, and Adam's two moments."""
LAYER_BYTES = 34
"""Kept for the backward pass: bytes for each token, layer and unit of width (Korthikanti et al. 2022, equation 1). For
SmolLM2-135M on a CPU this and ``SCORE_BYTES`` give 1.0 MB a token; 1,024 tokens were measured at 1 GB."""
GPU_WIDTH_BYTES = 3.0
"""On a GPU, where attention is fused and every adapter casts its input: for each token, input and output of a layer
with an adapter. Measured on an H200 with PEFT 0.21 at 135M, 1.3B and 6.9B: 2.6 to 3.0 (docs/hardware.md)."""
GPU_DROPOUT_BYTES = 0.5
"""The same for ``lora_dropout``: 0.46 was measured at 1.3B and 6.9B."""
CHECKPOINT_BYTES = 2
"""The same as ``LAYER_BYTES`` where only each layer's input is kept. One layer at a time is then kept whole; on a GPU
beside its gradients."""
SCORE_BYTES = {True: 8, False: 1}
"""For each token and vocabulary entry, on a CPU and on a GPU: logits and their gradient in float32. On a GPU, TRL
scores a part at a time."""
ATTENTION_BYTES = 5
"""For each head and pair of tokens in one row, where attention is not fused (the same paper)."""
BYTES_OF_WEIGHT = {"none": 2.0, "4bit": 0.56}
"""bfloat16, and NF4 with double quantisation (QLoRA); float32 takes twice the former. Embeddings and the head stay in
bfloat16."""

EFFICIENCY = 0.2
"""The share of a timed matrix product's pace that a training reaches. Three trainings of SmolLM2-135M with two threads
of a shared machine reached 0.15 to 0.25 (docs/experiments.md), since a short product finds a faster machine than a long
training does; one core alone reached 0.33: 280 tokens a second, which is 151 of the product's 460 GFLOP/s."""
START_SECONDS = {True: 10.0, False: 20.0}
"""To load model and rows in each phase; ``True`` is for a CPU, ``False`` for a GPU."""
PASS_SECONDS = {True: 0.0002, False: 0.003}
"""To start the kernels of one layer in one pass forward and back, whatever its size; keys as above."""


class PhaseWork(Record):
    """The rows of one phase, and how often they go through the model."""

    phase: str
    """Its name."""
    lengths: tuple[int, ...]
    """Tokens of the longest sequence of each row."""
    tokens: int = Field(ge=0)
    """Of all sequences of all rows: prompt and answer, twice for DPO."""
    sequences: int = Field(ge=1)
    """Token sequences of a row."""
    reference_passes: int = Field(0, ge=0)
    """Forward passes over all rows before the first step."""

    def within(self, max_length: int) -> PhaseWork:
        """Return the work without rows of more than ``max_length`` tokens; ``tokens`` shrink as the lengths do."""
        kept = tuple(length for length in self.lengths if length <= max_length)
        share = sum(kept) / max(1, sum(self.lengths))
        return self.model_copy(update={"lengths": kept, "tokens": round(self.tokens * share)})


class BaseFacts(Record):
    """The figures of a base model that memory and time depend on."""

    parameters: int = Field(ge=1)
    adapted_widths: int = Field(ge=0)
    """Sum of inputs and outputs over the linear layers that get an adapter."""
    layers: int = Field(ge=1)
    width: int = Field(ge=1)
    heads: int = Field(ge=1)
    vocabulary: int = Field(ge=1)
    own_template: bool = True
    """Whether it has a chat template; Alpaca's is used where it has none."""


class Machine(Record):
    """What a training computes on."""

    on_cpu: bool
    pace: float = Field(gt=0)
    """Floating-point operations a second of one timed matrix product, in the number format of the training."""
    wide: bool = False
    """It computes in float32, as it has no fast bfloat16."""
    processes: int = Field(1, ge=1)
    sharded: bool = False
    """The processes share one copy of the weights."""
    offloaded: bool = False
    """Weights and optimiser are kept in main memory; the device gets one layer at a time."""


def trained_weights(base: BaseFacts, settings: Training) -> int:
    """Return how many weights the adapter has."""
    return base.parameters if settings.method == "full" else base.adapted_widths * settings.lora_rank


def fixed_bytes(base: BaseFacts, settings: Training, machine: Machine) -> int:
    """Return the bytes that a process holds on its device, whatever the rows: libraries, base and adapter."""
    wide = machine.wide or settings.method == "full"
    embeddings = min(base.parameters, 2 * base.vocabulary * base.width)
    weights = embeddings * BYTES_OF_WEIGHT["none"]
    weights += (base.parameters - embeddings) * BYTES_OF_WEIGHT[settings.quantise]
    weights *= 2 if wide else 1
    adapter = trained_weights(base, settings) * ADAPTER_BYTES
    held = (weights + adapter) / (machine.processes if machine.sharded else 1)
    # Two layers at a time: the one that computes and the one that is fetched.
    return round(LIBRARIES_BYTES + (2 * (weights + adapter) / base.layers if machine.offloaded else held))


def pass_bytes(
    base: BaseFacts, machine: Machine, tokens: int, longest: int, checkpointing: bool, dropout: bool = False
) -> int:
    """Return the bytes that one pass forward and back holds for its tokens.

    Args:
        base: the model.
        machine: its ``on_cpu`` tells whether attention is fused, and ``wide`` doubles what is kept.
        tokens: of all rows of the pass together, padding among them.
        longest: tokens of the longest row, whose square unfused attention keeps.
        checkpointing: whether layers are computed again in the backward pass.
        dropout: whether the adapter drops a share of its inputs, and keeps what is left of them.
    """
    if machine.on_cpu:
        whole, at_once = float(LAYER_BYTES * base.width + ATTENTION_BYTES * base.heads * longest), 1
    else:
        each = GPU_WIDTH_BYTES + (GPU_DROPOUT_BYTES if dropout else 0)
        whole, at_once = each * base.adapted_widths / base.layers, 2
    layers = CHECKPOINT_BYTES * base.width * base.layers + at_once * whole if checkpointing else whole * base.layers
    return round(tokens * (layers * (2 if machine.wide else 1) + SCORE_BYTES[machine.on_cpu] * base.vocabulary))


def disk_bytes(base: BaseFacts, settings: Training) -> int:
    """Return the most bytes on disk that a training needs: three checkpoints, and the adapter three times."""
    checkpoint = trained_weights(base, settings) * (4 + 8)
    return 3 * checkpoint + 3 * 4 * trained_weights(base, settings) + 100_000_000


def seconds_needed(
    work: Sequence[PhaseWork],
    base: BaseFacts,
    settings: Training,
    machine: Machine,
    rows_at_once: Sequence[int],
    checkpointing: bool,
) -> float:
    """Return the estimated seconds of a training.

    A pass forward takes two operations for each weight and token, a pass back through frozen weights two more, two
    others where all weights are trained, and computing activations again another two. The passes over a reference go
    forward only.

    Args:
        work: the phases, without rows that are too long.
        base: the model.
        settings: epochs and batch.
        machine: its pace, and how many processes share the rows.
        rows_at_once: rows of one pass in each phase.
        checkpointing: whether layers are computed again.
    """
    total = 0.0
    for phase, at_once in zip(work, rows_at_once, strict=True):
        passes = settings.epochs * len(phase.lengths) / at_once
        each = (6 if settings.method == "full" else 4) + (2 if checkpointing else 0)
        operations = settings.epochs * phase.tokens * base.parameters * each
        operations += phase.reference_passes * phase.tokens * base.parameters * 2
        computing = operations / (machine.pace * EFFICIENCY) + passes * base.layers * PASS_SECONDS[machine.on_cpu]
        total += START_SECONDS[machine.on_cpu] + computing / machine.processes
    return total
