"""train: an adapter from the dataset, in a subprocess that can be killed and goes on."""

from __future__ import annotations

import asyncio
from pathlib import Path

from state.pipeline import DatasetRef, Node, PipelineState
from state.request import RunRequest
from tools.dataset.files import DPO, SFT
from tools.progress import report
from tools.training.base_model import base_folder
from tools.training.job import TrainingJob, TrainingProgress
from tools.training.launch import train as launch_training


def make_train(runs_folder: Path, cache: Path) -> Node:
    """Return the node.

    Args:
        runs_folder: each run has a folder of its name in it.
        cache: where the embedded base is kept once it is converted.
    """

    async def train(state: PipelineState) -> PipelineState:
        request, number = state["request"], state.get("training_round", 0) + 1
        base = await asyncio.to_thread(base_folder, request.models.base, cache)
        folder = runs_folder / state["run_id"] / "training" / f"round-{number}"
        job = training_job(request, state["dataset"], base, folder / "adapter", number)
        progress = ProgressSteps()
        adapter = await launch_training(job, folder, progress.report)
        return {"adapter": adapter, "training_round": number}

    return train


def training_job(request: RunRequest, dataset: DatasetRef, base: Path, out: Path, number: int) -> TrainingJob:
    """Return the job of the given round: each round after the first halves the learning rate."""
    return TrainingJob(
        base=str(base),
        recipe=request.train.recipe,
        sft_file=str(Path(dataset.folder) / SFT),
        dpo_file=str(Path(dataset.folder) / DPO),
        out=str(out),
        seed=request.seed,
        settings=request.train,
        learning_rate_scale=0.5 ** (number - 1),
    )


class ProgressSteps:
    """Turns the trainer's absolute steps into steps forward."""

    def __init__(self) -> None:
        self._seen: dict[str, int] = {}

    def report(self, progress: TrainingProgress) -> None:
        """Tell the run's watcher of the steps since the last event; a resumed phase counts what is left of it."""
        if not progress.total:
            return
        if progress.phase not in self._seen:
            self._seen[progress.phase] = progress.step - 1
            report("train", total=progress.total - progress.step + 1)
        before = self._seen[progress.phase]
        self._seen[progress.phase] = max(before, progress.step)
        loss = f" loss {progress.loss:.3f}" if progress.loss is not None else ""
        report("train", max(0, progress.step - before), note=f"{progress.phase}{loss}")
