"""CrewJudge: one text in, one judgement out. Pools crews, runs checks first, and sorts errors from verdicts."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from weakref import WeakKeyDictionary

from state.errors import BadInput, BudgetExceeded, EndpointRefused, EndpointUnreachable
from state.records import Candidate, CheckResult, Judgement, Sample, content_hash
from state.request import Judging
from tools.checks import inferred_checks, run_checks
from tools.endpoint.chat import ChatEndpoint
from tools.endpoint.embedded import MODEL as EMBEDDED_MODEL
from tools.judging.likelihood import measure
from tools.judging.likelihood_sitting import NAME as LIKELIHOOD
from tools.judging.likelihood_sitting import LikelihoodSitting, likelihood_parts
from tools.judging.quiet import load_crew
from tools.judging.sitting import EndpointSitting, Sitting
from tools.judging.subject import subject
from tools.judging.verdict import failed_judgement, judgement
from tools.judging.verdicts import DimensionVerdict, Draw, ExpertVerdict
from tools.judging.wording import load_wording

if TYPE_CHECKING:
    from tools.judging.crew import Table

CREWS = 64
"""Crews at work at a time in one event loop: more would hold memory and only wait for the endpoint."""
SUBJECT_TOKENS = 6000
"""About how many tokens the judged text may take: prompts, opinions and answer then fit a window of 8,192."""
PROPAGATED = (BudgetExceeded, EndpointUnreachable, EndpointRefused)
"""Errors that no other text would escape, so they end the step instead of failing one row."""

_idle: dict[str, list[Table]] = {}
_room: WeakKeyDictionary[asyncio.AbstractEventLoop, asyncio.Semaphore] = WeakKeyDictionary()


class CrewJudge:
    """Five judges and an expert, as a CrewAI crew over one endpoint.

    The embedded model, of 135 million parameters, is too small for written scores: for it the crew answers from its
    likelihoods, makes no calls, and is named the likelihood judge.

    Args:
        endpoint: the model that answers for all of them, behind the ledger.
        settings: task type, weights, thresholds, draws.
        seed: the run's seed; every draw adds its number.
    """

    def __init__(self, endpoint: ChatEndpoint, settings: Judging, *, seed: int = 0) -> None:
        self._endpoint, self._settings, self._seed = endpoint, settings, seed
        self._by_likelihood = endpoint.model == EMBEDDED_MODEL
        self.identity = judge_identity(endpoint.model, settings)

    async def judge(self, sample: Sample, candidate: Candidate, context: Mapping[str, Any] | None = None) -> Judgement:
        """Judge one candidate.

        Args:
            sample: what was asked, with its checks.
            candidate: the completion.
            context: brand and readers; shown to the judges and read by the style checks.

        Returns:
            The judgement; outcome ``failed`` with the error as its reason where a check or an answer was unusable.

        Raises:
            BudgetExceeded: the next call would pass the cap.
            EndpointUnreachable: nothing answers.
            EndpointRefused: the endpoint will take no such call.
        """
        id = content_hash(candidate.id, self.identity)
        try:
            checks = await asyncio.to_thread(self._verify, sample, candidate, context)
        except BadInput as error:
            return failed_judgement(id, candidate.id, self.identity, {"checks": error})
        text = subject(sample.prompt, candidate.text, checks, context, SUBJECT_TOKENS)
        sittings = self._sittings(sample.prompt, candidate.text, checks)
        draws = await self._sit(text, sittings)
        errors = {who: error for sitting in sittings for who, error in sitting.errors.items()}
        if errors:
            raise_if_common(errors.values())
            return failed_judgement(id, candidate.id, self.identity, errors)
        doubt = max(sitting.doubt for sitting in sittings)
        return judgement(id, candidate.id, self.identity, draws, checks, self._settings, doubt)

    def _verify(
        self, sample: Sample, candidate: Candidate, context: Mapping[str, Any] | None
    ) -> tuple[CheckResult, ...]:
        written = run_checks(sample.checks, candidate.text)
        return (*written, *inferred_checks(sample.prompt, candidate.text, self._settings.task_type, context))

    def _sittings(self, prompt: str, answer: str, checks: Sequence[CheckResult]) -> Sequence[Sitting]:
        settings = self._settings
        if self._by_likelihood:
            # Likelihoods are not drawn: a second sitting would find the same.
            return [LikelihoodSitting(measure, prompt, answer, checks, settings.weights)]
        return [
            EndpointSitting(self._endpoint, checks, draw=draw, seed=self._seed + draw, max_tokens=settings.max_tokens)
            for draw in range(settings.draws)
        ]

    async def _sit(self, text: str, sittings: Sequence[Sitting]) -> list[Draw]:
        try:
            return await asyncio.gather(*(_at_a_table(self._settings.task_type, text, s) for s in sittings))
        except BaseException:
            for sitting in sittings:
                sitting.close()
            raise


async def _at_a_table(task_type: str, text: str, sitting: Sitting) -> Draw:
    crew = await load_crew()
    loop = asyncio.get_running_loop()
    async with _room.setdefault(loop, asyncio.Semaphore(CREWS)):
        idle = _idle.setdefault(task_type, [])
        # Building one touches folders, which an event loop must not do.
        table = idle.pop() if idle else await asyncio.to_thread(crew.Table, task_type, load_wording())
        draw: Draw = await table.judge(text, sitting)
        # Only after success: a crew that failed or was cancelled may still have tasks of its own running.
        idle.append(table)
        return draw


def raise_if_common(errors: Any) -> None:
    """Raise the first error that no other text would escape.

    Raises:
        BudgetExceeded, EndpointUnreachable, EndpointRefused: as it was kept.
    """
    for error in errors:
        if isinstance(error, PROPAGATED):
            raise error


def judge_identity(model: str, settings: Judging) -> str:
    """Return what a judge is known by: a readable head, and a hash over model, prompts, schemas, weights and draws."""
    parts: list[Any] = [model, settings.task_type, settings.weights]
    if model == EMBEDDED_MODEL:
        return f"{LIKELIHOOD}/{model}/{settings.task_type}@{content_hash(*parts, likelihood_parts())[:12]}"
    schemas = [DimensionVerdict.model_json_schema(), ExpertVerdict.model_json_schema()]
    parts += [settings.draws, load_wording().parts(), schemas]
    return f"crew/{model}/{settings.task_type}@{content_hash(*parts)[:12]}"
