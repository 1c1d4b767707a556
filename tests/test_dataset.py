"""Datasets: what may be chosen, the same bytes from the same rows, and files that others load as they are."""

import hashlib
import json
import random
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nodes.assemble import demand_rows
from state.errors import TrainingError
from state.pipeline import DatasetRef
from state.records import Candidate, Check, Judgement, Outcome, Review, Sample
from state.request import RunRequest, Training
from tests.builders import candidate, judgement, review, sample
from tools.checks import run_checks
from tools.checks.guard import guard
from tools.dataset.files import (
    ALPACA,
    DPO,
    FILES,
    LINEAGE,
    SFT,
    alpaca_rows,
    dataset_writer,
    dpo_rows,
    lineage_rows,
    sft_rows,
)
from tools.dataset.pairing import Pair, pair_all
from tools.dataset.seeding import imitated_seeds
from tools.people.decisions import edited_id
from tools.sources.seeds import SeedInstance, SeedTask

GOOD = ("The Rhine, the Danube and the Ebro.", "Europe has the Loire, the Po and the Rhine.", "Rhine, Tagus and Po.")
DEGENERATE = (
    "The Rhine is long. The Rhine is long. The Rhine is long. The Rhine is long.",
    "river " * 60,
    "As an AI language model, I cannot name the Rhine.",
    "",
    "Name three rivers of Europe, the Rhine among them.",
)
FAILING = ("The Danube, the Po and the Ebro.", "Tagus.")
QUESTION = "Name three rivers of Europe, the Rhine among them."
TRAINING = Training(length_ratio=100, seed_share=0)
CHECKS = (Check(kind="must_include", value=("Rhine",)), Check(kind="max_words", value=80))

Rows = tuple[list[Sample], list[Candidate], list[Judgement], list[Review]]


@st.composite
def rows(draw: st.DrawFn) -> Rows:
    """Return the records of a few prompts: every mix of text, end, outcome, stars and a person's word."""
    samples = [sample(f"{QUESTION} ({number})", checks=CHECKS) for number in range(draw(st.integers(1, 3)))]
    candidates, judgements, reviews = [], [], []
    for of in samples:
        for number in range(draw(st.integers(0, 5))):
            made = candidate(
                of,
                draw(st.sampled_from(GOOD * 3 + DEGENERATE + FAILING)),
                draw=number,
                ended=draw(st.sampled_from([True, True, False])),
                outcome=draw(st.sampled_from([Outcome.ACCEPTED, *Outcome])),
                provenance=draw(st.sampled_from(["sampled", "sampled", "scaffolded", "repaired", "edited"])),
            )
            candidates.append(made)
            if draw(st.integers(0, 4)):
                failed = draw(st.integers(0, 5)) == 0
                judgements.append(
                    judgement(
                        made,
                        stars=draw(st.integers(1, 5)),
                        overall=draw(st.sampled_from([10.0, 50.0, 90.0])),
                        outcome=Outcome.FAILED if failed else Outcome.ACCEPTED,
                    )
                )
            if draw(st.integers(0, 3)) == 0:
                reviews.append(review(made.id, draw(st.sampled_from(["approve", "edit", "reject"]))))
    return samples, candidates, judgements, reviews


@given(rows())
def test_what_is_degenerate_or_fails_a_check_or_was_turned_down_is_never_chosen(given_rows: Rows) -> None:
    samples, candidates, judgements, reviews = given_rows
    of, judged = {s.id: s for s in samples}, {j.candidate_id: j for j in judgements}
    turned_down = {r.item_id for r in reviews if r.decision != "approve"}
    approved = {r.item_id for r in reviews if r.decision == "approve"}
    for found in pair_all(samples, candidates, judgements, reviews, TRAINING):
        if found.chosen is None:
            assert found.rejected is None
            continue
        chosen = found.chosen.candidate
        assert guard(of[chosen.sample_id].prompt, chosen.text, chosen.ended) == ()
        assert all(result.passed for result in run_checks(of[chosen.sample_id].checks, chosen.text))
        assert chosen.outcome == Outcome.ACCEPTED and chosen.sample_id == found.sample.id
        if chosen.provenance != "edited":
            assert chosen.id not in turned_down
            assert judged[chosen.id].outcome != Outcome.FAILED
            assert judged[chosen.id].stars >= 4 or chosen.id in approved
        if found.rejected:
            rejected = found.rejected.candidate
            assert (
                rejected.provenance == "sampled"
                and rejected.text != chosen.text
                and rejected.sample_id == chosen.sample_id
            )
            assert judged[rejected.id].stars <= 2 or rejected.id in turned_down


