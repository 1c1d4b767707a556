"""AutomatedRLHFPipeline: the guide's one call from prompts to a deployed adapter, over the very runs of Corral.

    pipeline = AutomatedRLHFPipeline(PipelineConfig(context={"brand": "Acme"}), "budgeting")
    result = pipeline.run_full_pipeline(prompts=[...], model_inference_fn=answer, adapter_name="brand_acme_v3")
    result.stages.feedback.avg_rating, result.stages.dataset.num_examples, result.stages.evaluation.verdict

The run has the adapter's name: the same call goes on where it ended, the command line shows it (``corral show
brand_acme_v3``), and nothing that was answered is asked again.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from corral.arguments import demand_mapping, listed, prompt_row, refuse_mapping
from corral.endpoints import Model, OpenModel
from corral.judges import task_type_of
from corral.pipeline_config import PipelineConfig, request_of
from corral.running import in_sync
from corral.stages import PipelineResult, result_of
from state.errors import BadInput
from state.records import content_hash
from state.request import Endpoint, Judging, RunRequest
from tools.endpoint.environment import with_environment
from tools.endpoint.kind import PROGRAM
from tools.settings import Settings, load_settings
from tools.sources.items import prompt_of
from tools.training.recipe import phases_of

if TYPE_CHECKING:
    from graph.runs import Runs
    from tools.endpoint.plugged import Brought

Prompt = str | Mapping[str, Any]


class AutomatedRLHFPipeline:
    """From prompts to a measured, deployed adapter in one call.

    Args:
        config: a ``PipelineConfig`` or a mapping of its fields; ``None`` for the defaults.
        task_type: general, budgeting, creative, compliance, data quality or strategic planning.
        endpoint: of the model that judges; see ``SyntheticFeedbackGenerator``.
        settings: the environment's, which are read where none are given.

    Raises:
        BadInput: a field, the task type or the endpoint is wrong.
    """

    def __init__(
        self,
        config: PipelineConfig | Mapping[str, Any] | None = None,
        task_type: str = "general",
        *,
        endpoint: Model = None,
        settings: Settings | None = None,
    ) -> None:
        demand_mapping(None if isinstance(config, PipelineConfig) else config, "config")
        self.config = config if isinstance(config, PipelineConfig) else PipelineConfig(**(config or {}))
        self.task_type = task_type_of(task_type)
        self._judge = OpenModel(endpoint)
        self._settings = settings
        phases_of(request_of(self.config, self.task_type, Endpoint(), Endpoint(), "run").train.recipe)

    def run_full_pipeline(
        self,
        prompts: Sequence[Prompt],
        model_inference_fn: Brought | Endpoint | None = None,
        adapter_name: str = "adapter",
        *,
        heldout_prompts: Sequence[Prompt] = (),
        answer: Any = None,
    ) -> PipelineResult:
        """Do all of it; see ``arun_full_pipeline``."""
        work = self.arun_full_pipeline(
            prompts, model_inference_fn, adapter_name, heldout_prompts=heldout_prompts, answer=answer
        )
        return in_sync(work)

    async def arun_full_pipeline(
        self,
        prompts: Sequence[Prompt],
        model_inference_fn: Brought | Endpoint | None = None,
        adapter_name: str = "adapter",
        *,
        heldout_prompts: Sequence[Prompt] = (),
        answer: Any = None,
    ) -> PipelineResult:
        """Answer the prompts, judge the answers, build the datasets, train, evaluate and deploy.

        Args:
            prompts: what is asked; or mappings with ``prompt``, and ``checks``, ``context``, ``reference`` and
                ``category`` where there are any.
            model_inference_fn: what answers: a function of a prompt, a coroutine function, a Runnable, a chat model, or
                an ``Endpoint``; ``None`` for the base model itself. What it raises, or returns in the place of text,
                fails that one answer.
            adapter_name: the run's name, by which the same call goes on.
            heldout_prompts: for the evaluation; where there are none, ``eval_split`` of the prompts is held out.
            answer: a person's answer to what the run waits for, such as ``"approve"``.

        Raises:
            BadInput: too few prompts, a broken one, or a run of that name began with other prompts or another config.
            RunWaiting: it waits for an answer, and none was given.
            CorralError: a step failed; the same call goes on.
        """
        from graph.runs import open_runs

        if not isinstance(adapter_name, str):
            raise BadInput(f"adapter_name must be a text, not {adapter_name!r}")
        settings: Settings = await asyncio.to_thread(load_settings) if self._settings is None else self._settings
        kept = await _kept(settings, adapter_name)
        judge, (policy, brought) = await self._judge.named(), _policy(model_inference_fn, adapter_name)
        if kept is not None:
            judge = _as_kept(judge, kept.models.judge) if self._judge.brought is not None else judge
            policy = _as_kept(policy, kept.models.policy) if policy is not None and brought is not None else policy
        request = request_of(self.config, self.task_type, judge, policy, adapter_name)
        rows = prompt_rows(prompts, heldout_prompts, self.config.eval_split)
        models = {request.models.policy.model: brought, request.models.judge.model: self._judge.brought}
        async with open_runs(settings, {name: one for name, one in models.items() if one is not None}) as runs:
            await _demand_same_or_create(runs, adapter_name, request, rows)
            if (await runs.status(adapter_name)).standing != "done":
                async for _ in runs.advance(adapter_name, answer):
                    pass
            return await result_of(runs, adapter_name)


def prompt_rows(prompts: Sequence[Prompt], heldout: Sequence[Prompt], share: float) -> list[dict[str, Any]]:
    """Return the rows of a prompts file, each with its split. Pure.

    Args:
        prompts: to train on; a row that states its ``split`` keeps it.
        heldout: to evaluate on.
        share: of the prompts that is held out where nothing else is: those whose hash is lowest, one at least.

    Raises:
        BadInput: there are fewer than two prompts, or one has no text.
    """
    rows = [_row(prompt, f"prompt {number}") for number, prompt in enumerate(listed(prompts, "prompts"))]
    rows = list({content_hash(row): row for row in rows}.values())
    held = enumerate(listed(heldout, "heldout_prompts"))
    told = [_row(prompt, f"held-out prompt {number}") | {"split": "heldout"} for number, prompt in held]
    if not told and not any(row.get("split") == "heldout" for row in rows):
        if len(rows) < 2:
            raise BadInput("two different prompts are needed at least: one to train on, and one to evaluate with")
        ordered = sorted(rows, key=lambda row: content_hash(row["prompt"]))
        for row in ordered[: min(max(1, round(share * len(rows))), len(rows) - 1)]:
            row["split"] = "heldout"
    return [{"split": "train", **row} for row in [*rows, *told]]


def _row(prompt: Prompt, where: str) -> dict[str, Any]:
    row = prompt_row(prompt, where)
    prompt_of(row, where)
    return row


def _policy(given: Brought | Endpoint | None, name: str) -> tuple[Endpoint | None, Brought | None]:
    if given is None or isinstance(given, Endpoint):
        return given, None
    from tools.endpoint.plugged import brought_name, brought_transport

    refuse_mapping(given, "model_inference_fn")
    brought_transport(given)  # what cannot be asked is refused here
    # The run's name is a part of it: what a function says may depend on more than its code. What it spends itself, the
    # run cannot know: the cap is on the judges.
    spec = Endpoint(base_url=PROGRAM, model=f"{name}/{brought_name(given)}", input_price=0.0, output_price=0.0)
    return spec, given


def _as_kept(given: Endpoint, kept: Endpoint) -> Endpoint:
    """Return what a program brings under the name that its run began with: a function may have been mended since."""
    return kept if given.model_copy(update={"model": kept.model}) == kept else given


async def _kept(settings: Settings, name: str) -> RunRequest | None:
    """Return the request that a run of that name began with; ``None`` where there is no such run."""
    from graph.services import open_services

    async with open_services(settings) as services:
        if name not in dict(await services.store.run_ids()):
            return None
        return await services.store.request_of(name)


async def _demand_same_or_create(runs: Runs, name: str, request: RunRequest, rows: Sequence[Mapping[str, Any]]) -> None:
    """Create the run; or see to it that the one of that name is the same.

    Raises:
        BadInput: it began with other prompts, or with another config.
    """
    from graph.inputs import request_to_show, same_request, with_absolute_folders

    text = "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows)
    if name not in {status.run_id for status in await runs.statuses()}:
        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "prompts.jsonl"
            await asyncio.to_thread(path.write_text, text, encoding="utf-8")
            sources = request.sources.model_copy(update={"prompts": str(path)})
            await runs.create(request.model_copy(update={"sources": sources}), name)
        return
    kept = await request_to_show(runs.services, name)
    copy = Path(kept.sources.prompts or "")
    if not copy.is_file() or await asyncio.to_thread(copy.read_text, encoding="utf-8") != text:
        raise BadInput(f"run {name} began with other prompts; choose another adapter_name, or 'corral delete {name}'")
    asked = with_environment(request, runs.services.settings)  # as a run is created
    asked = asked.model_copy(update={"sources": kept.sources, "judge": kept.judge})
    given = await asyncio.to_thread(with_absolute_folders, asked)
    if not same_request(given, kept) or not _same_judging(request.judge, kept.judge):
        raise BadInput(f"run {name} began with another config; choose another adapter_name, or 'corral delete {name}'")


def _same_judging(asked: Judging, kept: Judging) -> bool:
    """Return whether two judges are set alike, but for the thresholds, which a measured band may have moved."""
    moved = {"accept", "review_from"} if asked.band == "measured" else set()
    return asked.model_dump(exclude=moved) == kept.model_dump(exclude=moved)
