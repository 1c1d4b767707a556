"""The Alpaca guide from top to bottom: crews and their tools, decision trees, checklists, settings of the training."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from corral.crew_tools import planned, read_inputs
from examples import crew as example
from graph.crews.catalogue import TOOLS, arguments, description, use_tool
from graph.crews.kickoff import run_crew
from graph.crews.result import KEPT, read_result
from graph.crews.session import CrewSession
from graph.reported import _with_failures
from graph.runs import Runs, open_runs
from state.errors import BadInput, BudgetExceeded, CorralError
from state.pipeline import AdapterRef, PipelineState
from state.records import Answer
from state.request import Gates, RunRequest, Training
from tests.builders import sample
from tests.harness import Corral, refused, request_of, write_prompts
from tests.scripted_answers import answer_to
from tests.scripted_server import ScriptedServer
from tests.tiny_model import tiny_model
from tools.checklists.data import (
    DataFacts,
    RoundFacts,
    SeedFacts,
    after_items,
    before_items,
    dataset_items,
    during_items,
    instruction_items,
)
from tools.checklists.deployment import DeploymentFacts, deployment_items
from tools.checklists.items import Checklist, Checklists, item
from tools.checklists.kept import read_checklists
from tools.config import load_request, read_request
from tools.crews.adapting import LARGE, Requirements, adapted_request, adaptive_workflow, optimize_training_config
from tools.crews.performance import PerformanceFacts, validate_performance
from tools.crews.reading import SHIPPED, read_crew
from tools.crews.rules import DELEGATE, RULES, CrewFacts, next_use
from tools.dataset.files import alpaca_rows
from tools.dataset.pairing import Pair
from tools.evaluation.scoring import score_answer
from tools.gates import DEFAULT_POLICY, GatePipeline, gate_file, load_safety_policy
from tools.gates.content import ContentGate
from tools.gates.gate import GateInputs
from tools.gates.pipeline import demand_known_rules
from tools.gates.results import judged
from tools.generation.deciding import GenerationFacts, decide_next_round
from tools.machine.resources import Gpu, Resources
from tools.settings import Settings
from tools.training.checklists import benchmark_item
from tools.training.checklists import during_items as training_items
from tools.training.decision import Survey, decide_training
from tools.training.estimate import BaseFacts, Machine, PhaseWork
from tools.training.job import TrainingJob

GUIDE = (
    "openai_completion rouge_similarity format_alpaca_data similarity_checker content_filter safety_validator "
    "task_analysis diversity_checker batch_processor tokenisation format_converter training_launcher "
    "hyperparameter_tuner checkpoint_manager evaluation_suite benchmark_runner report_generator workflow_management "
    "resource_monitor quality_gate"
).split()
"""The guide's tools."""


def spoken(thought: str, tool: str, **given: Any) -> str:
    return f"Thought: {thought}\nAction: {tool}\nAction Input: {json.dumps(given)}"


@pytest.fixture
async def runs(tmp_path: Path) -> AsyncIterator[Runs]:
    async with open_runs(Settings(home=tmp_path / "home")) as opened:
        yield opened


def session_of(runs: Runs, request: RunRequest | None = None, **options: Any) -> CrewSession:
    plan = request or RunRequest(name="crew", unattended=True)
    return CrewSession(runs, asyncio.get_running_loop(), plan, **options)


def small_crew(folder: Path, agents: dict[str, Any] | None = None, tasks: dict[str, Any] | None = None) -> str:
    folder.mkdir(exist_ok=True)
    agent = {"role": "Looker", "goal": "look", "tools": ["task_analysis"]}
    task = {"description": "Look at the seeds.", "expected_output": "What they are.", "agent": "looker"}
    (folder / "agents.yaml").write_text(yaml.safe_dump(agents or {"looker": agent}))
    (folder / "tasks.yaml").write_text(yaml.safe_dump(tasks or {"look": task}))
    return str(folder)


# Crews: agents and tasks


def test_both_crews_of_the_guide_are_there() -> None:
    sequential, hierarchical = (read_crew(name, TOOLS) for name in SHIPPED)
    assert {agent.role for agent in sequential.agents.values()} == {
        "Instruction Data Generator",
        "Data Quality Controller",
        "Model Training Coordinator",
    }
    assert sequential.manager is None and hierarchical.manager == "master_coordinator"
    assert {agent.role for agent in hierarchical.agents.values()} == {
        "Master Coordinator",
        "Seed Task Curator",
        "Instruction Generator",
        "Quality Auditor",
        "Data Preprocessor",
        "Training Engineer",
        "Model Evaluator",
    }


def test_every_tool_of_the_guide_is_there_and_used_by_an_agent() -> None:
    assert sorted(TOOLS) == sorted(GUIDE)
    crew = read_crew("hierarchical", TOOLS)
    assert {tool for agent in crew.agents.values() for tool in agent.tools} >= set(GUIDE) - {"diversity_checker"}
    assert all(description(tool).endswith(".") and arguments(tool).model_json_schema() for tool in TOOLS)


AGENT = {"role": "Looker", "goal": "look"}
TASK = {"description": "Look.", "expected_output": "Seen.", "agent": "looker"}


@pytest.mark.parametrize(
    ("agents", "tasks", "said"),
    [
        ({"looker": AGENT}, {"look": TASK | {"agent": "loker"}}, "no agent 'loker'; did you mean 'looker'?"),
        ({"looker": AGENT | {"tools": ["rouge"]}}, {"look": TASK}, "no tool 'rouge'; did you mean 'rouge_similarity'?"),
        ({"looker": AGENT}, {"look": TASK | {"tools": ["fly"]}}, "no tool 'fly'; there are"),
        ({"looker": AGENT}, {"look": TASK | {"context": ["before"]}}, "no task before it 'before'; there are none"),
        ({"looker": AGENT | {"colour": 1}}, {"look": TASK}, "looker: colour: unknown here"),
        ({"looker": {"role": "x"}}, {"look": TASK}, "looker: goal: Field required"),
        ({"looker": "x"}, {"look": TASK}, "looker: an entry is a mapping"),
        (
            {"looker": AGENT},
            {"look": TASK | {"description": "Have {instrctions}."}},
            "look, description: there is no variable 'instrctions'; did you mean 'instructions'?",
        ),
        (
            {"looker": AGENT, "boss": AGENT | {"manager": True, "tools": ["quality_gate"]}},
            {"look": TASK},
            "has no tools",
        ),
        ({"looker": AGENT, "boss": AGENT | {"manager": True}}, {"look": TASK | {"agent": "boss"}}, "no agent 'boss'"),
        ({"looker": AGENT | {"max_iter": 0}}, {"look": TASK}, "max_iter: Input should be greater than or equal to 1"),
    ],
)
def test_what_is_unknown_in_a_crews_files_is_said_in_one_line(
    tmp_path: Path, agents: dict[str, Any], tasks: dict[str, Any], said: str
) -> None:
    with pytest.raises(BadInput) as refused:
        read_crew(small_crew(tmp_path / "crew", agents, tasks), TOOLS)
    assert said in str(refused.value) and "\n" not in str(refused.value)


