"""Commands over the adapter that a run made: write it elsewhere, and push it to the hub."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, assert_never

import typer

from corral.cli.shared import RunName, console, look_at
from state.errors import BadInput
from state.extras import demand_extra

if TYPE_CHECKING:
    from graph.services import Services
    from state.pipeline import PipelineState

AdapterForm = Literal["peft", "merged", "gguf"]
HubName = Annotated[str, typer.Argument(metavar="HUB_NAME", help="The name on the hub: OWNER/NAME.")]


async def export_adapter(services: Services, name: str, form: AdapterForm, out: Path | None, yes: bool) -> int:
    """Write a run's adapter: a folder that stands alone, one merged into its base, or a GGUF file."""
    if out is None:
        raise BadInput(f"--adapter {form} needs --out: {'a file' if form == 'gguf' else 'a folder'} to write")
    _demand_room(out, form, yes)
    async with adapter_written(services, name, "merged" if form == "merged" else "peft") as folder:
        source = folder / "adapter.gguf" if form == "gguf" else folder
        if not source.exists():
            raise BadInput(f"the adapter of run {name} cannot be a GGUF file; its card says what it is: --adapter peft")
        await asyncio.to_thread(_put, source, out)
    console.print(str(out), highlight=False, markup=False, soft_wrap=True)
    return 0


def push(name: RunName, hub_name: HubName) -> None:
    """Push a run's adapter and its dataset to the Hugging Face hub, each with its card.

    The dataset goes to HUB_NAME-dataset. New repositories are private. 'hf auth login' logs in.
    """

    async def work(services: Services, name: str) -> int:
        from graph.standing import state_of
        from tools.registry.push import demand_hub_name
        from tools.registry.push import push as push_folders

        demand_hub_name(hub_name)
        async with adapter_written(services, name, "peft") as folder:
            dataset = Path((await state_of(services, name))["dataset"].folder)
            pushed = await asyncio.to_thread(push_folders, folder, dataset, hub_name)
        for url in pushed:
            console.print(url, highlight=False, markup=False, soft_wrap=True)
        return 0

    look_at(name, work)


@asynccontextmanager
async def adapter_written(services: Services, name: str, form: Literal["peft", "merged"]) -> AsyncIterator[Path]:
    """Write a run's adapter into a passing folder, which is there for as long as the block lasts.

    Raises:
        BadInput: the run has no adapter yet.
    """
    from graph.standing import state_of, status_of

    state: PipelineState = {**await state_of(services, name), "run_id": name}  # a thread's state does not hold its id
    if "adapter" not in state or not Path(state["adapter"].folder).is_dir():
        status = await status_of(services, name)
        raise BadInput(f"run {name} has no adapter; it is {status.standing} at {status.step or 'its start'}")
    demand_extra("train", "an adapter")
    from tools.files import storage_errors
    from tools.registry.version import write_adapter_of, write_merged
    from tools.weights.folders import base_folder

    base = await asyncio.to_thread(base_folder, state["request"].models.base, services.cache)
    place = services.runs_folder / name
    with storage_errors(place), tempfile.TemporaryDirectory(dir=place, prefix=".part-") as folder:
        out = Path(folder) / "adapter"
        out.mkdir()
        match form:
            case "peft":
                await asyncio.to_thread(write_adapter_of, state, f"The adapter of {name}", base, out)
            case "merged":
                await asyncio.to_thread(write_merged, state, f"The model of {name}", base, out)
            case _:
                assert_never(form)
        yield out


def _demand_room(out: Path, form: AdapterForm, yes: bool) -> None:
    if form == "gguf" and out.is_dir():
        raise BadInput(f"{out} is a folder; name a file")
    if form != "gguf" and out.is_file():
        raise BadInput(f"{out} is a file; name a folder")
    if out.exists() and not yes and (out.is_file() or any(out.iterdir())):
        raise BadInput(f"{out} exists already; --yes writes over it")


def _put(source: Path, out: Path) -> None:
    """Copy a file or a folder to where a person said."""
    from tools.files import copy_out, storage_errors

    if source.is_dir():
        with storage_errors(out):
            shutil.copytree(source, out, dirs_exist_ok=True)
    else:
        with source.open("rb") as data:
            copy_out(out, data)