@given(rows(), st.randoms(use_true_random=False))
def test_the_same_records_in_any_order_give_the_same_bytes(given_rows: Rows, shuffle: random.Random) -> None:
    mixed = tuple(shuffle.sample(records, len(records)) for records in given_rows)
    assert files_of(pair_all(*mixed, TRAINING)) == files_of(pair_all(*given_rows, TRAINING))  # type: ignore[arg-type]  # a tuple of the same four lists


def write_dataset(folder: Path, pairs: Sequence[Pair], seeds: Sequence[Sample] = (), page: int = 2) -> DatasetRef:
    with dataset_writer(folder, "run-1") as writer:
        for start in range(0, len(pairs), page):
            writer.add(pairs[start : start + page])
        return writer.finish(seeds)


def files_of(pairs: Sequence[Pair], seeds: Sequence[Sample] = (), page: int = 2) -> dict[str, bytes]:
    with tempfile.TemporaryDirectory() as folder:
        ref = write_dataset(Path(folder), pairs, seeds, page)
        return {name: (Path(ref.folder) / name).read_bytes() for name in FILES}


@given(rows(), st.integers(1, 4))
def test_the_bytes_are_those_of_the_whole_list_however_it_is_cut_into_pages(given_rows: Rows, page: int) -> None:
    pairs, seeds = pair_all(*given_rows, TRAINING), imitated_seeds(SEEDS[:2], 1)
    whole = {
        ALPACA: json.dumps(alpaca_rows(pairs), indent=1) + "\n",
        SFT: "".join(json.dumps(row) + "\n" for row in sft_rows(pairs, seeds)),
        DPO: "".join(json.dumps(row) + "\n" for row in dpo_rows(pairs)),
        LINEAGE: "".join(json.dumps(row) + "\n" for row in lineage_rows(pairs, seeds)),
    }
    assert files_of(pairs, seeds, page) == {name: text.encode() for name, text in whole.items()}


def one(stars: int, text: str = GOOD[0], number: int = 0, **changes: Any) -> tuple[Candidate, Judgement]:
    made = candidate(sample(QUESTION), text, draw=number, **changes)
    return made, judgement(made, stars, overall=stars * 20.0)


def paired(
    rated: list[tuple[Candidate, Judgement]], reviews: list[Review] | None = None, settings: Training = TRAINING
) -> Pair:
    (found,) = pair_all([sample(QUESTION)], [c for c, _ in rated], [j for _, j in rated], reviews or [], settings)
    return found


def test_the_best_is_chosen_and_the_worst_rejected() -> None:
    found = paired([one(4, GOOD[0], 0), one(5, GOOD[1], 1), one(2, "Rome.", 2), one(1, "Mars.", 3)])
    assert found.chosen is not None and found.chosen.candidate.text == GOOD[1]
    assert found.rejected is not None and found.rejected.candidate.text == "Mars."


def test_sft_imitates_as_many_good_completions_of_different_text_as_the_request_says() -> None:
    rated = [one(5, GOOD[0], 0), one(5, GOOD[0], 1), one(4, GOOD[1], 2), one(4, GOOD[2], 3), one(1, "Mars.", 4)]
    found = paired(rated, settings=Training(completions=2))
    assert [r.candidate.text for r in found.imitated] == [GOOD[0], GOOD[1]]
    assert len(paired(rated, settings=Training(completions=9)).imitated) == 3
    files = files_of([found])
    behind = [json.loads(line) for line in files[LINEAGE].splitlines()]
    assert [row["chosen"] for row in behind] == [rated[0][0].id, rated[2][0].id]
    assert [row["margin"] for row in behind] == [None, None], "Mars. is too short to be set against them"


