from __future__ import annotations

import random
import re
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from state.request import Generation
from tools.endpoint.chat import ChatCall
from tools.generation.parsing import parse_tasks
from tools.generation.prompting import (
    DEMONSTRATION_BYTES,
    DEMONSTRATIONS_BYTES,
    choose_demonstrations,
    generation_call,
    list_head,
    stop_sequences,
    task_block,
)
from tools.sources.seeds import SeedInstance, SeedTask, load_seed_tasks

SEEDS = load_seed_tasks(Path(__file__).parent.parent / "seeds" / "seed_tasks.jsonl")
CATEGORIES = sorted({task.category for task in SEEDS})


def seed_task(name: str, *, category: str = "", input: str = "", output: str = "Done.") -> SeedTask:
    instances = (SeedInstance(input=input, output=output),)
    return SeedTask(id=name, name=name, instruction=f"Do {name} now", instances=instances, category=category)


def call(
    *, seeds: list[SeedTask] = SEEDS, settings: Generation | None = None, round: int = 1, index: int = 0, seed: int = 0,
    accepted: dict[str, int] | None = None, batch_size: int | None = None,
) -> ChatCall:  # fmt: skip
    return generation_call(
        seeds, settings or Generation(), round=round, index=index, seed=seed,
        accepted_by_category=accepted or {}, batch_size=batch_size,
    )  # fmt: skip


def text_of(call: ChatCall) -> str:
    return "\n".join(message["content"] for message in call.messages)


def shown(call: ChatCall) -> list[SeedTask]:
    """Return the seed tasks that a call shows."""
    blocks = re.split(r"###\n\d+\. Instruction: ", call.messages[-1]["content"])[1:]
    by_head = {task_block(task, 1).partition("Instruction: ")[2].partition("\n")[0]: task for task in SEEDS}
    return [by_head[block.partition("\n")[0]] for block in blocks]


def test_the_call_is_alpacas() -> None:
    made = call()
    assert (made.temperature, made.top_p, made.max_tokens) == (1.0, 1.0, 768)
    assert made.stop == ("\n20", "20.")
    assert made.purpose == "generate"
    assert [message["role"] for message in made.messages] == ["user", "assistant"]
    requirements = made.messages[0]["content"]
    assert "20 different tasks" in requirements
    assert re.findall(r"^(\d)\. ", requirements, re.MULTILINE) == list("123456789")
    for word in (
        "verb",
        "phrase",
        "kinds of task",
        "text",
        "English",
        "one or two sentences",
        "100 words",
        "<noinput>",
    ):
        assert word in requirements
    assert text_of(made).endswith("\n###\n4. Instruction:")
    assert len(shown(made)) == 3


def test_a_server_that_refuses_to_continue_is_asked_in_one_message() -> None:
    made = generation_call(SEEDS, Generation(), round=1, index=0, seed=0, accepted_by_category={}, prefill=False)
    assert [message["role"] for message in made.messages] == ["user"]
    assert text_of(made) == text_of(call())


def test_demonstrations_are_numbered_blocks() -> None:
    head = list_head([seed_task("one"), seed_task("two", input="some\nlines", output="x\ny")])
    assert head == (
        "###\n1. Instruction: Do one now\n1. Input:\n<noinput>\n1. Output:\nDone.\n"
        "###\n2. Instruction: Do two now\n2. Input:\nsome\nlines\n2. Output:\nx\ny\n###\n3. Instruction:"
    )


def test_an_instruction_becomes_one_line_without_a_final_colon() -> None:
    task = seed_task("x").model_copy(update={"instruction": " Rewrite\n  this text: "})
    assert task_block(task, 7).startswith("7. Instruction: Rewrite this text\n7. Input:")


def test_our_parser_reads_our_blocks_back() -> None:
    for start in range(0, len(SEEDS), 5):
        chunk = SEEDS[start : start + 5]
        text = list_head(chunk).removesuffix(f"\n###\n{len(chunk) + 1}. Instruction:")
        parsed = parse_tasks(text, first_number=1, truncated=False)
        assert not parsed.failures
        read = [(task.input, task.output) for task in parsed.tasks]
        assert read == [(task.input.strip(), task.output.strip()) for task in chunk]


