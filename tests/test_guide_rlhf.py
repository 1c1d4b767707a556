"""The RLHF guide from top to bottom, in its own words: judges, context, endpoints, pairs, the pipeline, the monitor."""

from __future__ import annotations

import asyncio
import inspect
import json
import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas
import polars
import pytest
import yaml
from datasets import Dataset
from langchain_core.runnables import RunnableLambda
from langchain_openai import ChatOpenAI
from pydantic import SecretStr

import corral
from corral import (
    AutomatedRLHFPipeline,
    DPODatasetBuilder,
    Endpoint,
    MultiAgentRLHF,
    PipelineConfig,
    RLHFMonitor,
    RunRequest,
    SyntheticFeedback,
    SyntheticFeedbackGenerator,
    load_request,
    load_settings,
    open_runs,
)
from corral.automated import prompt_rows
from state.dimensions import DIMENSIONS
from state.errors import BadInput, BudgetExceeded
from state.request import Gates, Judging
from tests.harness import request_of, write_prompts
from tests.judging_support import FunctionEndpoint, fixed_answers
from tests.scripted_server import ScriptedServer
from tests.tiny_model import tiny_model
from tools.endpoint.chat import ChatCall
from tools.judging.judge import CrewJudge
from tools.sources.prompts import load_prompts

BUDGET = "Allocate a budget of $2.5M across Amazon, Walmart and Target."
RIGHT, WRONG = "Amazon $1.2M, Walmart $800K, Target $500K.", "Amazon $1.2M, Walmart $800K, Target $600K."
OWN = {"seasonality": {"weight": 0.2, "rubric": "90: names the season {today}. 40: fits any month."}}
PLANNER = {"role": "retail media planner", "backstory": "Has seen {many} plans fail.", "years_of_experience": 15}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CORRAL_HOME", str(tmp_path / "home"))
    return tmp_path


def graded(score: int = 80, stars: int = 4) -> Callable[[dict[str, Any]], str]:
    """Return a server's answer function that always gives this score and these stars."""

    def answer(body: dict[str, Any]) -> str:
        if "stars" in json.dumps(body):
            return json.dumps({"stars": stars, "strength": "It adds up.", "weakness": "It gives no dates."})
        return json.dumps({"score": score, "reason": "Every sum is right."})

    return answer


# 1. Synthetic feedback, and the environment