def test_the_lengths_of_a_pair_are_of_one_order() -> None:
    rated = [one(5, GOOD[1], 0), one(1, "Mars.", 1), one(2, "Europe has the Moon and Mars.", 2)]
    found = paired(rated, settings=Training(length_ratio=2))
    assert found.rejected is not None and found.rejected.candidate.text == "Europe has the Moon and Mars."
    assert found.margin == 60.0
    closer = paired(rated, settings=Training(length_ratio=1))
    assert closer.rejected is None and closer.margin is None


@pytest.mark.parametrize("provenance", ["scaffolded", "repaired", "edited"])
def test_only_a_plain_draw_is_turned_away_from(provenance: Any) -> None:
    assert paired([one(5), one(1, "Mars.", 1)]).rejected is not None
    assert paired([one(5), one(1, "Mars.", 1, provenance=provenance)]).rejected is None


def test_three_stars_are_neither() -> None:
    assert paired([one(3)]).chosen is None
    assert paired([one(4), one(3, "Mars.", 1)]).rejected is None


def test_the_same_text_is_not_set_against_itself() -> None:
    assert paired([one(5), one(1, GOOD[0], 1)]).rejected is None


def test_a_persons_word_counts_more_than_the_crews() -> None:
    low, high = one(1, GOOD[0], 0), one(5, GOOD[1], 1, outcome=Outcome.REJECTED)
    found = paired([low, high], [review(low[0].id, "approve"), review(high[0].id, "reject")])
    assert found.chosen is not None and (found.chosen.candidate.id, found.chosen.stars) == (low[0].id, 4)
    assert found.rejected is not None and (found.rejected.candidate.id, found.rejected.stars) == (high[0].id, 2)


@pytest.mark.parametrize("policy", ["policy:midpoint", "policy:approve", "policy:reject"])
@given(stars=st.integers(1, 5))
def test_a_policy_is_no_person_and_changes_no_stars(policy: str, stars: int) -> None:
    decision = "reject" if policy == "policy:reject" else "approve"
    outcome = Outcome.REJECTED if decision == "reject" else Outcome.ACCEPTED
    waited = one(stars, GOOD[0], 0, outcome=outcome)
    found = paired([waited, one(5, GOOD[1], 1)], [review(waited[0].id, decision, reviewer=policy)])
    imitated = {r.candidate.id: r for r in found.imitated}
    assert (waited[0].id in imitated) == (stars >= 4 and decision == "approve")
    if rated := imitated.get(waited[0].id):
        assert (rated.stars, rated.decider, rated.reviewer) == (stars, "policy", policy)
    if found.rejected is not None:
        assert found.rejected.stars == stars <= 2


