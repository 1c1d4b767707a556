"""deploy: the signed adapter goes into the registry; what is served is compared with it; the registry points at it."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from state.errors import CorralError
from state.pipeline import Node, PipelineState
from state.records import Answer, Outcome, Sample
from state.store import RecordStore
from tools.endpoint.chat import OpenEndpoint, user_message
from tools.engine.choosing import serve_alone
from tools.engine.parity import PROMPTS, Parity, measure_parity
from tools.evaluation.asking import weights_endpoint
from tools.improvement.canary import open_canary
from tools.progress import report_progress
from tools.registry import add, note, point, record_of
from tools.registry.card import named_base
from tools.registry.version import SCOREBOARD, write_adapter_of
from tools.settings import Settings
from tools.weights.folders import base_folder
from tools.weights.template import load_tokenizer

logger = logging.getLogger(__name__)


def make_deploy(store: RecordStore, default_registry: Path, settings: Settings, open_endpoint: OpenEndpoint) -> Node:
    """Return the node.

    Where what is served is not what was trained, the version's record and the run say so, and an unattended run leaves
    ``current`` where it is.

    Args:
        store: the record store.
        default_registry: where adapters go unless the request names another folder.
        settings: the environment's: what serves, and what share of the users the adapter of a run of improvement
            serves at first.
        open_endpoint: opens the trainer's weights.
    """

    async def deploy(state: PipelineState) -> PipelineState:
        request = state["request"]
        registry = Path(request.deploy.registry or default_registry)
        report_progress("deploy", total=2)
        base = await asyncio.to_thread(base_folder, request.models.base, settings.cache)
        version = await asyncio.to_thread(_add, registry, state, base)
        report_progress("deploy", 1, note=version)
        record = await asyncio.to_thread(record_of, registry, version)
        if "warnings" not in record:
            record = await _compared(state, registry / version, base)
        refused = bool(record["warnings"]) and request.unattended
        if not refused:
            await asyncio.to_thread(_serve, registry, version, settings.serve_canary if "improvement" in state else 0.0)
            logger.info("adapter deployed", extra={"version": version, "registry": str(registry)})
        report_progress("deploy", 1, note=version)
        lines = [f"deploy: {version}: {line}" for line in record["warnings"]]
        if unmeasured := record.get("unmeasured"):
            lines.append(f"deploy: {version}: what is served was not compared with what was trained: {unmeasured}")
        if refused:
            lines.append(f"deploy: {version} is in the registry, but not current: 'corral rollback {version}' makes it")
        told = [*state.get("warnings", []), *lines]
        return {"warnings": told} if refused else {"deployed": version, "warnings": told}

    async def _compared(state: PipelineState, version: Path, base: Path) -> dict[str, Any]:
        """Compare what is served with what was trained, and return what is kept of it on the version's record."""
        try:
            found = await _parity(state, version, base)
        except CorralError as error:
            record: dict[str, Any] = {"parity": None, "unmeasured": str(error), "warnings": []}
        else:
            logger.info("parity", extra={"version": version.name, "found": found.words})
            report_progress("deploy", note=f"parity: {found.words}")
            record = {"parity": found.model_dump(mode="json"), "warnings": [found.words] if found.faults else []}
        await asyncio.to_thread(note, version.parent, version.name, **record)
        return record

    async def _parity(state: PipelineState, version: Path, base: Path) -> Parity:
        run_id, request, adapter = state["run_id"], state["request"], state["adapter"]
        samples = await store.find(run_id, Sample, tag="heldout", outcome=Outcome.ACCEPTED)
        answers = {
            answer.sample_id: answer.text
            for answer in await store.find(run_id, Answer, tag=adapter.id)
            if not answer.draw
        }
        asked = [sample for sample in samples if sample.id in answers][:PROMPTS]
        endpoint = await open_endpoint(weights_endpoint(adapter.folder), run_id)
        trained = await asyncio.to_thread(load_tokenizer, base)
        async with serve_alone(settings, version) as held:
            return await measure_parity(
                held,
                trained,
                [user_message(sample.prompt, sample.input) for sample in asked],
                [answers[sample.id] for sample in asked],
                endpoint.likelihood,
                request.evaluate.max_tokens,
            )

    return deploy


def _serve(registry: Path, version: str, canary: float) -> None:
    """Let a version serve everybody, or a share of the users beside the current one."""
    if canary:
        open_canary(registry, version, canary)
    else:
        point(registry, version)


def _add(registry: Path, state: PipelineState, base: Path) -> str:
    """Put the adapter into the registry, as a version that stands alone; it blocks."""
    record = {
        "run": state["run_id"],
        "dataset": state["dataset"].version,
        "base": named_base(state["request"].models.base),
        "verdict": state["verdict"].model_dump(mode="json") | {"scoreboard": SCOREBOARD},
        "approval": state["approval"].model_dump(mode="json"),
    }
    if "improvement" in state:
        record |= {"improves": state["improvement"].version, "against": state["against"].model_dump(mode="json")}

    def fill(part: Path, version: str) -> Mapping[str, Any]:
        lacking = write_adapter_of(state, f"Corral {version}", base, part)
        return {"gguf_lacks": lacking} if lacking else {}

    return add(state["adapter"], registry, record, fill)
