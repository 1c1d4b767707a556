"""The judges in Python: one answer or many, each in a sync and an async form.

    from corral import Endpoint, MultiAgentRLHF

    openai = Endpoint(base_url="https://api.openai.com/v1", model="gpt-4.1-mini")
    judges = MultiAgentRLHF("budgeting", endpoint=openai, budget=0.50, context={"brand": "Acme"})
    judges.evaluate("Allocate $2.5M ...", "Amazon $1.2M, ...").overall_score
    judges.spent  # dollars

Without an endpoint the model that ``OPENAI_API_KEY``, ``OPENAI_MODEL`` or ``OLLAMA_MODEL`` names is asked; without one,
checks judge, and the embedded model filters what is off the topic. Calls are kept in the ledger of the settings'
database, so asking again costs nothing. A sync form may be called where an event loop runs, as in a notebook.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Any, get_args

from pydantic import ValidationError

from corral.arguments import demand_mapping, demand_whole, listed
from corral.endpoints import Model, OpenModel
from corral.feedback import CrewEvaluation, SyntheticFeedback, evaluation_of, feedback_of
from corral.running import in_sync
from corral.standalone import at_the_cap
from state.errors import BadInput
from state.records import Judgement
from state.request import Judging, TaskType
from tools.checks.style import demand_context
from tools.endpoint.spending import Spending
from tools.judging.batch import judge_items
from tools.judging.judge import CrewJudge
from tools.sources.items import Item, item_of

Context = Mapping[str, Any]
ALSO = {"strategic_planning": "strategy"}
"""The guide's names of task types that have another name here."""


class _Judges:
    """What both classes share: settings checked at once, and a model opened when it is needed."""

    def __init__(
        self, task_type: str = "general", *, endpoint: Model = None, budget: float | None = None, **settings: Any
    ):
        self.settings = judging_of({"task_type": task_type_of(task_type)} | settings)
        self._model = OpenModel(endpoint, budget)

    @property
    def spent(self) -> float:
        """Dollars that this object has paid; what the ledger knew already costs nothing."""
        return self.spending.spent

    @property
    def spending(self) -> Spending:
        """What this object has spent, in how many calls, and its cap."""
        return self._model.spending

    async def judge_all(self, examples: Sequence[Mapping[str, Any]], batch_size: int = 10) -> list[Judgement]:
        """Judge many answers and return the whole records; arguments and errors as for ``agenerate_batch``."""
        demand_whole(batch_size, "batch_size")
        items = [item_of(example, f"example {number}") for number, example in enumerate(listed(examples, "examples"))]
        judged: list[Judgement] = []
        for start in range(0, len(items), batch_size):
            judged += await self._judge(items[start : start + batch_size])
        return judged

    async def _judge(self, items: Sequence[Item]) -> list[Judgement]:
        endpoint = await self._model.opened()
        with at_the_cap("an object with a higher budget goes on where this one ended."):
            return await judge_items(CrewJudge(endpoint, self.settings), items)


class MultiAgentRLHF(_Judges):
    """Five judges with a score each, and those of your own.

    Args:
        task_type: general, budgeting, creative, compliance, data quality or strategic planning.
        weights: share of each of the five dimensions; they sum to 1. Dimensions of your own take theirs before.
        endpoint: of the model that judges; see ``SyntheticFeedbackGenerator``.
        budget: dollars that this object may spend in all; ``None`` for no cap.
        **settings: fields of ``Judging``.

    Raises:
        BadInput: as for ``SyntheticFeedbackGenerator``; or weights that name other dimensions or do not sum to 1.
    """

    def __init__(
        self,
        task_type: str = "general",
        weights: Mapping[str, float] | None = None,
        *,
        endpoint: Model = None,
        budget: float | None = None,
        **settings: Any,
    ):
        demand_mapping(weights, "weights")
        weighted = {} if weights is None else {"weights": dict(weights)}
        super().__init__(task_type, endpoint=endpoint, budget=budget, **settings, **weighted)

    def evaluate(self, prompt: str, model_output: str, context: Context | None = None) -> CrewEvaluation:
        """Score one answer; see ``aevaluate``."""
        return in_sync(self.aevaluate(prompt, model_output, context))

    async def aevaluate(self, prompt: str, model_output: str, context: Context | None = None) -> CrewEvaluation:
        """Score one answer.

        Args:
            prompt: what was asked.
            model_output: what was answered.
            context: brand and readers of this answer: ``brand``, ``brand_terms``, ``avoid_terms``, ``tone`` and
                whatever else the judges should know. It counts before the object's own.

        Raises:
            BadInput: an empty prompt.
            BudgetExceeded: the next call would pass the budget; what was answered is kept.
            EndpointUnreachable: nothing answers at the endpoint.
            EndpointRefused: it will take no such call.
        """
        return evaluation_of((await self._judge([_item(prompt, model_output, context)]))[0])

    def evaluate_batch(self, examples: Sequence[Mapping[str, Any]], batch_size: int = 10) -> list[CrewEvaluation]:
        """Score many answers; see ``aevaluate_batch``."""
        return in_sync(self.aevaluate_batch(examples, batch_size))

    async def aevaluate_batch(
        self, examples: Sequence[Mapping[str, Any]], batch_size: int = 10
    ) -> list[CrewEvaluation]:
        """Score many answers, in their order; arguments and errors as for ``agenerate_batch``."""
        return [evaluation_of(j) for j in await self.judge_all(examples, batch_size)]


