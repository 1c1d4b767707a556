"""The door: what a person uses from Python, and the command line.

import asyncio
from corral import load_settings, open_runs, RunRequest

async def main() -> None:
    async with open_runs(load_settings()) as runs:
        run_id = await runs.create(RunRequest(name="first", unattended=True))
        async for progress in runs.advance(run_id):
            print(progress.step, progress.note)
        print((await runs.state(run_id))["verdict"])

asyncio.run(main())

A name is imported when it is first used: all of them together take three seconds of CPU.
"""

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from corral.automated import AutomatedRLHFPipeline
    from corral.feedback import CrewEvaluation, SyntheticFeedback
    from corral.judges import MultiAgentRLHF, SyntheticFeedbackGenerator
    from corral.monitor import RLHFMonitor
    from corral.pairs import DPODatasetBuilder
    from corral.pipeline_config import PipelineConfig
    from corral.running import FinishedRun, arun, run
    from corral.tracing import LangSmithTracer
    from graph.accounts import Accounts, account
    from graph.reviews import Reviews
    from graph.runs import Runs, open_runs
    from graph.standing import RunStatus
    from state.errors import CorralError
    from state.records import Draft
    from state.request import Endpoint, RunRequest
    from tools.config import load_request
    from tools.progress import Progress
    from tools.settings import Settings, load_settings

__all__ = [
    "Accounts",
    "AutomatedRLHFPipeline",
    "CorralError",
    "CrewEvaluation",
    "DPODatasetBuilder",
    "Draft",
    "Endpoint",
    "FinishedRun",
    "LangSmithTracer",
    "MultiAgentRLHF",
    "PipelineConfig",
    "Progress",
    "RLHFMonitor",
    "Reviews",
    "RunRequest",
    "RunStatus",
    "Runs",
    "Settings",
    "SyntheticFeedback",
    "SyntheticFeedbackGenerator",
    "account",
    "arun",
    "load_request",
    "load_settings",
    "open_runs",
    "run",
]


def __getattr__(name: str) -> Any:  # noqa: C901  # a table of names, which the import rule can read
    """Import a name of the public API when it is first asked for (PEP 562)."""
    match name:
        case "AutomatedRLHFPipeline":
            module = importlib.import_module("corral.automated")
        case "CrewEvaluation" | "SyntheticFeedback":
            module = importlib.import_module("corral.feedback")
        case "MultiAgentRLHF" | "SyntheticFeedbackGenerator":
            module = importlib.import_module("corral.judges")
        case "RLHFMonitor":
            module = importlib.import_module("corral.monitor")
        case "DPODatasetBuilder":
            module = importlib.import_module("corral.pairs")
        case "PipelineConfig":
            module = importlib.import_module("corral.pipeline_config")
        case "FinishedRun" | "arun" | "run":
            module = importlib.import_module("corral.running")
        case "LangSmithTracer":
            module = importlib.import_module("corral.tracing")
        case "Accounts" | "account":
            module = importlib.import_module("graph.accounts")
        case "Reviews":
            module = importlib.import_module("graph.reviews")
        case "Draft":
            module = importlib.import_module("state.records")
        case "Runs" | "open_runs":
            module = importlib.import_module("graph.runs")
        case "RunStatus":
            module = importlib.import_module("graph.standing")
        case "CorralError":
            module = importlib.import_module("state.errors")
        case "Endpoint" | "RunRequest":
            module = importlib.import_module("state.request")
        case "load_request":
            module = importlib.import_module("tools.config")
        case "Progress":
            module = importlib.import_module("tools.progress")
        case "Settings" | "load_settings":
            module = importlib.import_module("tools.settings")
        case _:
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    found = globals()[name] = getattr(module, name)
    return found


def __dir__() -> list[str]:
    """Return the public names, whether they have been imported yet or not."""
    return sorted({*globals(), *__all__})
