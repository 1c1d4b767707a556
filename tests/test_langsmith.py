"""What LangSmith is sent of runs and programs, seen through a local server in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from corral import LangSmithTracer, RLHFMonitor, SyntheticFeedbackGenerator, arun, load_settings, open_runs
from state.errors import BadInput, EndpointUnreachable
from tests.fake_langsmith import fake_langsmith
from tests.harness import request_of, write_prompts
from tests.judging_support import FunctionEndpoint, fixed_answers
from tests.scripted_server import ScriptedServer
from tools.endpoint.observing import flush_traces

TRACED = {"LANGSMITH_TRACING": "true", "LANGCHAIN_TRACING_V2": "true"}


async def work_and_review(home: Path, url: str) -> None:
    """Work on a run up to its review, let a person decide, and go on up to the training."""
    prompts = write_prompts(home / "p.jsonl", training=3, heldout=1)
    request = request_of(url, Path("nobody/no-model"), prompts, unattended=False, generation={"target": 0})
    request |= {"preview": True, "judge": {"accept": 100, "review_from": 0}, "sampling": {"candidates": 1}}
    request["review"] = {"audit_share": 0.0}
    done = await arun(request, run_id="traced")
    assert (done.standing, done.step) == ("waiting", "review")
    async with open_runs() as runs:
        (question,) = await runs.interrupts("traced")
        asked = len(question.value["action_requests"])
    assert asked > 1
    decided = [{"type": "reject", "message": "too plain"}, *[{"type": "approve"}] * (asked - 1)]
    await arun(run_id="traced", answer={"decisions": decided})


async def test_a_run_is_a_tree_and_opinions_hang_on_its_answers(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CORRAL_HOME", str(tmp_path / "home"))
    with ScriptedServer() as server, fake_langsmith(monkeypatch, **TRACED) as langsmith:
        monkeypatch.setenv("OPENAI_API_KEY", "sk-secret")
        await work_and_review(tmp_path, server.url)
        flush_traces()
    paths = langsmith.paths()
    assert {path.split(" > ")[0] for path in paths} == {"traced"}, "everything is below the run"
    assert "traced > respond > respond in batches > batch > respond" in paths
    assert {f"traced > judge > judge in batches > batch > judge.{who}" for who in ("accuracy", "expert")} <= paths
    answers = {run["id"] for run in langsmith.runs.values() if langsmith.path(run)[-2:] == ["batch", "respond"]}
    assert not [run for run in langsmith.runs.values() if run.get("error")], "a question to a person is no error"
    said = {one["key"] for one in langsmith.feedback}
    assert {"judge.stars", "judge.overall", "judge.accuracy", "person.decision"} <= said
    assert {one["run_id"] for one in langsmith.feedback} <= answers and answers
    roots = {run["id"] for run in langsmith.runs.values() if not run.get("parent_run_id")}
    assert len(roots) == 2, "one tree for each time that it was worked on"
    assert {one["trace_id"] for one in langsmith.feedback} <= roots
    assert "too plain" in langsmith.text and "secret" not in langsmith.text


async def test_hidden_texts_do_not_leave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRAL_HOME", str(tmp_path / "home"))
    hidden = {"LANGSMITH_HIDE_INPUTS": "true", "LANGSMITH_HIDE_OUTPUTS": "true"}
    with ScriptedServer() as server, fake_langsmith(monkeypatch, **TRACED, **hidden) as langsmith:
        await work_and_review(tmp_path, server.url)
        flush_traces()
    assert langsmith.runs and langsmith.feedback
    assert "useful about" not in langsmith.text, "no prompt"
    assert "I answer" not in langsmith.text and "too plain" not in langsmith.text, "no answer and no comment"


async def test_the_guides_tracer_traces_with_what_it_did(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CORRAL_HOME", str(tmp_path / "home"))
    with ScriptedServer() as server, fake_langsmith(monkeypatch) as langsmith:
        monkeypatch.setenv("OPENAI_BASE_URL", server.url)
        monkeypatch.setenv("OPENAI_MODEL", "scripted")
        tracer = LangSmithTracer("guide")
        generator = SyntheticFeedbackGenerator("budgeting")
        with tracer.trace_feedback_collection(user_id="ada", task_type="budgeting") as trace:
            rated = generator.generate_batch([{"prompt": "Why?", "output": "So."}])
            trace.note(rating=rated[0].overall_rating)
        async with tracer.trace_training("DPO", "brand_acme_v3"):
            pass

        @tracer.trace_feedback_collection(user_id="bob")
        async def twice(number: int) -> int:
            return 2 * number

        assert await twice(21) == 42
        with pytest.raises(ZeroDivisionError), tracer.trace_training("SFT"):
            _ = 1 / 0
        monitor = RLHFMonitor(tracer)
        monitor.track_feedback_quality(rated)
        monitor.compare_model_versions("v1", "v2", rated * 8, rated * 8)
        stats = tracer.get_project_stats()
        assert await tracer.aget_project_stats() == stats
        await generator.agenerate_feedback("And", "untraced?")
        flush_traces()
    paths = langsmith.paths()
    assert {"feedback collection", "DPO training", "SFT training", "feedback quality", "version comparison"} <= paths
    assert "feedback collection > judge.accuracy" in paths, "what is asked within is below it"
    assert stats["total_runs"] == 6 and stats["project"] == "guide"
    assert {path.split(" > ")[0] for path in paths} <= {p for p in paths if ">" not in p}, "nothing else is traced"
    assert '"returned":42' in langsmith.text.replace(" ", "") and "ZeroDivisionError" in langsmith.text


def test_a_tracer_without_a_key_or_a_server_costs_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    tracer = LangSmithTracer()
    assert "LANGSMITH_API_KEY is not set" in caplog.text
    with tracer.trace_feedback_collection(user_id="ada") as trace:
        trace.note(rating=5)
    assert trace.id == ""
    endpoint = FunctionEndpoint(fixed_answers())
    rated = SyntheticFeedbackGenerator(endpoint=endpoint).generate_batch([{"prompt": "p", "output": "o"}])
    assert RLHFMonitor(tracer).track_feedback_quality(rated).average_rating == 4
    with pytest.raises(BadInput, match="LANGSMITH_API_KEY"):
        tracer.get_project_stats()
    with fake_langsmith(monkeypatch):
        monkeypatch.setenv("LANGSMITH_ENDPOINT", "http://127.0.0.1:9")
        away = LangSmithTracer(settings=load_settings())
        with away.trace_training("SFT"):
            pass
        with pytest.raises(EndpointUnreachable, match=r"LangSmith at http://127\.0\.0\.1:9 gives no figures"):
            away.get_project_stats()
