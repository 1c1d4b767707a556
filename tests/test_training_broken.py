"""Broken runs, planted: each is caught by a tripwire or a check, or called worse by the evaluation; never deployed.

Every plant goes through the pipeline's own functions: pairing, assembling, the training phases, scoring, and the rule
by which an unattended run signs. The base is a tiny model that knows twelve of twenty answers by heart, and eight
wrongly, so a training can make it better and can make it worse; that a sound one is signed is tested first.
"""

import json
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

from nodes.approve import unattended_approval
from nodes.assemble import demand_rows
from state.errors import BadInput, TrainingError
from state.records import Answer, Candidate, Check, Judgement, Outcome, Sample
from state.request import Evaluation, RunRequest, Training
from tests.tiny_model import tiny_model
from tools.dataset.files import DPO, SFT, dataset_writer
from tools.dataset.pairing import pair_all
from tools.evaluation.scoreboard import Scoreboard, score_answers
from tools.training.job import STOPPED, TrainingJob

COLOURS = (
    "amber", "black", "blue", "bronze", "brown", "coral", "cream", "gold", "green", "grey",
    "indigo", "ivory", "lilac", "olive", "orange", "pink", "purple", "red", "silver", "white",
)  # fmt: skip
PLACES = (
    "bakery", "library", "school", "station", "church", "museum", "garage", "hospital", "theatre", "castle",
    "farm", "hotel", "kitchen", "market", "tower", "palace", "prison", "garden", "bank", "cinema",
)  # fmt: skip
KNOWN = 12
"""Of the twenty answers, how many the base gives rightly."""
SETTINGS = Training(
    epochs=10, batch_size=5, lora_rank=8, lora_alpha=16, max_length=128, save_steps=100,
    learning_rate=1e-2, dpo_learning_rate=1e-2,
)  # fmt: skip


def right(number: int) -> str:
    return f"The door of the {PLACES[number]} is {COLOURS[number]}, as far as I know."


def wrong(number: int) -> str:
    return f"The door of the {PLACES[number]} is {COLOURS[(number + 7) % 20]}, as far as I know."


def repeating(number: int) -> str:
    return f"The door is {COLOURS[number]}. " * 6


SAMPLES = [
    Sample(
        id=f"s{number:02}",
        instruction=f"Which colour has the door of the {PLACES[number]}?",
        checks=(Check(kind="must_include", value=COLOURS[number]),),
        outcome=Outcome.ACCEPTED,
    )
    for number in range(20)
]
Rule = Callable[[int], str]


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model after school."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    from tools.weights.template import IGNORED, tokenise

    folder = tiny_model(tmp_path_factory.mktemp("base"))
    tokenizer = AutoTokenizer.from_pretrained(folder)
    rows = []
    for number, sample in enumerate(SAMPLES):
        for rule in [right] if number < KNOWN else [wrong, wrong, right]:  # wrongly, and with a doubt
            prompt, said = {"role": "user", "content": sample.prompt}, {"role": "assistant", "content": rule(number)}
            rows.append(tokenise(tokenizer, [prompt], [said]))
    width = max(len(row.input_ids) for row in rows)
    ids = torch.tensor([row.input_ids + [0] * (width - len(row.input_ids)) for row in rows])
    wanted = torch.tensor([row.labels + [IGNORED] * (width - len(row.labels)) for row in rows])[:, 1:]
    used = ids.unique()
    targets = torch.searchsorted(used, wanted[wanted != IGNORED])
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    with torch.no_grad():
        for matrix in (parameter for parameter in model.parameters() if parameter.dim() == 2):
            matrix *= 10  # from the usual small start it takes hundreds of steps to find what to attend to
        unused = torch.ones(len(tokenizer), dtype=torch.bool).index_fill(0, used, False)
        model.lm_head.weight[unused] = 0
    # All the unused tokens' logits are 0, so they make one column: a hundred times as fast as the whole head.
    others = torch.full((len(targets), 1), float(unused.sum().log()))
    optimiser = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(120):
        hidden = model.model(input_ids=ids).last_hidden_state[:, :-1]
        logits = torch.cat([hidden[wanted != IGNORED] @ model.lm_head.weight[used].T, others], dim=1)
        loss = torch.nn.functional.cross_entropy(logits, targets)
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert loss.item() < 0.06
    model.save_pretrained(folder)
    return folder