@pytest.mark.parametrize("text", ["", "[]", "a: [", "a: 1"])
def test_a_broken_file_of_a_crew_is_said_in_one_line(tmp_path: Path, text: str) -> None:
    folder = small_crew(tmp_path / "crew")
    (tmp_path / "crew" / "tasks.yaml").write_text(text)
    with pytest.raises(BadInput, match=r"tasks\.yaml") as refused:
        read_crew(folder, TOOLS)
    assert "\n" not in str(refused.value) and (text != "a: [" or "line 1: not valid YAML" in str(refused.value))


def test_a_crew_that_is_not_there_is_said_with_those_that_are(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="give sequential or hierarchical, or a folder"):
        read_crew(str(tmp_path / "nothing"), TOOLS)
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"agents\.yaml is not there"):
        read_crew(str(tmp_path / "empty"), TOOLS)


# The rules that decide without a key


def test_every_rule_is_of_a_tool() -> None:
    assert set(RULES) <= set(TOOLS)


@given(
    st.lists(st.sampled_from(sorted(RULES)), unique=True),
    st.builds(
        CrewFacts,
        **{name: st.booleans() for name in ("begun", "generated", "held", "dataset", "adapter", "measured", "ended")},
        round=st.integers(0, 5),
        recommended=st.lists(st.just("train.epochs=3"), max_size=1).map(tuple),
    ),
)
def test_the_rules_use_a_tool_that_the_agent_has_with_arguments_that_it_takes(
    tools: list[str], facts: CrewFacts
) -> None:
    step = next_use(tools, [], facts)
    if step is not None:
        assert step.tool in tools
        arguments(step.tool).model_validate(step.arguments)


def test_nothing_is_trained_that_the_quality_gate_stopped() -> None:
    facts = CrewFacts(begun=True, generated=True)
    assert next_use(["training_launcher"], [], facts) is not None
    assert next_use(["training_launcher"], [], facts.model_copy(update={"held": True})) is None


# Tools


async def test_rouge_similarity_is_rouge_scores(runs: Runs) -> None:
    from rouge_score.rouge_scorer import RougeScorer

    pair = ("Name three large rivers of Europe.", "Name two large rivers that flow through Europe.")
    found = json.loads(await use_tool(session_of(runs), "rouge_similarity", {"text": pair[0], "against": [pair[1]]}))
    expected = RougeScorer(["rougeL"]).score(pair[1], pair[0])["rougeL"].fmeasure
    assert found["most_similar"][0]["score"] == pytest.approx(expected, abs=1e-12)


async def test_tools_say_what_the_pipelines_gates_say(runs: Runs) -> None:
    rows = [
        {"instruction": "Draw a picture of a house.", "output": "Here."},
        {"instruction": "Explain how a kettle heats water.", "output": "A coil heats it."},
        {"instruction": "Explain how a kettle heats the water.", "output": "A coil heats it."},
    ]
    session = session_of(runs)
    content = json.loads(await use_tool(session, "content_filter", {"rows": rows}))
    assert content["summary"] == "2 of 3 rows pass the content rules" and content["reasons"] == {"keyword": 1}
    safety = json.loads(await use_tool(session, "safety_validator", {"rows": rows}))
    assert safety["summary"] == "3 of 3 rows pass the safety rules"
    alike = json.loads(await use_tool(session, "similarity_checker", {"rows": rows}))
    assert alike["repeats"] == [{"instruction": rows[2]["instruction"], "repeats": rows[1]["instruction"]}]
    made = json.loads(await use_tool(session, "format_alpaca_data", {"rows": [rows[1] | {"input": "Short."}]}))
    assert made["rows"][0]["prompt"].endswith("### Input:\nShort.\n\n### Response:")
    assert {use.outcome for use in session.uses} == {"done"}


async def test_tools_look_at_seeds_and_at_a_file_in_alpacas_format(runs: Runs, tmp_path: Path) -> None:
    path = tmp_path / "rows.json"
    path.write_text(json.dumps([{"instruction": f"Name {n} kinds of tea.", "output": "Green."} for n in range(3)]))
    session = session_of(runs)
    seeds = json.loads(await use_tool(session, "task_analysis", {}))
    assert seeds["missing"] == [] and len(seeds["categories"]) == 12
    alike = json.loads(await use_tool(session, "diversity_checker", {"source": str(path)}))
    assert alike["rows"] == 3 and alike["max_similarity"] == pytest.approx(0.8)


@pytest.mark.parametrize(
    ("tool", "given", "said"),
    [
        ("rouge_similarity", {"text": "x", "most": 0}, "most: Input should be greater than or equal to 1"),
        (
            "openai_completion",
            {"prompt": "x", "temperature": 3},
            "temperature: Input should be less than or equal to 2",
        ),
        ("batch_processor", {}, "round: Field required"),
        ("quality_gate", {"stage": "moon"}, "stage: Input should be 'data', 'training' or 'deployment'"),
        ("content_filter", {"file": "x"}, "file: unknown here"),
        ("task_analysis", {"source": "nothing.json"}, "nothing.json"),
        ("batch_processor", {"round": 1}, "there is no run yet"),
        ("workflow_management", {"action": "configure", "settings": ["train.epoch=3"]}, "did you mean train.epochs?"),
        ("workflow_management", {"action": "advance"}, "advance needs until"),
        ("tokenisation", {}, "there is no run yet"),
    ],
)
async def test_a_wrong_argument_is_told_in_one_line_and_counted(
    runs: Runs, tool: str, given: dict[str, Any], said: str
) -> None:
    session = session_of(runs)
    answer = await use_tool(session, tool, given)
    assert answer.startswith("error: ") and said in answer and "\n" not in answer
    assert [use.outcome for use in session.uses] in (["refused"], ["failed"])


