"""CrewJudge: one text in, one judgement out. Checks first, then the crew or the filter; errors are no scores."""

from __future__ import annotations

import asyncio
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from state.errors import BadInput, CallDeferred, CallFailed, CorralError
from state.records import Candidate, CheckResult, Judgement, Sample, content_hash
from state.request import Endpoint, Judging
from tools.checks import run_checks
from tools.checks.guard import is_empty
from tools.checks.inferred import inferred_checks
from tools.endpoint import capabilities, weights_here
from tools.endpoint.answering import TellingEndpoint
from tools.endpoint.chat import ChatEndpoint
from tools.endpoint.weights import ledger_model
from tools.judging.answers import DimensionRating, ExpertRating, PairChoice
from tools.judging.backend import CrewBackend, EndpointBackend
from tools.judging.pool import kick_off, text_slot
from tools.judging.preference import Preference, by_rating, in_both_orders
from tools.judging.scoring import SCORING, failed_judgement, judgement
from tools.judging.size import LEAST, too_small_to_write
from tools.judging.subject import pair_subject, subject
from tools.judging.topic import CALLS, measured_gain, topic_check
from tools.judging.verified import (
    NAME,
    further_checks,
    is_proven_wrong,
    speaking,
    verified_judgement,
    verified_parts,
)
from tools.judging.wording import panel_of
from tools.weights.number_format import answering_format, without_format

T = TypeVar("T")
SMALL_CREW = "crew below 1B"
"""The name of a crew whose model is too small to write scores."""
MOST_DRAWS = 16
"""As many as ``judge.draws`` may be: so far apart are the draws of two models that came under one name."""
SUBJECT_TOKENS = 6000
"""About how many tokens the judged text may take: prompts, opinions and answer then fit a window of 8,192."""


CHECKS_THREAD = ThreadPoolExecutor(1, thread_name_prefix="checks")
"""One thread for the checks: they only compute, so that more would compile the same patterns at once, and the default
executor is left to who waits for a disk."""


async def _in_checks_thread(verify: Callable[..., T], *arguments: Any) -> T:
    return await asyncio.get_running_loop().run_in_executor(CHECKS_THREAD, verify, *arguments)