class SyntheticFeedbackGenerator(_Judges):
    """An expert's stars, in place of a person's.

    Args:
        task_type: general, budgeting, creative, compliance, data quality or strategic planning.
        endpoint: of the model that judges: an ``Endpoint``, a URL, a LangChain chat model, another Runnable, a function
            of a prompt, or an open endpoint; without it, the environment's, or else the embedded one.
        budget: dollars that this object may spend in all; ``None`` for no cap. A call that would pass it is not made.
        **settings: fields of ``Judging``, such as ``accept=50``, ``draws=3``, ``context={"brand": "Acme"}``,
            ``dimensions={"seasonality": {"weight": 0.2, "rubric": "90: ..."}}`` or ``expert={"role": "media planner",
            "years_of_experience": 15}``.

    Raises:
        BadInput: an unknown task type, a setting out of bounds, an endpoint that cannot be asked, or a budget that
            cannot be kept: the price of the endpoint's tokens is not known, or the endpoint is open already.
    """

    def generate_feedback(self, prompt: str, model_output: str, context: Context | None = None) -> SyntheticFeedback:
        """Rate one answer; see ``agenerate_feedback``."""
        return in_sync(self.agenerate_feedback(prompt, model_output, context))

    async def agenerate_feedback(
        self, prompt: str, model_output: str, context: Context | None = None
    ) -> SyntheticFeedback:
        """Rate one answer; arguments and errors as for ``MultiAgentRLHF.aevaluate``."""
        return feedback_of((await self._judge([_item(prompt, model_output, context)]))[0])

    def generate_batch(self, examples: Sequence[Mapping[str, Any]], batch_size: int = 10) -> list[SyntheticFeedback]:
        """Rate many answers; see ``agenerate_batch``."""
        return in_sync(self.agenerate_batch(examples, batch_size))

    async def agenerate_batch(
        self, examples: Sequence[Mapping[str, Any]], batch_size: int = 10
    ) -> list[SyntheticFeedback]:
        """Rate many answers, in their order; one that cannot be judged carries its error.

        Args:
            examples: mappings with ``prompt``, ``model_output``, and ``context`` and ``checks`` where there are any.
            batch_size: answers judged at a time, at least 1.

        Raises:
            BadInput: an example is no mapping, or lacks its prompt or output (its number, from 0, is named), or the
                batch size is under 1.
        """
        return [feedback_of(j) for j in await self.judge_all(examples, batch_size)]


def _item(prompt: str, output: str, context: Context | None) -> Item:
    return item_of({"prompt": prompt, "output": output, "context": context}, "the text to judge")


def task_type_of(name: str) -> str:
    """Return a task type by its name, in the guide's words too.

    Raises:
        BadInput: there is no such one.
    """
    key = "_".join(str(name).lower().replace("-", " ").replace("_", " ").split())
    known = get_args(TaskType)
    key = ALSO.get(key, key)
    if key not in known:
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.0)[0]
        raise BadInput(f"unknown task type {name!r}; the nearest of {', '.join(known)} is {near!r}")
    return key


def judging_of(values: dict[str, Any]) -> Judging:
    """Return settings of the judges.

    Raises:
        BadInput: one is unknown or out of bounds; the first is named.
    """
    try:
        settings = Judging.model_validate(values)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        where = ".".join(map(str, first["loc"]))
        raise BadInput(f"{where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}") from None
    demand_context(settings.context)
    return settings
