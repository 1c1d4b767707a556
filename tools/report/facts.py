"""Everything that a report shows of a run. A part that the run lacks is ``None``; ``missing_parts`` says why."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from state.calls import PurposeTally
from state.records import GenerationRound, Record
from state.request import RunRequest
from tools.checklists.items import CheckItem
from tools.generation.costing import StageComparison
from tools.judging.decisions import LEAST_DECISIONS, AgainstPeople
from tools.people.raters import Agreement, GoldAccuracy
from tools.report.board import Board
from tools.report.examples import Examples
from tools.report.funnel import Funnel
from tools.report.lineage import Lineage
from tools.report.scores import Scores
from tools.report.timing import StepTime
from tools.report.training import TrainingRound


class Setting(Record):
    """One setting of the request."""

    name: str
    value: str
    changed: bool
    """Whether it differs from the default."""


class CallGroup(Record):
    """The calls of one purpose, with how long they took."""

    tally: PurposeTally
    busy: float
    """Seconds of the clock in which at least one call was in flight."""
    latency: float
    """Mean seconds of a call."""


class Costs(Record):
    """What a run used."""

    calls: tuple[CallGroup, ...]
    stages: tuple[StageComparison, ...]
    """Each stage's estimate beside what it used, the total last; empty if there is no estimate."""
    spent: float
    cap: float | None
    steps: tuple[StepTime, ...]
    note: str = ""
    """Why there is no estimate."""
    prices: tuple[str, ...] = ()
    """A line for each model that may cost money: what its tokens cost, and who says so."""


class StageChecklist(Record):
    """The checklist of one part of a run."""

    stage: str
    score: float
    stop: str
    """The critical item that failed; empty where none did."""
    items: tuple[CheckItem, ...]


class RunFacts(Record):
    """One run."""

    run_id: str
    created_at: str
    written_at: datetime
    standing: str
    """How far the run has come, in words."""
    request: RunRequest
    warnings: tuple[str, ...] = ()
    board: Board | None = None
    trainings: tuple[TrainingRound, ...] = ()
    scores: Scores | None = None
    funnels: tuple[Funnel, ...] = ()
    rounds: tuple[GenerationRound, ...] = ()
    costs: Costs | None = None
    examples: Examples | None = None
    lineage: Lineage | None = None
    people: AgainstPeople | None = None
    """The judge beside people's decisions."""
    agreements: tuple[Agreement, ...] = ()
    """How far people agree with each other, by criterion."""
    gold: tuple[GoldAccuracy, ...] = ()
    """How often each person was right on gold items, by name."""
    browser: str = ""
    """The file of the row browser, where one lies beside the report."""
    checklists: tuple[StageChecklist, ...] = ()
    """Of the parts that the run has come to."""
    diversity: tuple[tuple[str, str], ...] = ()
    """The dataset's figures of diversity, as its card has them."""
    band: str = ""
    """What the measured review band of this run is, where it uses one."""

    @property
    def settings(self) -> list[Setting]:
        """Every setting of the request."""
        return flat_settings(self.request, RunRequest())


def flat_settings(section: BaseModel, default: BaseModel, head: str = "") -> list[Setting]:
    """Return every setting of a section and of those in it, under its dotted name."""
    found = []
    for name in type(section).model_fields:
        value, usual = getattr(section, name), getattr(default, name)
        if isinstance(value, BaseModel) and isinstance(usual, BaseModel):
            found += flat_settings(value, usual, f"{head}{name}.")
        else:
            found.append(Setting(name=f"{head}{name}", value=_written(value), changed=value != usual))
    return found


def missing_parts(facts: RunFacts) -> list[tuple[str, str]]:
    """Return each part that the report does not have, with the reason."""
    request, parts = facts.request, []
    if facts.board is None:
        parts.append(("scoreboard", "the run has not been evaluated"))
    if not facts.trainings:
        parts.append(("training", "no training of this run has ended"))
    if facts.scores is None:
        parts.append(("score distributions", "no answer has been judged"))
    if not facts.funnels:
        parts.append(("gate funnel", "there are no generated instructions and no answers yet"))
    if not facts.rounds:
        off = request.generation.target == 0
        parts.append(("diversity growth", "generation is turned off" if off else "no round of generation has ended"))
    if facts.costs is None or not facts.costs.calls:
        parts.append(("cost of calls", "no call has been made"))
    if facts.examples is None:
        parts.append(("examples", "there are no answers of base and adapter to the same prompts"))
    if facts.people is None:
        parts.append(("judge against people", f"fewer than {LEAST_DECISIONS} answers were decided by people"))
    if facts.lineage is None:
        parts.append(("lineage", "no dataset has been written"))
    return parts


def _written(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, dict):
        return ", ".join(f"{key} {one}" for key, one in value.items())
    return str(value)
