"""From what people say of the deployed version to the next one: the graph, one turn after the other."""

from __future__ import annotations

import asyncio
import json
import os
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import text

from corral.cli.improving import seconds_of
from graph.improvement import build_improvement
from graph.improving import improving, next_turn
from graph.pipeline import draw
from graph.runs import Runs, open_runs
from graph.served import give_feedback, record_answer
from graph.services import Services, make_services
from graph.step_times import read_step_times
from nodes.approve import approval_action, unattended_approval
from nodes.augment import make_augment
from nodes.train import start_of
from serving.steps import step_names, turns_of
from state.calls import CallStore
from state.errors import BadInput, EndpointError, RunBusy
from state.pipeline import AdapterRef, Improvement, PipelineState
from state.records import Candidate, Outcome, Review, Sample
from state.request import Endpoint, RunRequest
from state.store import RecordStore
from tests.builders import candidate, sample, verdict
from tests.harness import ROOT, Corral, Home, refused, request_of, wait_until, write_prompts
from tests.scripted_answers import answer_to
from tests.scripted_server import ScriptedServer
from tests.tiny_model import tiny_model
from tools.endpoint import open_endpoint
from tools.endpoint.chat import ChatEndpoint, OpenEndpoint
from tools.improvement.canary import open_canary, read_canary
from tools.registry import add, current, deploy, versions
from tools.settings import Settings
from tools.training.job import TrainingJob

ASKED = [f"Please tell our customers how a {thing} is cleaned." for thing in "kettle lamp saddle violin candle".split()]
DISLIKED = "No. Look it up yourself, and do not ask again."
CORRECTED = "Wipe it with a damp cloth, and dry it well. Then store it in a dry place."


def improvement(tmp_path: Path) -> Any:
    return build_improvement(make_services(Settings(home=tmp_path)))


def test_the_drawing_in_docs_is_the_graph(tmp_path: Path) -> None:
    assert (ROOT / "docs" / "improvement.mmd").read_text().strip() == draw(improvement(tmp_path)).strip()


def test_its_steps_follow_the_design(tmp_path: Path) -> None:
    edges = {(e.source, e.target) for e in improvement(tmp_path).get_graph().edges}
    line = "__start__ collect decide augment pipeline compare approve deploy __end__".split()
    stops = {("decide", "__end__"), ("pipeline", "__end__"), ("approve", "__end__")}
    assert edges == set(pairwise(line)) | stops
    within = dict(improvement(tmp_path).get_subgraphs())["pipeline"]
    assert {"generate", "gate", "respond", "judge", "review", "assemble", "train", "evaluate"} <= within.nodes.keys()
    assert "deploy" not in within.nodes, "what is better than the base alone is not deployed"


def test_a_page_shows_the_steps_of_the_pipeline_among_its_own(tmp_path: Path) -> None:
    line = "collect decide augment generate gate respond judge review assemble train evaluate compare approve deploy"
    assert step_names(improvement(tmp_path)) == tuple(line.split())
    turns = turns_of(improvement(tmp_path))
    assert turns["decide"] == ("wait: the run ends",) and turns["review"] == ("waiting: once more",)
    assert turns["evaluate"] == ("worse: back to train",)


def test_the_server_offers_it() -> None:
    config = json.loads((ROOT / "langgraph.json").read_text())
    assert config["graphs"]["improvement"] == "graph.app:improvement"


@pytest.fixture
def server() -> Iterator[ScriptedServer]:
    with ScriptedServer() as server:
        yield server


def first_adapter(base: Path, folder: Path) -> AdapterRef:
    """Save an adapter that changes nothing yet."""
    import torch
    from peft import LoraConfig, get_peft_model
    from transformers import AutoModelForCausalLM

    torch.manual_seed(1)
    settings = LoraConfig(r=4, lora_alpha=8, target_modules="all-linear", task_type="CAUSAL_LM")
    get_peft_model(AutoModelForCausalLM.from_pretrained(base), settings).save_pretrained(folder)
    return AdapterRef(id="0" * 32, folder=str(folder))


def deployed(tmp_path: Path, base: Path) -> str:
    registry = tmp_path / "home" / "registry"
    return deploy(first_adapter(base, tmp_path / "first"), registry, {"base": str(base)})


