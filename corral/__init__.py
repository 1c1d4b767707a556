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
"""

from corral.judges import DPODatasetBuilder, MultiAgentRLHF, SyntheticFeedbackGenerator
from corral.monitor import RLHFMonitor
from graph.accounts import Accounts, account
from graph.runs import Runs, RunStatus, open_runs
from state.errors import CorralError
from state.request import Endpoint, RunRequest
from tools.config import load_request
from tools.progress import Progress
from tools.settings import Settings, load_settings

__all__ = [
    "Accounts",
    "CorralError",
    "DPODatasetBuilder",
    "Endpoint",
    "MultiAgentRLHF",
    "Progress",
    "RLHFMonitor",
    "RunRequest",
    "RunStatus",
    "Runs",
    "Settings",
    "SyntheticFeedbackGenerator",
    "account",
    "load_request",
    "load_settings",
    "open_runs",
]
