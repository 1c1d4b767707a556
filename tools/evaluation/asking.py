"""What the evaluation asks of a model: greedy and sampled answers to prompts, and the likelihood of held-out texts."""

from __future__ import annotations

from collections.abc import Sequence

from state.records import Answer, Record, Sample, content_hash
from state.request import WEIGHTS, Endpoint, Sampling
from tools.endpoint.chat import ChatCall, Completion, Likelihood, LikelihoodCall, user_message

CONCURRENCY = 512
"""Calls in flight: the model processes decode best when they have all that is wanted at once."""
ANSWERS, TEXTS, PUBLIC = "evaluate", "evaluate.perplexity", "evaluate.ifeval"
"""The purposes of the calls."""
PUBLIC_TOKENS = 512
"""Of an answer to IFEval at most. Published figures take 1,280; of SmolLM2-135M few answers end after 512."""


class Passage(Record):
    """A text whose likelihood is wanted, as the answer to a prompt."""

    id: str
    prompt: str
    input: str = ""
    """The input at the end of the prompt, where it has one."""
    text: str


class PassageScore(Record):
    """How likely a model finds a passage."""

    id: str
    nats: float
    """Negative log-likelihood of the text and the end token after it, given the prompt."""
    tokens: int


class Wanted(Record):
    """One answer wanted."""

    sample: Sample
    draw: int
    """0 for the greedy answer; from 1 for the sampled ones."""


def weights_endpoint(model: str) -> Endpoint:
    """Return the endpoint of weights that are evaluated: a base as ``models.base`` names it, or an adapter's folder."""
    return Endpoint(base_url=WEIGHTS, model=model, concurrency=CONCURRENCY)


def answers_wanted(samples: Sequence[Sample], there: Sequence[Answer], draws: int) -> list[Wanted]:
    """Return the answers that are still wanted: a greedy one and ``draws`` sampled ones for each prompt."""
    known = {(answer.sample_id, answer.draw) for answer in there}
    wanted = [Wanted(sample=sample, draw=draw) for sample in samples for draw in range(draws + 1)]
    return [one for one in wanted if (one.sample.id, one.draw) not in known]


def answer_call(wanted: Wanted, max_tokens: int, sampling: Sampling, seed: int, purpose: str = ANSWERS) -> ChatCall:
    """Return the call for an answer. A sampled one is drawn as the training candidates are, by the run's seed."""
    greedy = wanted.draw == 0
    return ChatCall(
        purpose=purpose,
        messages=(user_message(wanted.sample.prompt, wanted.sample.input),),
        temperature=0.0 if greedy else sampling.temperature,
        top_p=1.0 if greedy else sampling.top_p,
        max_tokens=max_tokens,
        seed=None if greedy else seed,
        draw=wanted.draw,
    )


def answer_record(model: str, wanted: Wanted, completion: Completion) -> Answer:
    """Return an answer as the store keeps it."""
    return Answer(
        id=content_hash(model, wanted.sample.id, *([wanted.draw] if wanted.draw else [])),
        sample_id=wanted.sample.id,
        model=model,
        draw=wanted.draw,
        text=completion.text.strip(),
        ended=completion.finish_reason == "stop",
        tokens=completion.completion_tokens,
    )


def passage_call(passage: Passage) -> LikelihoodCall:
    """Return the call for a passage's likelihood, its end included."""
    messages = (user_message(passage.prompt, passage.input),)
    return LikelihoodCall(purpose=TEXTS, messages=messages, completion=passage.text, with_end=True)


def passage_score(passage: Passage, found: Likelihood) -> PassageScore:
    """Return a likelihood as the passage's score."""
    return PassageScore(id=passage.id, nats=-found.log_likelihood, tokens=found.tokens)
