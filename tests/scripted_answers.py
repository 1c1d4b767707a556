"""What the scripted server answers: deterministic in the request's content, and shaped like a model's answers.

Plain answers carry one of three words that betray their quality; scores that are asked about a text with such a word
follow it. So a scripted judge accepts some, sends some to a person and rejects some, and its judges agree.
"""

from __future__ import annotations

import hashlib
import json
import random
import re
from typing import Any

QUALITY = {"splendidly": (0.76, 0.97), "passably": (0.57, 0.69), "shabbily": (0.08, 0.42)}
"""The betraying word, and the range of its scores as a share of the schema's range."""

NUMBERED = re.compile(r"^\s*(\d+)\. ?Instruction:", re.MULTILINE)
VERBS = "Explain Describe Compare Rewrite Summarise List Suggest Classify Translate Plan Estimate Justify".split()
MANNERS = ["in plain words", "for a beginner", "step by step", "with two examples", "in a friendly tone", "as a table"]
OBJECTS = (
    "bread ovens|river tides|tax receipts|garden tools|night trains|winter coats|city budgets|honey bees|"
    "old maps|chess openings|glass bottles|paper boats|shop opening hours|cargo ships|apple trees|"
    "library fines|school lunches|bicycle brakes|weather reports|train tickets|mountain paths|coffee beans|"
    "wedding speeches|sorting methods|power cuts|rain barrels|road signs|market stalls|museum tours|"
    "dental check-ups|phone contracts|team meetings|sea walls|wool blankets|stage lights|hospital visits|"
    "bus routes|ink stains|pocket watches|clay pots"
).split("|")
ENDS = (
    "before a long journey|when money is short|during a heat wave|for a small company|after a bad harvest|"
    "in a crowded town|without any tools|on a rainy Sunday|at the end of the year|for a family of five|"
    "under strict rules|when nobody else can help|with a tight deadline|in a foreign country|"
    "if the power fails|for a curious child"
).split("|")
OPENERS = "First Often Usually Sometimes Mostly Generally Clearly Today".split()
FACTS = (
    "it helps to keep the steps short|the cost should be written down|a second pair of eyes finds mistakes|"
    "good light makes the work safer|the order of the parts matters|small tests come before large ones|"
    "the reader needs one clear example|a short list beats a long talk|the result can be checked at once|"
    "people remember what they tried themselves|a plain word is better than a rare one|"
    "the plan leaves room for delay"
).split("|")


def request_hash(body: dict[str, Any]) -> str:
    """Return 16 hex digits over the whole request."""
    return hashlib.sha256(json.dumps(body, sort_keys=True).encode()).hexdigest()[:16]


def answer_to(body: dict[str, Any]) -> str:
    """Return the answer to a chat request: JSON of its schema, new tasks, or some plain sentences."""
    text = "\n".join(str(message.get("content") or "") for message in body["messages"])
    draw = random.Random(request_hash(body))
    schema = (body.get("response_format") or {}).get("json_schema", {}).get("schema")
    if schema is not None:
        return json.dumps(fill(schema, draw, quality_of(text, draw), schema.get("$defs", {})))
    return tasks(text, draw) if NUMBERED.search(text) else plain(text, draw)


def plain(text: str, draw: random.Random) -> str:
    """Return three to six sentences about the prompt's longest word."""
    topic = max(re.findall(r"[A-Za-z]{3,}", text) or ["this"], key=len).lower()
    facts = draw.sample(FACTS, draw.randint(3, 6))
    body = " ".join(f"{draw.choice(OPENERS)}, {fact}." for fact in facts[1:])
    return f"On {topic}, I answer {draw.choice(list(QUALITY))} that {facts[0]}. {body}"


def tasks(text: str, draw: random.Random) -> str:
    """Return numbered tasks in Alpaca's format, going on from the last number of the prompt."""
    numbers = [int(n) for n in NUMBERED.findall(text)]
    first = max(numbers, default=0) + (not text.rstrip().endswith("Instruction:"))
    blocks = [_task(n, draw) for n in range(first, 21)]
    whole = "\n###\n".join(blocks)
    return whole.removeprefix(f"{first}. Instruction:") if text.rstrip().endswith("Instruction:") else whole


def _task(number: int, draw: random.Random) -> str:
    verb, thing, end = draw.choice(VERBS), draw.choice(OBJECTS), draw.choice(ENDS)
    instruction = f"{verb} how {thing} and {draw.choice(OBJECTS)} are handled {end}, {draw.choice(MANNERS)}."
    given = "<noinput>" if draw.random() < 0.6 else f"{draw.randint(2, 90)} {thing}, {draw.randint(2, 90)} more to come"
    return f"{number}. Instruction: {instruction}\n{number}. Input:\n{given}\n{number}. Output:\n{plain(thing, draw)}"


def quality_of(text: str, draw: random.Random) -> tuple[float, float]:
    """Return the range of scores for a text: that of the last betraying word in it, or a wide one."""
    found = [(text.rfind(word), word) for word in QUALITY if word in text]
    return QUALITY[max(found)[1]] if found else (0.3, 0.95)


def fill(schema: dict[str, Any], draw: random.Random, quality: tuple[float, float], defs: dict[str, Any]) -> Any:
    """Return a value that fits a JSON schema; numbers follow the quality."""
    if "$ref" in schema:
        return fill(defs[schema["$ref"].rsplit("/", 1)[-1]], draw, quality, defs)
    if "const" in schema:
        return schema["const"]
    if "enum" in schema:
        return draw.choice(schema["enum"])
    for union in ("anyOf", "oneOf", "allOf"):
        if union in schema:
            return fill(schema[union][0], draw, quality, defs)
    if schema.get("type") == "object":
        return {name: fill(part, draw, quality, defs) for name, part in schema.get("properties", {}).items()}
    if schema.get("type") == "array":
        count = max(schema.get("minItems", 0), min(2, schema.get("maxItems", 2)))
        return [fill(schema.get("items", {"type": "string"}), draw, quality, defs) for _ in range(count)]
    return _scalar(schema, draw, quality)


def _scalar(schema: dict[str, Any], draw: random.Random, quality: tuple[float, float]) -> Any:
    kind = schema.get("type", "string")
    if kind in ("number", "integer"):
        low, high = schema.get("minimum", 0), schema.get("maximum", 100)
        value = low + (high - low) * draw.uniform(*quality)
        return round(value) if kind == "integer" else round(value, 1)
    if kind == "boolean":
        return draw.random() < sum(quality) / 2
    if kind == "null":
        return None
    text = f"I find that {draw.choice(FACTS)}."
    return text[: schema.get("maxLength", len(text))].ljust(schema.get("minLength", 0), ".")
