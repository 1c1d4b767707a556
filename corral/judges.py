"""The judges in Python: one answer, many answers, or pairs for DPO, each in a sync and an async form.

    from corral import Endpoint, MultiAgentRLHF, SyntheticFeedbackGenerator

    openai = Endpoint(base_url="https://api.openai.com/v1", model="gpt-4.1-mini")
    judges = MultiAgentRLHF("budgeting", endpoint=openai, budget=0.50)
    judges.evaluate("Allocate $2.5M ...", "Amazon $1.2M, ...", {"brand": "Acme"}).overall
    judges.spent  # dollars

Without an endpoint checks judge, and the embedded model filters what is off the topic. Calls are kept in the ledger of
the settings' database, so asking again costs nothing. A sync form may be called where an event loop runs, as in a
notebook.
"""

from __future__ import annotations

import asyncio
import difflib
import inspect
import math
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, TypeVar, cast, get_args

from pydantic import ValidationError

from corral.feedback import CrewEvaluation, SyntheticFeedback, evaluation_of, feedback_of
from corral.pairs import DPODataset, dataset_of
from corral.standalone import JUDGING, at_the_cap, open_standalone
from state.errors import BadInput
from state.records import Judgement
from state.request import Endpoint, Judging, TaskType
from tools.endpoint import demand_price, price_of
from tools.endpoint.chat import ChatEndpoint
from tools.endpoint.loop import with_last_answers
from tools.endpoint.spending import Spending
from tools.judging.batch import judge_items
from tools.judging.judge import CrewJudge
from tools.settings import load_settings
from tools.sources.items import Item, item_of

T = TypeVar("T")
Context = Mapping[str, Any]
OutputGenerator = Callable[[str], str | Awaitable[str]]
ALSO = {"strategic_planning": "strategy"}
"""The guide's names of task types that have another name here."""


