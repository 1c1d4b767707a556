"""The model card of an adapter: what it is made of, how it was measured, whose licence holds, and what it cannot do."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from state.pipeline import PipelineState
from state.records import Record
from state.request import EMBEDDED, Endpoint, RunRequest
from state.wording import number_of
from tools.checklists.items import MACHINE
from tools.endpoint import weights_here
from tools.evaluation.scoreboard import Scoreboard
from tools.weights.folders import HUB_NAME

Form = Literal["peft", "peft and gguf", "merged"]
"""How an adapter is written: in PEFT's form, with a GGUF file beside it, or merged into its base."""
TEMPLATE = Path(__file__).with_name("model_card.md.jinja")
EMBEDDED_LICENCE = "apache-2.0"
"""SmolLM2-135M-Instruct's."""
UNKNOWN = "other"
"""The hub's word for a licence that it has no name for, and ours for one that is not known."""
LICENCE_LINE = re.compile(r"^license:\s*[\"']?([\w.+-]+)[\"']?\s*$", re.MULTILINE)


class CardFacts(Record):
    """What a model card says, but for the scoreboard."""

    title: str
    run: str
    base: str
    """As ``models.base`` names it."""
    base_folder: str
    adapter: str
    """The hash of its weights."""
    dataset: str
    rows: str = ""
    """How many rows of each kind, in words."""
    recipe: str
    judge: Endpoint
    notes: tuple[str, ...] = ()


def model_card(facts: CardFacts, board: Scoreboard | None, *, form: Form) -> str:
    """Return the card as Markdown with the hub's metadata in front.

    Args:
        facts: what is known of the adapter.
        board: its scoreboard; ``None`` where it was not measured.
        form: how it lies beside the card.
    """
    from jinja2 import Environment, StrictUndefined  # a card is written once a run, and by few runs

    environment = Environment(undefined=StrictUndefined, keep_trailing_newline=True, autoescape=False)
    template = environment.from_string(TEMPLATE.read_text(encoding="utf-8"))
    named = hub_name(facts.base)
    return template.render(
        **facts.model_dump(exclude={"judge", "notes", "base_folder"}),
        notes=[" ".join(note.split()) for note in facts.notes],
        hub_base=named,
        base_words=_base_in_words(facts.base),
        licence=licence_of(facts.base, Path(facts.base_folder)),
        judge=f"`{facts.judge.model}` at {facts.judge.base_url}",
        judge_licence=_licence_of_judge(facts.judge),
        board=board,
        form=form,
    )


def facts_of(state: PipelineState, title: str, base: Path) -> CardFacts:
    """Return what a run's state says for the card of its adapter."""
    dataset = state["dataset"]
    return card_facts(title, state["run_id"], state["request"], base, state["adapter"].id).model_copy(
        update={
            "dataset": dataset.version,
            "rows": f"{number_of(dataset.sft_rows, 'row')} for SFT, {number_of(dataset.dpo_rows, 'pair')} for DPO",
            "notes": tuple(line for line in state.get("warnings", ()) if not line.startswith(MACHINE)),
        }
    )


def card_facts(title: str, run_id: str, request: RunRequest, base: Path, adapter: str) -> CardFacts:
    """Return what a run's request says for its adapter's card; data and notes are the caller's to add."""
    return CardFacts(
        title=title,
        run=run_id,
        base=request.models.base,
        base_folder=str(base),
        adapter=adapter,
        dataset="",
        recipe=request.train.recipe,
        judge=request.models.judge,
    )


def hub_name(base: str) -> str | None:
    """Return a base's name on the hub; ``None`` for one that is a folder, or the embedded one.

    The embedded model is no copy of the hub's: its weights were quantised, and the adapter was trained on those.
    """
    return base if HUB_NAME.fullmatch(base) and not Path(base).expanduser().is_dir() else None


def named_base(base: str) -> str:
    """Return a base's name without the place of its folder, which means nothing elsewhere."""
    return base if base == EMBEDDED or hub_name(base) else Path(base).name


def licence_of(base: str, folder: Path) -> str:
    """Return a base's licence by the hub's short name, as its own card states it; ``other`` where it states none."""
    if base == EMBEDDED:
        return EMBEDDED_LICENCE
    try:
        head = (folder / "README.md").read_text(encoding="utf-8", errors="replace")[:4096]
    except OSError:
        return UNKNOWN
    _, _, front = head.partition("---")
    found = LICENCE_LINE.search(front.partition("\n---")[0])
    return found[1] if found else UNKNOWN


def licence_files(folder: Path) -> Iterator[Path]:
    """Yield the files of a base's folder that hold the text of its licence."""
    for path in sorted(folder.glob("*")):
        if path.is_file() and path.name.upper().startswith(("LICENSE", "LICENCE", "NOTICE")):
            yield path


def _base_in_words(base: str) -> str:
    if base == EMBEDDED:
        return "SmolLM2-135M-Instruct, unpacked from its Q4_1 GGUF (in `base`)"
    named = hub_name(base)
    return f"`{named}`" if named else f"`{Path(base).name}` (in `base`)"


def _licence_of_judge(judge: Endpoint) -> str:
    if weights_here(judge) == EMBEDDED:
        return EMBEDDED_LICENCE
    return "not known here; see its provider's terms"
