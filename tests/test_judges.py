"""The Python API: sync and async, in and beside an event loop, over a real ledger, with bad input refused at once."""

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from corral import DPODatasetBuilder, MultiAgentRLHF, SyntheticFeedbackGenerator
from state.dimensions import DIMENSIONS
from state.errors import BadInput, BudgetExceeded, EndpointUnreachable
from state.request import Endpoint
from tests.judging_support import FunctionEndpoint, fixed_answers, number_in
from tests.memory_ledger import MemoryLedger
from tests.scripted_server import ScriptedServer
from tools.endpoint import open_endpoint
from tools.endpoint.chat import ChatCall
from tools.judging.topic import measured_gain
from tools.settings import load_settings

BUDGET = "Allocate $2.5M over Amazon, Walmart and Target."
ADDS_UP, DOES_NOT = "Amazon $1.2M, Walmart $800K, Target $500K", "Amazon $1.2M, Walmart $800K, Target $600K"


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("CORRAL_HOME", str(tmp_path))
    return tmp_path


def by_number(call: ChatCall) -> dict[str, Any]:
    """Score an answer by the number in it."""
    worth = number_in(call.messages[0]["content"])
    return fixed_answers(worth, 1 + min(4, worth // 20))(call)


def test_an_answer_is_scored_over_http_and_paid_once() -> None:
    with ScriptedServer() as server:
        judges = MultiAgentRLHF("budgeting", endpoint=Endpoint(base_url=server.url, model="scripted"))
        first, again = judges.evaluate(BUDGET, ADDS_UP), judges.evaluate(BUDGET, ADDS_UP)
    assert first == again and len(server.requests) == 6
    assert set(first.scores) == set(DIMENSIONS) and first.overall is not None and not first.error


async def test_both_forms_work_where_a_loop_runs() -> None:
    judges = MultiAgentRLHF(endpoint=FunctionEndpoint(fixed_answers(88)))
    assert judges.evaluate("Why?", "So.") == await judges.aevaluate("Why?", "So.")
    feedback = SyntheticFeedbackGenerator(endpoint=FunctionEndpoint(fixed_answers(88, 5)))
    assert feedback.generate_feedback("Why?", "So.") == await feedback.agenerate_feedback("Why?", "So.")


def test_a_sum_that_does_not_add_up_is_capped_and_said() -> None:
    judges = MultiAgentRLHF("budgeting", endpoint=FunctionEndpoint(fixed_answers(90)))
    good, bad = judges.evaluate(BUDGET, ADDS_UP), judges.evaluate(BUDGET, DOES_NOT)
    assert good.scores["accuracy"].capped_from is None and good.is_acceptable
    assert bad.scores["accuracy"].capped_from == 90 and "2,600,000" in bad.scores["accuracy"].feedback
    rated = SyntheticFeedbackGenerator("budgeting", endpoint=FunctionEndpoint(fixed_answers(90, 5)))
    assert rated.generate_feedback(BUDGET, DOES_NOT).is_chosen is False


def test_weights_count() -> None:
    def answer(call: ChatCall) -> dict[str, Any]:
        return fixed_answers(100 if call.purpose == "judge.clarity" else 0)(call)

    weights = dict.fromkeys(DIMENSIONS, 0.0) | {"clarity": 1.0}
    assert MultiAgentRLHF(weights=weights, endpoint=FunctionEndpoint(answer)).evaluate("Why?", "So.").overall == 100


@pytest.mark.parametrize(
    ("settings", "fault"),
    [
        ({"task_type": "cooking"}, "unknown task type 'cooking'"),
        ({"weights": {"accuracy": 1.0}}, "must name exactly"),
        ({"weights": dict.fromkeys(DIMENSIONS, 0.3)}, "sum to 1"),
        ({"draws": 0}, "draws"),
        ({"patience": 3}, "patience"),
        ({"accept": 10.0, "review_from": 55.0}, "must not be above"),
    ],
)
def test_wrong_settings_are_refused_at_once(settings: dict[str, Any], fault: str) -> None:
    with pytest.raises(BadInput, match=fault) as refused:
        MultiAgentRLHF(**settings)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    "name", ["general", "budgeting", "creative", "compliance", "data quality", "strategic planning"]
)
def test_the_guides_task_types_are_known(name: str) -> None:
    assert SyntheticFeedbackGenerator(name).settings.task_type in name.replace(" ", "_").replace(
        "strategic", "strategy"
    )


def test_a_batch_keeps_its_order_and_a_bad_answer_its_place() -> None:
    def answer(call: ChatCall) -> dict[str, Any]:
        return {"score": 1000} if "garbled" in call.messages[0]["content"] else by_number(call)

    generator = SyntheticFeedbackGenerator(endpoint=FunctionEndpoint(answer))
    texts = ["worth 90", "garbled", "worth 10", "worth 50", "worth 70"]
    made = generator.generate_batch([{"prompt": "Why?", "model_output": text} for text in texts], batch_size=2)
    assert [f.overall_rating for f in made] == [5, None, 1, 3, 4]
    assert "twice wrong" in made[1].error and made[1].is_chosen is False


def test_a_batch_is_checked_before_anything_is_asked() -> None:
    endpoint = FunctionEndpoint(fixed_answers())
    generator = SyntheticFeedbackGenerator(endpoint=endpoint)
    with pytest.raises(BadInput, match="example 1: there is no 'output'"):
        generator.generate_batch([{"prompt": "p", "model_output": "o"}, {"prompt": "p"}])
    with pytest.raises(BadInput, match="batch_size"):
        generator.generate_batch([], batch_size=0)
    assert generator.generate_batch([]) == [] and not endpoint.calls


def test_an_endpoint_out_of_reach_is_an_error() -> None:
    judges = MultiAgentRLHF(endpoint=Endpoint(base_url="http://127.0.0.1:9/v1", model="scripted", attempts=1))
    with pytest.raises(EndpointUnreachable):
        judges.evaluate("Why?", "So.")


def test_pairs_are_built_and_their_absence_is_explained(tmp_path: Path) -> None:
    worths = {"both": [92, 5, 50], "good": [95, 90, 88], "bad": [3, 9, 12], "same": [91, 91, 91]}
    given = {prompt: iter(values) for prompt, values in worths.items()}
    builder = DPODatasetBuilder(SyntheticFeedbackGenerator(endpoint=FunctionEndpoint(by_number)))
    built = builder.build_dataset(list(worths), lambda prompt: f"This is worth {next(given[prompt])} points.", 3)
    assert [(row["chosen"][0]["content"], row["rejected"][0]["content"]) for row in built.rows] == [
        ("This is worth 92 points.", "This is worth 5 points.")
    ]
    assert built.without_pair == {
        "good": "no answer has at most two stars",
        "bad": "no answer is accepted with at least four stars",
        "same": "no answer has at most two stars",
    }
    built.save(tmp_path / "pairs.jsonl")
    assert json.loads((tmp_path / "pairs.jsonl").read_text()) == built.rows[0]


async def test_a_coroutine_may_write_the_variations() -> None:
    worths = iter([90, 2])

    async def write(prompt: str) -> str:
        await asyncio.sleep(0)
        return f"This is worth {next(worths)} points."

    builder = DPODatasetBuilder(SyntheticFeedbackGenerator(endpoint=FunctionEndpoint(by_number)))
    assert len((await builder.abuild_dataset(["Why?"], write, 2)).rows) == 1
    with pytest.raises(BadInput, match="num_variations"):
        await builder.abuild_dataset(["Why?"], write, 1)


def test_a_budget_holds_over_all_calls_of_an_object_and_the_next_object_goes_on() -> None:
    with ScriptedServer() as server:
        priced = Endpoint(base_url=server.url, model="scripted", input_price=1000.0, output_price=1000.0, concurrency=1)
        poor = SyntheticFeedbackGenerator(endpoint=priced, budget=3.0)
        examples = [{"prompt": "Why?", "model_output": f"So {number}."} for number in range(4)]
        with pytest.raises(BudgetExceeded, match="What was answered is kept: an object with a higher budget"):
            poor.generate_batch(examples, batch_size=1)
        made = len(server.requests)
        assert 0 < poor.spent <= 3.0 and 0 < made < 24
        rich = DPODatasetBuilder(SyntheticFeedbackGenerator(endpoint=priced, budget=100.0))
        answers = (f"So {number}." for number in range(4))
        dataset = rich.build_dataset(["Why?"], lambda _: next(answers), 4)
        assert dataset.cost > 0 and len(server.requests) == 24, f"{made} answers were kept"


@pytest.mark.parametrize(
    ("budget", "endpoint", "fault"),
    [
        (1.0, Endpoint(base_url="https://models.example.org/v1", model="m"), "endpoint.input_price"),
        (1.0, FunctionEndpoint(fixed_answers()), "its own ledger"),
        (-1.0, None, "at least 0"),
        (float("inf"), None, "at least 0"),
        ("much", None, "number of dollars"),
    ],
)
def test_a_budget_that_cannot_be_kept_is_refused_at_once(budget: Any, endpoint: Any, fault: str) -> None:
    with pytest.raises(BadInput, match=fault):
        MultiAgentRLHF(endpoint=endpoint, budget=budget)
    assert MultiAgentRLHF(budget=1.0).spent == 0


async def test_likelihoods_are_the_models_own(tmp_path: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tests.tiny_model import tiny_model
    from tools.weights.loading import compute_dtype

    folder = await asyncio.to_thread(tiny_model, tmp_path)
    tokenizer, model = AutoTokenizer.from_pretrained(folder), AutoModelForCausalLM.from_pretrained(folder)
    model = model.to(compute_dtype())
    endpoint = await open_endpoint(
        Endpoint(base_url="weights", model=str(folder)), MemoryLedger(), "r", load_settings()
    )

    def loss(prompt: str, answer: str) -> float:
        turns = [{"role": "user", "content": prompt}]
        start = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
        asked, told = (tokenizer(text, add_special_tokens=False).input_ids for text in (start, answer))
        with torch.inference_mode():
            logits = model(torch.tensor([asked + told])).logits[0, len(asked) - 1 : -1].float()
        return float(torch.nn.functional.cross_entropy(logits, torch.tensor(told)))

    gain = await measured_gain(endpoint, "Name a river.", "The Rhine is a river.")
    expected = loss("", "The Rhine is a river.") - loss("Name a river.", "The Rhine is a river.")
    assert gain == pytest.approx(expected, abs=5e-3)
    assert await measured_gain(endpoint, "Name a river.", "") == 0
    assert await measured_gain(endpoint, "x " * 5000, "y " * 5000) == pytest.approx(0, abs=1)