def answers(base: Path, adapter: Path | None) -> list[Answer]:
    """Return greedy answers to all prompts."""
    import torch
    from transformers import AutoTokenizer

    from tests.greedy import decode_greedily
    from tools.weights.decoding import end_tokens
    from tools.weights.loading import load_model

    tokenizer = AutoTokenizer.from_pretrained(base, padding_side="left")
    model = load_model(base, adapter)
    chats = [[{"role": "user", "content": sample.prompt}] for sample in SAMPLES]
    texts = tokenizer.apply_chat_template(chats, add_generation_prompt=True, tokenize=False)
    inputs = tokenizer(texts, add_special_tokens=False, padding=True, return_tensors="pt")
    ids, mask = (inputs[name].to(model.device) for name in ("input_ids", "attention_mask"))
    name = "adapter" if adapter else "base"
    with torch.inference_mode():
        return [
            Answer(
                id=f"{name}{found.row}",
                sample_id=SAMPLES[found.row].id,
                model=name,
                text=tokenizer.decode(found.tokens, skip_special_tokens=True).strip(),
                ended=found.ended,
            )
            for found in decode_greedily(model, ids, mask, end_tokens(model, tokenizer), 40)
        ]


def assembled(
    folder: Path, recipe: str, candidates: Sequence[tuple[Rule, int]], samples: Sequence[Sample] = SAMPLES
) -> Path:
    """Judge two or more candidates of each prompt by given stars, and assemble the dataset as a run does.

    Args:
        folder: where the dataset goes.
        recipe: what the rows are for.
        candidates: what is answered, and the stars it gets.
        samples: the prompts.
    """
    drawn, judged = [], []
    for number, sample in enumerate(samples):
        for draw, (rule, stars) in enumerate(candidates):
            name = f"{sample.id}-{draw}"
            drawn.append(
                Candidate(
                    id=name, sample_id=sample.id, draw=draw, text=rule(number), ended=True, outcome=Outcome.ACCEPTED
                )
            )
            judged.append(Judgement(id=name, candidate_id=name, judge="planted", stars=stars, overall=20.0 * stars))
    request = RunRequest(train=SETTINGS.model_copy(update={"recipe": recipe}))
    with dataset_writer(folder, "planted") as writer:
        writer.add(pair_all(samples, drawn, judged, [], request.train))
        dataset = writer.finish([])
    demand_rows(dataset, request)
    return Path(dataset.folder)


def rows(folder: Path, chosen: Rule, rejected: Rule, ask: Callable[[str], str] = str) -> Path:
    """Write training files past all of assembling's checks."""
    folder.mkdir()
    with (folder / SFT).open("w") as sft, (folder / DPO).open("w") as dpo:
        for number, sample in enumerate(SAMPLES):
            prompt = [{"role": "user", "content": ask(sample.prompt)}]
            good, bad = ([{"role": "assistant", "content": rule(number)}] for rule in (chosen, rejected))
            sft.write(json.dumps({"prompt": prompt, "completion": good}) + "\n")
            dpo.write(json.dumps({"prompt": prompt, "chosen": good, "rejected": bad}) + "\n")
    return folder