@given(
    st.integers(1, 50), st.integers(0, 50), st.integers(0, 2**31 - 1),
    st.dictionaries(st.sampled_from(CATEGORIES), st.integers(0, 1000)), st.integers(2, 20), st.integers(1, 10),
)  # fmt: skip
def test_a_call_depends_on_its_arguments_alone_and_is_bounded(
    round: int, index: int, seed: int, accepted: dict[str, int], batch: int, demonstrations: int
) -> None:
    settings = Generation(demonstrations=demonstrations)
    made, again = (
        generation_call(
            SEEDS, settings, round=round, index=index, seed=seed, accepted_by_category=accepted, batch_size=batch
        )
        for _ in range(2)
    )
    assert made == again
    assert made.draw == index
    tasks = shown(made)
    assert 1 <= len(tasks) == len({task.id for task in tasks}) <= min(demonstrations, batch - 1)
    assert made.max_tokens <= settings.max_tokens
    # No tokenizer that splits this text into less than two bytes a token would be of use for English.
    assert len(text_of(made).encode()) / 2 + made.max_tokens < 4096


def test_rounds_and_places_show_different_tasks() -> None:
    calls = [call(round=round, index=index) for round in (1, 2) for index in range(8)]
    assert len({tuple(task.id for task in shown(made)) for made in calls}) == 16
    assert len({made.seed for made in calls}) == 16
    assert call(seed=1).messages != call(seed=2).messages


def test_unused_categories_come_first() -> None:
    accepted = dict.fromkeys(CATEGORIES, 1)
    unused = set(CATEGORIES[:3])
    for name in unused:
        accepted[name] = 0
    for index in range(30):
        assert {task.category for task in shown(call(index=index, accepted=accepted))} == unused


def test_categories_with_few_rows_are_shown_more_often() -> None:
    accepted = dict.fromkeys(CATEGORIES, 90)
    accepted[CATEGORIES[4]] = 3
    seen = Counter(task.category for index in range(200) for task in shown(call(index=index, accepted=accepted)))
    assert seen[CATEGORIES[4]] > 170
    assert all(20 < seen[name] < 60 for name in CATEGORIES if name != CATEGORIES[4])


def test_seeds_without_categories_are_all_shown_in_turn() -> None:
    seeds = [seed_task(str(number)) for number in range(10)]
    seen = {task.id for index in range(60) for task in choose_demonstrations(seeds, 3, {}, random.Random(index))}
    assert seen == {task.id for task in seeds}


def test_long_tasks_are_passed_over() -> None:
    seeds = [seed_task("long", output="word " * 200), seed_task("short", category="other")]
    assert [task.id for task in choose_demonstrations(seeds, 3, {}, random.Random(0))] == ["short"]


def test_the_blocks_together_are_bounded() -> None:
    seeds = [seed_task(str(number), output="x" * (DEMONSTRATION_BYTES - 100)) for number in range(20)]
    chosen = choose_demonstrations(seeds, 10, {}, random.Random(0))
    assert sum(len(task_block(task, 1)) for task in chosen) <= DEMONSTRATIONS_BYTES
    assert len(chosen) == 4


def test_where_every_task_is_long_the_shortest_is_shown() -> None:
    seeds = [seed_task("longer", output="word " * 900), seed_task("long", output="word " * 800)]
    assert [task.id for task in choose_demonstrations(seeds, 2, {}, random.Random(0))] == ["long"]


def test_a_shrunken_batch_asks_less() -> None:
    small = call(batch_size=5)
    assert "5 different tasks" in text_of(small)
    assert small.stop == ("\n6. Instruction",)
    assert small.max_tokens == 91  # 2 of 17 new tasks
    assert call(batch_size=20) == call()
    assert call(batch_size=2, settings=Generation(demonstrations=5)).max_tokens == 64
    assert call(batch_size=2, settings=Generation(max_tokens=64)).max_tokens == 64


def test_stops_do_not_cut_a_small_batchs_answers() -> None:
    assert not any(stop in "\n1. Towel\n2. Hat\n3.5 km\n12 x 6 = 72.\n6. Water" for stop in stop_sequences(5))


@pytest.mark.parametrize(("seeds", "batch"), [([], None), (SEEDS, 1), (SEEDS, 0)])
def test_what_cannot_be_asked_is_refused(seeds: list[SeedTask], batch: int | None) -> None:
    with pytest.raises(ValueError, match="at least"):
        call(seeds=seeds, batch_size=batch)
