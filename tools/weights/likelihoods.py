"""How likely a model finds given texts. Each is read alone, so that its figures are the same whatever else is asked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from tools.weights.protocol import Score, Scored
from tools.weights.template import IGNORED, TokenRow, prompt_tokens, tokenise


def score(model: Any, tokenizer: Any, asked: Sequence[Score]) -> Iterator[Scored]:
    """Yield the log-likelihoods of texts, in the order given.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer, as ``load_tokenizer`` gives it.
        asked: the texts. One that cannot be rendered fails the whole call; ask each alone to find it.

    Raises:
        BadInput: the chat template does not render the turns as a prefix of turns and completion.
    """
    for one, row in [(one, _row(tokenizer, one)) for one in asked]:
        yield _scored(model, tokenizer, one, row)


def _row(tokenizer: Any, one: Score) -> TokenRow:
    """Return turns and completion as tokens; tokens that do not count are labelled ``IGNORED``."""
    turns = [dict(turn) for turn in one.turns]
    if one.with_end:
        return tokenise(tokenizer, turns, [{"role": "assistant", "content": one.completion}])
    before = prompt_tokens(tokenizer, turns)
    after = tokenizer(one.completion, add_special_tokens=False)["input_ids"] if one.completion else []
    return TokenRow([*before, *after], [IGNORED] * len(before) + after)


def _scored(model: Any, tokenizer: Any, one: Score, row: TokenRow) -> Scored:
    import torch

    told = [label for label in row.labels if label != IGNORED]
    with torch.inference_mode():
        ids = torch.tensor([row.input_ids], device=model.device)
        # The logits at a position belong to the token after it; no other position meets the LM head.
        logits = model(input_ids=ids, use_cache=False, logits_to_keep=len(told) + 1).logits
        after = logits[0].float().log_softmax(-1)
        words = [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in one.next_words]
        return Scored(
            number=one.number,
            log_likelihood=float(after[torch.arange(len(told)), torch.tensor(told, dtype=torch.long)].double().sum()),
            tokens=len(told),
            next_words=tuple(after[0, words].tolist()),
            prompt_tokens=len(row.labels) - len(told),
        )
