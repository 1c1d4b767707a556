"""What the graph refuses of those who start or answer a run, in one line and with nothing saved; and forks of a run."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from langgraph.types import Command

from graph.entry import requested
from graph.inputs import same_request, with_absolute_folders
from graph.runs import Runs, open_runs
from state.errors import BadInput, CorralError, RunWaiting
from state.records import Candidate, Judgement, Review, Sample
from state.request import RunRequest
from tests.harness import request_of, write_prompts
from tests.scripted_server import ScriptedServer
from tools.settings import Settings

TO_TRAINING = "neither a folder here nor a name on the hub|could not be fetched|no-model"
"""What ends these runs: there is no model to train."""


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as running:
        yield running


@pytest.fixture
async def runs(tmp_path: Path) -> AsyncIterator[Runs]:
    async with open_runs(Settings(home=tmp_path / "home")) as opened:
        yield opened


@pytest.fixture
def written(server: ScriptedServer, tmp_path: Path) -> dict[str, Any]:
    """A request as a client sends it: JSON."""
    prompts = write_prompts(tmp_path / "prompts.jsonl", training=3, heldout=1)
    return request_of(server.url, Path("nobody/no-model"), prompts, unattended=False, sampling={"candidates": 2})


def thread(name: str = "one", **more: Any) -> dict[str, Any]:
    return {"configurable": {"thread_id": name, "checkpoint_ns": "", **more}}


async def refusal(runs: Runs, given: Any, config: dict[str, Any] | None = None) -> BadInput:
    with pytest.raises(BadInput) as caught:
        await runs.pipeline.ainvoke(given, config or thread())
    assert "\n" not in str(caught.value) and "pydantic" not in str(caught.value)
    return caught.value


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({}, "names no request"),
        ({"request": None}, "names no request"),
        ({"requst": {}}, "names no request"),
        ("hello", "names no request"),
        ([{"request": {}}], "names no request"),
        ({"request": {}, "messages": []}, "unknown key messages"),
        ({"request": "seeds/demo.yaml"}, "a request is a mapping of sections, not str"),
        ({"request": {"trian": {}}}, "unknown key trian; did you mean train?"),
        ({"request": {"train": {"epoch": 1}}}, "did you mean train.epochs?"),
        ({"request": {"train": {"epochs": 0}}}, "train.epochs: Input should be greater than 0 (given: 0)"),
        ({"request": {"sources": {"prompts": "/none/here.jsonl"}}}, "/none/here.jsonl"),
        ({"request": {"sources": {"seeds": "/none/seeds.jsonl"}}}, "/none/seeds.jsonl"),
        ({"request": {"models": {"base": "/none/model"}}}, "neither a folder here nor a name on the hub"),
        ({"request": {"models": {"judge": {"base_url": "embeded"}}}}, "did you mean 'embedded'?"),
    ],
)
async def test_a_wrong_input_is_refused_in_one_line_and_leaves_no_trace(runs: Runs, given: Any, said: str) -> None:
    assert said in str(await refusal(runs, given))
    assert (await runs.pipeline.aget_state(thread())).created_at is None
    assert await runs.services.store.run_ids() == []


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.text(max_size=5),
        lambda inner: (
            st.lists(inner) | st.dictionaries(st.sampled_from(["request", "train", "epochs", "name", "x"]), inner)
        ),
    )
)
def test_any_json_is_a_request_or_is_refused_in_one_line(value: Any) -> None:
    try:
        assert isinstance(requested(value, Settings()), RunRequest)
    except BadInput as error:
        assert "\n" not in str(error)


async def test_a_run_that_waits_refuses_a_second_input_and_wrong_answers_and_still_waits(
    runs: Runs, written: dict[str, Any]
) -> None:
    asked = await runs.pipeline.ainvoke({"request": written}, thread())
    question = asked["__interrupt__"][0].value
    for request in (written, written | {"name": "another"}):
        error = await refusal(runs, {"request": request})
        assert isinstance(error, RunWaiting)
        assert "this thread is run one" in str(error) and "open a new thread" in str(error)
    items = len(question["action_requests"])
    for answer, said in (
        ({"decisions": []}, f"{items} decision{'s' * (items > 1)} asked, 0 given"),
        ({"decisions": "yes"}, "decisions: Input should be a valid list"),
        ({"decisions": [{"type": "maybe"}] * items}, "decisions.0.type: Input should be 'approve', 'edit', 'reject'"),
        ({"reviewer": "ada"}, "decisions: Field required"),
        ({}, "it is empty"),
        (17, "valid dictionary"),
    ):
        error = await refusal(runs, Command(resume=answer))
        assert said in str(error) and "the run still waits for it" in str(error)
    snapshot = await runs.pipeline.aget_state(thread())
    assert snapshot.interrupts[0].value == question and (await runs.status("one")).standing == "waiting"
    await refusal(runs, Command(resume="approve"), thread("another"))


async def test_a_fork_is_the_same_run_gone_back(runs: Runs, written: dict[str, Any], server: ScriptedServer) -> None:
    await runs.pipeline.ainvoke({"request": written}, thread())
    with pytest.raises(CorralError, match=TO_TRAINING):
        while True:
            await runs.pipeline.ainvoke(Command(resume="reject"), thread())
    assert "already, it stands at train" in str(await refusal(runs, {"request": written}))
    assert "does not wait for an answer, it stands at train" in str(await refusal(runs, Command(resume="approve")))
    kinds = (Sample, Candidate, Judgement, Review)
    before = [await runs.services.store.find("one", kind) for kind in kinds]
    history = [s async for s in runs.pipeline.aget_state_history(thread()) if s.next]
    answered = len(server.requests)

    fork = next(s for s in history if s.next == ("respond",))
    with pytest.raises(CorralError, match=TO_TRAINING):  # nobody is asked again about what was decided
        await runs.pipeline.ainvoke(None, fork.config)
    assert [await runs.services.store.find("one", kind) for kind in kinds] == before, "what is decided stays"
    assert len(server.requests) == answered, "nothing is asked again"

    edited = await runs.pipeline.aupdate_state(fork.config, {"request": written | {"seed": 7}}, as_node="gate")
    assert "keeps the request it started with" in str(await refusal(runs, None, edited))
    same = await runs.pipeline.aupdate_state(fork.config, {"request": written}, as_node="gate")
    with pytest.raises(CorralError, match=TO_TRAINING):
        await runs.pipeline.ainvoke(None, same)
    with pytest.raises(BadInput, match=r"train\.epochs: Input should be greater than 0"):
        await runs.pipeline.aupdate_state(fork.config, {"request": {"train": {"epochs": 0}}}, as_node="gate")

    copied = await runs.pipeline.aupdate_state(thread("copy"), fork.values, as_node="gate")
    assert "thread copy is a copy of a run's state without its rows" in str(await refusal(runs, None, copied))


async def test_a_thread_of_a_run_that_was_created_takes_its_request_alone(runs: Runs, written: dict[str, Any]) -> None:
    await runs.create(RunRequest.model_validate(written), "one")
    error = await refusal(runs, {"request": written | {"seed": 7}})
    assert "this thread is run one, which keeps the request it started with" in str(error)
    assert (await runs.status("one")).standing == "new"
    assert "__interrupt__" in await runs.pipeline.ainvoke({"request": written}, thread())


def test_a_folder_that_was_made_absolute_is_the_same(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model").mkdir()
    monkeypatch.chdir(tmp_path)
    given = RunRequest.model_validate({"models": {"base": "./model"}, "deploy": {"registry": "registry"}})
    kept = with_absolute_folders(given)
    assert kept != given and same_request(given, kept) and same_request(kept, kept)
    monkeypatch.chdir("/")
    assert same_request(given, kept)
    assert not same_request(RunRequest.model_validate({"models": {"base": "./modeL"}}), kept)


@pytest.mark.parametrize(
    "error", [BadInput("where, what, what to do"), RunWaiting("answer it"), CorralError("no room")]
)
def test_langgraphs_server_tells_its_clients_what_an_error_of_ours_says(error: CorralError) -> None:
    from langgraph_api.serde import json_dumpb

    told = json.loads(json_dumpb(error))
    assert told == {"error": type(error).__name__, "message": str(error)}
