"""A run reads its own copies: from any folder, and whatever becomes of the person's files after it was made."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from graph.inputs import begin, with_absolute_folders
from graph.runs import open_runs
from graph.services import open_services
from state.errors import BadInput
from state.request import RunRequest
from tests.harness import ROOT, Corral, refused, request_of, write_prompts
from tests.scripted_server import ScriptedServer
from tools.settings import load_settings
from tools.sources.inputs import (
    ACCELERATE,
    PROMPTS,
    SEEDS,
    copy_inputs,
    named_files,
    read_inputs,
    with_copies,
)
from tools.training.configs import shipped

LATE = {"prompt": "Tell me something that was added later.", "checks": [], "split": "heldout"}


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with prompts and seeds, where the person works."""
    folder = tmp_path / "work"
    folder.mkdir()
    write_prompts(folder / "prompts.jsonl")
    shutil.copy(ROOT / "seeds" / "seed_tasks.jsonl", folder / "seeds.jsonl")
    monkeypatch.chdir(folder)
    return folder


def relative(server: ScriptedServer, **sections: Any) -> dict[str, Any]:
    """Return a request that names its files relative to the working folder."""
    sources = {"prompts": "prompts.jsonl", "seeds": "seeds.jsonl"}
    few = {"sampling": {"candidates": 1, "scaffold_draws": 0, "repairs": 0}} | sections
    return request_of(server.url, Path("nobody/no-model"), Path("prompts.jsonl"), sources=sources, **few)


def edit(prompts: Path) -> None:
    """Remove the first row of a prompts file, and add a held-out one."""
    rows = prompts.read_text().splitlines()[1:]
    prompts.write_text("".join(f"{row}\n" for row in [*rows, json.dumps(LATE)]))


def given_rows(corral: Corral, run: str) -> dict[str, int]:
    code, out, error = corral("show", run, "--json")
    assert code == 0, error
    return {row["kind"]: row["total"] for row in json.loads(out)["accounts"]["rows"] if "given" in row["kind"]}


