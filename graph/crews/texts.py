"""Tools over rows of text: each is thin over what the pipeline itself uses."""

from __future__ import annotations

import asyncio
from collections import Counter
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from graph.crews.session import CrewSession
from state.errors import BadInput
from state.records import Outcome, Sample, content_hash
from tools.endpoint.chat import ChatCall, user_message
from tools.gates import DEFAULT_POLICY, DiversityIndex, figures, load_safety_policy
from tools.gates.content import ContentGate
from tools.gates.gate import Gate, GateInputs
from tools.gates.safety import SafetyGate
from tools.shipped import find_file
from tools.sources.alpaca import AlpacaRow, read_alpaca
from tools.sources.seeds import load_seed_tasks

MOST_ROWS = 10_000
"""Rows of one look; of more, the first are taken, and the result says so."""
SHOWN = 5


class TextRow(BaseModel):
    """One row in Alpaca's format."""

    model_config = ConfigDict(extra="forbid")

    instruction: str
    input: str = ""
    output: str = ""


Source = Annotated[
    str, Field(description="Where the rows are: 'seeds', 'run' (what it accepted), or a file in Alpaca's format.")
]
Rows = Annotated[list[TextRow], Field(max_length=1000, description="Rows, in the place of a source.")]
Text = Annotated[str, Field(min_length=1, max_length=100_000)]


async def openai_completion(
    session: CrewSession,
    prompt: Annotated[str, Field(min_length=1, max_length=100_000, description="What is asked.")],
    max_tokens: Annotated[int, Field(ge=1, le=32_768)] = 256,
    temperature: Annotated[float, Field(ge=0, le=2)] = 0.7,
) -> dict[str, Any]:
    """Ask the plan's generator a question, paid for from the crew's share of the budget and kept in the ledger."""
    endpoint = await session.endpoint(session.request.models.generator)
    call = ChatCall(
        purpose="crew.tool", messages=(user_message(prompt),), temperature=temperature, max_tokens=max_tokens, seed=0
    )
    answer = await endpoint.complete(call)
    return {"summary": f"{endpoint.model} answered", "text": answer.text, "dollars": answer.cost}


async def rouge_similarity(
    session: CrewSession,
    text: Text,
    against: Annotated[list[str], Field(max_length=MOST_ROWS, description="Texts to compare with.")] = [],  # noqa: B006
    source: Source = "seeds",
    most: Annotated[int, Field(ge=1, le=100, description="Nearest texts to return.")] = 10,
) -> dict[str, Any]:
    """Score a text against others by ROUGE-L, as the diversity gate does: the most similar ones and the mean."""
    others = list(against) or [row.instruction for row in await rows_of(session, source, [])]
    (found,) = await asyncio.to_thread(_nearest, others, [text], most)
    near = [{"text": others[place], "score": score} for place, score in zip(found.positions, found.scores, strict=True)]
    top = found.scores[0] if found.scores else 0.0
    limit = session.request.gates.rouge_threshold
    word = "repeats one" if top > limit else "is new"
    return {"summary": f"it {word}: {top:.2f} at most, {limit:g} allowed", "most_similar": near, "mean": found.mean}


async def similarity_checker(session: CrewSession, source: Source = "run", rows: Rows = []) -> dict[str, Any]:  # noqa: B006
    """Find rows that repeat a seed task or each other, by ROUGE-L above the gate's threshold."""
    found = await rows_of(session, source, rows)
    seeds = [] if source == "seeds" and not rows else await rows_of(session, "seeds", [])
    repeats = await asyncio.to_thread(_repeats, session.request.gates.rouge_threshold, seeds, found)
    return {"summary": f"{len(repeats)} of {len(found)} rows repeat another", "repeats": repeats[:SHOWN]}


async def content_filter(session: CrewSession, source: Source = "run", rows: Rows = []) -> dict[str, Any]:  # noqa: B006
    """Hold rows to the content rules: words, characters, keywords, beginnings, outputs."""
    return await _gated(session, ContentGate, source, rows)


async def safety_validator(session: CrewSession, source: Source = "run", rows: Rows = []) -> dict[str, Any]:  # noqa: B006
    """Hold rows to the safety policy."""
    return await _gated(session, SafetyGate, source, rows)


async def task_analysis(session: CrewSession, source: Source = "seeds", rows: Rows = []) -> dict[str, Any]:  # noqa: B006
    """Tell what kinds of tasks rows are: categories, verbs, lengths, and how many have an input."""
    found = await asyncio.to_thread(figures, await rows_of(session, source, rows))
    kinds = {name: count for name, count in found.categories.items() if count}
    missing = [name for name, count in found.categories.items() if not count]
    return {
        "summary": f"{found.rows} tasks of {len(kinds)} categories"
        + (f"; none of {', '.join(missing)}" if missing else ""),
        "categories": kinds,
        "missing": missing,
        "verbs": found.verbs,
        "with_input": round(found.with_input, 3),
        "instruction_words": found.instruction_words.model_dump(),
    }


async def diversity_checker(session: CrewSession, source: Source = "run", rows: Rows = []) -> dict[str, Any]:  # noqa: B006
    """Measure how diverse rows are: distinct words, balance of categories, mean and highest likeness."""
    found = await asyncio.to_thread(figures, await rows_of(session, source, rows))
    return {
        "summary": f"{found.rows} rows: mean likeness {found.mean_similarity:.2f}, highest {found.max_similarity:.2f}, "
        f"balance of categories {found.balance:.2f}",
        **found.model_dump(mode="json", exclude={"verb_nouns", "categories"}),
    }


