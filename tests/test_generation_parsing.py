from __future__ import annotations

import json
import random
import time
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from state.request import Generation
from tools.endpoint.chat import Completion
from tools.generation.parsing import ParsedTasks, answered_tasks, parse_tasks
from tools.generation.parts import RAW_HEAD
from tools.generation.prompting import generation_call
from tools.sources.seeds import load_seed_tasks

SEEDS = load_seed_tasks(Path(__file__).parent.parent / "seeds" / "seed_tasks.jsonl")
Row = tuple[str, str, str]
RIVER = ("Name a long river.", "", "The Nile.")
SUM = ("Add the numbers.", "2 and 3", "5")

ALPACA = """ Name a long river.
4. Input:
<noinput>
4. Output:
The Nile.
###
5. Instruction: Add the numbers.
5. Input:
2 and 3
5. Output:
5
###
"""


def parse(text: str, *, truncated: bool = False) -> ParsedTasks:
    return parse_tasks(text, first_number=4, truncated=truncated)


def rows(parsed: ParsedTasks) -> list[Row]:
    return [(task.instruction, task.input, task.output) for task in parsed.tasks]


def reasons(parsed: ParsedTasks) -> list[str]:
    return [failure.reason for failure in parsed.failures]


BENT = {
    "as asked, behind the head": ALPACA,
    "with the head repeated": "###\n4. Instruction:" + ALPACA,
    "with a lead-in": "Sure! Here are the tasks:\n\n4. Instruction:" + ALPACA,
    "carriage returns": ALPACA.replace("\n", "\r\n"),
    "end tokens": ALPACA + "<|im_end|>",
    "lower case": "4. instruction:"
    + ALPACA.lower()
    .replace("name a long river", "Name a long river")
    .replace("the nile", "The Nile")
    .replace("add the", "Add the"),
    "upper-case labels": "4. INSTRUCTION:" + ALPACA.replace("Instruction", "INSTRUCTION").replace("Output", "OUTPUT"),
    "no separators": "4. Instruction:" + ALPACA.replace("###\n", ""),
    "no numbers": (
        "Instruction: Name a long river.\nInput: <noinput>\nOutput: The Nile.\n\n"
        "Instruction: Add the numbers.\nInput: 2 and 3\nOutput: 5"
    ),
    "bold labels": (
        "**4. Instruction:** Name a long river.\n**4. Input:** <noinput>\n**4. Output:** The Nile.\n\n"
        "**5. Instruction**: Add the numbers.\n**5. Input**: 2 and 3\n**5. Output**: 5"
    ),
    "bold lines": (
        "**Instruction: Name a long river.**\n**Input: none**\n**Output: The Nile.**\n"
        "**Instruction: Add the numbers.**\n**Input: 2 and 3**\n**Output: 5**"
    ),
    "headings": (
        "### Task 4\n**Instruction:** Name a long river.\n**Input:** N/A\n**Output:** The Nile.\n\n"
        "### Task 5\n**Instruction:** Add the numbers.\n**Input:** 2 and 3\n**Output:** 5\n"
    ),
    "headings as labels": (
        "### 4. Instruction:\nName a long river.\n### 4. Input:\nNo input.\n### 4. Output:\nThe Nile.\n"
        "### 5. Instruction:\nAdd the numbers.\n### 5. Input:\n2 and 3\n### 5. Output:\n5"
    ),
    "rules between": (
        "Instruction: Name a long river.\nOutput: The Nile.\n\n---\n\n"
        "Instruction: Add the numbers.\nInput: 2 and 3\nOutput: 5\n"
    ),
    "numbers on their own lines": (
        "4.\nInstruction: Name a long river.\nInput: <noinput>\nOutput:\nThe Nile.\n\n"
        "5.\nInstruction: Add the numbers.\nInput: 2 and 3\nOutput: 5\n"
    ),
    "numbers behind the label": (
        "Instruction 4: Name a long river.\nInput 4: <no input>\nOutput 4: The Nile.\n"
        "Instruction 5: Add the numbers.\nInput 5: 2 and 3\nOutput 5: 5"
    ),
    "parentheses and spaces": (
        "4) Instruction : Name a long river.\n4) Input :\n\n<noinput>\n\n4) Output :\n\nThe Nile.\n\n"
        "5)Instruction:Add the numbers.\n5)Input:2 and 3\n5)Output:5"
    ),
    "wrong numbers": (
        "1. Instruction: Name a long river.\n2. Input: <noinput>\n3. Output: The Nile.\n"
        "1. Instruction: Add the numbers.\n2. Input: 2 and 3\n3. Output: 5"
    ),
    "one line a task": (
        "4. Instruction: Name a long river. 4. Input: <noinput> 4. Output: The Nile.\n"
        "5. Instruction: Add the numbers. Input: 2 and 3 Output: 5"
    ),
    "output behind the missing input": (
        "4. Instruction: Name a long river.\n4. Input: <noinput> Output: The Nile.\n"
        "5. Instruction: Add the numbers.\n5. Input: 2 and 3\n5. Output: 5"
    ),
    "no label behind a separator": (
        "Name a long river.\n4. Output: The Nile.\n###\n5. Add the numbers.\n5. Input: 2 and 3\n5. Output: 5"
    ),
    "no input part": "4. Instruction: Name a long river.\n4. Output: The Nile.\n###\n5. Instruction: Add the numbers.\n"
    "5. Input: 2 and 3\n5. Output: 5",
    "quoted": '4. Instruction: "Name a long river."\n4. Output: The Nile.\n'
    '5. Instruction: "Add the numbers."\n5. Input: 2 and 3\n5. Output: 5',
    "a list in JSON": json.dumps(
        [
            {"instruction": RIVER[0], "input": None, "output": RIVER[2]},
            {"instruction": SUM[0], "input": SUM[1], "output": 5},
        ]
    ),
    "an object around the list, fenced": "Here you are:\n```json\n"
    + json.dumps(
        {"tasks": [dict(zip(("Instruction", "Input", "Output"), row, strict=True)) for row in (RIVER, SUM)]}, indent=2
    )
    + "\n```\nAsk for more!",
    "JSON lines": "\n".join(
        json.dumps(dict(zip(("instruction", "input", "output"), row, strict=True))) for row in (RIVER, SUM)
    ),
    "JSON with raw line breaks and a final comma": '[{"task": "Name a long\nriver.", "output": "The Nile."},'
    '{"instruction": "Add the numbers.", "input": "2 and 3", "output": ["5"]},]',
}


