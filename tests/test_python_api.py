"""Corral from Python: a run with a LangChain chat model that the program brought itself."""

from __future__ import annotations

from pathlib import Path

from langchain_openai import ChatOpenAI
from pydantic import SecretStr

from corral import RunRequest, account, open_runs
from tests.harness import request_of, write_prompts
from tests.scripted_server import ScriptedServer
from tools.settings import Settings


async def test_a_plugged_chat_model_answers_and_is_accounted_for(tmp_path: Path) -> None:
    with ScriptedServer(models=("scripted", "mine")) as server:
        plugged = ChatOpenAI(model="mine", base_url=server.url, api_key=SecretStr("key"), max_retries=0)
        written = request_of(
            server.url, Path("nobody/no-model"), write_prompts(tmp_path / "prompts.jsonl"), unattended=False
        )
        written["models"]["policy"] = {"base_url": "http://nowhere.invalid/v1", "model": "mine"}
        async with open_runs(Settings(home=tmp_path / "home"), {"mine": plugged}) as runs:
            run_id = await runs.create(RunRequest.model_validate(written))
            steps = [progress.step async for progress in runs.advance(run_id)]
            status = await runs.status(run_id)
            accounts = await account(runs.services, run_id)
    assert (status.standing, status.step) == ("waiting", "review")
    assert list(dict.fromkeys(steps)) == ["generate", "gate", "respond", "judge", "review"]
    used = {tally.purpose: tally for tally in accounts.calls}
    candidates = next(row for row in accounts.rows if row.kind == "candidates")
    assert used["respond"].answered == candidates.total > 0 and all(row.adds_up for row in accounts.rows)