def test_lineage_manifest_and_card_say_who_decided(tmp_path: Path) -> None:
    prompts = [sample(f"{QUESTION} ({number})") for number in range(4)]
    drawn = [candidate(of, GOOD[0], outcome=Outcome.ACCEPTED) for of in prompts]
    drawn[3] = drawn[3].model_copy(update={"outcome": Outcome.REJECTED})
    judged = [judgement(c, stars) for c, stars in zip(drawn, (5, 3, 4, 2), strict=True)]
    reviews = [
        review(drawn[1].id),
        review(drawn[2].id, reviewer="policy:midpoint"),
        review(drawn[3].id, "edit", text=GOOD[1], reviewer="grace"),
    ]
    own = drawn[3].model_copy(
        update={"id": edited_id(drawn[3].id, GOOD[1]), "text": GOOD[1], "provenance": "edited",
                "outcome": Outcome.ACCEPTED}
    )  # fmt: skip
    pairs = pair_all(prompts, [*drawn, own], judged, reviews, TRAINING)
    seeds = [sample("A seed.", origin="seed", output="Written by people.")]
    ref = write_dataset(tmp_path, pairs, seeds)
    behind = {row["chosen"]: row for row in lines(Path(ref.folder) / LINEAGE)}
    fields = ("decider", "reviewer", "chosen_stars", "judged_stars")
    told = {name: tuple(row[field] for field in fields) for name, row in behind.items()}
    assert told == {
        drawn[0].id: ("crew", None, 5, 5),
        drawn[1].id: ("person", "ada", 4, 3),
        drawn[2].id: ("policy", "policy:midpoint", 4, 4),
        own.id: ("person", "grace", 5, None),
        None: ("person", None, None, None),
    }
    edited = behind[own.id]
    assert (edited["rejected_decider"], edited["rejected_reviewer"]) == ("person", "grace")
    manifest = json.loads((Path(ref.folder) / "manifest.json").read_text())
    assert manifest["deciders of SFT rows"] == {
        "by the judges": 1, "by a person: ada": 1, "by the policy midpoint": 1, "by a person: grace": 1,
        "by a person": 1,
    }  # fmt: skip
    card = (Path(ref.folder) / "README.md").read_text()
    for who in manifest["deciders of SFT rows"]:
        assert f"- SFT rows accepted {who}: 1" in card
    assert "judges or a person" not in card and "A policy of an unattended run" in card


def test_a_persons_own_text_is_chosen_over_all_and_set_against_the_models() -> None:
    drawn = one(4, GOOD[0], 0, outcome=Outcome.REJECTED)
    own = candidate(sample(QUESTION), GOOD[1], provenance="edited")
    (found,) = pair_all(
        [sample(QUESTION)], [drawn[0], own, one(5, GOOD[2], 1)[0]], [drawn[1]], [review(drawn[0].id, "edit")], TRAINING
    )
    assert found.chosen is not None and (found.chosen.candidate, found.chosen.stars) == (own, 5)
    assert found.rejected is not None and found.rejected.candidate == drawn[0]


ODD = 'One line\u2028two \u2029 three \x85 four, \x00 nul, \U0001f600, \u00e9 \\u2028 and "quotes"\r\n\ttab'


def written(folder: Path, text: str = ODD) -> tuple[DatasetRef, list[Sample], list[Pair]]:
    """Write a dataset of three prompts: a pair, a chosen one alone, and a reference alone."""
    full, single = sample("Say it oddly."), sample("Say it plainly.", input=text)
    bare = sample("Told already.", origin="generated", output="As the generator told it.")
    left_out = sample("Not accepted.", outcome=Outcome.REJECTED, output="x")
    drawn = [candidate(full, text), candidate(full, "Bad. Very.", draw=1), candidate(single)]
    judged = [judgement(c, stars) for c, stars in zip(drawn, (5, 1, 4), strict=True)]
    samples = [full, single, bare]
    pairs = pair_all(samples, drawn, judged, [], TRAINING)
    return write_dataset(folder, [*pairs, *pair_all([left_out], [], [], [], TRAINING)]), samples, pairs


def lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_rows_are_what_trl_and_alpaca_expect(tmp_path: Path) -> None:
    ref, samples, _ = written(tmp_path)
    folder = Path(ref.folder)
    prompt = [{"role": "user", "content": "Say it oddly.", "input": ""}]
    answer = [{"role": "assistant", "content": ODD}]
    sft, dpo = lines(folder / SFT), lines(folder / DPO)
    assert {"prompt": prompt, "completion": answer} in sft and len(sft) == ref.sft_rows == 2
    assert (
        dpo == [{"prompt": prompt, "chosen": answer, "rejected": [{"role": "assistant", "content": "Bad. Very."}]}]
        and ref.dpo_rows == 1
    )
    alpaca = json.loads((folder / ALPACA).read_text())
    assert len(alpaca) == ref.alpaca_rows == 3
    assert {"instruction": "Told already.", "input": "", "output": "As the generator told it."} in alpaca
    assert {"instruction": "Say it plainly.", "input": ODD, "output": candidate(samples[1]).text} in alpaca