async def test_settings_of_the_plan_are_changed_until_the_run_begins(runs: Runs, tmp_path: Path) -> None:
    session = session_of(runs)
    await use_tool(session, "workflow_management", {"action": "configure", "settings": ["train.epochs=3"]})
    assert session.request.train.epochs == 3
    session.run_id = "begun"
    answer = await use_tool(session, "workflow_management", {"action": "configure", "settings": ["train.epochs=4"]})
    assert "has begun" in answer and session.request.train.epochs == 3


def test_the_tools_are_crewais_and_langchains() -> None:
    from crewai.tools import BaseTool

    from corral import crew_tools

    tools = crew_tools.crew_tools()
    assert [tool.name for tool in tools] == list(TOOLS) and all(isinstance(tool, BaseTool) for tool in tools)
    assert isinstance(crew_tools.rouge_similarity, BaseTool)
    assert crew_tools.OpenAICompletionTool().name == "openai_completion"
    (spoken_to,) = crew_tools.langchain_tools("rouge_similarity")
    assert set(spoken_to.args) == {"text", "against", "source", "most"}
    with pytest.raises(BadInput, match="did you mean 'quality_gate'"):
        crew_tools.crew_tools("quality_gates")


def test_a_tool_works_alone_in_a_program_without_a_loop(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from corral import crew_tools

    monkeypatch.setenv("CORRAL_HOME", str(tmp_path / "home"))
    text = {"text": "Name a river.", "against": ["Name a river."]}
    try:
        (tool,) = crew_tools.crew_tools("rouge_similarity")
        (other,) = crew_tools.langchain_tools("rouge_similarity")
        assert json.loads(tool.run(**text)) == json.loads(other.invoke(text))
        assert tool.run(text="x", most=0).startswith("error: rouge_similarity: most")
        assert other.invoke({"text": "x", "most": 0}) == tool.run(text="x", most=0)
        assert other.invoke({}) == tool.run() == "error: rouge_similarity: text: Field required"
        assert other.invoke("Name a lake.") == tool.run("Name a lake.") == tool.run(text="Name a lake.")
    finally:
        crew_tools.close_default_session()


# Crews at work


def deciding(*answers: str) -> Callable[[dict[str, Any]], str]:
    """Return a model that gives these answers in turn, the last one for ever."""
    left = list(answers)
    return lambda _: left.pop(0) if len(left) > 1 else left[0]


def decided_by(url: str, **sections: Any) -> RunRequest:
    generator = {"base_url": url, "model": "scripted", "input_price": 1.0, "output_price": 1.0}
    return read_request({"name": "crew", "unattended": True, "models": {"generator": generator}} | sections, "test")


async def test_a_crew_may_be_kicked_off_where_a_loop_runs() -> None:
    from corral.crew_tools import kickoff

    with pytest.raises(BadInput, match="there is no crew 'nope'"):
        kickoff({"crew": "nope"})
    with pytest.raises(BadInput, match="must be a mapping, not int"):
        kickoff(5)  # type: ignore[arg-type]


async def test_a_model_that_calls_a_tool_that_is_not_there_is_told_and_goes_on(runs: Runs, tmp_path: Path) -> None:
    answers = (
        spoken("hm", "launch_rocket", speed=9),
        spoken("hm", "rouge_similarity", text="x", most=0),
        spoken("well", "task_analysis", source="seeds"),
        "Thought: I know\nFinal Answer: The seeds are fine.",
    )
    agents = {"looker": AGENT | {"tools": ["task_analysis", "rouge_similarity"]}}
    with ScriptedServer(answer=deciding(*answers)) as server:
        session = session_of(runs, decided_by(server.url))
        result = await run_crew(session, small_crew(tmp_path / "crew", agents))
    assert [use.outcome for use in result.uses] == ["unknown", "refused", "done"] and result.failed == 2
    assert "has no tool 'launch_rocket'" in result.uses[0].said
    assert result.answers == {"look": "The seeds are fine."} and result.decided_by == "scripted"
    assert result.calls == len(server.answered) == 4 and result.spent > 0
    assert "Action 'launch_rocket' don't exist" in server.requests[1].text, "the model is told"


async def test_a_crew_that_loops_is_bounded_and_its_cost_is_shown(runs: Runs, tmp_path: Path) -> None:
    asked = iter(range(10_000))
    loop = lambda _: spoken("again", "rouge_similarity", text=f"x{next(asked)}", against=["y"])  # noqa: E731
    agents = {"looker": AGENT | {"tools": ["rouge_similarity"], "max_iter": 200}}
    with ScriptedServer(answer=loop) as server:
        session = session_of(runs, decided_by(server.url), most=6)
        with pytest.raises(
            CorralError, match=r"6 decisions .* the bound; it spent \$0\.\d+ on 6 calls .* no run"
        ) as end:
            await run_crew(session, small_crew(tmp_path / "crew", agents))
    assert "\n" not in str(end.value) and len(server.requests) == 6


async def test_the_agents_own_calls_keep_their_share_of_the_budget(runs: Runs, tmp_path: Path) -> None:
    with ScriptedServer(answer=deciding(spoken("on", "task_analysis", source="seeds"))) as server:
        session = session_of(runs, decided_by(server.url, budget={"dollars": 0.0001}))
        with pytest.raises(BudgetExceeded, match="agents' share of the budget"):
            await run_crew(session, small_crew(tmp_path / "crew"))
    assert not server.requests and session.spending.cap == pytest.approx(0.00002)


async def test_a_cap_over_a_model_without_a_price_is_refused(runs: Runs, tmp_path: Path) -> None:
    request = read_request(
        {
            "budget": {"dollars": 1},
            "models": {"generator": {"base_url": "https://models.example.com/v1", "model": "x"}},
        },
        "test",
    )
    with pytest.raises(BadInput, match=r"models\.generator\.input_price"):
        await run_crew(session_of(runs, request), small_crew(tmp_path / "crew"))


def test_the_command_says_who_decided_what_failed_and_what_it_cost(corral: Corral, tmp_path: Path) -> None:
    folder = small_crew(tmp_path / "crew")
    answers = (spoken("hm", "fly"), "Thought: well\nFinal Answer: Nothing to do.")
    with ScriptedServer(answer=deciding(*answers)) as server:
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(decided_by(server.url).model_dump(mode="json", exclude_unset=True)))
        code, out, error = corral("crew", folder, "--config", str(config), "--instructions", "0")
    assert code == 1 and "no run was started" in error, "this crew has no tool that starts one"
    assert "decided by scripted: 2 decisions, 1 use of tools, 1 in vain" in " ".join(out.split())
    assert "fly unknown: Looker has no tool 'fly'" in error and "$0.0" in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("sideways",), "there is no crew 'sideways'"),
        (("sequential", "--set", "train.epoch=1"), "did you mean train.epochs?"),
        (("sequential", "--instructions", "-1"), "--instructions"),
    ],
)
def test_a_wrong_crew_is_refused_in_one_line(corral: Corral, arguments: tuple[str, ...], said: str) -> None:
    refused(corral("crew", *arguments, "--rules"), said)


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"base": "./nowhere"}, "models.base: './nowhere' is neither a folder here nor a name on the hub"),
        ({"settings": ["evaluate.heldout_share=0", "sources.prompts={prompts}"]}, "nothing to evaluate with"),
    ],
)
def test_a_plan_that_cannot_work_is_refused_before_anything_is_written_or_asked(
    corral: Corral, tmp_path: Path, given: dict[str, Any], said: str
) -> None:
    from corral.crew_tools import kickoff

    prompts = write_prompts(tmp_path / "prompts.jsonl", 4, 0)
    base, settings = given.get("base", "embedded"), [one.format(prompts=prompts) for one in given.get("settings", [])]
    with ScriptedServer(answer=deciding("Thought: well\nFinal Answer: Nothing to do.")) as server:
        config = tmp_path / "config.yaml"
        config.write_text(yaml.safe_dump(decided_by(server.url).model_dump(mode="json", exclude_unset=True)))
        folder = small_crew(tmp_path / "crew")
        options = ("--config", str(config), "--instructions", "0", "--base", base)
        refused(corral("crew", folder, *options, *(f"--set={one}" for one in settings)), said)
        inputs = {"crew": folder, "config": config, "instructions": 0, "base": base, "settings": settings}
        with pytest.raises(BadInput, match=said):
            kickoff(inputs)
        assert not server.answered
    assert not list((tmp_path / "home" / "runs").glob("*"))


