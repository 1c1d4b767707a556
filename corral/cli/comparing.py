"""``corral compare``: two sets of outputs, or two models on the same prompts."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from corral.cli.judging import wait_for
from corral.cli.shared import (
    AsJson,
    JudgeBudget,
    JudgeConfig,
    console,
    errors,
    note_small_model,
    open_settings,
    print_json,
    read_request,
    spending_of,
    with_cost,
)
from state.errors import BadInput

if TYPE_CHECKING:
    from tools.judging import ABComparison
    from tools.settings import Settings
    from tools.sources.items import Item

MODEL = (
    "A model of this machine, in place of A.jsonl: registry:VERSION or registry:current, a folder of an adapter or "
    "of a model, 'embedded', a name on the hub, or 'base' for the base of the other."
)


def compare(
    a: Annotated[Path | None, typer.Argument(metavar="[A.jsonl]", help="Outputs of one model.")] = None,
    b: Annotated[
        Path | None, typer.Argument(metavar="[B.jsonl]", help="Outputs of the other, to the same prompts.")
    ] = None,
    model_a: Annotated[str | None, typer.Option("--a", metavar="MODEL", help=MODEL)] = None,
    model_b: Annotated[str | None, typer.Option("--b", metavar="MODEL", help="The other one.")] = None,
    prompts: Annotated[Path | None, typer.Option(metavar="FILE", help="What both models are asked.")] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Of the prompts, the first so many.")] = None,
    max_tokens: Annotated[int, typer.Option(min=8, max=32_768, help="Tokens of an answer, at most.")] = 144,
    config: JudgeConfig = None,
    budget: JudgeBudget = None,
    as_json: AsJson = False,
) -> None:
    """Compare two sets of outputs, or two models on the same prompts; each pair in both orders.

    'corral compare A.jsonl B.jsonl' judges what is written; 'corral compare --a registry:v1 --b registry:current
    --prompts FILE' lets both models answer first.
    """
    request, settings = read_request(config), open_settings()
    asked = _sides(a, b, (model_a, model_b), prompts, limit, max_tokens, settings)
    # Behind the reading: what judges takes a second to load, and a file that is wrong needs none of it.
    from corral.cli.counting import OF_A_PAIR, counting
    from corral.standalone import in_words, open_judge
    from tools.judging import compare as compare_items

    spending = spending_of(budget, request)

    note_small_model(request, "judge")

    async def work() -> ABComparison:
        opened = await open_judge(request.models.judge, request.judge, settings, spending, seed=request.seed)
        with errors.status("reading the answers ..." if a is not None else "answering ..."):
            one, other = await asked()
        with counting(OF_A_PAIR * min(len(one), len(other))) as counted:
            return await compare_items(counted(opened), one, other, seed=request.seed)

    found = wait_for(work())
    if as_json:
        print_json(with_cost(found, spending))
    else:
        _print_comparison(found)
        console.print(in_words(spending, request.models.judge), highlight=False, markup=False)


def _sides(
    a: Path | None,
    b: Path | None,
    models: tuple[str | None, str | None],
    prompts: Path | None,
    limit: int | None,
    max_tokens: int,
    settings: Settings,
) -> Callable[[], Coroutine[Any, Any, tuple[list[Item], list[Item]]]]:
    """Return what gives both sets of outputs; what is wrong is refused at once.

    Raises:
        BadInput: neither two files nor two models and their prompts are named, or one of them is wrong.
    """
    one, other = models
    by_files, by_models = a is not None and b is not None, one is not None and other is not None and prompts is not None
    if (
        by_files == by_models
        or (not by_files and (a, b) != (None, None))
        or (by_files and (*models, prompts) != (None,) * 3)
    ):
        raise BadInput(
            "give two files of outputs, A.jsonl and B.jsonl; or two models and what to ask: --a, --b, --prompts"
        )
    if a is not None and b is not None:
        from tools.sources.items import read_items

        written = (read_items(a), read_items(b))

        async def read() -> tuple[list[Item], list[Item]]:
            return written

        return read
    from corral.standalone import EVALUATION, open_standalone
    from corral.two_models import answers_of, named_models, prompts_to_compare
    from tools.endpoint.spending import Spending
    from tools.evaluation.asking import weights_endpoint

    assert one is not None and other is not None and prompts is not None
    samples = prompts_to_compare(prompts, limit)
    named = named_models(one, other, settings.home / "registry", settings.cache)

    async def answered() -> tuple[list[Item], list[Item]]:
        sides = []
        for model in named:
            spec = weights_endpoint(model)
            endpoint = await open_standalone(spec, settings, EVALUATION, Spending(), where="--a")
            sides.append(await answers_of(endpoint, samples, max_tokens))
        return sides[0], sides[1]

    return answered


def _print_comparison(found: ABComparison) -> None:
    from corral.cli.tables import print_table

    counts = {"pairs": found.pairs, "A wins": found.wins_a, "B wins": found.wins_b, "ties": found.ties}
    counts |= {"flips": found.flips, "not judged": found.unjudged, "failed": found.failed, "unmatched": found.unmatched}
    means = ("" if one is None else f"{one:.1f}" for one in (found.overall_a, found.overall_b))
    print_table(console, (*counts, "mean A", "mean B"), [(*map(str, counts.values()), *means)])
    console.print(f"{found.summary}. Judged by {found.judge}.", highlight=False, markup=False)