def run(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine to its end, in a thread of its own where an event loop runs in this one.

    Ctrl-C ends it once the answers to what it has sent are kept.
    """
    coroutine = with_last_answers(coroutine)
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(coroutine)
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, coroutine).result()


class _Judges:
    """What both classes share: settings checked at once, and an endpoint opened when it is needed.

    Args:
        task_type: general, budgeting, creative, compliance, data quality or strategic planning.
        endpoint: of the model that judges; the embedded model by default. An open endpoint is used as it is.
        budget: dollars that this object may spend in all; ``None`` for no cap. A call that would pass it is not made.
        **settings: fields of ``Judging``, such as ``draws=3`` or ``accept=80``.

    Raises:
        BadInput: an unknown task type, a setting out of bounds, or a budget that cannot be kept: the price of the
            endpoint's tokens is not known, or the endpoint is open already.
    """

    def __init__(
        self,
        task_type: str = "general",
        *,
        endpoint: Endpoint | ChatEndpoint | None = None,
        budget: float | None = None,
        **settings: Any,
    ):
        self.settings = _judging({"task_type": _task_type(task_type)} | settings)
        self._endpoint = endpoint or Endpoint()
        self._spending = Spending(cap=_cap(budget, self._endpoint))

    @property
    def spent(self) -> float:
        """Dollars that this object has paid; what the ledger knew already costs nothing."""
        return self._spending.spent

    async def _judge(self, items: Sequence[Item]) -> list[Judgement]:
        spec = self._endpoint
        endpoint = await self._opened(spec) if isinstance(spec, Endpoint) else spec
        with at_the_cap("an object with a higher budget goes on where this one ended."):
            return await judge_items(CrewJudge(endpoint, self.settings), items)

    async def _opened(self, spec: Endpoint) -> ChatEndpoint:
        settings = await asyncio.to_thread(load_settings)
        return await open_standalone(spec, settings, JUDGING, self._spending, where="endpoint")


class MultiAgentRLHF(_Judges):
    """Five judges with a score each.

    Args:
        task_type: general, budgeting, creative, compliance, data quality or strategic planning.
        weights: share of each of the five dimensions; they sum to 1.
        endpoint: of the model that judges; the embedded model by default.
        budget: dollars that this object may spend in all; ``None`` for no cap.
        **settings: fields of ``Judging``.

    Raises:
        BadInput: an unknown task type, weights that name other dimensions or do not sum to 1, a setting out of bounds,
            or a budget that cannot be kept.
    """

    def __init__(
        self,
        task_type: str = "general",
        weights: Mapping[str, float] | None = None,
        *,
        endpoint: Endpoint | ChatEndpoint | None = None,
        budget: float | None = None,
        **settings: Any,
    ):
        weighted = {} if weights is None else {"weights": dict(weights)}
        super().__init__(task_type, endpoint=endpoint, budget=budget, **settings, **weighted)

    def evaluate(self, prompt: str, model_output: str, context: Context | None = None) -> CrewEvaluation:
        """Score one answer; see ``aevaluate``."""
        return run(self.aevaluate(prompt, model_output, context))

    async def aevaluate(self, prompt: str, model_output: str, context: Context | None = None) -> CrewEvaluation:
        """Score one answer.

        Args:
            prompt: what was asked.
            model_output: what was answered.
            context: brand and readers: ``brand_terms``, ``avoid_terms``, ``tone`` and whatever the judges should know.

        Raises:
            BadInput: an empty prompt.
            BudgetExceeded: the next call would pass the budget; what was answered is kept.
            EndpointUnreachable: nothing answers at the endpoint.
            EndpointRefused: it will take no such call.
        """
        return evaluation_of((await self._judge([_item(prompt, model_output, context)]))[0])


class SyntheticFeedbackGenerator(_Judges):
    """An expert's stars, in place of a person's."""

    def generate_feedback(self, prompt: str, model_output: str, context: Context | None = None) -> SyntheticFeedback:
        """Rate one answer; see ``agenerate_feedback``."""
        return run(self.agenerate_feedback(prompt, model_output, context))

    async def agenerate_feedback(
        self, prompt: str, model_output: str, context: Context | None = None
    ) -> SyntheticFeedback:
        """Rate one answer; arguments and errors as for ``MultiAgentRLHF.aevaluate``."""
        return feedback_of((await self._judge([_item(prompt, model_output, context)]))[0])

    def generate_batch(self, examples: Sequence[Mapping[str, Any]], batch_size: int = 10) -> list[SyntheticFeedback]:
        """Rate many answers; see ``agenerate_batch``."""
        return run(self.agenerate_batch(examples, batch_size))

    async def agenerate_batch(
        self, examples: Sequence[Mapping[str, Any]], batch_size: int = 10
    ) -> list[SyntheticFeedback]:
        """Rate many answers, in their order; one that cannot be judged carries its error.

        Args:
            examples: mappings with ``prompt``, ``model_output``, and ``context`` and ``checks`` where there are any.
            batch_size: answers judged at a time, at least 1.

        Raises:
            BadInput: an example lacks its prompt or output (its number is named), or the batch size is under 1.
        """
        return [feedback_of(j) for j in await self.judge_all(examples, batch_size)]

    async def judge_all(self, examples: Sequence[Mapping[str, Any]], batch_size: int = 10) -> list[Judgement]:
        """Judge many answers and return the whole records; arguments and errors as for ``agenerate_batch``."""
        if batch_size < 1:
            raise BadInput(f"batch_size must be at least 1, not {batch_size}")
        items = [item_of(example, f"example {number}") for number, example in enumerate(examples)]
        judged: list[Judgement] = []
        for start in range(0, len(items), batch_size):
            judged += await self._judge(items[start : start + batch_size])
        return judged


class DPODatasetBuilder:
    """Preference pairs from a model's own variations.

    Args:
        generator: rates the answers.
    """

    def __init__(self, generator: SyntheticFeedbackGenerator) -> None:
        self._generator = generator

    def build_dataset(
        self, prompts: Sequence[str], output_generator: OutputGenerator, num_variations: int = 4
    ) -> DPODataset:
        """Build pairs; see ``abuild_dataset``."""
        return run(self.abuild_dataset(prompts, output_generator, num_variations))

    async def abuild_dataset(
        self, prompts: Sequence[str], output_generator: OutputGenerator, num_variations: int = 4
    ) -> DPODataset:
        """Generate several answers to each prompt, rate them, and pair the best with the worst.

        Args:
            prompts: what is asked.
            output_generator: returns one answer to a prompt, another at each call; it may be a coroutine function.
            num_variations: answers for each prompt, at least 2.

        Returns:
            The pairs, chosen from 4 to 5 stars and rejected from 1 to 2, and why the other prompts gave none.

        Raises:
            BadInput: fewer than two variations, or a prompt that is empty.
        """
        if num_variations < 2:
            raise BadInput(f"num_variations must be at least 2, since a pair needs two answers, not {num_variations}")
        examples = [
            {"prompt": prompt, "model_output": output}
            for prompt in prompts
            for output in dict.fromkeys([await _answer(output_generator, prompt) for _ in range(num_variations)])
        ]
        items = [item_of(example, f"example {number}") for number, example in enumerate(examples)]
        before = self._generator.spent
        dataset = dataset_of(items, await self._generator.judge_all(examples))
        return dataset.model_copy(update={"cost": self._generator.spent - before})


def _cap(budget: float | None, endpoint: Endpoint | ChatEndpoint) -> float | None:
    if budget is None:
        return None
    if not isinstance(budget, int | float) or not 0 <= budget < math.inf:
        raise BadInput(f"budget must be a number of dollars, at least 0, not {budget!r}")
    if not isinstance(endpoint, Endpoint):
        raise BadInput("budget: an open endpoint has the cap of its own ledger; give an Endpoint, or no budget")
    demand_price(endpoint, price_of(endpoint), "endpoint")
    return float(budget)


async def _answer(output_generator: OutputGenerator, prompt: str) -> str:
    if inspect.iscoroutinefunction(output_generator):
        return cast(str, await output_generator(prompt))
    given = await asyncio.to_thread(output_generator, prompt)
    return await given if inspect.isawaitable(given) else given


def _item(prompt: str, output: str, context: Context | None) -> Item:
    return item_of({"prompt": prompt, "output": output, "context": dict(context or {})}, "the text to judge")


def _task_type(name: str) -> str:
    key = "_".join(str(name).lower().replace("-", " ").replace("_", " ").split())
    known = get_args(TaskType)
    key = ALSO.get(key, key)
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
        raise BadInput(f"unknown task type {name!r}; the nearest of {', '.join(known)} is {near!r}")
    return key


def _judging(values: dict[str, Any]) -> Judging:
    try:
        return Judging.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BadInput(f"{where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}") from None