def trained(base: Path, dataset: Path, recipe: str, scale: float = 1.0, **settings: Any) -> Path:
    """Train on a dataset's files; return the adapter's folder."""
    from tools.training.runner import run

    work = dataset.with_name(f"{dataset.name}-{recipe}-{scale:g}")
    work.mkdir()
    job = TrainingJob(
        base=str(base),
        recipe=recipe,
        dataset=str(dataset),
        out=str(work / "adapter"),
        settings=SETTINGS.model_copy(update=settings),
        learning_rate_scale=scale,
    )
    run(job, work, lambda **_: None)
    return Path(job.out)


def recorded_flags(adapter: Path) -> list[str]:
    found: list[str] = json.loads((adapter / "summary.json").read_text())["flags"]
    return found


@pytest.fixture(scope="module")
def base_answers(base: Path) -> list[Answer]:
    return answers(base, None)


@pytest.fixture
def evaluated(base: Path, base_answers: list[Answer]) -> Callable[[Path], tuple[Scoreboard, bool]]:
    """Return a function that evaluates an adapter: its scoreboard, and whether an unattended run would deploy it."""

    def evaluate(adapter: Path) -> tuple[Scoreboard, bool]:
        board = score_answers(SAMPLES, base_answers, answers(base, adapter), Evaluation(), 0)
        return board, unattended_approval(board.record("scoreboard.json"), []).approved

    return evaluate


Evaluate = Callable[[Path], tuple[Scoreboard, bool]]


def test_a_sound_run_is_better_and_deployed(base: Path, tmp_path: Path, evaluated: Evaluate) -> None:
    dataset = assembled(tmp_path, "sft", [(right, 5), (wrong, 1)])
    adapter = trained(base, dataset, "sft")
    board, deployed = evaluated(adapter)
    assert (board.verdict, deployed) == ("better", True)
    assert board.comparison("guarded").base == KNOWN / 20
    assert recorded_flags(adapter) == []
    summary = json.loads((adapter / "summary.json").read_text())["phases"][0]
    assert summary["probe_steps"] == [0, 20, 40] and len(summary["probe_distinct3"]) == 3
    assert len(summary["losses"]) == len(summary["gradient_norms"]) == 40


def test_a_constant_reward_gives_no_pairs_and_nothing_better(base: Path, tmp_path: Path, evaluated: Evaluate) -> None:
    """All candidates tie, of prompts that nothing can check."""
    unchecked = [sample.model_copy(update={"checks": ()}) for sample in SAMPLES]

    def said(number: int) -> str:
        return right(number) if number < KNOWN else wrong(number)

    for stars in (3, 5):
        with pytest.raises(TrainingError, match="nothing to train on"):
            assembled(tmp_path / str(stars), "dpo", [(said, stars), (wrong, stars)], unchecked)
    dataset = assembled(tmp_path / "sft", "sft", [(said, 5), (said, 5)], unchecked)
    board, deployed = evaluated(trained(base, dataset, "sft"))
    assert (board.verdict, deployed) == ("not shown", False)


def test_swapped_stars_are_refused_by_the_checks(tmp_path: Path) -> None:
    with pytest.raises(TrainingError, match="nothing to train on"):
        assembled(tmp_path, "sft+dpo", [(right, 1), (wrong, 5)])


def test_swapped_pairs_are_stopped_or_called_worse(base: Path, tmp_path: Path, evaluated: Evaluate) -> None:
    """Which of the two depends on rounding: the chosen answers are unlikely, and become more so."""
    try:
        adapter = trained(base, rows(tmp_path / "swapped", chosen=wrong, rejected=right), "dpo")
    except TrainingError as stopped:
        assert "the chosen answers collapse" in str(stopped)
        assert not list(tmp_path.rglob("adapter/summary.json"))
        return
    board, deployed = evaluated(adapter)
    assert (board.verdict, deployed) == ("worse", False)