@pytest.mark.parametrize("text", BENT.values(), ids=BENT.keys())
def test_bent_formats_give_the_same_tasks(text: str) -> None:
    parsed = parse(text)
    assert rows(parsed) == [RIVER, SUM]
    assert not parsed.failures


def test_a_cut_last_block_is_dropped_and_counted() -> None:
    text = ALPACA.removesuffix("\n###\n")
    parsed = parse(text, truncated=True)
    assert rows(parsed) == [RIVER]
    assert reasons(parsed) == ["cut_off"]
    assert parsed.failures[0].text.startswith("5. Instruction: Add")


def test_an_answer_cut_between_blocks_loses_nothing() -> None:
    assert rows(parse(ALPACA, truncated=True)) == [RIVER, SUM]


def test_cut_json_keeps_the_whole_objects() -> None:
    text = json.dumps([{"instruction": "Name a long river.", "output": "The Nile."}] * 2)
    parsed = parse(text[:-20], truncated=True)
    assert rows(parsed) == [RIVER]
    assert reasons(parsed) == ["cut_off"]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (" Name a long river.\n4. Input:\n<noinput>", "no_output"),
        (" Name a long river.\n4. Output:\n\n###", "no_output"),
        ("4. Instruction:\n4. Input: 2\n4. Output: 5", "no_instruction"),
        ("4. Instruction:", "no_instruction"),
        ("4. Instruction: Add.\n4. Output: 5\n4. Output: 6", "repeated_part"),
        ("4. Instruction: Add.\n4. Output: 5\n4. Input: 2 and 3", "repeated_part"),
        ("Instruction: Add.\nOutput: 5\nOutput: 6", "repeated_part"),
        ("I am sorry, but I cannot help with that.", "no_output"),
        (" Add.\n4. Output: 5\0", "unstorable"),
        (" Add.\n4. Output: \ud83d", "unstorable"),
        ('[{"instruction": "Add.", "output": "5}]', "broken_json"),
        ('{"instruction": "Add.", "output": "\\ud83d"}', "unstorable"),
        ('{"instruction": "Add.", "output": ""}', "no_output"),
        ('{"instruction": "Add.", "output": ' + "[" * 50_000, "broken_json"),
    ],
)
def test_what_gives_no_task_is_counted_with_its_reason(text: str, reason: str) -> None:
    parsed = parse(text)
    assert not parsed.tasks
    assert reasons(parsed) == [reason]


def test_json_of_another_shape_is_counted() -> None:
    parsed = parse('[{"instruction": "Name a long river.", "output": "The Nile."}, {"title": "no task"}]')
    assert rows(parsed) == [RIVER]
    assert reasons(parsed) == ["no_task"]