def trial(tmp_path: Path, url: str, base: Path) -> Path:
    """Write the config of a small run, and return its place."""
    prompts = write_prompts(tmp_path / "prompts.jsonl", 4, 4)
    sections = {"train": {"epochs": 1, "save_steps": 100}, "evaluate": {"judged_pairs": 0, "sampled_draws": 0}}
    path = tmp_path / "config.yaml"
    path.write_text(yaml.safe_dump(request_of(url, base, prompts, **sections)))
    return path


def made_by(state: PipelineState) -> dict[str, bytes]:
    """Return the files of a run's dataset and the weights of its adapter."""
    kept = {"sft.jsonl", "dpo.jsonl", "alpaca.json", "lineage.jsonl", "adapter_model.safetensors"}
    folders = (Path(state["dataset"].folder), Path(state["adapter"].folder))
    return {path.name: path.read_bytes() for folder in folders for path in folder.iterdir() if path.name in kept}


WORK: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "Look at the seed tasks": [("task_analysis", {"source": "seeds"})],
    "Look at the machine's memory": [("resource_monitor", {}), ("hyperparameter_tuner", {})],
    "Start the run": [("workflow_management", {"action": "start"}), ("batch_processor", {"round": 1})],
    "Check the accepted instructions": [("content_filter", {"source": "run"}), ("quality_gate", {"stage": "data"})],
    "have prompts answered": [
        ("workflow_management", {"action": "advance", "until": "assemble"}),
        ("tokenisation", {}),
    ],
    "launch the training": [("training_launcher", {}), ("checkpoint_manager", {})],
    "Have the adapter evaluated": [
        ("evaluation_suite", {}),
        ("workflow_management", {"action": "finish"}),
        ("report_generator", {}),
    ],
}
"""What a model that works as an agent does for a task, by words of the task."""


def working(body: dict[str, Any]) -> str:
    """Answer as a model that leads the hierarchical crew and is its agents; all else as the scripted server does."""
    crew = read_crew("hierarchical", TOOLS)
    said = [" ".join(str(message.get("content") or "").split()) for message in body["messages"]]
    role = next((agent.role for agent in crew.agents.values() if said[0].startswith(f"You are {agent.role}.")), None)
    if role is None:
        return answer_to(body)
    turn = sum(message["role"] == "assistant" for message in body["messages"])
    task = next(words for words in WORK if words in said[1])
    turns = WORK[task]
    if role == "Master Coordinator":
        agent = next(one.agent for one in crew.tasks.values() if task in one.description)
        turns = [(DELEGATE, {"coworker": crew.agents[agent].role, "task": task, "context": ""})]
    if turn == len(turns):
        return "Thought: I know\nFinal Answer: It is done."
    return spoken("next", turns[turn][0], **turns[turn][1])