async def format_alpaca_data(
    session: CrewSession, rows: Annotated[list[TextRow], Field(min_length=1, max_length=1000)]
) -> dict[str, Any]:
    """Put rows into Alpaca's prompt, with and without an input, as a base without a template of its own is trained."""
    from tools.weights.template import alpaca_prompt

    made = [{"prompt": alpaca_prompt(row.instruction, row.input), "completion": row.output} for row in rows]
    return {"summary": f"{len(made)} rows in Alpaca's format", "rows": made}


async def tokenisation(
    session: CrewSession,
    texts: Annotated[list[str], Field(max_length=1000, description="Texts; none for the run's dataset.")] = [],  # noqa: B006
) -> dict[str, Any]:
    """Count tokens with the base's own tokenizer: of texts, or of the rows of the run's dataset."""
    from tools.weights.folders import base_folder
    from tools.weights.template import load_tokenizer

    limit = session.request.train.max_length
    if not texts:
        state = await session.runs.state(session.demand_run())
        if "dataset" not in state:
            raise BadInput("the run has no dataset yet; give texts, or build it first")
        folder = Path(state["dataset"].folder)
        texts = await asyncio.to_thread(_training_texts, folder)
    base = await asyncio.to_thread(base_folder, session.request.models.base, session.services.cache)
    tokenizer = await asyncio.to_thread(load_tokenizer, base)
    counts = await asyncio.to_thread(lambda: [len(tokenizer(text)["input_ids"]) for text in texts])
    long = sum(count > limit for count in counts)
    return {
        "summary": f"{len(counts)} texts of {max(counts, default=0)} tokens at most; {long} are longer than {limit}",
        "tokens": sum(counts),
        "longest": max(counts, default=0),
        "too_long": long,
    }


async def rows_of(session: CrewSession, source: str, rows: list[TextRow]) -> list[Sample]:
    """Return rows as samples: those given, else those of the source.

    Raises:
        BadInput: the source is no file that can be read, or there is no run yet.
    """
    if rows:
        return [_sample(row.instruction, row.input, row.output) for row in rows]
    match source:
        case "seeds":
            tasks = await asyncio.to_thread(load_seed_tasks, find_file(session.request.sources.seeds))
            return [_sample(task.instruction, task.input, task.output, task.category) for task in tasks[:MOST_ROWS]]
        case "run":
            found: list[Sample] = []
            accepted = {"tag": "train", "origin": "generated", "outcome": Outcome.ACCEPTED}
            async for page in session.services.store.pages(session.demand_run(), Sample, **accepted):  # type: ignore[arg-type]  # a plain dict for a TypedDict
                found += page
                if len(found) >= MOST_ROWS:
                    break
            return found[:MOST_ROWS]
        case _:
            return await asyncio.to_thread(_of_file, find_file(source))


def _of_file(path: Path) -> list[Sample]:
    found = []
    for row in read_alpaca(path):
        if isinstance(row, AlpacaRow):
            found.append(_sample(row.instruction, row.input, row.output))
        if len(found) == MOST_ROWS:
            break
    return found


def _sample(instruction: str, given: str, output: str, category: str = "") -> Sample:
    identity = content_hash(instruction, given, output)
    return Sample(id=identity, instruction=instruction, input=given, output=output, category=category)


async def _gated(session: CrewSession, gate: type[Gate], source: str, rows: list[TextRow]) -> dict[str, Any]:
    found = await rows_of(session, source, rows)
    policy = await asyncio.to_thread(load_safety_policy, DEFAULT_POLICY)
    one = gate(GateInputs(session.request.gates, policy))
    results = await asyncio.to_thread(lambda: [one.judge(row) for row in found])
    failed = [(row, result) for row, result in zip(found, results, strict=True) if not result.passed]
    reasons = Counter(reason.partition(":")[0] for _, result in failed for reason in result.reasons)
    return {
        "summary": f"{len(found) - len(failed)} of {len(found)} rows pass the {one.name} rules",
        "reasons": dict(reasons.most_common()),
        "failed": [{"instruction": row.instruction, "reasons": result.reasons} for row, result in failed[:SHOWN]],
    }


def _nearest(others: list[str], texts: list[str], most: int) -> Any:
    index = DiversityIndex()
    for other in others:
        index.add(other)
    return index.most_similar(texts, most)


def _repeats(threshold: float, seeds: list[Sample], rows: list[Sample]) -> list[dict[str, str]]:
    index, kept = DiversityIndex(threshold), [seed.instruction for seed in seeds]
    for text in kept:
        index.add(text)
    found = []
    for row in rows:
        place = index.offer(row.instruction)
        if place is None:
            kept.append(row.instruction)
        else:
            found.append({"instruction": row.instruction, "repeats": kept[place]})
    return found


def _training_texts(folder: Path) -> list[str]:
    from tools.dataset.files import SFT
    from tools.sources.reader import BadRow, read_rows

    found = []
    for row in read_rows(folder / SFT, "each a row to train on"):
        if not isinstance(row, BadRow):
            turns = [*row.fields["prompt"], *row.fields["completion"]]
            found.append("\n".join(turn["content"] for turn in turns))
    return found
