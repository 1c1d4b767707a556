"""Decoding with slot refill: greedy as ``generate`` does it, sampled the same in every batch, likelihoods as plain."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from random import Random
from typing import Any, cast

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny_model import tiny_model
from tools.weights import choosing, decoding
from tools.weights.choosing import choose
from tools.weights.decoding import Decoded, Prompt, decode, size_for, sizes_in
from tools.weights.invariance import SIZES, invariant_sizes
from tools.weights.protocol import Score, Scored
from tools.weights.slots import COLUMNS
from tools.weights.template import load_tokenizer, render, shared_head
from tools.weights.worker import Model

QUESTIONS = ("Why?", "Say it in two words.", "Tell me of rivers, and lakes, and of the sea too.", "4 4 4 4", "And?")
LONG = COLUMNS + 8


class Fixed(Random):
    """Random numbers that are all one given number."""

    def __init__(self, point: float) -> None:
        super().__init__()
        self._point = point

    def random(self) -> float:
        return self._point


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny_model(tmp_path_factory.mktemp("base"))


@pytest.fixture(scope="module")
def model(base: Path) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(base, dtype=torch.float32).eval()


@pytest.fixture(scope="module")
def asked(base: Path) -> list[tuple[int, ...]]:
    """The questions as the chat template has them: a long head in common, and tails of several lengths."""
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)
    turns = [[{"role": "user", "content": question}] for question in QUESTIONS]
    texts = tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False)
    return [tuple(tokenizer(text, add_special_tokens=False)["input_ids"]) for text in texts]


def _decoded(model: Any, prompts: Sequence[Prompt], ends: frozenset[int], *sizes: int) -> dict[int, Decoded]:
    found = list(decode(model, prompts, ends, max_tokens=LONG, sizes=sizes, temperature=0.02, top_p=0.9))
    assert sorted(one.row for one in found) == list(range(len(prompts)))
    return {one.row: one for one in found}


@pytest.fixture(scope="module")
def expected(model: Any, asked: list[tuple[int, ...]]) -> list[list[int]]:
    """What ``generate`` writes after each question on its own."""
    return [
        model.generate(
            input_ids=torch.tensor([tokens]),
            attention_mask=torch.ones(1, len(tokens), dtype=torch.long),
            max_new_tokens=LONG,
            do_sample=False,
            eos_token_id=[],
            pad_token_id=0,
        )[0, len(tokens) :].tolist()
        for tokens in asked
    ]


@pytest.mark.parametrize("slots", [1, 2, 3, 8])
def test_every_row_is_what_generate_writes_whatever_its_neighbours(
    slots: int, model: Any, asked: list[tuple[int, ...]], expected: list[list[int]]
) -> None:
    """Rows end at different steps, so slots are refilled, the columns move, and the batch shrinks."""
    ends = frozenset(written[3 + 17 * row] for row, written in enumerate(expected[:4]))
    found = _decoded(model, [Prompt(tokens) for tokens in asked], ends, slots)
    for row, written in enumerate(expected):
        stop = next((place for place, token in enumerate(written) if token in ends), None)
        assert found[row] == Decoded(row, written[:stop], stop is not None)


def test_without_ends_rows_run_to_the_limit(
    model: Any, asked: list[tuple[int, ...]], expected: list[list[int]]
) -> None:
    found = _decoded(model, [Prompt(tokens) for tokens in asked * 2], frozenset(), 3)
    assert [found[row].tokens for row in range(10)] == expected * 2
    assert not any(one.ended for one in found.values())
    assert list(decode(model, [], frozenset(), max_tokens=3, sizes=(4,))) == []


def test_a_sampled_row_does_not_depend_on_batch_or_order(model: Any, asked: list[tuple[int, ...]]) -> None:
    def prompts() -> list[Prompt]:
        return [Prompt(tokens, Random(row) if row != 1 else None) for row, tokens in enumerate(asked)]

    alone = [_decoded(model, [prompt], frozenset({5}), 1)[0] for prompt in prompts()]
    for slots in (2, 4, 5):
        found = _decoded(model, prompts(), frozenset({5}), slots)
        assert [(found[row].tokens, found[row].ended) for row in range(5)] == [(o.tokens, o.ended) for o in alone]
    turned = _decoded(model, prompts()[::-1], frozenset({5}), 2)
    assert [turned[4 - row].tokens for row in range(5)] == [one.tokens for one in alone]
    other = _decoded(model, [Prompt(asked[0], Random(99))], frozenset({5}), 1)[0]
    assert other.tokens != alone[0].tokens


@given(
    st.lists(st.floats(-8, 8, width=32), min_size=1, max_size=40),
    st.floats(0, 1, exclude_max=True, width=32),
    st.sampled_from([0.05, 0.5, 0.9, 1.0]),
    st.sampled_from([0.3, 1.0, 2.0]),
    st.sampled_from([1, 4, 256]),
)
@settings(max_examples=150)
def test_a_draw_is_where_the_nucleus_passes_the_point(
    logits: list[float], point: float, top_p: float, temperature: float, head: int
) -> None:
    row = torch.tensor([logits], dtype=torch.float32)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(choosing, "HEAD", head)
        (token,) = choose(row, [Fixed(point)], temperature, top_p)
    chances = torch.softmax(row[0].double() / temperature, -1)
    order = sorted(range(len(logits)), key=lambda one: -float(chances[one]))
    passed, nucleus = 0.0, []
    for one in order:
        nucleus.append(one)
        passed += float(chances[one])
        if top_p < 1 and passed >= top_p - 1e-6:  # at 1 the unlikeliest token belongs to it, too
            break
    below = sum(float(chances[one]) for one in order if chances[one] > chances[token] * (1 + 1e-5))
    above = sum(float(chances[one]) for one in order if chances[one] >= chances[token] * (1 - 1e-5))
    slack = 1e-4
    assert chances[token] >= min(float(chances[one]) for one in nucleus) * (1 - 1e-3)
    assert below - slack <= point * min(passed, 1.0) <= above + slack
    assert choose(row, [None]) == [logits.index(max(logits))]


def test_draws_come_as_often_as_they_are_likely() -> None:
    logits = torch.log(torch.tensor([[0.5, 0.3, 0.15, 0.05]])).expand(4000, -1)
    noise = Random(3)
    found = choose(logits, [noise] * 4000, 1.0, 0.9)
    shares_ = [found.count(token) / 4000 for token in range(4)]
    assert shares_[3] == 0
    assert shares_[:3] == pytest.approx([0.5 / 0.95, 0.3 / 0.95, 0.15 / 0.95], abs=0.03)


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=6).map(tuple), max_size=6))
def test_the_shared_head_is_the_longest_that_leaves_each_a_token(prompts: list[tuple[int, ...]]) -> None:
    head = shared_head(prompts)
    assert all(prompt[: len(head)] == head and len(prompt) > len(head) for prompt in prompts)
    longer = {prompt[: len(head) + 1] for prompt in prompts}
    assert not prompts or len(longer) > 1 or any(len(prompt) == len(head) + 1 for prompt in prompts)


def test_a_text_is_as_likely_as_plain_transformers_say(base: Path) -> None:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tools.weights.loading import compute_dtype

    texts = ["The river runs.", "It is a long way to the sea, and the road is wet.", "No.", ""]
    asked = [
        Score(
            number=2 * n + with_end,
            turns=({"role": "user", "content": QUESTIONS[n % 3]},),
            completion=text,
            with_end=bool(with_end),
            next_words=("Yes", " No") if n == 2 else (),
        )
        for n, text in enumerate(texts)
        for with_end in (0, 1)
    ]
    found: dict[int, Scored] = {}
    Model(base, None, "float32").answer(asked, lambda reply: found.update({reply.number: cast(Scored, reply)}))
    assert sorted(found) == list(range(8))
    tokenizer = AutoTokenizer.from_pretrained(base)
    model = AutoModelForCausalLM.from_pretrained(base, dtype=compute_dtype()).eval()
    for one in asked:
        prompt = tokenizer.apply_chat_template(list(one.turns), add_generation_prompt=True, tokenize=False)
        before = tokenizer(prompt, add_special_tokens=False)["input_ids"]
        after = tokenizer(one.completion + "<|im_end|>" * one.with_end, add_special_tokens=False)["input_ids"]
        ids = torch.tensor([before + after])
        with torch.no_grad():
            out = model(input_ids=ids, labels=torch.tensor([[-100] * len(before) + after]))
        score = found[one.number]
        assert (score.tokens, score.prompt_tokens) == (len(after), len(before))
        if after:
            assert -score.log_likelihood == pytest.approx(float(out.loss) * len(after), rel=2e-3)
        else:
            assert score.log_likelihood == 0
        if one.next_words:
            following = out.logits[0, len(before) - 1].float().log_softmax(-1)
            tokens = [tokenizer(word, add_special_tokens=False)["input_ids"][0] for word in one.next_words]
            assert score.next_words == pytest.approx(following[tokens].tolist(), abs=0.05)


def test_no_more_rows_are_at_work_than_memory_holds(
    model: Any, asked: list[tuple[int, ...]], monkeypatch: pytest.MonkeyPatch
) -> None:
    prompts = [Prompt(tokens) for tokens in asked]
    longest = max(map(len, asked)) + 4
    row = 2 * 2 * 2 * 16 * 4 * longest  # keys and values, layers, heads, width and bytes of a number
    monkeypatch.setattr(decoding, "sampling_processes", lambda: 2)
    for rows, sizes in ((0, [2]), (1, [2]), (3, [2, 3]), (9, [2, 3, 5])):
        monkeypatch.setattr(decoding, "total_memory", lambda rows=rows: int(rows * 2 * row / decoding.CACHE_SHARE) + 9)
        assert sizes_in(model, longest, (2, 3, 5)) == sizes
        found = decode(model, prompts, frozenset(), max_tokens=4, sizes=(2, 3, 5))
        assert sorted(one.row for one in found) == list(range(len(asked)))
    assert [size_for(rows, (2, 3, 5)) for rows in (0, 2, 3, 4, 9)] == [2, 2, 3, 5, 5]


def test_a_row_is_the_same_to_the_bit_in_every_batch(model: Any, asked: list[tuple[int, ...]]) -> None:
    """Its logits at every step, whichever rows are beside it, in whatever slot it is, and however long they are."""
    sizes = invariant_sizes(model)
    head = asked[0][:9]

    def logits_of(order: Sequence[int], sizes: Sequence[int]) -> dict[int, torch.Tensor]:
        prompts = [Prompt(asked[number % 5] + asked[4][: number // 5], Named(number)) for number in order]
        seen: dict[int, list[torch.Tensor]] = {}

        def choose_and_keep(
            logits: torch.Tensor, noises: Sequence[Random | None], temperature: float, top_p: float
        ) -> list[int]:
            for row, noise in zip(logits, noises, strict=True):
                if isinstance(noise, Named):
                    seen.setdefault(noise.name, []).append(row)
            return choose(logits, noises, temperature, top_p)

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(decoding, "choose", choose_and_keep)
            # So many ends that slots become free at different steps.
            found = list(decode(model, prompts, frozenset(range(2000)), max_tokens=40, sizes=sizes, head=head))
        # What a finished row gets until its slot is taken is of no use.
        steps = {order[one.row]: len(one.tokens) + one.ended for one in found}
        return {number: torch.stack(seen[number][:count]) for number, count in steps.items()}

    everyone = logits_of(range(30), sizes)
    assert len(everyone) == 30 and len({len(steps) for steps in everyone.values()}) > 5
    for order, some in (([7], sizes[:1]), (range(29, 3, -1), sizes[:2]), (range(0, 30, 4), sizes[-1:])):
        for number, steps in logits_of(order, some).items():
            assert torch.equal(steps, everyone[number])


class Named(Random):
    """Random numbers that tell whose they are."""

    def __init__(self, name: int) -> None:
        super().__init__(name)
        self.name = name


def test_sizes_in_which_rows_differ_are_not_taken() -> None:
    """A library with another kernel for small batches."""
    sizes = SIZES

    class Library:
        device = torch.device("cpu")

        class config:
            vocab_size = 50

            @classmethod
            def get_text_config(cls) -> Any:
                return cls

        def __call__(self, input_ids: torch.Tensor, **_: Any) -> Any:
            class Out:
                logits = input_ids[:, :, None] + (0.5 if len(input_ids) in sizes[1:3] else 0.0)

            return Out

    assert invariant_sizes(Library()) == (sizes[0], *sizes[3:])


def test_a_likelihood_does_not_depend_on_what_else_is_asked(base: Path) -> None:
    asked = [
        Score(number=n, turns=({"role": "user", "content": QUESTIONS[n % 5]},), completion="It is so. " * n)
        for n in range(7)
    ]
    model = Model(base, None, "float32")

    def scored(some: Sequence[Score]) -> dict[int, Scored]:
        found: dict[int, Scored] = {}
        model.answer(some, lambda reply: found.update({reply.number: cast(Scored, reply)}))
        return found

    together = scored(asked)
    for one in asked:
        assert scored([one]) == {one.number: together[one.number]}


def test_the_head_and_each_prompt_are_read_once(base: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model, read = Model(base, None, "float32"), []
    forward = type(model._model).forward

    def counted(self: Any, input_ids: Any, **rest: Any) -> Any:
        read.append(input_ids.shape[1])
        return forward(self, input_ids=input_ids, **rest)

    monkeypatch.setattr(type(model._model), "forward", counted)
    asked = [
        Score(number=n, turns=({"role": "user", "content": QUESTIONS[n % 2]},), completion="It is so.")
        for n in range(6)
    ]
    model.answer(asked, lambda reply: None)
    assert len(read) == 1 + 2 + 6 and read[0] == len(model._head)


def test_a_template_that_names_the_day_names_the_same_day_always(base: Path, tmp_path: Path) -> None:
    shutil.copytree(base, tmp_path / "dated")
    template = (
        """{{- "Today: " + strftime_now("%d %b %Y") }}{{ strftime_now('%Y-%m-%d') }}{{ messages[0]["content"] }}"""
    )
    (tmp_path / "dated" / "chat_template.jinja").write_text(template)
    turns = [{"role": "user", "content": "Hi"}]
    assert render(load_tokenizer(tmp_path / "dated"), turns) == "Today: 01 Jan 20262026-01-01Hi"