async def rated(runs: Runs, version: str, raters: int, stars: int, arm: Any = "") -> None:
    """Let people rate what a version answered; every third of them writes a better answer."""
    for number in range(raters):
        prompt, id_ = ASKED[number % len(ASKED)], f"{version}-{arm}-{number}"
        asked = [{"role": "user", "content": prompt}]
        await record_answer(runs.services, id_, version=version, messages=asked, text=DISLIKED, arm=arm)
        corrected = CORRECTED if stars <= 2 and number % 3 == 0 else ""
        await give_feedback(runs.services, id_, f"rater-{number}", stars=stars, corrected=corrected)


@pytest.mark.skipif(not os.environ.get("SLOW_TESTS"), reason="minutes of CPU: SLOW_TESTS=1 runs it")
async def test_the_whole_circle(tmp_path: Path, server: ScriptedServer) -> None:
    base = tiny_model(tmp_path / "base")
    version = deployed(tmp_path, base)
    prompts = write_prompts(tmp_path / "prompts.jsonl")
    sections = {"improve": {"similar": 6}, "generation": {"target": 0}, "evaluate": {"judged_pairs": 0}}
    request = RunRequest.model_validate(request_of(server.url, base, prompts, unattended=False, **sections))
    async with open_runs(Settings(home=tmp_path / "home", serve_canary=0.5)) as runs:
        assert (await next_turn(runs, request)).action == "wait"
        await rated(runs, version, 120, stars=2)
        turn = await next_turn(runs, request)
        assert turn.action == "run" and turn.run == f"improve-{version}-1" and "below 3.5" in turn.reason
        async for _ in runs.advance(turn.run, last="decide"):
            pass
        status = await runs.status(turn.run)
        assert (status.standing, status.step) == ("stopped", "augment")
        assert (await next_turn(runs, request)).run == turn.run, "a killed one goes on"
        async for _ in runs.advance(turn.run):
            pass
        while (status := await runs.status(turn.run)).step == "review":
            async for _ in runs.advance(turn.run, "reject"):
                pass
        assert (status.standing, status.step) == ("waiting", "approve"), status
        state = await runs.state(turn.run)
        assert state["improvement"].similar > 0 and state["improvement"].corrected == len(ASKED)
        assert state["against"].scoreboard.endswith(f"-{version}.json")
        (question,) = await runs.interrupts(turn.run)
        assert "the deployed one" in question.value["action_requests"][0]["description"]
        async for _ in runs.advance(turn.run, "approve"):
            pass
        registry = tmp_path / "home" / "registry"
        (new,) = set(versions(registry)) - {version}
        canary = read_canary(registry)
        assert canary is not None and (canary.version, canary.against) == (new, version) == (new, current(registry))

        await rated(runs, version, 200, stars=2, arm="current")
        await rated(runs, new, 200, stars=5, arm="canary")
        asked = await next_turn(runs, request)
        assert asked.action == "waits for a person" and "promote" in asked.reason and current(registry) == version
        done = await next_turn(runs, request.model_copy(update={"unattended": True}))
        assert done.action == "settled" and current(registry) == new and read_canary(registry) is None

        rows = Path(state["dataset"].folder)
        chosen = {json.loads(line)["completion"][0]["content"] for line in (rows / "sft.jsonl").open()}
        rejected = {json.loads(line)["rejected"][0]["content"] for line in (rows / "dpo.jsonl").open()}
        assert CORRECTED in chosen and DISLIKED in rejected and DISLIKED not in chosen
        heldout = {s.instruction for s in await runs.services.store.find(turn.run, Sample, tag="heldout")}
        seen = {s.instruction for s in await runs.services.store.find(turn.run, Sample, tag="train")}
        assert heldout and not heldout & seen
        kinds = {c.provenance for c in await runs.services.store.find(turn.run, Candidate)}
        assert {"served", "edited", "sampled"} <= kinds
        assert {r.reviewer[:6] for r in await runs.services.store.find(turn.run, Review)} >= {"rater-"}
        assert [look.action for look in await runs.services.feedback.looks("retrain")] == ["retrain"] * 2 + ["wait"]