class CrewJudge:
    """Five judges and an expert, as a CrewAI crew over one endpoint.

    Where the endpoint gives likelihoods, as the embedded one does, no model is asked for its opinion: checks judge,
    likelihoods filter what is off the topic, and the judge is named so; see ``tools.judging.verified``. Behind a URL
    the crew writes its scores. A model whose name states less than a billion parameters is asked, too, with a warning,
    and the judge's name says that it is too small; see ``tools.judging.size``.

    Args:
        endpoint: the model that answers for all of them, behind the ledger.
        settings: task type, weights, thresholds, draws.
        seed: the run's seed; every draw adds its number.
        attended: whether a person looks at what nothing can judge. Where nobody does, that is left out, and the filter
            is not asked about it.
        replaced: how often another model has come under the model's name; the ledger's answers of those before it are
            not read.
    """

    def __init__(
        self, endpoint: ChatEndpoint, settings: Judging, *, seed: int = 0, attended: bool = True, replaced: int = 0
    ) -> None:
        self._endpoint, self._settings, self._seed, self._attended = endpoint, settings, seed, attended
        self._first_draw = replaced * MOST_DRAWS
        self._by_checks, self._panel = endpoint.can.likelihoods, panel_of(settings)
        if too_small_to_write(endpoint.model) and not self._by_checks:
            warnings.warn(
                f"{endpoint.model!r} is too small to judge: below {LEAST:,} parameters written scores were noise, and "
                "a server does not tell likelihoods. Set models.judge to a larger model, or to the embedded one.",
                stacklevel=2,
            )
        self.identity = judge_identity(endpoint.model, settings, by_checks=self._by_checks, server=endpoint.server)

    @property
    def is_asked(self) -> bool:
        """Whether a crew is asked: where checks judge, nothing that they refuse costs a call."""
        return not self._by_checks

    @property
    def calls_each(self) -> int:
        """Calls that one judgement takes, where none is asked again."""
        return CALLS if self._by_checks else crew_calls(self._settings)

    async def judge(
        self,
        sample: Sample,
        candidate: Candidate,
        context: Mapping[str, Any] | None = None,
        *,
        answered: Callable[[], None] | None = None,
    ) -> Judgement:
        """Judge one candidate.

        Args:
            sample: what was asked, with its checks.
            candidate: the completion.
            context: brand and readers of this answer; shown to the judges and read by the style checks. It counts
                before the sample's own context, and that before the settings'.
            answered: is told of each call that has ended.

        Returns:
            The judgement; outcome ``failed`` with the error as its reason where a check or an answer was unusable, or a
            call failed after all its tries.

        Raises:
            BudgetExceeded: the next call would pass the cap.
            EndpointUnreachable: nothing answers there, or so many calls in a row failed that nothing will.
            EndpointRefused: the endpoint takes no call of ours.
            StorageError: the ledger cannot be written, or the embedded model not be unpacked.
        """
        # Where a crew is asked, the first texts' calls go out before the checks of all others are done.
        async with text_slot() if self.is_asked else nullcontext():
            return await self._judge(sample, candidate, self._context(sample, context), answered)

    async def _judge(
        self,
        sample: Sample,
        candidate: Candidate,
        context: Mapping[str, Any],
        answered: Callable[[], None] | None,
    ) -> Judgement:
        id = content_hash(candidate.id, self.identity)
        try:
            checks = await _in_checks_thread(self._verify, sample, candidate, context)
        except BadInput as error:
            return failed_judgement(id, candidate.id, self.identity, {"checks": error})
        endpoint = TellingEndpoint(self._endpoint, answered) if answered else self._endpoint
        if self._by_checks or is_empty(candidate.text):
            return await self._judge_by_checks(endpoint, id, sample, candidate, checks)
        text = subject(sample.prompt, candidate.text, checks, context, SUBJECT_TOKENS)
        backends = [self._backend(endpoint, checks, draw) for draw in range(self._settings.draws)]
        draws = await kick_off("JudgingCrew", self._panel, [(text, backend) for backend in backends])
        if errors := kept_errors(backends):
            return failed_judgement(id, candidate.id, self.identity, errors)
        return judgement(id, candidate.id, self.identity, draws, checks, self._settings)

    async def _judge_by_checks(
        self, endpoint: ChatEndpoint, id: str, sample: Sample, candidate: Candidate, checks: tuple[CheckResult, ...]
    ) -> Judgement:
        """Judge by what can be verified; the filter is asked about what may be imitated, and what a person will see.

        That an answer is empty is verified, too, so that no crew is asked about one.
        """
        checks += further_checks(sample, candidate.text, candidate.ended)
        if not is_proven_wrong(checks) and (self._attended or speaking(checks)):
            try:
                gain = await measured_gain(endpoint, sample.prompt, candidate.text)
            except CallFailed as error:
                return failed_judgement(id, candidate.id, self.identity, {NAME: error})
            checks += (topic_check(gain),)
        return verified_judgement(id, candidate.id, self.identity, checks, self._settings)

    async def prefer(
        self, sample: Sample, first: Candidate, second: Candidate, context: Mapping[str, Any] | None = None
    ) -> Preference:
        """Let the expert choose between two answers, once in each order.

        Checks read one answer at a time, so no order can sway them: both are rated instead.

        Returns:
            The choice that stands in both orders. Errors as for ``judge``; an unusable answer is in the result.
        """
        if self._by_checks:
            return by_rating(*[await self.judge(sample, answer, context) for answer in (first, second)])
        context = self._context(sample, context)
        try:
            checks = [await _in_checks_thread(self._verify, sample, answer, context) for answer in (first, second)]
        except BadInput as error:
            return Preference(error=str(error))
        texts = (first.text, second.text)
        subjects = [
            pair_subject(sample.prompt, texts, checks, context, SUBJECT_TOKENS),
            pair_subject(sample.prompt, texts[::-1], checks[::-1], context, SUBJECT_TOKENS),
        ]
        backends = [self._backend(self._endpoint, (), 0) for _ in subjects]
        choices: list[PairChoice] = await kick_off("PairCrew", self._panel, list(zip(subjects, backends, strict=True)))
        errors = kept_errors(backends)
        return Preference(error="; ".join(map(str, errors.values()))) if errors else in_both_orders(*choices)

    def _context(self, sample: Sample, given: Mapping[str, Any] | None) -> dict[str, Any]:
        return {**self._settings.context, **sample.context, **(given or {})}

    def _verify(
        self, sample: Sample, candidate: Candidate, context: Mapping[str, Any] | None
    ) -> tuple[CheckResult, ...]:
        written = run_checks(sample.checks, candidate.text)
        return (*written, *inferred_checks(sample.prompt, candidate.text, self._settings.task_type, context))

    def _backend(self, endpoint: ChatEndpoint, checks: Sequence[CheckResult], draw: int) -> EndpointBackend:
        tokens = self._settings.max_tokens
        number = self._first_draw + draw
        return EndpointBackend(endpoint, checks, draw=number, seed=self._seed + draw, max_tokens=tokens)


