"""What a judge's quality buys: adapters trained on a judge's ratings, and one on checks alone, same budget.

    python benchmarks/judge_to_adapter.py [--arms checks,0,0.3,0.6,0.9] [--prompts 60] [--heldout 150] [--draws 4]
    python benchmarks/judge_to_adapter.py --base-url https://... --model NAME    # a real judge in the oracles' place

Each arm answers the same training prompts with as many draws, has them rated, trains by the same recipe, and is
measured on the same held-out prompts by their checks. No arm repairs an answer or shows examples, which only checks can
ask for. The arm ``checks`` rates by the prompts' checks. A judge's arm gets the training prompts without their checks,
so that all it knows is what its judge says. The oracle knows the checks and says the opposite so often that its kappa
is as named: it is right in (1 + kappa) / 2 of the cases. The last line is JSON, an entry an arm.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from langchain_core.language_models import BaseChatModel  # found from a checkout, too
from langchain_core.messages import AIMessage, BaseMessage  # found from a checkout, too
from langchain_core.outputs import ChatGeneration, ChatResult  # found from a checkout, too

from graph.runs import open_runs  # found from a checkout, too
from state.records import Sample, content_hash  # found from a checkout, too
from state.request import RunRequest  # found from a checkout, too
from tools.checks import run_checks  # found from a checkout, too
from tools.checks.guard import degenerate  # found from a checkout, too
from tools.evaluation.scoreboard import Scoreboard  # found from a checkout, too
from tools.settings import load_settings  # found from a checkout, too
from tools.shipped import find_file  # found from a checkout, too
from tools.sources.prompts import load_prompts  # found from a checkout, too

_BLOCK = "<{0}>\n(.*?)\n</{0}>"


class Oracle(BaseChatModel):
    """A chat model that answers a crew's questions from the checks of known prompts, and errs as often as it is told.

    Attributes:
        samples: by prompt, with the checks that decide whether an answer is good.
        kappa: of its choices with that, in [-1, 1].
    """

    samples: dict[str, Sample]
    kappa: float

    @property
    def _llm_type(self) -> str:
        return "oracle"

    def says_good(self, prompt: str, answer: str) -> bool:
        """Return what it says of an answer; always the same of the same answer."""
        sample = self.samples.get(prompt.strip()) or Sample(id="unknown", instruction=prompt)
        good = not degenerate(sample, answer, True) and all(one.passed for one in run_checks(sample.checks, answer))
        toss = int(content_hash("oracle", prompt.strip(), answer)[:13], 16) / 16**13
        return good if toss < (1 + self.kappa) / 2 else not good

    def reply(self, text: str) -> dict[str, Any]:
        """Return the JSON that a prompt of the crew asks for."""
        task = _block("task", text)
        if "better" in text.rpartition("Reply in JSON")[2][:20]:
            one, other = (self.says_good(task, _block(name, text)) for name in ("first", "second"))
            return {"better": "tie" if one == other else "first" if one else "second", "reason": "by the checks"}
        good = self.says_good(task, _block("answer", text))
        if "stars" in text.rpartition("Reply in JSON")[2][:20]:
            return {"stars": 5 if good else 1, "strength": "", "weakness": ""}
        return {"score": 90 if good else 10, "reason": "by the checks"}

    def _generate(self, messages: list[BaseMessage], *args: Any, **kwargs: Any) -> ChatResult:
        told = json.dumps(self.reply("\n".join(str(message.content) for message in messages)))
        return ChatResult(generations=[ChatGeneration(message=AIMessage(content=told))])


def _block(name: str, text: str) -> str:
    found = re.search(_BLOCK.format(name), text, re.DOTALL)
    return found.group(1) if found else ""


def parted(prompts: int, heldout: int) -> tuple[list[Sample], list[Sample]]:
    """Return the first training prompts with checks of the shipped file, and held-out ones."""
    rows = load_prompts(find_file(Path("seeds:prompts")), 0.0)
    training = [row for row in rows if row.split == "train" and row.checks]
    return training[:prompts], [row for row in rows if row.split == "heldout" and row.checks][:heldout]


def written(path: Path, training: list[Sample], heldout: list[Sample], *, checks: bool) -> Path:
    """Write a prompts file, the training prompts with or without their checks, and return its path."""
    rows = [(sample, "train", checks) for sample in training] + [(sample, "heldout", True) for sample in heldout]
    lines = [
        {"prompt": one.prompt, "split": split}
        | ({"checks": [check.model_dump(mode="json") for check in one.checks]} if kept else {})
        for one, split, kept in rows
    ]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return path


def request_of(name: str, prompts: Path, judge: Mapping[str, Any] | None, options: argparse.Namespace) -> RunRequest:
    """Return an arm's request; ``None`` for a judge is the one by checks."""
    fields: dict[str, Any] = {
        "name": name,
        "unattended": True,
        "seed": options.seed,
        "sources": {"prompts": str(prompts)},
        "generation": {"target": 0},
        "sampling": {"candidates": options.draws, "scaffold_draws": 0, "repairs": 0},
        "train": {"epochs": options.epochs, "rounds": 1},
        "evaluate": {"judged_pairs": 0, "sampled_draws": 0},
    }
    return RunRequest.model_validate(fields | ({"models": {"judge": dict(judge)}} if judge else {}))


