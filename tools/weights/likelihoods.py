"""How likely a model finds given texts. A text's figures are the same whatever else is asked.

Texts behind one prompt are scored after each other, and the prompt is read once, as is the head that all prompts share.
Each is read by itself even for one text, since to read both at once would round in another way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tools.weights.protocol import Score, Scored
from tools.weights.template import IGNORED, TokenRow, prompt_tokens, tokenise


class _Reader:
    """Reads prompts and keeps what it read last: the head that all prompts share, and one prompt behind it.

    Args:
        model: a causal language model.
        head: tokens with which the template begins every prompt; they are read once.
    """

    def __init__(self, model: Any, head: Sequence[int]) -> None:
        self._model, self._head = model, list(head)
        self._tokens: list[int] = []
        self._cache: Any = None
        self._next: Any = None
        self._cuts = True

    def logits(self, prompt: list[int], told: list[int]) -> Any:
        """Return the logits of each token of a text behind a prompt.

        ``None`` where what was read cannot be cut off again, as with sliding windows or recurrences.
        """
        import torch

        if self._cuts and prompt != self._tokens:
            self._read(prompt)
        if not self._cuts:
            return None
        if len(told) < 2:
            return self._next
        behind = self._pass(told[:-1])
        self._cache.crop(1 - len(told))
        return torch.cat([self._next, behind])

    def _read(self, prompt: list[int]) -> None:
        """Read a prompt, behind the head where it begins with it: the parts by themselves, whatever else is asked."""
        first = len(self._head) if len(prompt) > len(self._head) and prompt[: len(self._head)] == self._head else 0
        if self._cache is not None and first and self._tokens[:first] == self._head:
            self._cache.crop(first - len(self._tokens))
        else:
            self._begin(self._head[:first])
        if self._cuts:
            self._next = self._pass(prompt[first:], keep=1)
            self._cuts = self._cache.get_seq_length() == len(prompt)
        self._tokens = prompt

    def _begin(self, head: list[int]) -> None:
        from transformers.cache_utils import DynamicCache

        self._cache = DynamicCache()
        if head:
            self._pass(head, keep=1)

    def _pass(self, tokens: list[int], keep: int = 0) -> Any:
        """Read on, and return the logits after the last ``keep`` tokens, or after all where it is 0."""
        import torch
        from transformers.cache_utils import DynamicLayer

        with torch.inference_mode():
            ids = torch.tensor([tokens], device=self._model.device)
            found = self._model(input_ids=ids, past_key_values=self._cache, use_cache=True, logits_to_keep=keep)
        plain = bool(self._cache.layers) and all(type(layer) is DynamicLayer for layer in self._cache.layers)
        self._cuts = self._cuts and plain and found.past_key_values is self._cache
        return found.logits[0]


def score(model: Any, tokenizer: Any, asked: Sequence[Score], head: Sequence[int] = ()) -> Iterator[Scored]:
    """Yield the log-likelihoods of texts, those behind one prompt together.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer, as ``load_tokenizer`` gives it.
        asked: the texts. One that cannot be rendered fails the whole call; ask each alone to find it.
        head: tokens with which the template begins every prompt, as ``template_head`` gives them.

    Raises:
        BadInput: the chat template does not render the turns as a prefix of turns and completion.
    """
    rows = [(one, _row(tokenizer, one)) for one in asked]
    reader = _Reader(model, head)
    for one, row in sorted(rows, key=lambda pair: (pair[0].with_end, pair[1].input_ids)):
        told = [label for label in row.labels if label != IGNORED]
        before = row.input_ids[: len(row.input_ids) - len(told)]
        # Every held-out text has a prompt of its own: one pass is cheaper.
        logits = None if one.with_end or one.next_words or not before else reader.logits(before, told)
        yield _scored(tokenizer, one, row, _logits(model, row.input_ids, len(told) + 1) if logits is None else logits)


def _row(tokenizer: Any, one: Score) -> TokenRow:
    """Return turns and completion as tokens; tokens that do not count are labelled ``IGNORED``."""
    turns = [dict(turn) for turn in one.turns]
    if one.with_end:
        return tokenise(tokenizer, turns, [{"role": "assistant", "content": one.completion}])
    before = prompt_tokens(tokenizer, turns)
    after = tokenizer(one.completion, add_special_tokens=False)["input_ids"] if one.completion else []
    return TokenRow([*before, *after], [IGNORED] * len(before) + after)


def _logits(model: Any, tokens: list[int], keep: int) -> Any:
    import torch

    with torch.inference_mode():
        ids = torch.tensor([tokens], device=model.device)
        # The logits at a position belong to the token after it; no other position meets the LM head.
        return model(input_ids=ids, use_cache=False, logits_to_keep=keep).logits[0]


def _scored(tokenizer: Any, one: Score, row: TokenRow, logits: Any) -> Scored:
    """Return a text's figures from the logits of its tokens."""
    import torch

    told = [label for label in row.labels if label != IGNORED]
    with torch.inference_mode():
        after = logits.float().log_softmax(-1)
        words = [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in one.next_words]
        return Scored(
            number=one.number,
            log_likelihood=float(after[torch.arange(len(told)), torch.tensor(told, dtype=torch.long)].double().sum()),
            tokens=len(told),
            next_words=tuple(after[0, words].tolist()),
            prompt_tokens=len(row.labels) - len(told),
        )