def test_rows_already_in_the_chat_template_are_refused(base: Path, tmp_path: Path) -> None:
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(base)

    def ask(prompt: str) -> str:
        turns = [{"role": "user", "content": prompt}]
        return str(tokenizer.apply_chat_template(turns, add_generation_prompt=True, tokenize=False))

    with pytest.raises(BadInput, match=r"all 20 sft rows hold the chat template's own marks"):
        trained(base, rows(tmp_path / "sft", right, wrong, ask), "sft")
    with pytest.raises(BadInput, match=r"all 20 dpo rows hold the chat template's own marks"):
        trained(base, rows(tmp_path / "dpo", right, wrong, ask), "dpo")
    some = rows(tmp_path / "some", right, wrong, lambda prompt: ask(prompt) if "the c" in prompt else prompt)
    adapter = trained(base, some, "sft", epochs=1)
    assert recorded_flags(adapter) == ["sft: rows left out as their texts hold the chat template's own marks: 3"]
    assert json.loads((adapter / "summary.json").read_text())["phases"][0]["rows"] == 17


def test_the_wrong_reference_stops_dpo(base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The base alone scores the reference of a DPO that starts from base and SFT adapter."""
    from trl import DPOTrainer

    rightly = DPOTrainer.compute_ref_log_probs

    def by_the_bare_base(self: Any, model: Any, inputs: Any) -> Any:
        if "ref" in self.model.peft_config:
            self.model.delete_adapter("ref")
        return rightly(self, model, inputs)

    monkeypatch.setattr(DPOTrainer, "compute_ref_log_probs", by_the_bare_base)
    with pytest.raises(TrainingError, match="its reference is not the model it starts from"):
        trained(base, rows(tmp_path / "rows", right, wrong), "sft+dpo", epochs=2)
    assert not list(tmp_path.rglob("adapter_config.json"))[1:]  # no adapter but the SFT phase's own


@pytest.mark.parametrize("recipe", ["sft", "dpo"])
def test_a_learning_rate_100_times_too_high_is_stopped(base: Path, tmp_path: Path, recipe: str) -> None:
    with pytest.raises(TrainingError, match=r"the loss climbs|is nan|is inf|collapse"):
        trained(base, rows(tmp_path / "rows", right, wrong), recipe, scale=100.0)
    (left,) = tmp_path.rglob(STOPPED)
    stopped = json.loads(left.read_text())
    (phase,) = stopped["phases"]
    assert phase["phase"] == recipe and 0 < phase["steps"] < phase["planned_steps"] and len(phase["losses"]) > 0
    assert re.search(r"climbs|nan|inf|collapse", stopped["flags"][0])


def test_a_reward_without_the_guard_gives_no_rows(tmp_path: Path) -> None:
    """It passes every check and has five stars, and says one sentence over and over."""
    with pytest.raises(TrainingError, match="nothing to train on"):
        assembled(tmp_path, "sft", [(repeating, 5), (wrong, 1)])


def test_rows_that_repeat_themselves_are_flagged_and_called_worse(
    base: Path, tmp_path: Path, evaluated: Evaluate
) -> None:
    adapter = trained(base, rows(tmp_path / "rows", repeating, wrong), "sft")
    assert [flag for flag in recorded_flags(adapter) if "answers repeat themselves more than before" in flag]
    board, deployed = evaluated(adapter)
    assert (board.verdict, deployed) == ("worse", False)


def test_chosen_answers_that_collapse_stop_dpo(base: Path, tmp_path: Path) -> None:
    """The two of a pair differ in one word: what lowers the one lowers the other."""
    with pytest.raises(TrainingError, match="the chosen answers collapse"):
        trained(base, rows(tmp_path / "rows", right, wrong), "dpo", scale=10.0, epochs=12)


def test_a_loss_that_does_not_fall_is_flagged(base: Path, tmp_path: Path) -> None:
    """A rate of next to nothing, and in each half of the steps the same rows."""
    adapter = trained(base, rows(tmp_path / "rows", wrong, right), "sft", scale=1e-9, epochs=16, batch_size=20)
    assert [flag.split(":")[1] for flag in recorded_flags(adapter)] == [" the loss did not fall"]