def crew_calls(settings: Judging) -> int:
    """Return how many calls a crew takes for one answer, where none is asked again."""
    return settings.draws * (len(settings.shares) + 1)


def kept_errors(backends: Sequence[CrewBackend]) -> dict[str, CorralError]:
    """Return the errors of single calls that backends kept, by member.

    Raises:
        CorralError: one that every other text would meet as well, so that it ends the step and does not fail one row.
    """
    errors = {who: error for backend in backends for who, error in backend.errors.items()}
    for error in sorted(errors.values(), key=lambda error: isinstance(error, CallDeferred)):
        if not isinstance(error, CallFailed):
            raise error
    return errors


def identity_of(spec: Endpoint, settings: Judging, cache: Path) -> str:
    """Return the identity of the judge that a request names; nothing is opened, but the files of a folder are read.

    Args:
        spec: the judge's endpoint.
        settings: how it judges.
        cache: where the bases of adapters are unpacked.

    Raises:
        BadInput: the endpoint's address is no known word and no URL.
    """
    can, weights = capabilities(spec), weights_here(spec)
    server = spec.base_url if can.remote else ""
    model = spec.model if weights is None else ledger_model(weights, cache)
    return judge_identity(model, settings, by_checks=can.likelihoods, server=server)


@cache
def _schemas() -> list[dict[str, Any]]:
    return [DimensionRating.model_json_schema(), ExpertRating.model_json_schema()]


def judge_identity(model: str, settings: Judging, *, by_checks: bool, server: str = "") -> str:
    """Return a judge's identity: a readable head, and a hash over all that its scores depend on.

    That is model, number format where likelihoods judge, server, task type, weights, prompts, schemas and draws, the
    versions of the scoring's code, and what the owner has put beside them: dimensions, expert and context.
    """
    model = without_format(model)  # a request names it so; its format is a part of its own
    parts: list[Any] = [model, settings.task_type, settings.weights, SCORING, *([server] if server else [])]
    own = settings.model_dump(mode="json", include={"dimensions", "expert", "context"}, exclude_defaults=True)
    parts += [own] if own else []
    if by_checks:
        # Only weights of this machine tell likelihoods; an identity from before they had formats was float32's.
        number_format = answering_format()
        parts += [number_format] if number_format != "float32" else []
        return f"{NAME}/{model}/{settings.task_type}@{content_hash(*parts, verified_parts())[:12]}"
    parts += [settings.draws, panel_of(settings).wording.parts(), _schemas()]
    head = SMALL_CREW if too_small_to_write(model) else "crew"
    return f"{head}/{model}/{settings.task_type}@{content_hash(*parts)[:12]}"
