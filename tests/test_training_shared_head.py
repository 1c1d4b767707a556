"""What the rows of a pass begin with is computed once, and the loss and its gradients are those of a plain pass."""

from __future__ import annotations

from typing import Any

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import LlamaConfig, LlamaForCausalLM

from tests.causal_families import tiny
from tools.training.faster_on_cpu import score_completions_only
from tools.training.shared_head import WORTH, shared_length, shares, states_behind
from tools.weights.decodable import refusal, steady_positions
from tools.weights.decoding import logits_in_a_batch
from tools.weights.template import IGNORED

HEAD, ROWS, LONG = 12, 3, 24


def rows() -> dict[str, torch.Tensor]:
    """Rows with a head in common, of which the last is padded, and labels behind another three tokens."""
    ids = torch.randint(8, 95, (ROWS, LONG), generator=torch.Generator().manual_seed(3))
    ids[:, :HEAD] = ids[0, :HEAD].clone()
    mask = torch.ones_like(ids)
    mask[-1, -4:] = 0
    labels = ids.clone()
    labels[:, : HEAD + 3] = IGNORED
    labels[mask == 0] = IGNORED
    return {"input_ids": ids, "attention_mask": mask, "labels": labels}


def trained(model: Any) -> tuple[torch.Tensor, list[torch.Tensor]]:
    """Return log-probabilities of the labels and the gradients of all weights that have one."""
    model.zero_grad()
    found = model(**rows(), use_cache=False, fused_lm_head=True)
    found.loss.backward()
    return found.log_probs.detach(), [weight.grad for weight in model.parameters() if weight.grad is not None]


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["llama", "gpt2", "mpt"])
def test_loss_and_gradients_are_those_of_a_plain_pass(family: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from tools.training import faster_on_cpu

    plain, sharing = tiny(family), tiny(family)
    sharing.load_state_dict(plain.state_dict())
    lengths: list[int] = []

    def noted(body: Any, ids: torch.Tensor, mask: torch.Tensor, shared: int) -> torch.Tensor:
        lengths.append(shared)
        return states_behind(body, ids, mask, shared)

    monkeypatch.setattr(faster_on_cpu, "states_behind", noted)
    score_completions_only(sharing.eval())
    monkeypatch.setattr(faster_on_cpu, "shares", lambda model: False)
    score_completions_only(plain.eval())
    (expected, theirs), (found, ours) = trained(plain), trained(sharing)
    assert lengths and set(lengths) <= {HEAD - 1, HEAD, HEAD + 1, HEAD + 2}
    assert found.shape == expected.shape == (ROWS, LONG - 1)
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=1e-4)
    assert len(ours) == len(theirs) > 10
    for mine, other in zip(ours, theirs, strict=True):
        torch.testing.assert_close(mine, other, atol=1e-5, rtol=1e-3)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("family", ["mistral", "mamba"])
def test_a_window_or_a_state_shares_nothing(family: str) -> None:
    assert not shares(tiny(family))


@pytest.mark.parametrize(
    ("rope", "limit"),
    [
        ({"rope_type": "default", "rope_theta": 10000.0}, None),
        ({"rope_type": "dynamic", "factor": 4.0, "rope_theta": 10000.0}, 256),
        (
            {
                "rope_type": "longrope",
                "factor": 8.0,
                "rope_theta": 10000.0,
                "original_max_position_embeddings": 32,
                "short_factor": [1.0] * 4,
                "long_factor": [4.0] * 4,
            },
            32,
        ),
    ],
)
def test_positions_that_depend_on_the_longest_row_are_not_shared_or_decoded_together(
    rope: dict[str, Any], limit: int | None
) -> None:
    sizes = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
    config = LlamaConfig(vocab_size=97, max_position_embeddings=256, rope_parameters=rope, **sizes)
    model = LlamaForCausalLM(config)
    assert (steady_positions(model), shares(model)) == (limit, limit is None)
    if limit is not None:
        assert "longest row" in refusal(model, limit + 1, logits_in_a_batch)
        assert refusal(model, limit, logits_in_a_batch) == ""


def test_a_model_that_leaves_out_layers_at_random_shares_nothing() -> None:
    model = tiny("opt")
    assert shares(model)
    model.config.layerdrop = 0.3
    assert not shares(model)


@pytest.mark.filterwarnings("ignore")
def test_a_model_that_computes_otherwise_behind_a_cache_shares_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny("llama").train()
    assert shares(model) and model.training
    from tools.training import shared_head

    monkeypatch.setattr(shared_head, "states_behind", lambda *given, **named: states_behind(*given, **named) * 1.01)
    assert not shares(model) and model.training


@given(st.integers(1, 4), st.integers(0, 12), st.integers(0, 12), st.integers(1, 14))
def test_what_is_shared_is_alike_in_all_rows_and_ends_before_the_labels(
    count: int, alike: int, padded: int, scored: int
) -> None:
    ids = torch.arange(count * 14).reshape(count, 14)
    ids[:, :alike] = ids[0, :alike].clone()
    mask = torch.ones_like(ids)
    mask[-1, :padded] = 0
    labels = ids.clone()
    labels[:, :scored] = IGNORED
    found = shared_length(ids, mask, labels)
    assert found == (0 if count == 1 or padded else max(0, min(alike, scored) - 1))
    assert WORTH > 1 and shared_length(ids, None, labels) == (0 if count == 1 else max(0, min(alike, scored) - 1))