@pytest.mark.skipif(not os.environ.get("SLOW_TESTS"), reason="minutes of CPU: SLOW_TESTS=1 runs it")
def test_a_killed_improvement_goes_on_and_asks_nothing_twice(tmp_path: Path, server: ScriptedServer) -> None:
    """Killed by SIGKILL while prompts are written, while answers are judged, and in the training."""
    base = tiny_model(tmp_path / "base")
    version = deployed(tmp_path, base)
    prompts = write_prompts(tmp_path / "prompts.jsonl", training=4, heldout=2)
    sections = {
        "improve": {"similar": 3},
        "generation": {"target": 0},
        "sampling": {"candidates": 2},
        "train": {"epochs": 3, "save_steps": 1, "seed_share": 0.0, "rounds": 1},
        "evaluate": {"judged_pairs": 0, "sampled_draws": 0},
    }
    home = Home.make(tmp_path, request_of(server.url, base, prompts, **sections))

    async def rate() -> None:
        async with open_runs(Settings(home=tmp_path / "home")) as runs:
            await rated(runs, version, 120, stars=2)

    asyncio.run(rate())
    moments = (
        lambda: home.query("SELECT 1 FROM samples WHERE origin = 'similar'"),
        lambda: len(home.query("SELECT 1 FROM judgements")) > 3,
        lambda: list((tmp_path / "home" / "runs").glob("*/training/round-1/*/sft/checkpoint-*")),
    )
    for moment in moments:
        process = home.start("improve", str(home.config))
        wait_until(moment, process, seconds=600)
        process.kill()
        process.wait()
    last = home.start("improve", str(home.config))
    output = last.communicate(timeout=900)[0]
    assert last.returncode == 0 and f"run improve-{version}-1 is not done" in output, output
    assert home.query("SELECT count(*) FROM runs") == [(1,)]
    asked = Counter(seen.hash for seen in server.answered)
    assert sum(count - 1 for count in asked.values()) <= 3 * 4, "what was in flight at each kill, four calls at most"
    assert len(list((tmp_path / "home" / "runs").glob("*/datasets/*"))) == 1


def plain_registry(tmp_path: Path, base: str = "embedded") -> str:
    """Deploy a folder without weights, for what only looks at names and records."""
    (tmp_path / "adapter").mkdir(parents=True, exist_ok=True)
    (tmp_path / "adapter" / "adapter_config.json").write_text("{}")
    ref = AdapterRef(id="a" * 32, folder=str(tmp_path / "adapter"))
    return deploy(ref, tmp_path / "home" / "registry", {"base": base})


async def test_there_is_nothing_to_improve_on_without_a_current_version(tmp_path: Path) -> None:
    async with open_runs(Settings(home=tmp_path / "home")) as runs:
        turn = await next_turn(runs, RunRequest())
        assert turn.action == "wait"
        assert "has no current version to improve on; 'corral run' makes the first" in turn.reason
        plain_registry(tmp_path, base="another")
        with pytest.raises(BadInput, match=r"/v1-\w+ is an adapter of another, and models\.base is embedded; give the"):
            await next_turn(runs, RunRequest())


async def test_where_it_stands_is_a_step_of_the_pipeline(tmp_path: Path, server: ScriptedServer) -> None:
    version = plain_registry(tmp_path, base="nobody/no-model")
    sections = {"improve": {"similar": 0, "start": "base"}, "generation": {"target": 0}}
    prompts = write_prompts(tmp_path / "prompts.jsonl")
    request = RunRequest.model_validate(request_of(server.url, Path("nobody/no-model"), prompts, **sections))
    async with open_runs(Settings(home=tmp_path / "home")) as runs:
        await rated(runs, version, 100, stars=1)
        turn = await next_turn(runs, request)
        server.fail_when = {"Tell": "404", "tell": "404"}
        with pytest.raises(EndpointError):
            async for _ in runs.advance(turn.run):
                pass
        status, state = await runs.status(turn.run), await runs.state(turn.run)
        assert (status.standing, status.step) == ("failed", "respond"), status
        assert state["accepted"] == 8 + len(ASKED) and state["improvement"].action == "retrain"
        steps = [name for name, _, _ in read_step_times(runs.services.runs_folder / turn.run)]
        assert steps[:3] == ["collect", "decide", "ask"] and "gate" in steps
        assert (await next_turn(runs, request)).run == turn.run


def test_a_policy_signs_only_what_is_better_than_what_is_deployed() -> None:
    better, worse, same = verdict("better"), verdict("worse"), verdict("not shown")
    cases = [(better, better, True), (same, better, True), (better, same, False), (better, worse, False)]
    for base, against, signed in [*cases, (worse, better, False)]:
        assert unattended_approval(base, [], against).approved == signed
    assert not unattended_approval(better, ["a tripwire"], better).approved
    asked = approval_action(better, "folder", ["a note"], worse).description
    assert "better than its base" in asked and "worse than the deployed one" in asked and "Warning: a note" in asked