@pytest.mark.parametrize("text", ["", "  \n\n", "###", "###\n\n###\n", "<|im_end|>"])
def test_nothing_is_no_block(text: str) -> None:
    assert parse(text) == ParsedTasks(tasks=(), failures=())


def test_labels_inside_an_output_are_text() -> None:
    recipe = "Ingredients:\n- flour\nInstructions:\n1. Mix.\n2. Bake.\nOutput: 4 rolls\nInput: none"
    text = f" Write a recipe.\n4. Output:\n{recipe}\n###\n5. Instruction: Add the numbers.\n5. Output: 5"
    assert [row[2] for row in rows(parse(text))] == [recipe, "5"]
    unnumbered = "Instruction: Write a recipe.\nOutput: Flour.\nInstructions:\n1. Mix.\n"
    assert rows(parse(unnumbered)) == [("Write a recipe.", "", "Flour.\nInstructions:\n1. Mix.")]


def test_lists_code_and_rules_stay_in_the_output() -> None:
    output = "4. Hat\n5. Water\n\n---\n\n```python\nfor i in range(3):\n    print(i)  # **bold\n```"
    text = f" Write a list.\n4. Output:\n{output}\n\n###\n5. Instruction: Add the numbers.\n5. Output: 42."
    assert [row[2] for row in rows(parse(text))] == [output, "42."]


def test_an_output_that_is_a_number_survives_the_next_heading() -> None:
    text = "**Task 4**\nInstruction: Add.\nOutput: 12\n\n**Task 5**\nInstruction: Subtract.\nOutput:\n7\n"
    assert rows(parse(text)) == [("Add.", "", "12"), ("Subtract.", "", "7")]


def test_an_instruction_may_speak_of_input() -> None:
    text = " Explain what Input: means in a form.\n4. Input:\n<noinput>\n4. Output:\nWhat you type."
    assert rows(parse(text)) == [("Explain what Input: means in a form.", "", "What you type.")]


def test_what_the_embedded_model_wrote() -> None:
    text = (
        " Say which is heavier.\n5. Input:\na stone; a feather\n6. Output:\nThe stone.\n###\n"
        "5. Instruction: Pick a flower.\n5. Output:\n2. To your left\n6. To your right\n"
        "6. Instructions: To what do you go?\n1. Input:\n<noinput>\nNobody knows.\n\n"
        "6. Instruction: How do you make a rainbow?\n6. Input:\n<noininput>\n6. Output:\nI use a light.\n"
        "7. Instruction: What is it?\n7. Output:\nIt.\n7. Output:\nIt.\n"
    )
    parsed = parse(text, truncated=False)
    assert rows(parsed) == [
        ("Say which is heavier.", "a stone; a feather", "The stone."),
        ("Pick a flower.", "", "2. To your left\n6. To your right"),
        ("How do you make a rainbow?", "", "I use a light."),
    ]
    assert reasons(parsed) == ["no_output", "repeated_part"]


@pytest.mark.parametrize("prefill", [True, False])
def test_the_answer_to_a_call_may_repeat_the_prompts_head(prefill: bool) -> None:
    call = generation_call(SEEDS, Generation(), round=1, index=0, seed=0, accepted_by_category={}, prefill=prefill)
    for text in (ALPACA, call.messages[-1]["content"] + ALPACA):
        answer = Completion(text=text, finish_reason="stop", key="")
        assert rows(answered_tasks(call, answer)) == [RIVER, SUM]
        cut = answer.model_copy(update={"text": text.removesuffix("\n###\n"), "finish_reason": "length"})
        assert rows(answered_tasks(call, cut)) == [RIVER]


WORDS = st.text(alphabet="abc XYZ 0123,.!?\n", min_size=1, max_size=60).filter(lambda text: text.strip(" \n,.!?"))


@given(st.lists(st.tuples(WORDS, st.one_of(st.just(""), WORDS), st.one_of(st.just(""), WORDS)), max_size=8), st.data())
def test_every_block_is_a_row_or_a_failure(blocks: list[Row], data: st.DataObject) -> None:
    written = []
    for number, (instruction, given_input, output) in enumerate(blocks, start=4):
        mark = data.draw(st.sampled_from(["", "**", "### ", "- "]))
        lines = [f"{mark}{number}. Instruction: {instruction}"]
        if data.draw(st.booleans()):
            lines.append(f"{mark}{number}. Input:\n{given_input or '<noinput>'}")
        if output:
            lines.append(f"{mark}{number}. Output:\n{output}")
        written.append("\n".join(lines))
    parsed = parse(data.draw(st.sampled_from(["\n", "\n###\n", "\n\n"])).join(written))
    assert len(parsed.tasks) + len(parsed.failures) == len(blocks)
    assert len(parsed.tasks) == sum(bool(output) for _, _, output in blocks)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(["instruction", "input", "output", "task", "tasks", "x"]), inner, max_size=4)
    ),
    max_leaves=12,
)
PIECES = st.sampled_from(
    [
        *(
            "4. Instruction:",
            "Instruction",
            "Input:",
            "5. Output:",
            "###",
            "\n",
            "\n\n",
            ":",
            "**",
            "<noinput>",
            "5.",
            "4)",
        ),
        *("Task 5", "---", "{", "}", "[", "]", '"', '"instruction":', '"output": "', "\\u", "\\ud800", "\0", "\u2028"),
        *(" ", "    ", "```", "word", "Instruction 7:", "#", "<|im_end|>", "1e999", "\r", "é", "\ud800"),
    ]
)
SOUP = st.lists(PIECES, max_size=40).map("".join)


