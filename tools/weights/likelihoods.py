"""How likely a model finds given texts: many at a time, texts of similar length in one pass."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

from tools.weights.protocol import Score, Scored
from tools.weights.template import IGNORED, TokenRow, prompt_tokens, tokenise

TOKENS_AT_ONCE = {True: 1024, False: 16384}
"""Padded tokens of one forward pass at most, on a CPU and on a GPU. Measured on a CPU with SmolLM2-135M and steps of 8
rows: 1024 peaks at 2.9 GB and is as fast as 2048 at 3.9 GB; 512 is a third slower."""


def score(model: Any, tokenizer: Any, asked: Sequence[Score]) -> Iterator[Scored]:
    """Yield the log-likelihoods of texts, longest first.

    Args:
        model: a causal language model.
        tokenizer: its tokenizer, as ``load_tokenizer`` gives it.
        asked: the texts. One that cannot be rendered fails the whole call; ask each alone to find it.

    Raises:
        BadInput: the chat template does not render the turns as a prefix of turns and completion.
    """
    rows = [_row(tokenizer, one) for one in asked]
    # Rows of which the next token alone is asked need one position's logits, the others as many as the answer has.
    whole = [_counted(row) > 0 for row in rows]
    order = sorted(range(len(rows)), key=lambda at: (whole[at], -len(rows[at].input_ids), asked[at].number))
    while order:
        room = max(1, TOKENS_AT_ONCE[model.device.type == "cpu"] // len(rows[order[0]].input_ids))
        alike = [at for at in order[:room] if whole[at] == whole[order[0]]]
        order = order[len(alike) :]
        yield from _score_batch(model, tokenizer, [asked[at] for at in alike], [rows[at] for at in alike])


def _counted(row: TokenRow) -> int:
    return sum(label != IGNORED for label in row.labels)


def _row(tokenizer: Any, one: Score) -> TokenRow:
    """Return turns and completion as tokens; tokens that do not count are labelled ``IGNORED``."""
    turns = [dict(turn) for turn in one.turns]
    if one.with_end:
        return tokenise(tokenizer, turns, [{"role": "assistant", "content": one.completion}])
    before = prompt_tokens(tokenizer, turns)
    after = tokenizer(one.completion, add_special_tokens=False)["input_ids"] if one.completion else []
    return TokenRow([*before, *after], [IGNORED] * len(before) + after)


def _score_batch(model: Any, tokenizer: Any, asked: Sequence[Score], rows: Sequence[TokenRow]) -> Iterator[Scored]:
    import torch

    width, counts = max(len(row.input_ids) for row in rows), [_counted(row) for row in rows]
    pads = [width - len(row.input_ids) for row in rows]
    # Padded on the left, so that what is scored ends in the same column, and no other position meets the LM head.
    keep = max(counts) + 1
    tensor = partial(torch.tensor, device=model.device)
    with torch.inference_mode():
        logits = model(
            input_ids=tensor([[0] * pad + row.input_ids for pad, row in zip(pads, rows, strict=True)]),
            attention_mask=tensor([[0] * pad + [1] * (width - pad) for pad in pads]),
            position_ids=tensor([[max(0, at - pad) for at in range(width)] for pad in pads]),
            use_cache=False,
            logits_to_keep=keep,
        ).logits
        for place, (one, row, count) in enumerate(zip(asked, rows, counts, strict=True)):
            # The logits at a position belong to the token after it.
            after = logits[place, keep - count - 1 :].float().log_softmax(-1)
            told = tensor(row.labels[len(row.labels) - count :], dtype=torch.long)
            words = [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in one.next_words]
            yield Scored(
                number=one.number,
                log_likelihood=float(after[torch.arange(count), told].double().sum()),
                tokens=count,
                next_words=tuple(after[0, words].tolist()),
                prompt_tokens=len(row.labels) - count,
            )
