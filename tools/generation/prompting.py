"""Alpaca's batch prompt: some seed tasks as the head of a numbered list that the model is to continue.

After Stanford Alpaca (``prompt.txt`` and ``encode_prompt`` in ``generate_instruction.py``): the same nine requirements
and block format, in our own words. Alpaca asked a completion model, which simply continued the list. A server
that continues a last message of the assistant, such as llama.cpp's, lets a chat model do the same, and for the embedded
model this is decisive: 7 rows in 1,000 tokens then pass the gates; with the demonstrations in the user's message 4, and
with all of it there hardly any. Other servers refuse such a message, so they are asked in one message of the user.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Mapping, Sequence

from state.request import Generation
from tools.endpoint.chat import ChatCall, Message
from tools.sources.seeds import SeedTask

SEPARATOR = "###"
NO_INPUT = "<noinput>"
DEMONSTRATION_BYTES = 600
"""A longer block is not shown: with three of them and 768 tokens to write, 2,048 tokens of context suffice."""
DEMONSTRATIONS_BYTES = 2_400
"""All blocks of one prompt together."""
FEWEST_TOKENS = 64
"""A smaller batch asks for fewer tokens, but not for fewer than one task needs."""


def generation_call(
    seeds: Sequence[SeedTask],
    settings: Generation,
    *,
    round: int,
    index: int,
    seed: int,
    accepted_by_category: Mapping[str, int],
    batch_size: int | None = None,
    prefill: bool = True,
) -> ChatCall:
    """Return one request for a batch of new tasks. It depends on its arguments alone.

    Args:
        seeds: where the demonstrations come from; at least one.
        settings: the request's section.
        round: generation round, from 1.
        index: place of the call within its round, from 0; also its ``draw``.
        seed: the run's seed.
        accepted_by_category: rows kept so far; what is missing counts as 0.
        batch_size: tasks asked, the demonstrations among them, where the limits left allow fewer than
            ``settings.tasks_per_call``; at least 2.
        prefill: begin the list in the assistant's name; for servers that go on with such a message.

    Raises:
        ValueError: there are no seeds, or ``batch_size`` is under 2.
    """
    full = settings.tasks_per_call
    total = full if batch_size is None else min(batch_size, full)
    if not seeds or total < 2:
        raise ValueError("a generation call needs at least one seed task and a batch of at least 2")
    rng = random.Random(f"generate/{seed}/{round}/{index}")
    shown = choose_demonstrations(seeds, min(settings.demonstrations, total - 1), accepted_by_category, rng)
    demand, head = REQUIREMENTS.format(total=total), list_head(shown)
    begun = (Message(role="user", content=demand), Message(role="assistant", content=head))
    tokens = math.ceil(settings.max_tokens * completion_share(total, full, settings.demonstrations))
    return ChatCall(
        purpose="generate",
        messages=begun if prefill else (Message(role="user", content=f"{demand}\n{head}"),),
        temperature=settings.temperature,
        top_p=settings.top_p,
        max_tokens=max(tokens, min(FEWEST_TOKENS, settings.max_tokens)),
        stop=stop_sequences(total),
        seed=rng.randrange(2**31),
        draw=index,
    )


def choose_demonstrations(
    seeds: Sequence[SeedTask], count: int, accepted_by_category: Mapping[str, int], rng: random.Random
) -> list[SeedTask]:
    """Choose up to ``count`` seed tasks, one a category as long as there are categories.

    Categories without an accepted row come first, in random order; the others follow by a draw without replacement
    in which a category's weight is one over its accepted rows (Efraimidis and Spirakis, 2006). Tasks too long to show
    are passed over, and fewer than ``count`` come back where more would not fit; at least one always does.
    """
    fitting = [task for task in seeds if _size(task) <= DEMONSTRATION_BYTES] or [min(seeds, key=_size)]
    by_category: dict[str, list[SeedTask]] = {}
    for task in fitting:
        by_category.setdefault(task.category, []).append(task)
    for tasks in by_category.values():
        rng.shuffle(tasks)
    urgency = {name: (accepted_by_category.get(name, 0) * rng.expovariate(1), rng.random()) for name in by_category}
    order = sorted(by_category, key=urgency.__getitem__)
    deepest = max(map(len, by_category.values()))
    queue = [by_category[name][depth] for depth in range(deepest) for name in order if depth < len(by_category[name])]
    chosen = queue[:1]
    room = DEMONSTRATIONS_BYTES - _size(queue[0])
    for task in queue[1:]:
        if len(chosen) == count:
            break
        if _size(task) <= room:
            chosen.append(task)
            room -= _size(task)
    return chosen


def list_head(demonstrations: Sequence[SeedTask]) -> str:
    """Return the list's beginning: the demonstrations as blocks 1 to n, and the head of block n + 1."""
    blocks = [f"{SEPARATOR}\n{task_block(task, number)}" for number, task in enumerate(demonstrations, start=1)]
    return "\n".join([*blocks, SEPARATOR, f"{len(blocks) + 1}. Instruction:"])


def completion_share(size: int, batch_size: int, demonstrations: int) -> float:
    """Return the share of a full call's completion tokens that a batch of ``size`` tasks needs, in (0, 1]."""
    return min(1.0, max(size - demonstrations, 1) / max(batch_size - demonstrations, 1))


def task_block(task: SeedTask, number: int) -> str:
    """Return one numbered block; as Alpaca does, white space in the instruction is folded and a final colon dropped."""
    instruction = re.sub(r"\s+", " ", task.instruction).strip().rstrip(":")
    return (
        f"{number}. Instruction: {instruction}\n"
        f"{number}. Input:\n{task.input.strip() or NO_INPUT}\n"
        f"{number}. Output:\n{task.output.strip()}"
    )


def stop_sequences(total: int) -> tuple[str, ...]:
    r"""Return the strings that end a batch.

    For twenty tasks they are Alpaca's, ``\n20`` and ``20.``: the list is cut where its last task would begin. Numbers
    below that turn up in ordinary answers, so a smaller batch ends at the head of the first task too many.
    """
    return ("\n20", "20.") if total == 20 else (f"\n{total + 1}. Instruction",)


def _size(task: SeedTask) -> int:
    """Return a block's length in UTF-8 bytes, which bounds its tokens in any script."""
    return len(task_block(task, 1).encode())


REQUIREMENTS = """\
Think up {total} different tasks. They will be handed to a language model, to see how well it follows instructions.

What every task must keep to:
1. Hardly ever use the same verb twice: each instruction starts its own way.
2. Change how you phrase things: ask some tasks as questions and give others as orders.
3. Cover many kinds of task: free writing, classification, rewriting, questions, lists, reasoning and so on.
4. A model that reads and writes nothing but text has to be able to do it. It cannot see, hear, call, buy or remind.
5. Write in English.
6. Keep the instruction to one or two sentences. A question will do as well as an order.
7. Give an input where the task needs one: true to life and specific, never a stand-in, and at most 100 words.
8. Where no input is needed, as with a question of general knowledge, write "<noinput>" there.
9. The output is a fitting answer to instruction and input, in under 100 words.

The list of {total} tasks:"""