def test_a_training_goes_on_with_the_deployed_adapter_or_afresh(tmp_path: Path) -> None:
    based = Improvement(version="v1-00000000", adapter=str(tmp_path / "v1"))
    afresh = RunRequest.model_validate({"improve": {"start": "base"}})
    assert start_of({"request": RunRequest(), "improvement": based}) == str(tmp_path / "v1")
    assert start_of({"request": afresh, "improvement": based}) == start_of({"request": RunRequest()}) == ""
    for folder in ("base", "v1", "v2"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "config.json").write_text("{}")
        (tmp_path / folder / "adapter_model.safetensors").write_bytes(folder.encode())
    (tmp_path / "sft.jsonl").write_text("{}\n")
    job = TrainingJob(base=str(tmp_path / "base"), recipe="sft", dataset=str(tmp_path), out="o")
    started = [job.model_copy(update={"start": str(tmp_path / name)}) for name in ("v1", "v2")]
    assert len({one.identity() for one in (job, *started)}) == 3, "each is another adapter"


async def test_a_run_that_studio_begins_is_known_by_its_graph(tmp_path: Path, server: ScriptedServer) -> None:
    version = plain_registry(tmp_path, base="nobody/no-model")
    prompts = write_prompts(tmp_path / "prompts.jsonl")
    given = {"request": request_of(server.url, Path("nobody/no-model"), prompts)}
    async with open_runs(Settings(home=tmp_path / "home")) as runs:
        done = await runs.improvement.ainvoke(given, {"configurable": {"thread_id": "studio"}})
        assert done["improvement"].version == version and done["improvement"].action == "wait"
        assert (await runs.services.store.request_of("studio")).improve.from_feedback
        assert (await runs.status("studio")).standing == "done" and await runs.graph("studio") is runs.improvement
        (look,) = await runs.services.feedback.looks("retrain")
        assert look.reason == done["improvement"].reason == "0 ratings in 7 days, fewer than 100"
        wrong = {"request": {**given["request"], "improve": {"from_feedback": True}}}
        with pytest.raises(BadInput, match="is for the graph 'improvement'"):
            await runs.pipeline.ainvoke(wrong, {"configurable": {"thread_id": "other"}})


async def test_an_improvement_that_another_process_works_on_is_not_begun_again(tmp_path: Path) -> None:
    version = plain_registry(tmp_path)
    async with open_runs(Settings(home=tmp_path / "home")) as runs:
        wanted = improving(RunRequest(), tmp_path / "home" / "registry", version)
        await runs.services.store.open_run(f"improve-{version}-1", wanted)
        assert (await next_turn(runs, RunRequest())).run == f"improve-{version}-1"
        elsewhere = "UPDATE runs SET lease_owner = 'elsewhere:1', lease_until = 9e9"
        async with runs.services.database.writing() as connection:
            await connection.execute(text(elsewhere))
        with pytest.raises(RunBusy, match=r"improves on the deployed version already.*elsewhere"):
            await next_turn(runs, RunRequest())


def test_it_learns_from_what_the_deployed_adapter_says_unless_it_begins_afresh(tmp_path: Path) -> None:
    version = plain_registry(tmp_path)
    registry = tmp_path / "home" / "registry"
    goes_on = improving(RunRequest(), registry, version)
    assert goes_on.improve.from_feedback and goes_on.models.policy.model == str(registry / version)
    fresh = RunRequest.model_validate({"improve": {"start": "base"}})
    assert improving(fresh, registry, version).models.policy == fresh.models.policy
    served = RunRequest.model_validate({"models": {"policy": {"base_url": "http://127.0.0.1:1/v1", "model": "m"}}})
    assert improving(served, registry, version).models.policy == served.models.policy