@pytest.mark.parametrize(
    ("named", "model"),
    [
        ({"OPENAI_MODEL": "scripted"}, "scripted"),
        ({}, "scripted"),  # the first that the server lists
        ({"OLLAMA_MODEL": "scripted"}, "scripted"),
    ],
    ids=["model", "key and URL", "Ollama"],
)
def test_the_environment_names_the_judge(named: dict[str, str], model: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with ScriptedServer(answer=graded()) as server:
        there = {"OPENAI_API_KEY": "sk-mine", "OPENAI_BASE_URL": server.url}
        if "OLLAMA_MODEL" in named:
            there = {"OLLAMA_BASE_URL": server.url.removesuffix("/v1")}
        for name, value in (there | named).items():
            monkeypatch.setenv(name, value)
        feedback = SyntheticFeedbackGenerator("budgeting").generate_feedback(BUDGET, RIGHT)
    assert (feedback.overall_rating, feedback.is_chosen, feedback.overall_score) == (4, True, 80.0)
    assert {seen.body["model"] for seen in server.requests} == {model}
    assert {seen.key for seen in server.requests} == {"sk-mine" if "OPENAI_API_KEY" in there else ""}


def test_a_key_alone_means_openais_small_model_in_python_and_changes_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert MultiAgentRLHF()._model.spec == Endpoint()
    monkeypatch.setenv("OPENAI_API_KEY", "sk-mine")
    spec = MultiAgentRLHF()._model.spec
    assert (spec.base_url, spec.model) == ("https://api.openai.com/v1", "gpt-4o-mini")
    assert load_request(None).models.judge == Endpoint()


async def test_the_same_words_mean_the_same_model_in_python_and_in_yaml(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with ScriptedServer(models=("scripted", "other")) as server:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_MODEL", "other")
        config = home / "run.yaml"
        config.write_text(yaml.safe_dump({"models": {"judge": {"model": "scripted"}}}))
        assert load_request(config).models.judge.base_url == server.url
        assert MultiAgentRLHF(endpoint=Endpoint(model="scripted"))._model.spec.base_url == server.url
        async with open_runs() as runs:
            named = RunRequest.model_validate({"models": {"judge": {"model": "scripted"}}})
            kept = await runs.services.store.request_of(await runs.create(named, "words", probe=False))
    assert (kept.models.judge.base_url, kept.models.judge.model) == (server.url, "scripted")
    assert (kept.models.generator.base_url, kept.models.generator.model) == (server.url, "other")
    assert kept.models.policy.base_url == "weights", "the model that is trained is no server's"


async def test_every_method_has_both_forms(home: Path) -> None:
    rows = [{"prompt": "Why?", "model_output": "So."}]
    judges = MultiAgentRLHF(endpoint=FunctionEndpoint(fixed_answers(88)))
    assert judges.evaluate("Why?", "So.") == await judges.aevaluate("Why?", "So.")
    assert judges.evaluate_batch(rows) == await judges.aevaluate_batch(rows)
    generator = SyntheticFeedbackGenerator(endpoint=FunctionEndpoint(fixed_answers(88)))
    assert generator.generate_batch(rows) == await generator.agenerate_batch(rows)
    monitor = RLHFMonitor(settings=load_settings())
    quality = monitor.track_feedback_quality(generator.generate_batch(rows))
    assert quality == await monitor.atrack_feedback_quality(generator.generate_batch(rows))
    assert monitor.quality_by_day() == await monitor.aquality_by_day() != []
    assert monitor.drift() == await monitor.adrift()
    rated = generator.generate_batch(rows) * 2
    assert monitor.compare_model_versions(rated, rated) == await monitor.acompare_model_versions(rated, rated)


@pytest.mark.parametrize("name", [name for name in corral.__all__ if inspect.isclass(getattr(corral, name))])
def test_no_method_of_the_guide_is_without_its_other_form(name: str) -> None:
    """``judge_all`` is what two of them share; a trace is entered by ``with`` and by ``async with``."""
    kind = getattr(corral, name)
    if kind.__module__.startswith("corral."):
        there = {key for key in vars(kind) if not key.startswith("_") and inspect.isfunction(getattr(kind, key))}
        waiting = {key for key in there if inspect.iscoroutinefunction(getattr(kind, key))} - {"judge_all"}
        assert {key.removeprefix("a") for key in waiting} <= there
        at_once = {"trace_feedback_collection", "trace_training", "note", "row", "score_of", "save", "to_hf"}
        assert {f"a{key}" for key in there - waiting} - waiting <= {f"a{key}" for key in at_once | {"judge_all"}}


# 2. Five judges, and those of your own


def test_the_scores_have_the_guides_names_and_make_a_table() -> None:
    judges = MultiAgentRLHF("budgeting", endpoint=FunctionEndpoint(fixed_answers(90)))
    right, wrong = judges.evaluate(BUDGET, RIGHT), judges.evaluate(BUDGET, WRONG)
    assert right.is_acceptable and right.overall_score == 90
    assert right.accuracy_score == right.brand_alignment_score == right.compliance_score == 90
    assert right.clarity_score == right.actionability_score == 90
    assert set(right.detailed_feedback) == set(DIMENSIONS)
    assert wrong.accuracy_score == 40 and "2,600,000" in wrong.detailed_feedback["accuracy"]
    assert wrong["accuracy_score"] == 40 and wrong["overall"] == wrong["overall_score"] < 90
    table = pandas.DataFrame([right, wrong])
    assert list(table["accuracy_score"]) == [90, 40] and list(table["is_acceptable"]) == [True, True]
    assert len(table["failed_checks"][1]) == 1
    feedback = SyntheticFeedbackGenerator(endpoint=FunctionEndpoint(fixed_answers(90))).generate_feedback("Why?", "So.")
    assert (feedback.accuracy_score, feedback.overall_score) == (90, 90) and "as asked" in feedback.detailed_feedback
    assert pandas.DataFrame([feedback, feedback])["clarity_score"].mean() == 90


@pytest.mark.parametrize("accept", [50, 50.0, 10])
def test_a_threshold_alone_is_enough(accept: float) -> None:
    judges = MultiAgentRLHF(endpoint=FunctionEndpoint(fixed_answers(52)), accept=accept)
    assert judges.evaluate("Why?", "So.").is_acceptable
    assert load_request(None, [f"judge.accept={accept}"]).judge.review_from == accept
    assert (Judging(accept=60).review_from, Judging().review_from, Gates(accept=0.4).review_from) == (55, 55, 0.4)


def test_dimensions_and_experts_of_your_own_judge() -> None:
    def answer(call: ChatCall) -> dict[str, Any]:
        return fixed_answers(100 if call.purpose == "judge.seasonality" else 50)(call)

    asked = FunctionEndpoint(answer)
    found = MultiAgentRLHF("creative", endpoint=asked, dimensions=OWN, expert=PLANNER).evaluate("Why?", "So.")
    assert found.score_of("seasonality") == found["seasonality_score"] == 100 and found.overall_score == 60
    said = {call.purpose: call.messages[0]["content"] for call in asked.calls}
    assert "90: names the season {today}." in said["judge.seasonality"] and len(said) == 7
    assert "retail media planner" in said["judge.expert"] and "15 years of experience" in said["judge.expert"]
    assert "Has seen {many} plans fail." in said["judge.expert"] and "creative director" not in said["judge.expert"]


def test_they_are_the_same_in_yaml_and_a_part_of_who_judges(home: Path) -> None:
    config = home / "run.yaml"
    alone = {"seasonality": {"weight": 1.0, "rubric": "90: yes. 40: no."}}
    config.write_text(yaml.safe_dump({"judge": {"dimensions": alone, "expert": PLANNER}}))
    judging = load_request(config).judge
    assert judging.shares == {"seasonality": 1.0} and judging.expert is not None
    endpoint = FunctionEndpoint(fixed_answers())
    found = MultiAgentRLHF(endpoint=endpoint, dimensions=alone).evaluate("Why?", "So.")
    assert list(found.scores) == ["seasonality"] and len(endpoint.calls) == 2, "the five are not asked"
    settings = (Judging(), judging, Judging(expert=judging.expert), Judging(context={"brand": "Acme"}))
    assert len({CrewJudge(endpoint, one).identity for one in settings}) == 4


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"dimensions": {"accuracy": {"weight": 0.1, "rubric": "x"}}}, "the name accuracy is taken"),
        ({"dimensions": {"Tone of voice": {"weight": 0.1, "rubric": "x"}}}, "dimensions.Tone of voice"),
        ({"dimensions": {"tone": {"weight": 0.1}}}, "dimensions.tone.rubric"),
        ({"dimensions": {n: {"weight": 0.6, "rubric": "x"} for n in ("one", "two")}}, "sum to 1 at most, not 1.2"),
        ({"weights": {"accuracy": 1.0}}, "one of your own has its weight in judge.dimensions"),
        ({"expert": {"goal": "x"}}, "expert.role"),
        ({"expert": {"role": "x", "years_of_experience": -1}}, "expert.years_of_experience"),
        ({"context": {"brand_terms": 7}}, "brand_terms"),
        ({"endpoint": 7}, "a chat model, a Runnable or a function"),
        ({"endpoint": ChatOpenAI}, "not ChatOpenAI"),
        ({"endpoint": {"model": "m"}}, r"endpoint is a mapping; give corral\.Endpoint\(base_url=\.\.\., model="),
        ({"endpoint": "gpt-4o"}, "neither a URL nor 'embedded'"),
        ({"endpoint": lambda prompt: "So.", "budget": 1.0}, r"what .* costs is not known"),
        ({"budget": True}, "number of dollars"),
    ],
)
def test_what_cannot_work_is_told_at_once_in_one_line(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(BadInput, match=fault) as refused:
        MultiAgentRLHF(**settings)
    assert "\n" not in str(refused.value)


# 3. Context: brand, retailer, audience, terms, tone


def test_context_reaches_checks_and_judges_and_the_nearest_counts() -> None:
    endpoint = FunctionEndpoint(fixed_answers(90))
    judges = MultiAgentRLHF(endpoint=endpoint, context={"brand_terms": ["Acme"], "retailer": "Amazon"})
    missing = judges.evaluate("Write a line.", "Buy now.")
    assert missing.brand_alignment_score == 50 and "Amazon" in endpoint.calls[0].messages[0]["content"]
    there = judges.evaluate("Write a line.", "Buy now.", {"brand_terms": ["now"]})
    assert there.brand_alignment_score == 90


def test_a_prompts_own_context_is_read_and_a_wrong_one_has_its_place(home: Path) -> None:
    path = home / "prompts.jsonl"
    rows = [{"prompt": "Write a line."}, {"prompt": "Write a line.", "context": {"brand": "Acme"}}]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    plain, branded = load_prompts(path, 0.0)
    assert branded.context == {"brand": "Acme"} and plain.id != branded.id
    path.write_text(json.dumps({"prompt": "p", "context": {"tone": 3}}))
    with pytest.raises(BadInput, match=r"line 1: .*tone"):
        load_prompts(path, 0.0)


# 4. Endpoints: a chat model, a Runnable, a function and a URL alike


async def test_whatever_can_be_asked_judges(home: Path) -> None:
    answer = graded()

    def function(prompt: str) -> str:
        return answer({"asked": prompt})

    async def coroutine(prompt: str) -> str:
        return answer({"asked": prompt})

    with ScriptedServer(answer=answer) as server:
        chat = ChatOpenAI(model="scripted", base_url=server.url, api_key=SecretStr("k"))
        brought = (function, coroutine, RunnableLambda(function), chat, server.url)
        found = [MultiAgentRLHF(endpoint=one).evaluate("Why?", "So.") for one in brought]
        again = MultiAgentRLHF(endpoint=chat).evaluate("Why?", "But so.")
    assert [one.overall_score for one in (*found, again)] == [80.0] * 6
    assert len({one.judge for one in found}) == 4, "two of them run one function; a URL is part of a judge's name"


def test_a_function_that_raises_or_returns_nothing_fails_its_answer_in_one_line() -> None:
    def broken(prompt: str) -> Any:
        if "raise" in prompt:
            raise ValueError("no\nway")
        return None

    generator = SyntheticFeedbackGenerator(endpoint=broken)
    raised, nothing = generator.generate_batch([{"prompt": p, "output": "o"} for p in ("raise", "return")])
    assert "broken raised ValueError: no way" in raised.error and "\n" not in raised.error
    assert "broken returned nothing, not text" in nothing.error and nothing.overall_rating is None


# 5. Preference pairs


async def test_pairs_are_a_sequence_and_failures_are_counted(home: Path) -> None:
    at_once = most = 0

    async def write(prompt: str) -> str:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await asyncio.sleep(0.01)
        at_once -= 1
        if "broken" in prompt:
            raise RuntimeError("out of order")
        return f"An answer of quality {'high' if at_once % 2 else 'low'}."

    def answer(call: ChatCall) -> dict[str, Any]:
        good = "quality high" in call.messages[0]["content"]
        return fixed_answers(90 if good else 60, 5 if good else 3)(call)

    generator = SyntheticFeedbackGenerator(endpoint=FunctionEndpoint(answer))
    builder = DPODatasetBuilder(generator, rejected_to=3)
    pairs = await builder.abuild_dataset(["Good?", "broken?", {"prompt": "Better?"}], write, 4, parallel=6)
    assert (len(pairs), pairs.failures, most) == (2, 4, 6)
    assert (
        pairs.failed == {"broken?": "RuntimeError: out of order"}
        and "every variation failed" in pairs.without_pair["broken?"]
    )
    assert [row["prompt"][0]["content"] for row in pairs] == ["Good?", "Better?"] and pairs[0] == pairs.rows[0]
    assert pairs[-1]["chosen"][0]["content"] == "An answer of quality high."
    assert isinstance(pairs.to_hf(), Dataset) and pairs.to_hf().column_names == ["prompt", "chosen", "rejected"]
    strict = await DPODatasetBuilder(generator).abuild_dataset(["Good?"], write, 4)
    assert len(strict) == 0 and strict.without_pair == {"Good?": "no answer has at most two stars"}
    with pytest.raises(BadInput, match="there is no pair"):
        strict.to_hf()
    with pytest.raises(BadInput, match="rejected_to < chosen_from"):
        DPODatasetBuilder(generator, chosen_from=2, rejected_to=2)
    with pytest.raises(BadInput, match="prompt 1: there is no 'prompt'"):
        await builder.abuild_dataset(["Good?", ""], write)


# 6. The pipeline

FIELDS = {"num_epochs": 4, "batch_size": 4, "lora_r": 4, "lora_alpha": 8, "num_variations": 3, "max_tokens": 48}
SMALL = {
    "train": {"save_steps": 50, "rounds": 1, "seed_share": 0.0},
    "evaluate": {"max_tokens": 12, "resamples": 200, "sampled_draws": 0, "judged_pairs": 0},
    "models": {},
}


@pytest.mark.usefixtures("in_this_process")
def test_a_pipeline_goes_from_prompts_to_a_verdict_and_on_by_its_name(home: Path) -> None:
    asked: list[str] = []
    mended = False

    def answer(prompt: str) -> str | None:
        asked.append(prompt)
        if "raise" in prompt and not mended:
            raise RuntimeError("the model is out")
        return None if "nothing" in prompt else f"{prompt.split()[-1]} is useful for {len(asked)} things at home."

    prompts = [f"Tell me about {what}" for what in ("kettles", "ladders", "raise", "nothing", "anchors", "saddles")]
    base = tiny_model(home / "base")
    with ScriptedServer(answer=graded(85, 5)) as server:
        judge = Endpoint(base_url=server.url, model="scripted")
        config = PipelineConfig(base_model=str(base), context={"brand": "Acme"}, settings=SMALL, **FIELDS)
        pipeline = AutomatedRLHFPipeline(config, "strategic planning", endpoint=judge)
        result = pipeline.run_full_pipeline(prompts, model_inference_fn=answer, adapter_name="brand_acme_v3")
        questions, spoken = len(asked), len(server.requests)
        again = pipeline.run_full_pipeline(prompts, model_inference_fn=answer, adapter_name="brand_acme_v3")
        with pytest.raises(BadInput, match="began with other prompts"):
            pipeline.run_full_pipeline(prompts[:3], model_inference_fn=answer, adapter_name="brand_acme_v3")
        with pytest.raises(BadInput, match="began with another config"):
            other = AutomatedRLHFPipeline({**FIELDS, "settings": SMALL, "lora_r": 8}, endpoint=judge)
            other.run_full_pipeline(prompts, model_inference_fn=answer, adapter_name="brand_acme_v3")
    assert again == result and (len(asked), len(server.requests)) == (questions, spoken), "nothing is asked again"
    assert (result.adapter_name, result.standing) == ("brand_acme_v3", "done")
    stages = result.stages
    assert stages.feedback and stages.feedback.avg_rating == 5 and stages.feedback.failed == 0
    assert stages.dataset and stages.dataset.num_examples == stages.dataset.sft_rows > 0
    assert stages.answers and stages.answers.failed >= 3 and stages.training and stages.evaluation
    assert stages.evaluation.verdict in ("better", "not shown", "worse") and stages.deployment is not None
    assert result["stages"]["dataset"]["num_examples"] == stages.dataset.num_examples
    assert any("Acme" in seen.text for seen in server.requests), "the judges read the context"
    rows = asyncio.run(candidates("brand_acme_v3"))
    failed = {reason for row in rows for reason in row["reasons"] if row["outcome"] == "failed"}
    assert any("answer raised RuntimeError: the model is out" in why for why in failed) or any(
        "answer returned nothing" in why for why in failed
    )
    table = pandas.DataFrame(rows)
    assert polars.DataFrame(rows).columns == list(table.columns)
    assert table["accuracy_score"].max() == 85 and set(Dataset.from_list(rows).column_names) == set(table.columns)


async def candidates(run_id: str) -> list[dict[str, Any]]:
    async with open_runs() as runs:
        with pytest.raises(BadInput, match="the nearest of"):
            await runs.rows(run_id, "candidats")
        return await runs.rows(run_id, "candidates")


@pytest.mark.parametrize(
    ("given", "fault"),
    [
        ({"epochs": 0}, "epochs"),
        ({"patience": 3}, "patience: unknown here; its fields are base_model"),
        ({"settings": {"trian": {}}}, "unknown key trian; did you mean train"),
        ({"training_method": "ppo"}, "there is no phase 'ppo'"),
        ({"context": {"tone": 5}}, "tone"),
    ],
)
def test_a_wrong_config_is_refused_before_anything_is_done(given: dict[str, Any], fault: str) -> None:
    with pytest.raises(BadInput, match=fault) as refused:
        AutomatedRLHFPipeline(given)
    assert "\n" not in str(refused.value)


def test_prompts_are_held_out_by_what_they_say() -> None:
    rows = prompt_rows(["one", "two", "three", "two"], (), 0.1)
    assert [row["prompt"] for row in rows] == ["one", "two", "three"]
    assert [row["split"] for row in rows].count("heldout") == 1
    stated = prompt_rows(["one", {"prompt": "two", "checks": []}], ["three"], 0.5)
    assert [row["split"] for row in stated] == ["train", "train", "heldout"]
    with pytest.raises(BadInput, match="two different prompts"):
        prompt_rows(["one", "one"], (), 0.5)


# 7. Runs in one line, and what a program brings


def test_a_run_is_one_synchronous_line(home: Path, caplog: pytest.LogCaptureFixture) -> None:
    def write(prompt: str) -> str:
        return f"{prompt.split()[-1]} is good to have at home."

    with ScriptedServer() as server:
        written = request_of(
            server.url, Path("nobody/no-model"), write_prompts(home / "p.jsonl", 3, 1), unattended=False
        )
        written["models"]["policy"] = {"base_url": "program", "model": "mine"}
        written |= {"generation": {"target": 0}, "judge": {"accept": 101 - 1, "review_from": 0}}
        with caplog.at_level(logging.WARNING):
            done = corral.run(written, run_id="one", chat_models={"mine": write, "mnie": write})
        with pytest.raises(BadInput, match="brought by a Python program"):
            corral.run(written, run_id="two")
    assert (done.run_id, done.standing, done.step) == ("one", "waiting", "review")
    assert "no part of this request asks the model 'mnie'" in caplog.text
    with pytest.raises(BadInput, match="not int"):
        corral.run(7)  # type: ignore[arg-type]  # the refusal is what is tested


# 8. The monitor


def test_the_monitor_speaks_the_guides_words() -> None:
    def rated(stars: int) -> SyntheticFeedback:
        said: dict[str, Any] = {"reasons": (), "strengths": (), "weaknesses": (), "confidence": 0.9, "judge": "j"}
        return SyntheticFeedback(overall_rating=stars, is_chosen=stars >= 4, **said)

    monitor = RLHFMonitor()
    quality = monitor.track_feedback_quality([rated(3), rated(4)])
    assert quality.average_rating == quality["average_rating"] == 3.5
    compared = monitor.compare_model_versions("v1", "v2", [rated(2)] * 12, [rated(5)] * 12)
    assert (compared.winner, compared.rating_delta) == ("v2", 3.0) and compared.summary.startswith("v2 is better")
    assert compared["winner"] == "v2" and set(pandas.DataFrame([compared]).columns) >= {"winner", "low", "high"}
    with pytest.raises(BadInput, match="two names"):
        monitor.compare_model_versions("v1", "v1", [rated(2)], [rated(5)])
    with pytest.raises(BadInput, match="give two names"):
        monitor.compare_model_versions("v1", [rated(2)], [rated(5)])
    with pytest.raises(BadInput, match="version v2 has no rated"):
        monitor.compare_model_versions("v1", "v2", [rated(2)], [])
    with pytest.raises(BadInput, match="alert_below is given by name"):
        RLHFMonitor(3.0)  # type: ignore[arg-type]  # the refusal is what is tested


def test_a_budget_holds_for_what_a_program_brings_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("corral.endpoints._price_of_brought", lambda given: None)
    with ScriptedServer(answer=graded()) as server:
        spec = Endpoint(base_url=server.url, model="scripted", input_price=1e4, output_price=1e4)
        judges = MultiAgentRLHF(endpoint=spec, budget=0.5)
        with pytest.raises(BudgetExceeded):
            judges.evaluate("Why?", "So.")
    assert judges.spending.cap == 0.5 and judges.spent <= 0.5