@pytest.mark.usefixtures("in_this_process")
async def test_both_crews_make_what_the_pipelines_own_run_makes(
    runs: Runs, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Three whole runs with a training each: the pipeline's, the sequential crew's as the example kicks it off, by
    rules, and the hierarchical crew's, in which a model behind a URL leads, delegates and uses the tools."""
    monkeypatch.setenv("CORRAL_HOME", str(runs.services.settings.home))
    with ScriptedServer(answer=working) as server:
        config = trial(tmp_path, server.url, tiny_model(tmp_path / "base"))
        inputs = {"instructions": 4, "base": str(tmp_path / "base"), "config": config}
        request = planned(read_inputs(inputs), runs.services.settings)
        own = await runs.create(request)
        async for _ in runs.advance(own):
            pass
        first = example.main({**inputs, "rule_based": True})
        by_model = await run_crew(session_of(runs, request), "hierarchical")
    by_rules = read_result(runs.services.runs_folder / first)
    assert by_rules is not None and by_rules.decided_by == "rule-based" and by_rules.failed == by_rules.calls == 0
    assert f"decided by rule-based; run {first} is done" in capsys.readouterr().out
    assert by_model.decided_by == "scripted" and by_model.failed == 0 and by_model.calls == len(by_model.decisions)
    tasks = read_crew("hierarchical", TOOLS).tasks
    delegated = [one for one in by_model.decisions if one.tool == DELEGATE]
    assert len(delegated) == len(tasks) and {one.agent for one in delegated} == {"Master Coordinator"}
    expected = made_by(await runs.state(own))
    assert (await runs.status(own)).standing == "done" and {"sft.jsonl", "adapter_model.safetensors"} <= expected.keys()
    for found in (by_rules, by_model):
        state, folder = await runs.state(found.run_id), runs.services.runs_folder / found.run_id
        assert found.standing == "done" and set(found.answers) == set(read_crew(found.crew, TOOLS).tasks)
        assert [use.tool for use in found.uses].count("training_launcher") == 1
        assert made_by(state) == expected and state["verdict"].prompts == 4
        assert (folder / "report.html").is_file() and read_result(folder) == found and (folder / KEPT).is_file()
        assert set(lists := read_checklists(folder)) == {"data", "training", "deployment"}
        assert lists["training"].items[-1].name == "benchmark: not worse than its base"


# The adaptive workflow

SEVEN = 7_000_000_000


@given(st.integers(0, 100_000), st.none() | st.floats(0, 1000))
def test_requirements_become_a_request(instructions: int, dollars: float | None) -> None:
    wanted = Requirements(instructions=instructions, base="owner/model", dollars=dollars)
    request = adapted_request(wanted, RunRequest())
    assert (request.generation.target, request.budget.dollars) == (instructions, dollars)
    assert request.models.base == request.models.policy.model == "owner/model"
    assert RunRequest.model_validate(request.model_dump()) == request


def machine(*gigabytes: int) -> Resources:
    gpus = tuple(Gpu(name="gpu", total=size * 10**9, free=size * 10**9) for size in gigabytes)
    return Resources(cores=8, memory_total=10**11, memory_free=10**11, disk_free=10**12, gpus=gpus)


def test_a_workflow_follows_from_requirements_money_and_machine() -> None:
    first = GenerationFacts(accepted=0, target=1, rounds_done=0, rounds=1, prompt_tokens=500, output_price=100.0)
    wanted = Requirements(instructions=50, base="owner/seven", dollars=0.03)
    found = adaptive_workflow(wanted, machine(80, 80, 80, 80), SEVEN, RunRequest(), first)
    assert found.request.train.method == "full" and found.request.train.accelerate_config == "fsdp"
    assert 2 <= found.request.generation.tasks_per_call < 20, "the money pays for small batches alone"
    assert {task.name for task in found.tasks if task.needed} >= {"generate_instructions", "train_model", "report"}
    none = adaptive_workflow(wanted.model_copy(update={"dollars": 0.0}), machine(), SEVEN, RunRequest(), first)
    assert not none.tasks[0].needed and "do not pay" in none.tasks[0].reason


def test_a_small_model_keeps_the_defaults_that_were_measured_on_one() -> None:
    assert optimize_training_config(machine(), LARGE - 1, Training()).settings == {}


@pytest.mark.parametrize(
    ("gpus", "expected"),
    [
        (
            (80, 80, 80, 80),
            {"method": "full", "learning_rate": 2e-5, "accelerate_config": "fsdp", "warmup_ratio": 0.03},
        ),
        ((80,), {"learning_rate": 2e-4, "lora_rank": 16}),
        ((16, 16), {"learning_rate": 2e-4, "accelerate_config": "fsdp"}),
        ((16,), {"learning_rate": 2e-4, "quantise": "4bit"}),
        ((), {"learning_rate": 2e-4, "batch_size": 128}),
    ],
)
def test_seven_billion_weights_get_alpacas_numbers_where_they_fit(
    gpus: tuple[int, ...], expected: dict[str, Any]
) -> None:
    found = optimize_training_config(machine(*gpus), SEVEN, Training())
    assert found.settings | expected == found.settings, found.reason
    assert found.settings["epochs"] == 3 and found.settings["batch_size"] == 128
    Training.model_validate(Training().model_dump() | found.settings)


def test_what_is_planned_already_is_not_recommended_again() -> None:
    first = optimize_training_config(machine(80), SEVEN, Training())
    planned = Training.model_validate(Training().model_dump() | first.settings)
    assert optimize_training_config(machine(80), SEVEN, planned).settings == {}


@pytest.mark.parametrize("method", ["lora", "full"])
def test_all_weights_cannot_be_trained_in_four_bits(method: str) -> None:
    values = {"train": {"method": method, "quantise": "4bit"}}
    if method == "lora":
        assert read_request(values, "test").train.quantise == "4bit"
        return
    with pytest.raises(BadInput, match=r"train\.method full trains the weights themselves"):
        read_request(values, "test")


def test_alpacas_own_configuration_comes_with_corral() -> None:
    train = load_request(Path("seeds:alpaca_7b")).train
    assert (train.method, train.epochs, train.batch_size, train.learning_rate) == ("full", 3, 128, 2e-5)
    assert (train.scheduler, train.warmup_ratio, train.max_length) == ("cosine", 0.03, 512)


# Decision trees: the quality of a row, and the next round


@pytest.mark.parametrize(
    ("row", "code", "severity"),
    [
        ({"instruction": "Explain the tides simply."}, "short_instruction", "medium"),
        ({"instruction": "Explain tides " + "a " * 100 + "b."}, "long_instruction", "medium"),
        ({"instruction": "Explain how the tides work"}, "no_final_punctuation", "low"),
        ({"instruction": "explain how the tides work."}, "no_capital", "low"),
        ({"instruction": "Download the newest tables of tides."}, "download", "critical"),
        ({"output": "Tide"}, "short_output", "high"),
        ({"output": "The tides follow the moon. " * 40}, "long_output", "low"),
        ({"output": "Bread needs flour, yeast, water and patience."}, "unaligned", "low"),
    ],
)
def test_each_rule_of_the_quality_tree_has_its_severity_and_is_a_setting(
    row: dict[str, str], code: str, severity: str
) -> None:
    good = {"instruction": "Explain how the tides work.", "output": "The tides follow the moon."}
    text = good | row
    one = sample(text["instruction"], origin="generated", output=text["output"])

    def faults(**settings: Any) -> dict[str, str]:
        gate = ContentGate(GateInputs(Gates.model_validate(settings), load_safety_policy(DEFAULT_POLICY)))
        return {issue.code: issue.severity.value for issue in gate.counted(one)}

    assert faults(preset="guide") == {code: severity}
    assert code not in faults(), "the preset alpaca has Stanford's rules alone"
    assert faults(preset="guide", off=[code]) == {}
    assert faults(preset="guide", severity={code: "high"}) == {code: "high"}
    assert not faults(preset="guide", min_words=0, max_words=1000, min_output=0, max_output=9999).keys() & {
        "short_instruction",
        "long_instruction",
        "short_output",
        "long_output",
    }


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"severity": {"no_capitals": "low"}}, "gates.severity: 'no_capitals' is no rule; did you mean 'no_capital'?"),
        ({"severity": {"keyword": "deadly"}}, "gates.severity.keyword: Input should be"),
        ({"min_words": 9, "max_words": 3}, "gates.min_words (9) must not be above gates.max_words (3)"),
    ],
)
def test_a_wrong_rule_of_the_quality_tree_is_said_in_one_line(settings: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput) as refused:
        demand_known_rules(read_request({"gates": settings}, "test").gates)
    assert said in str(refused.value) and "\n" not in str(refused.value)