async def arm(name: str, request: RunRequest, plugged: Mapping[str, BaseChatModel]) -> dict[str, Any]:
    """Run one arm and return what its adapter reached."""
    async with open_runs(load_settings(), plugged) as runs:
        run_id = await runs.create(request)
        async for _ in runs.advance(run_id):
            pass
        state = await runs.state(run_id)
    if "verdict" not in state:
        return {"arm": name, "run": run_id, "verdict": "none"}
    board = Scoreboard.model_validate_json(Path(state["verdict"].scoreboard).read_text("utf-8"))
    one = board.comparison(board.primary)
    return {
        "arm": name,
        "run": run_id,
        "rows": state["dataset"].sft_rows,
        "verdict": board.verdict,
        "base": one.base,
        "adapter": one.adapter,
        "difference": one.interval.model_dump(),
        "prompts": one.prompts,
    }


async def main(options: argparse.Namespace) -> None:
    """Run all arms, one after the other."""
    options.out.mkdir(parents=True, exist_ok=True)
    training, heldout = parted(options.prompts, options.heldout)
    with_checks = written(options.out / "with-checks.jsonl", training, heldout, checks=True)
    without = written(options.out / "without-checks.jsonl", training, heldout, checks=False)
    arms: list[tuple[str, RunRequest, Mapping[str, BaseChatModel]]] = []
    wanted = [part.strip() for part in options.arms.split(",") if part.strip()]
    if "checks" in wanted:
        arms.append(("checks", request_of("checks", with_checks, None, options), {}))
    if options.base_url:
        real = {"base_url": options.base_url, "model": options.model}
        arms.append((options.model, request_of("judge", without, real, options), {}))
    for kappa in [float(part) for part in wanted if part != "checks"] if not options.base_url else []:
        name = f"oracle-{kappa:g}"
        oracle = Oracle(samples={sample.prompt.strip(): sample for sample in training}, kappa=kappa)
        # The URL is never asked: the model that is plugged in answers in its place.
        spec = {"base_url": "http://127.0.0.1:9/v1", "model": name, "input_price": 0, "output_price": 0}
        arms.append((name, request_of(name.replace(".", "-"), without, spec, options), {name: oracle}))
    found = []
    for one in arms:
        found.append(await arm(*one))
        print(found[-1], flush=True)
    print(json.dumps({"arms": found}))


def parsed(words: list[str] | None = None) -> argparse.Namespace:
    """Return the command line's options."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--arms", default="checks,0,0.3,0.6,0.9", help="checks, and the kappas of oracles")
    parser.add_argument("--base-url", default="")
    parser.add_argument("--model", default="")
    parser.add_argument("--prompts", type=int, default=60)
    parser.add_argument("--heldout", type=int, default=150)
    parser.add_argument("--draws", type=int, default=4)
    parser.add_argument("--epochs", type=float, default=2.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("judge-to-adapter"))
    return parser.parse_args(words)


if __name__ == "__main__":
    asyncio.run(main(parsed()))