def test_the_lineage_names_the_records_behind_each_sft_row_in_its_order(tmp_path: Path) -> None:
    ref, samples, _ = written(tmp_path)
    behind, sft = lines(Path(ref.folder) / LINEAGE), lines(Path(ref.folder) / SFT)
    prompts = {s.id: s.prompt for s in samples}
    assert [prompts[row["sample"]] for row in behind] == [row["prompt"][0]["content"] for row in sft]
    (full,) = [row for row in behind if row["rejected"]]
    assert (full["chosen_stars"], full["rejected_stars"], full["margin"]) == (5, 1, 0.0)


def test_writing_twice_gives_one_version(tmp_path: Path) -> None:
    first, second = written(tmp_path)[0], written(tmp_path)[0]
    assert first == second
    assert [path.name for path in tmp_path.iterdir()] == [Path(first.folder).name]
    assert Path(first.folder).name.endswith(f"Z-{first.version}")


def test_another_text_gives_another_version_beside_it(tmp_path: Path) -> None:
    first, second = written(tmp_path)[0], written(tmp_path, "Another.")[0]
    assert first.version != second.version and len(list(tmp_path.iterdir())) == 2


def test_the_manifest_tells_the_truth(tmp_path: Path) -> None:
    ref, _, pairs = written(tmp_path)
    folder = Path(ref.folder)
    manifest = json.loads((folder / "manifest.json").read_text())
    assert (manifest["version"], manifest["run"]) == (ref.version, "run-1")
    assert set(manifest["files"]) == {ALPACA, SFT, DPO, LINEAGE}
    for name, entry in manifest["files"].items():
        data = (folder / name).read_bytes()
        assert entry["sha256"] == hashlib.sha256(data).hexdigest() and entry["bytes"] == len(data)
        assert entry["rows"] == (len(json.loads(data)) if name == ALPACA else len(lines(folder / name)))
    counts = {"offered": 4, "with a chosen completion": 2, "with a pair": 1}
    assert manifest["prompts"] == counts and len(pairs) == 3
    assert manifest["provenance of SFT rows"] == {"sampled": 2}
    card = (folder / "README.md").read_text()
    assert ref.version in card and all(entry["sha256"][:16] in card for entry in manifest["files"].values())