FACTS = GenerationFacts(accepted=0, target=100, rounds_done=0, rounds=3)


@pytest.mark.parametrize(
    ("known", "calls"),
    [
        ({}, 12),
        ({"requests_left": 5}, 5),
        ({"tokens_left": 3000, "prompt_tokens": 232}, 3),
        ({"budget_left": 0.0010, "output_price": 0.3}, 4),
    ],
)
def test_the_first_round_keeps_to_what_money_and_rate_limits_leave(known: dict[str, Any], calls: int) -> None:
    choice = decide_next_round(FACTS.model_copy(update=known))
    assert (choice.action, choice.calls) == ("proceed", calls)


@given(st.integers(0, 50), st.integers(0, 100_000), st.integers(0, 2000))
def test_a_round_never_takes_more_of_the_window_than_is_left(requests: int, tokens: int, prompt: int) -> None:
    known = {"requests_left": requests, "tokens_left": tokens, "prompt_tokens": prompt}
    choice = decide_next_round(FACTS.model_copy(update=known))
    if choice.action != "wait":
        assert choice.calls <= requests
        assert choice.calls == 1 or choice.calls * prompt <= tokens


def test_a_round_without_novelty_asks_for_no_more_than_the_last() -> None:
    known = {"rounds_done": 1, "calls": 2, "gained": 0, "offered": 30, "novelty": 0.0, "accepted_per_call": 0.0}
    assert decide_next_round(FACTS.model_copy(update=known)).calls == 2


# Checklists


DATA = DataFacts(
    wanted=20,
    offered=40,
    accepted=20,
    measured=20,
    mean_similarity=0.1,
    max_similarity=0.5,
    balance=0.9,
    distinct_1=0.6,
)


def test_a_sound_dataset_passes_and_the_weights_of_its_quality_sum_to_one() -> None:
    items = (*instruction_items(DATA), *dataset_items(DATA))
    assert sum(one.weight for one in items) == pytest.approx(1)
    assert Checklist(items=(*after_items(DATA), *items)).score == 1 and not Checklist(items=items).stop


@pytest.mark.parametrize(
    ("changed", "failed", "stops"),
    [
        ({"broken_rules": {"safety": 1}}, "instructions are safe", True),
        ({"broken_rules": {"content": 1}}, "instructions keep the content rules", False),
        ({"broken_rules": {"coherence": 3}}, "instruction, input and output belong together", False),
        ({"without_output": 1}, "every instruction has an output", False),
        ({"max_similarity": 0.71}, "no instruction repeats another", False),
        ({"mean_similarity": 0.4}, "instructions differ", False),
        ({"balance": 0.1}, "categories are balanced", False),
        ({"distinct_1": 0.01}, "words vary", False),
        ({"waiting": 1}, "nothing waits for a person", False),
        ({"wanted": 30}, "80% of what was wanted is there", False),
        ({"accepted": 0, "measured": 0}, "instructions were accepted", True),
        ({"accepted": 0, "measured": 0, "given": 9}, "instructions were accepted", False),
    ],
)
def test_each_item_of_the_data_fails_by_what_it_is_about(changed: dict[str, Any], failed: str, stops: bool) -> None:
    facts = DATA.model_copy(update=changed)
    found = Checklist(items=(*after_items(facts), *instruction_items(facts), *dataset_items(facts)))
    assert failed in [one.name for one in found.items if one.outcome == "failed"]
    assert bool(found.stop) == stops and found.score < 1


def test_what_is_checked_before_and_during_the_generation() -> None:
    none = before_items(SeedFacts(seeds=0, categories_missing=("maths",), cap=1.0, expected=2.0))
    assert [one.outcome for one in none] == ["failed"] * 4 and Checklist(items=tuple(none)).stop
    some = during_items(RoundFacts(rounds=2, calls=10, failed_calls=2, least_novelty=0.1, spent=2.0, cap=1.0))
    assert [one.outcome for one in some] == ["failed"] * 3
    nothing = during_items(RoundFacts(rounds=0, calls=0, failed_calls=0))
    assert [one.outcome for one in nothing] == ["not applicable", "not applicable", "passed"]


SOUND = DeploymentFacts(
    verdict="better",
    difference="+0.1",
    prompts=60,
    perplexity_ratio=1.01,
    disk_free=10**11,
    serving=True,
    report=True,
    dataset_card=True,
    scoreboard=True,
    lineage=True,
    earlier="v1-0123abcd",
    rated=True,
)


