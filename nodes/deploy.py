"""deploy: the signed adapter goes into the registry, and the registry points at it."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path

from state.pipeline import Node, PipelineState
from tools.progress import report_progress
from tools.registry import deploy as deploy_adapter

logger = logging.getLogger(__name__)


def make_deploy(default_registry: Path) -> Node:
    """Return the node.

    Args:
        default_registry: where adapters go unless the request names another folder.
    """

    async def deploy(state: PipelineState) -> PipelineState:
        registry = Path(state["request"].deploy.registry or default_registry)
        record = {
            "run": state["run_id"],
            "dataset": state["dataset"].version,
            "base": state["request"].models.base,
            "verdict": state["verdict"].model_dump(mode="json"),
            "approval": state["approval"].model_dump(mode="json"),
        }
        report_progress("deploy", total=1)
        version = await asyncio.to_thread(deploy_adapter, state["adapter"], registry, record)
        logger.info("adapter deployed", extra={"version": version, "registry": str(registry)})
        report_progress("deploy", 1, note=version)
        return {"deployed": version}

    return deploy