def test_a_run_is_shown_and_goes_on_from_another_folder(
    corral: Corral, server: ScriptedServer, work: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def create() -> None:
        async with open_runs(load_settings()) as runs:
            await runs.create(RunRequest.model_validate(relative(server, unattended=False)), "mine")

    asyncio.run(create())
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    code, out, _ = corral("show", "mine")
    assert code == 0 and "expected" in out and "$ paid" in out and "not known" not in out
    assert corral("resume", "mine")[0] == 3, "it waits at review"
    assert given_rows(corral, "mine") == {"given prompts, training": 8, "given prompts, held out": 4}


def test_prompts_that_are_edited_between_two_steps_change_nothing(
    corral: Corral, server: ScriptedServer, work: Path
) -> None:
    """The generator's budget ends within the step that reads the prompts; it reads them again when it goes on."""
    priced = {"base_url": server.url, "model": "scripted", "input_price": 20.0, "output_price": 20.0}
    request = relative(server, models={"generator": priced}, budget={"dollars": 0.03}, generation={"target": 60})
    (work / "config.yaml").write_text(yaml.safe_dump(request))
    assert corral("run", "config.yaml", "--run-id", "mine")[0] == 3
    assert json.loads(corral("show", "mine", "--json")[1])["status"]["step"] == "generate"
    before = given_rows(corral, "mine")
    edit(work / "prompts.jsonl")
    corral("approve", "mine", "--budget", "9")
    assert json.loads(corral("show", "mine", "--json")[1])["status"]["step"] != "generate"
    assert given_rows(corral, "mine") == before == {"given prompts, training": 8, "given prompts, held out": 4}


def test_files_that_vanish_after_create_do_not_matter(corral: Corral, server: ScriptedServer, work: Path) -> None:
    (work / "config.yaml").write_text(yaml.safe_dump(relative(server, unattended=False)))
    assert corral("run", "config.yaml", "--run-id", "mine")[0] == 3
    for name in ("prompts.jsonl", "seeds.jsonl", "config.yaml"):
        (work / name).unlink()
    assert corral("show", "mine")[0] == 0
    # Behind the review there is no model to train; the seeds were read on the way there.
    code, _, error = corral("review", "mine", "--all", "reject")
    assert code not in (0, 3) and "no-model" in error
    assert json.loads(corral("show", "mine", "--json")[1])["status"]["step"] == "train"


def test_a_copy_that_was_changed_is_one_line(corral: Corral, server: ScriptedServer, work: Path) -> None:
    (work / "config.yaml").write_text(yaml.safe_dump(relative(server, unattended=False)))
    corral("run", "config.yaml", "--run-id", "mine")
    edit(work.parent / "home" / "runs" / "mine" / "inputs" / "prompts.jsonl")
    refused(corral("review", "mine", "--all", "reject"), "inputs/prompts.jsonl", "changed", "put the original back")
    code, out, _ = corral("show", "mine")
    assert code == 0 and "was changed since the run began" in " ".join(out.split())


def test_a_name_that_is_used_again_gets_the_files_as_they_are_now(
    corral: Corral, server: ScriptedServer, work: Path
) -> None:
    (work / "config.yaml").write_text(yaml.safe_dump(relative(server, unattended=False)))
    corral("run", "config.yaml", "--run-id", "mine")
    for file in (work.parent / "home").glob("corral.db*"):
        file.unlink()
    edit(work / "prompts.jsonl")
    corral("run", "config.yaml", "--run-id", "mine")
    assert given_rows(corral, "mine") == {"given prompts, training": 7, "given prompts, held out": 5}


NAMES = st.none() | st.text("abc/.-", min_size=1, max_size=12)


@given(seeds=st.text("abc/.-", min_size=1), prompts=NAMES, config=NAMES | st.sampled_from(sorted(shipped())))
def test_every_file_that_a_request_names_is_replaced_by_its_copy(
    seeds: str, prompts: str | None, config: str | None
) -> None:
    request = RunRequest.model_validate(
        {"sources": {"seeds": seeds, "prompts": prompts}, "train": {"accelerate_config": config}}
    )
    files = named_files(request, shipped())
    assert files[SEEDS] == Path(seeds) and (PROMPTS in files) == (prompts is not None)
    assert (ACCELERATE in files) == (config is not None and config not in shipped())
    copies = {copy: Path("/home/runs/mine/inputs") / copy for copy in files}
    own = with_copies(request, copies)
    assert named_files(own, shipped()) == copies
    assert with_copies(own, copies) == own
    back = {"sources": request.sources, "train": request.train}
    assert own.model_copy(update=back) == request, "and nothing else changes"


@given(st.dictionaries(st.sampled_from([SEEDS, PROMPTS, ACCELERATE]), st.binary(max_size=50), min_size=1))
def test_copies_are_read_back_as_they_were(
    tmp_path_factory: pytest.TempPathFactory, contents: dict[str, bytes]
) -> None:
    folder = tmp_path_factory.mktemp("inputs")
    files = {name: folder / f"the person's {name}" for name in contents}
    for name, data in contents.items():
        files[name].write_bytes(data)
    assert read_inputs(folder / "inputs") is None
    copy_inputs(files, folder / "inputs")
    copies = read_inputs(folder / "inputs")
    assert copies is not None and {name: path.read_bytes() for name, path in copies.items()} == contents


def test_a_file_that_is_gone_is_taken_from_where_the_person_was_told_to_put_it(tmp_path: Path) -> None:
    files, folder = {PROMPTS: Path("gone.jsonl")}, tmp_path / "inputs"
    with pytest.raises(BadInput, match=rf"gone\.jsonl cannot be read \(No such file.*copy it to {folder / PROMPTS}"):
        copy_inputs(files, folder)
    folder.mkdir()
    (folder / PROMPTS).write_text("found again")
    copy_inputs(files, folder)
    assert read_inputs(folder) == {PROMPTS: folder / PROMPTS}
    (folder / PROMPTS).unlink()
    with pytest.raises(BadInput, match="put it back"):
        read_inputs(folder)


def test_folders_are_made_absolute_and_names_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("base", "embedded", "scripted"):
        (tmp_path / name).mkdir()
    monkeypatch.chdir(tmp_path)
    request = RunRequest.model_validate({"models": {"base": "base"}, "deploy": {"registry": "adapters"}})
    own = with_absolute_folders(request)
    assert own.models.base == own.models.policy.model == str(tmp_path / "base")
    assert own.deploy.registry == str(tmp_path / "adapters")
    server = {"base_url": "http://127.0.0.1:1/v1", "model": "scripted"}
    named = RunRequest.model_validate({"models": {"base": "owner/model", "judge": server}})
    assert with_absolute_folders(named) == named
    assert with_absolute_folders(RunRequest()) == RunRequest(), "the embedded model is no folder"


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"train": {"recipe": "sft+dop"}}, "there is no phase 'dop'"),
        ({"models": {"judge": {"base_url": "weights", "model": "embedded"}}}, "gives plain text alone"),
        ({"models": {"policy": {"base_url": "wieghts", "model": "embedded"}}}, "did you mean 'weights'"),
        (
            {"models": {"judge": {"base_url": "https://x.example", "model": "m"}}, "budget": {"dollars": 1}},
            "is not known",
        ),
        ({"train": {"max_length": 9000}}, "more than the 8192 tokens that embedded can read"),
        ({"models": {"base": "/no/such/base"}}, "neither a folder here nor a name on the hub"),
    ],
)
async def test_what_a_server_is_sent_is_checked_before_anything_is_asked(
    changes: dict[str, Any], words: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server's run has no ``create`` before it: its first step checks the request."""
    monkeypatch.setenv("CORRAL_HOME", str(tmp_path))
    async with open_services(load_settings()) as services:
        with pytest.raises(BadInput, match=words):
            await begin(services, "thread", RunRequest.model_validate(changes))
    assert not (tmp_path / "runs" / "thread" / "inputs").exists()