@pytest.mark.parametrize(
    ("changed", "failed", "stops"),
    [
        ({"verdict": "worse"}, "model: not worse than its base", True),
        ({"verdict": "not shown"}, "model: shown to be better", False),
        ({"flags": ("the loss rose",)}, "model: training was not flagged", True),
        ({"perplexity_ratio": 1.2}, "model: its language is kept", True),
        ({"disk_free": 10}, "infrastructure: room on disk", False),
        ({"serving": False}, "infrastructure: a server can load it", False),
        ({"report": False}, "documentation: report", False),
        ({"lineage": False}, "documentation: lineage of each row", False),
    ],
)
def test_each_item_of_a_deployment_fails_by_what_it_is_about(changed: dict[str, Any], failed: str, stops: bool) -> None:
    assert {one.outcome for one in deployment_items(SOUND)} == {"passed"}
    found = Checklist(items=tuple(deployment_items(SOUND.model_copy(update=changed))))
    assert failed in [one.name for one in found.items if one.outcome == "failed"]
    assert bool(found.stop) == stops
    parts = {one.name.partition(":")[0] for one in found.items}
    assert parts == {"model", "infrastructure", "documentation", "operations"}


def test_a_critical_failure_is_a_warning_to_who_signs_and_a_flag_of_the_adapter() -> None:
    bad = Checklist(items=(item("instructions are safe", False, "1 of 9", critical=True),))
    state: Any = {"adapter": AdapterRef(id="a", folder="f", flags=("before",))}
    found = _with_failures({}, state, {"data": bad})
    line = "checklist of the data: instructions are safe failed: 1 of 9"
    assert found["warnings"] == [line] and found["adapter"].flags == ("before", line)
    assert _with_failures({}, state, {"data": Checklist(items=())}) == {}


# The agent performance validator


@given(
    st.builds(
        PerformanceFacts,
        **{name: st.integers(0, 500) for name in ("uses", "uses_recovered", "calls", "rows", "filter_wrong")},
        seconds=st.floats(0, 1e5),
        dollars=st.floats(0, 1e3),
    ).map(
        lambda f: f.model_copy(
            update={
                "uses_failed": min(f.uses, f.uses_recovered),
                "uses_recovered": min(f.uses, f.uses_recovered),
                "calls_failed": f.calls // 3,
                "filter_checked": 2 * f.filter_wrong,
            }
        )
    )
)
def test_every_measured_figure_lies_in_its_interval(facts: PerformanceFacts) -> None:
    for one in validate_performance(facts).measures:
        if one.value is not None:
            assert one.low is not None and one.high is not None
            assert one.low <= one.value + 1e-9 and one.value <= one.high + 1e-9, one


def test_the_validator_says_what_to_do_only_where_a_figure_is_shown_to_be_low() -> None:
    good = PerformanceFacts(uses=30, calls=200, calls_failed=2, rows=100, seconds=60, dollars=0.5)
    assert validate_performance(good).status == "good" and not validate_performance(good).recommendations
    assert validate_performance(good.model_copy(update={"rows": 0})).recommendations
    prompts_alone = validate_performance(good.model_copy(update={"rows": 0, "generates": False}))
    assert prompts_alone.status == "good" and prompts_alone.measures[2].value is None
    few = PerformanceFacts(uses=3, uses_failed=1)
    assert validate_performance(few).status == "not enough data"
    bad = validate_performance(good.model_copy(update={"calls_failed": 90, "filter_checked": 50, "filter_wrong": 30}))
    assert bad.status == "needs attention" and len(bad.recommendations) == 2
    assert [one.name for one in bad.measures] == [
        "success rate",
        "filter accuracy against people",
        "rows a minute",
        "error recovery",
        "rows a dollar",
    ]


def test_the_interval_of_a_rate_is_poissons() -> None:
    """Garwood's exact limits of 10 events are 4.795 and 18.39."""
    minute = validate_performance(PerformanceFacts(rows=10, seconds=60)).measures[2]
    assert (minute.low, minute.high) == (pytest.approx(4.795, abs=0.02), pytest.approx(18.39, abs=0.02))


# Records of similarity


def test_the_ten_most_similar_and_the_mean_are_kept_on_each_row_when_asked_for(tmp_path: Path) -> None:
    texts = [f"Name {word} things that float on water." for word in ("three", "five", "nine")] + [
        "Explain how the tides work."
    ]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps({"instruction": text, "output": "Corks."}) + "\n" for text in texts))
    gate_file(path, tmp_path / "out", Gates(record_similarity=True, rouge_threshold=0.9), ["Name a thing that floats."])
    rows = [json.loads(line) for line in (tmp_path / "out" / "accepted.jsonl").read_text().splitlines()]
    assert [len(row["most_similar_instructions"]) for row in rows] == [1, 2, 3, 4]
    second = rows[1]["most_similar_instructions"]
    assert next(iter(second)) == texts[0] and second[texts[0]] == pytest.approx(6 / 7)
    assert rows[1]["avg_similarity_score"] == pytest.approx(sum(second.values()) / 2)
    gate_file(path, tmp_path / "plain", Gates(rouge_threshold=0.9))
    assert "most_similar_instructions" not in (tmp_path / "plain" / "accepted.jsonl").read_text()


def test_a_runs_rows_carry_them_into_alpacas_file() -> None:
    gates = GatePipeline(Gates(record_similarity=True), ["Explain how the tides work."])
    one = sample("Name three rivers of Europe.", origin="generated", output="The Rhine.")
    kept = judged(one, gates.judge([one])[0])
    (row,) = alpaca_rows([Pair(sample=kept, imitated=(), rejected=None)])
    assert row["most_similar_instructions"] == {"Explain how the tides work.": 0.0}
    assert row["avg_similarity_score"] == 0.0


# Training and evaluation


def survey(*lengths: int) -> Survey:
    return Survey(
        work=(PhaseWork(phase="sft", lengths=lengths, tokens=sum(lengths), sequences=1),),
        base=BaseFacts(parameters=10**6, adapted_widths=10**3, layers=2, width=64, heads=2, vocabulary=1000),
        machine=Machine(on_cpu=True, pace=1e11),
        resources=machine(),
    )


@pytest.mark.parametrize(("least", "action"), [(1, "proceed"), (3, "proceed"), (4, "abort")])
def test_too_few_examples_are_not_trained_on(least: int, action: str) -> None:
    found = decide_training(survey(10, 20, 30, 600), Training(min_examples=least))
    assert found.action == action
    if action == "abort":
        assert "3 sft rows: fewer than train.min_examples, 4" in found.reason