@pytest.fixture
def load(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    import datasets

    datasets.disable_progress_bars()
    return lambda *arguments, **options: datasets.load_dataset(
        *arguments, cache_dir=str(tmp_path / "cache"), split="train", **options
    )


def test_datasets_loads_each_file_as_it_is(tmp_path: Path, load: Any) -> None:
    folder = Path(written(tmp_path / "d")[0].folder)
    for name in (SFT, DPO, LINEAGE):
        assert load("json", data_files=str(folder / name)).to_list() == lines(folder / name)
    alpaca = load("json", data_files=str(folder / ALPACA))
    assert alpaca.to_list() == json.loads((folder / ALPACA).read_text())
    assert alpaca.column_names == ["instruction", "input", "output"]


def test_datasets_loads_the_folder_by_its_card(tmp_path: Path, load: Any) -> None:
    ref = written(tmp_path / "d")[0]
    sizes = {name: len(load(ref.folder, name)) for name in ("sft", "dpo", "alpaca")}
    assert sizes == {"sft": 2, "dpo": 1, "alpaca": 3}
    assert len(load(ref.folder)) == 2


def test_half_of_a_surrogate_pair_does_not_break_the_file_for_the_others(tmp_path: Path, load: Any) -> None:
    folder = Path(written(tmp_path / "d", "half \ud83d of \U0001f600")[0].folder)
    rows_ = load("json", data_files=str(folder / SFT)).to_list()
    assert "half \ufffd of \U0001f600" in [row["completion"][0]["content"] for row in rows_]
    assert len(load("json", data_files=str(folder / ALPACA))) == 3


@pytest.mark.parametrize(
    ("recipe", "sft", "dpo", "enough"),
    [
        ("sft", 1, 0, True),
        ("sft", 0, 1, False),
        ("dpo", 0, 1, True),
        ("dpo", 1, 0, False),
        ("sft+dpo", 1, 1, True),
        ("sft+dpo", 1, 0, False),
        ("sft+dpo", 0, 1, False),
    ],
)
def test_training_on_nothing_is_refused(recipe: Any, sft: int, dpo: int, enough: bool) -> None:
    dataset = DatasetRef(version="v", folder="place", sft_rows=sft, dpo_rows=dpo, alpaca_rows=0)
    request = RunRequest(train=Training(recipe=recipe))
    if enough:
        demand_rows(dataset, request)
        return
    with pytest.raises(TrainingError, match=rf"{sft} SFT rows? and {dpo} DPO pairs? came out \(see place\)"):
        demand_rows(dataset, request)


SEEDS = [
    SeedTask(
        id=f"s{number}", name="n", instruction=f"Task {number}.", instances=(SeedInstance(output=f"{number} " * 30),)
    )
    for number in range(200)
]


@given(st.floats(0, 1), st.floats(0, 1))
def test_a_larger_share_of_the_seeds_holds_the_smaller_one(one_share: float, other: float) -> None:
    small, large = ({s.id for s in imitated_seeds(SEEDS, share)} for share in sorted((one_share, other)))
    assert small <= large and abs(len(large) - 200 * max(one_share, other)) < 40


def test_all_or_none_of_the_seeds() -> None:
    label = SeedTask(id="label", name="n", instruction="Is it?", instances=(SeedInstance(output="Yes"),))
    assert imitated_seeds([label], 1) == []
    assert imitated_seeds(SEEDS, 0) == [] and len(imitated_seeds(SEEDS, 1)) == 200


def test_seeds_stand_after_the_completions_with_their_own_outputs(tmp_path: Path) -> None:
    of = sample("Say it.")
    pairs = pair_all([of], [candidate(of)], [judgement(candidate(of), 5)], [], TRAINING)
    ref = write_dataset(tmp_path, pairs, imitated_seeds(SEEDS[:2], 1))
    sft, behind = lines(Path(ref.folder) / SFT), lines(Path(ref.folder) / LINEAGE)
    assert [row["completion"][0]["content"] for row in sft] == [candidate(of).text, "0 " * 30, "1 " * 30]
    assert [row["provenance"] for row in behind] == ["sampled", "written", "written"] and ref.sft_rows == 3
    manifest = json.loads((Path(ref.folder) / "manifest.json").read_text())
    assert manifest["provenance of SFT rows"] == {"sampled": 1, "written": 2}
    assert [row["instruction"] for row in json.loads((Path(ref.folder) / ALPACA).read_text())] == ["Say it."]


async def test_assemble_takes_accepted_training_samples_alone(tmp_path: Path) -> None:
    from nodes.assemble import make_assemble
    from state.database import Database
    from state.store import RecordStore

    database = Database(f"sqlite:///{tmp_path / 'corral.db'}")
    await database.create()
    store = RecordStore(database)
    train, held, refused = sample("T."), sample("H.", split="heldout"), sample("R.", outcome=Outcome.REJECTED)
    drawn = [candidate(s) for s in (train, held, refused)]
    await store.add("run", [train, held, refused])
    await store.add("run", drawn)
    await store.add("run", [judgement(c, 5) for c in drawn])
    made = await make_assemble(store, tmp_path / "runs", tmp_path)(
        {"run_id": "run", "request": RunRequest(train=TRAINING)}
    )
    dataset = made["dataset"]
    assert Path(dataset.folder).parent == tmp_path / "runs" / "run" / "datasets"
    assert [row["prompt"][0]["content"] for row in lines(Path(dataset.folder) / SFT)] == ["T."]
    assert (dataset.sft_rows, dataset.dpo_rows, dataset.alpaca_rows) == (1, 0, 1)
    await database.close()
