"""What a small model's probabilities say of an answer, where what it writes says nothing.

Two measures:

* ``yes``: log P(Yes) - log P(No), where the model is shown prompt and answer and asked whether that is correct and
  helpful;
* ``gain``: how much likelier a token of the answer is for having seen the prompt (pointwise mutual information, mean
  over the answer's tokens).

The weights are the embedded model's own, unpacked in the cache as for training. Nothing is sent anywhere.
"""

from __future__ import annotations

import asyncio
import math
import threading
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from typing import Any

from state.records import Record
from state.request import EMBEDDED
from tools.machine.resources import cores

TOKENS_AT_ONCE = {True: 1024, False: 16384}
"""Padded tokens of one forward pass at most, on a CPU and on a GPU. Measured on a CPU with SmolLM2-135M and steps of 8
rows: 1024 peaks at 2.9 GB and is as fast as 2048 at 3.9 GB; 512 is a third slower."""
QUESTION = "Is this answer correct and helpful?"
YES, NO = ("Yes", "yes", " Yes", " yes"), ("No", "no", " No", " no")
MOST_CORES = 8
_lock = threading.Lock()
PROMPT_TOKENS, ANSWER_TOKENS = 700, 700
"""The most tokens read of each; the end of a longer prompt and the start of a longer answer."""


class Likelihoods(Record):
    """The two measures of one answer, in nats."""

    yes: float
    gain: float
    """Per token; 0 for an empty answer."""


class Weights:
    """A causal language model in memory.

    Args:
        folder: a local Hugging Face folder with weights, tokenizer and chat template.
    """

    def __init__(self, folder: Path) -> None:
        from transformers import AutoTokenizer

        from tools.weights.loading import load_model

        self._tokenizer = AutoTokenizer.from_pretrained(folder)
        self._model = load_model(folder, None)
        self._yes, self._no = ([self._tokens(word)[0] for word in words] for words in (YES, NO))

    def measure(self, prompt: str, answer: str) -> Likelihoods:
        """Measure one answer; blocks for about half a second of one core.

        Args:
            prompt: what was asked.
            answer: what was answered; any text.
        """
        told = self._tokens(answer)[:ANSWER_TOKENS]
        asked = self._tokenizer.decode(self._tokens(prompt)[-PROMPT_TOKENS:])
        shown = f"Instruction: {asked}\n\nResponse: {self._tokenizer.decode(told)}\n\n{QUESTION}"
        reply = self._log_probabilities(self._chat(shown), last=1)[-1]
        gains = (self._told(asked, told) - self._told("", told)).tolist()
        return Likelihoods(
            yes=float(reply[self._yes].logsumexp(0) - reply[self._no].logsumexp(0)),
            gain=math.fsum(gains) / len(gains) if gains else 0.0,
        )

    def _told(self, prompt: str, answer: list[int]) -> Any:
        """Return the log-probability of each of the answer's tokens after a prompt."""
        import torch

        tokens = self._chat(prompt) + answer
        after = self._log_probabilities(tokens, last=len(answer) + 1)[:-1]
        return after[torch.arange(len(answer)), torch.tensor(answer, dtype=torch.long)]

    def _log_probabilities(self, tokens: list[int], last: int) -> Any:
        """Return the log-probabilities of what follows each of the last tokens, a row each."""
        import torch

        with torch.inference_mode():
            read = torch.tensor([tokens], device=self._model.device)
            return self._model(read, logits_to_keep=last).logits[0].float().log_softmax(-1).cpu()

    def _chat(self, prompt: str) -> list[int]:
        turns = [{"role": "user", "content": prompt}]
        return self._tokens(self._tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))

    def _tokens(self, text: str) -> list[int]:
        tokens: list[int] = self._tokenizer(text, add_special_tokens=False).input_ids
        return tokens


async def measure(prompt: str, answer: str) -> Likelihoods:
    """Measure one answer by the embedded model, one core to each answer; the first call loads the weights.

    Raises:
        BadInput: the embedded model is not installed.
        StorageError: it cannot be unpacked into the cache.
    """
    return await asyncio.get_running_loop().run_in_executor(_cores(), _measure, prompt, answer)


def _measure(prompt: str, answer: str) -> Likelihoods:
    with _lock:
        weights = _weights()
    return weights.measure(prompt, answer)


@cache
def _weights() -> Weights:
    import torch

    from tools.settings import load_settings
    from tools.weights.folders import base_folder

    # Threads that share one pass wait for each other at every layer; answers side by side do not.
    torch.set_num_threads(1)
    return Weights(base_folder(EMBEDDED, load_settings().cache))


@cache
def _cores() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(min(cores(), MOST_CORES), thread_name_prefix="likelihood")
