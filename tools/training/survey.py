"""Survey the rows, the base and the machine before a training: ``python -m tools.training.survey JOB.json``.

It runs in a process of its own: the tokenizer, CUDA and the timed product load what a run should not keep in memory.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from state.errors import BadInput, StorageError, TrainingError
from state.records import Record
from tools.checklists.items import CheckItem, item
from tools.machine.garbage import collect_seldom
from tools.machine.resources import Gpu, cores, measure
from tools.training.checklists import rows_items
from tools.training.configs import SHARDED, config_file, kind_of, offloads, processes, uses_cpu
from tools.training.decision import Survey
from tools.training.estimate import BaseFacts, Machine, PhaseWork
from tools.training.job import TrainingJob
from tools.training.number_format import cpu_format
from tools.weights.gpu_memory import ran_out
from tools.weights.processes import JsonLines, die_with_parent, stream_child

PRODUCT_TOKENS = 512
"""Rows of the left matrix in the timed product."""
PRODUCT_SECONDS = 0.3
"""The products are timed for so long at least."""
BUSY_GPU_PACE = 1e14
"""Operations a second, assumed of a GPU whose memory others hold: it cannot be timed. An H200 had 0.8 to 5e14."""


class SurveyJob(Record):
    """What the child process is to survey."""

    job: TrainingJob
    heldout: tuple[str, ...]
    """The prompts of the evaluation."""
    training_elsewhere: bool = False


class SurveyResult(Record):
    """What the child process found."""

    survey: Survey
    items: tuple[CheckItem, ...]


async def run_survey(job: SurveyJob, folder: Path) -> SurveyResult:
    """Survey a training in a child process.

    Args:
        job: the training, and the held-out prompts.
        folder: of the training; gets ``survey.json`` and a log.

    Raises:
        BadInput: rows or base are missing or malformed, or cannot be rendered by the chat template.
        StorageError: the folder cannot be written.
        TrainingError: the child failed.
    """
    place = folder / "survey.json"
    try:
        await asyncio.to_thread(folder.mkdir, parents=True, exist_ok=True)
        await asyncio.to_thread(place.write_text, job.model_dump_json(indent=1) + "\n")
    except OSError as error:
        raise StorageError(f"the training folder {folder} cannot be written: {error.strerror}") from error
    command = [sys.executable, "-m", "tools.training.survey", str(place.resolve())]
    async with contextlib.aclosing(stream_child(command, folder / "survey.log", cores())) as lines:
        async for line in lines:
            if "refused" in line:
                raise BadInput(line["refused"])
            return SurveyResult.model_validate(line)
    raise TrainingError(f"the survey of the training ended without a result; see {folder / 'survey.log'}")


def survey(job: SurveyJob, folder: Path) -> SurveyResult:
    """Survey rows, base and machine, in this process.

    Args:
        job: the training, and the held-out prompts.
        folder: of the training.

    Raises:
        BadInput: rows or base are missing or malformed, or cannot be rendered by the chat template.
    """
    from tools.weights.template import load_tokenizer

    training = job.job
    base = Path(training.base)
    tokenizer = load_tokenizer(base)
    work, items = [], []
    for phase in training.phases():
        rows = phase.read(training.rows_file(phase))
        sizes = [[len(tokens.input_ids) for tokens in phase.tokenise(tokenizer, row)] for row in rows]
        lengths = tuple(sorted(map(max, sizes)))
        work.append(
            PhaseWork(
                phase=phase.name,
                lengths=lengths,
                tokens=sum(map(sum, sizes)),
                sequences=phase.sequences,
                reference_passes=phase.reference_passes,
            )
        )
        limit = training.settings.max_length
        items += rows_items(phase, rows, job.heldout, sum(length <= limit for length in lengths), limit)
    facts = base_facts(base)
    template = "the base's own chat template" if facts.own_template else "Alpaca's format, as the base has no template"
    items.append(item("prompts render and answers end", True, f"{template}, on all rows"))
    machine, gpus = _machine(training, facts, base)
    resources = measure(folder, gpus, job.training_elsewhere)
    found = Survey(work=tuple(work), base=facts, machine=machine, resources=resources)
    return SurveyResult(survey=found, items=tuple(items))


def base_facts(base: Path) -> BaseFacts:
    """Return the figures of a model folder, from its configuration and the headers of its weights.

    Raises:
        BadInput: the configuration cannot be read or states no sizes.
    """
    from safetensors import safe_open

    try:
        config = json.loads((base / "config.json").read_text(encoding="utf-8"))
        config = config.get("text_config", config)
        width = int(config.get("hidden_size") or config["n_embd"])
        layers = int(config.get("num_hidden_layers") or config["n_layer"])
        heads = int(config.get("num_attention_heads") or config["n_head"])
        vocabulary = int(config["vocab_size"])
    except (OSError, ValueError, KeyError, AttributeError, RecursionError) as error:
        raise BadInput(f"models.base: {base / 'config.json'} does not state the model's sizes ({error})") from error
    shapes: list[Sequence[int]] = []
    for file in sorted(base.glob("*.safetensors")):
        with safe_open(file, framework="np") as weights:
            shapes += [weights.get_slice(name).get_shape() for name in weights.keys()]
    parameters = sum(map(math.prod, shapes))
    linear = [shape for shape in shapes if len(shape) == 2 and vocabulary not in shape]
    if not shapes:  # PyTorch's own files: two bytes a weight, in square layers
        parameters = sum(file.stat().st_size for file in base.glob("pytorch_model*.bin")) // 2
        linear = [(width, width)] * (parameters // width**2)
    return BaseFacts(
        parameters=max(1, parameters),
        adapted_widths=sum(map(sum, linear)),
        layers=layers,
        width=width,
        heads=heads,
        vocabulary=vocabulary,
        own_template=_has_template(base),
    )


def _machine(job: TrainingJob, facts: BaseFacts, base: Path) -> tuple[Machine, tuple[Gpu, ...]]:
    import torch

    config = config_file(job.settings.accelerate_config)
    on_cpu = uses_cpu(config) or not torch.cuda.is_available()
    dtype = getattr(torch, cpu_format(facts.width)) if on_cpu else _gpu_dtype()
    gpus = () if on_cpu else tuple(_gpu(number) for number in range(torch.cuda.device_count()))
    machine = Machine(
        on_cpu=on_cpu,
        pace=_pace(facts.width, dtype, "cpu") if on_cpu else _pace_of_gpu(facts.width, dtype),
        wide=dtype == torch.float32,
        processes=processes(config),
        sharded=kind_of(config) in SHARDED,
        offloaded=offloads(config),
    )
    return machine, gpus[: machine.processes]


def _gpu_dtype() -> Any:
    from tools.weights.loading import compute_dtype  # it loads the models' code, which a CPU does without

    return compute_dtype()


def _gpu(number: int) -> Gpu:
    import torch

    found = torch.cuda.get_device_properties(number)
    try:
        free, _ = torch.cuda.mem_get_info(number)
    except RuntimeError as error:
        if not ran_out(error):
            raise
        free = 0  # not even enough to ask
    return Gpu(name=found.name, total=found.total_memory, free=free)


def _pace_of_gpu(width: int, dtype: Any) -> float:
    """Return what ``_pace`` does, or ``BUSY_GPU_PACE`` where others hold all memory: the training waits then."""
    try:
        return _pace(width, dtype, "cuda")
    except RuntimeError as error:
        if not ran_out(error):
            raise
        return BUSY_GPU_PACE


def _pace(width: int, dtype: Any, device: str) -> float:
    """Return the floating-point operations a second of a matrix product of the model's width."""
    import torch

    left = torch.randn(PRODUCT_TOKENS, width, device=device).to(dtype)
    right = torch.randn(width, 4 * width, device=device).to(dtype)

    def products(count: int) -> float:
        began = time.perf_counter()
        for _ in range(count):
            left @ right
        if device == "cuda":
            torch.cuda.synchronize()
        return time.perf_counter() - began

    products(3)
    count = 1
    while (seconds := products(count)) < PRODUCT_SECONDS:
        count *= 2
    return count * 2 * PRODUCT_TOKENS * 4 * width**2 / seconds


def _has_template(base: Path) -> bool:
    if (base / "chat_template.jinja").is_file():
        return True
    try:
        return bool(json.loads((base / "tokenizer_config.json").read_text(encoding="utf-8")).get("chat_template"))
    except (OSError, ValueError):
        return False


def main(job_file: Path) -> None:
    """Survey, and print one JSON line: what was found, or why the training is refused."""
    die_with_parent()
    lines = JsonLines()
    try:
        found = survey(SurveyJob.model_validate_json(job_file.read_text()), job_file.parent)
    except BadInput as error:
        lines.write(refused=str(error))
        return
    lines.write(**found.model_dump(mode="json"))


if __name__ == "__main__":
    collect_seldom()
    main(Path(sys.argv[1]))