def test_all_weights_need_more_memory_and_time_than_an_adapter() -> None:
    one = survey(100)
    big = one.model_copy(update={"base": one.base.model_copy(update={"parameters": 10**9})})
    lora, full = (decide_training(big, Training.model_validate({"method": method})) for method in ("lora", "full"))
    assert full.memory_needed - lora.memory_needed == pytest.approx(18e9, rel=0.01), "20 bytes a weight, not 2"
    assert full.estimated_seconds > lora.estimated_seconds


def test_settings_that_came_later_change_a_trainings_identity_only_off_their_defaults(tmp_path: Path) -> None:
    (tmp_path / "base").mkdir()
    (tmp_path / "base" / "model.safetensors").write_bytes(b"weights")
    (tmp_path / "sft.jsonl").write_text("{}\n")

    def identity(**changed: Any) -> str:
        settings = Training.model_validate(changed)
        places = {"base": str(tmp_path / "base"), "dataset": str(tmp_path), "out": str(tmp_path / "out")}
        return TrainingJob(recipe="sft", settings=settings, **places).identity()

    assert identity() == identity(min_examples=5, method="lora", scheduler="cosine", warmup_ratio=0.1)
    assert len({identity(), identity(method="full"), identity(scheduler="linear"), identity(warmup_ratio=0.03)}) == 4


def test_the_training_checklist_looks_at_memory_pace_and_gradient() -> None:
    phase: dict[str, Any] = {
        "phase": "sft",
        "losses": [2.0, 1.5, 1.0],
        "gradient_norms": [0.1, 1.0, 5.0],
        "steps": 3,
        "planned_steps": 3,
        "probe_distinct3": [],
    }
    summary = {"phases": [phase], "seconds": 300.0, "estimated_seconds": 100.0}
    found = {one.name: one for one in training_items(summary, None, 0.97)}
    assert found["this machine: memory stayed under 95%"].outcome == "failed"
    assert found["this machine: steps came at the estimated pace"].outcome == "failed"
    assert found["this machine: steps came at the estimated pace"].evidence.startswith("0.01 steps a second")
    assert found["sft gradient norm does not grow"].outcome == "failed"
    told = Checklists(during=tuple(found.values())).warnings("training")
    assert {line.partition(": ")[0] for line in told} == {"this machine", "training"}
    calm = training_items({"phases": [phase | {"gradient_norms": [1.0] * 3}], "seconds": 9.0}, None, 0.5)
    assert not [one for one in calm if one.outcome == "failed"]


@pytest.mark.parametrize(
    ("verdict", "outcome"),
    [("better", "passed"), ("not shown", "passed"), ("worse", "failed"), ("", "not applicable")],
)
def test_the_training_checklist_has_the_benchmark(verdict: str, outcome: str) -> None:
    assert benchmark_item(verdict, "+0.1").outcome == outcome


def test_rouge_by_stems_is_an_option_and_rouge_scores_own() -> None:
    from rouge_score.rouge_scorer import RougeScorer

    one = sample("What do dogs do?", output="Dogs walked and barked.")
    answer = Answer(id="a", sample_id=one.id, model="base", text="The dog walks and barks.", ended=True)
    for stemmer in (False, True):
        expected = RougeScorer(["rougeL"], use_stemmer=stemmer).score(one.output, answer.text)["rougeL"].fmeasure
        assert score_answer(one, answer, stemmer=stemmer).metrics["rougeL"] == pytest.approx(expected)
    assert score_answer(one, answer, stemmer=True).metrics["rougeL"] > score_answer(one, answer).metrics["rougeL"]


def test_a_full_fine_tuning_is_an_adapter_of_all_weights_that_merges_into_what_was_trained(tmp_path: Path) -> None:
    import torch
    from peft import PeftModel, get_peft_model
    from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

    from tools.training.inspecting import inspect_adapter
    from tools.training.trainable import adapter_config
    from tools.weights.loading import merged

    small = {"hidden_size": 16, "intermediate_size": 32, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = LlamaConfig(vocab_size=64, tie_word_embeddings=True, **small)
    LlamaForCausalLM(config).save_pretrained(tmp_path / "base")
    base = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    model = get_peft_model(base, adapter_config(Training(method="full"), base))
    model.save_pretrained(tmp_path / "untouched")
    weights = sum(one.numel() for one in LlamaForCausalLM(config).parameters())
    assert sum(one.numel() for one in model.parameters() if one.requires_grad) == weights
    ids = torch.arange(12).reshape(1, 12)
    model(input_ids=ids, labels=ids).loss.backward()
    with torch.no_grad():
        for one in model.parameters():
            if one.grad is not None:
                one -= 0.1 * one.grad
    trained = model.eval()(input_ids=ids).logits
    model.save_pretrained(tmp_path / "adapter")
    assert {one["outcome"] for one in inspect_adapter(tmp_path / "base", tmp_path / "adapter")} == {"passed"}
    fresh = AutoModelForCausalLM.from_pretrained(tmp_path / "base")
    joined = merged(PeftModel.from_pretrained(fresh, str(tmp_path / "adapter"))).eval()
    assert torch.equal(joined(input_ids=ids).logits, trained)
    outcomes = {one["name"]: one["outcome"] for one in inspect_adapter(tmp_path / "base", tmp_path / "untouched")}
    assert outcomes["its weights were changed"] == "failed"


def test_deepspeed_itself_loads_the_config_that_comes_with_corral() -> None:
    deepspeed = pytest.importorskip("deepspeed")
    from accelerate.utils import DeepSpeedPlugin

    from tools.training.configs import FOLDER as CONFIGS

    given = yaml.safe_load((CONFIGS / "zero3.yaml").read_text())["deepspeed_config"]
    named = ("zero_stage", "offload_optimizer_device", "offload_param_device", "zero3_save_16bit_model")
    plugin = DeepSpeedPlugin(**{name: given[name] for name in named})
    written = plugin.deepspeed_config | {"train_micro_batch_size_per_gpu": 1, "gradient_accumulation_steps": 1}
    loaded = deepspeed.DeepSpeedConfig({key: value for key, value in written.items() if value != "auto"})
    assert loaded.zero_config.stage == 3 and loaded.zero_config.offload_param.device == "cpu"