async def test_low_rated_prompts_get_similar_ones_through_all_gates(
    tmp_path: Path, store: RecordStore, server: ScriptedServer
) -> None:
    """Also one that is held out, word for word: the generator writes it, and nothing of it is trained on."""
    held = "Explain bread ovens in plain words before a long journey."
    prompts = tmp_path / "prompts.jsonl"
    prompts.write_text(json.dumps({"prompt": held, "split": "heldout"}) + "\n")

    def answer(body: dict[str, Any]) -> str:
        return held + "\n1. Input:\n<noinput>\n1. Output:\nThey are hot.\n###\n" + answer_to(body)

    server.answer = answer
    request = RunRequest.model_validate(
        request_of(server.url, tmp_path, prompts, improve={"similar": 3}, gates={"off": ["too_similar"]})
    )
    asked = sample("Please tell our customers how a kettle is cleaned.", origin="feedback")
    good = sample("Please tell our customers how a lamp is lit.", origin="feedback")
    await store.add("run", [asked, good])
    await store.add("run", [candidate(asked, DISLIKED, provenance="served", outcome=Outcome.REJECTED)])
    await store.add("run", [candidate(good, "With a match.", provenance="served")])
    services = make_services(Settings(home=tmp_path / "home"))
    opened = await endpoints(store, services)
    state: PipelineState = {
        "run_id": "run", "request": request, "improvement": Improvement(version="v1-00000000", adapter="")
    }  # fmt: skip
    node = make_augment(store, opened)
    update = await node(state)
    assert update["improvement"].similar >= 3 and not update["overspend"]
    shown = server.requests[0].text
    assert "kettle" in shown and "lamp" not in shown
    rows = await store.find("run", Sample, origin="similar")
    (held_out,) = [row for row in rows if row.instruction.startswith("Explain bread ovens in plain words before")]
    assert held_out.outcome == Outcome.REJECTED and held_out.reasons
    assert all(row.output == "" for row in rows if row.outcome == Outcome.ACCEPTED)
    made = len(server.requests)
    assert (await node(state))["improvement"] == update["improvement"], "killed before its end, it goes on the same"
    assert len(server.requests) == made


async def endpoints(store: RecordStore, services: Services) -> OpenEndpoint:
    """Return what opens endpoints over the store's own database."""
    calls = CallStore(store.database)
    await store.open_run("run", RunRequest())

    async def opened(spec: Endpoint, run_id: str) -> ChatEndpoint:
        return await open_endpoint(spec, calls, run_id, services.settings)

    return opened


def test_the_command_looks_once_and_says_why_it_waits(corral: Corral, tmp_path: Path) -> None:
    code, out, _ = corral("improve")
    assert code == 0 and "has no current version to improve on" in out, (
        "a schedule is no failure before the first version"
    )
    version = plain_registry(tmp_path)
    code, out, _ = corral("improve")
    assert (code, out) == (0, f"{version}: 0 ratings in 7 days, fewer than 100\n")
    code, out, _ = corral("improve", "--set", "improve.rule=interval", "--unattended")
    assert (code, out) == (0, f"{version}: 0 raters, fewer than 30\n")
    refused(corral("improve", "--every", "soon"), "--every takes a time such as 90s, 30m, 1h or 1d, not 'soon'")
    refused(corral("improve", "--set", "improve.rul=interval"), "improve.rule")


def test_the_command_shows_promotes_and_ends_a_trial(corral: Corral, tmp_path: Path) -> None:
    code, out, _ = corral("canary")
    assert code == 0 and "is being tried; CORRAL_SERVE_CANARY" in out
    refused(corral("canary", "--end"), "no version of", "is being tried")
    version, registry = plain_registry(tmp_path), tmp_path / "home" / "registry"
    new = add(AdapterRef(id="b" * 32, folder=str(tmp_path / "adapter")), registry, {})
    open_canary(registry, new, 0.1)
    code, out, _ = corral("improve")
    assert code == 0 and f"{new} is being tried: not decided" in out
    code, out, _ = corral("canary", "--end")
    assert (
        code == 0 and out.startswith(f"{new} serves 0.1 of the users beside {version}") and current(registry) == version
    )
    open_canary(registry, new, 0.1)
    assert corral("canary", "--promote")[0] == 0 and (current(registry), read_canary(registry)) == (new, None)
    refused(corral("canary", "--promote", "--end"), "exclude each other")


@pytest.mark.parametrize(("every", "seconds"), [(None, 0), ("90s", 90), ("30m", 1800), ("1h", 3600), ("1.5d", 129_600)])
def test_times_of_a_schedule(every: str | None, seconds: float) -> None:
    assert seconds_of(every) == seconds


@pytest.mark.parametrize("every", ["", "1", "h", "-1h", "0s", "1 h 5", "1e9d", "999999d"])
def test_what_is_no_time_of_a_schedule(every: str) -> None:
    with pytest.raises(BadInput, match="--every takes a time"):
        seconds_of(every)