@settings(max_examples=300)
@given(st.one_of(st.text(), SOUP, JSON.map(json.dumps), st.lists(JSON, max_size=3).map(json.dumps)), st.booleans())
def test_no_text_raises_and_what_comes_out_can_be_stored(text: str, truncated: bool) -> None:
    check_invariants(text, truncated)


def check_invariants(text: str, truncated: bool) -> None:
    parsed = parse(text, truncated=truncated)
    for task in parsed.tasks:
        assert task.instruction.strip() and task.output.strip()
        json.dumps(task.model_dump()).encode()
        assert "\0" not in task.instruction + task.input + task.output
        (task.instruction + task.input + task.output).encode()
    for failure in parsed.failures:
        assert "\0" not in failure.text
        assert len(failure.text) <= 10 * RAW_HEAD  # an unprintable letter is written out
        failure.text.encode()


def test_fuzz() -> None:
    """Cut, swap, repeat and soil real answers at random: 3,000 of them."""
    draw = random.Random(3)
    sources = list(BENT.values())
    for _ in range(3000):
        text = draw.choice(sources)
        for _ in range(draw.randint(1, 6)):
            text = soil(text, draw, sources)
        check_invariants(text, draw.random() < 0.5)


def soil(text: str, draw: random.Random, sources: list[str]) -> str:
    start = draw.randint(0, len(text))
    end = draw.randint(start, min(len(text), start + 60))
    other = draw.choice(sources)
    changes: list[Any] = [
        lambda: text[:start] + text[end:],
        lambda: text[:end] + text[start:],
        lambda: text[:start] + chr(draw.randrange(0x110000)) + text[start:],
        lambda: text[:start] + other[draw.randint(0, len(other)) :],
        lambda: text[:start] + text[start:end].swapcase() + text[end:],
    ]
    return str(draw.choice(changes)())


LONG_UNITS = (
    *("4. Instruction: x Input: ", " ", "\n", "###\n", "4. Output:\n", "Task 5\n", "4", "*", "# ", "1. ", "    4. "),
    *("<noinput> ", "Instruction:\n\n", "- * _ ", '{"instruction": ', '{"instruction": {', '{"a": [', "[{", '"task":'),
)


@pytest.mark.parametrize("end", ["", "\n5. Instruction: x"])
@pytest.mark.parametrize("unit", LONG_UNITS)
def test_time_grows_with_the_text_not_with_its_square(unit: str, end: str) -> None:
    text = unit * (100_000 // len(unit)) + end
    start = time.process_time()
    check_invariants(text, True)
    assert time.process_time() - start < 5


CODE = "Sum two.\n```python\n### add them\na = 1 + 1\n### done\n```\nThat is all."


@pytest.mark.parametrize("head", ["Output:\n", "Output: "])
def test_code_between_fences_is_never_cut(head: str) -> None:
    text = f"1. Instruction: Write code.\n1. Input:\n<noinput>\n1. {head}{CODE}\n###\n2. Instruction: Sing a song.\n"
    text += "2. Input:\n<noinput>\n2. Output:\nLa la la."
    first, second = parse_tasks(text, first_number=1, truncated=False).tasks
    assert first.output == CODE and second.output == "La la la."


def test_a_fence_that_nobody_closed_swallows_no_other_task() -> None:
    tasks = "\n###\n".join(
        f"{n}. Instruction: Write it in {word}.\n{n}. Input:\n<noinput>\n{n}. Output:\n```\nprint({n})"
        for n, word in enumerate(("Lua", "Perl", "Ruby"), 1)
    )
    assert len(parse_tasks(tasks, first_number=1, truncated=False).tasks) == 3
    whole = f"```\n{tasks.replace('```', '')}\n```"
    assert len(parse_tasks(whole, first_number=1, truncated=False).tasks) == 3
