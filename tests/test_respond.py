"""The policy's answers: plain draws, and what more is done for a prompt whose checks none of them passes."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from nodes import respond
from nodes.assemble import Answers
from nodes.respond import PromptsToAnswer, make_respond, new_candidate
from state.database import Database
from state.errors import EndpointFailing
from state.pipeline import RateLimits
from state.records import Candidate, Check, CheckResult, Outcome, Sample
from state.request import Endpoint, Models, RunRequest, Sampling
from state.store import RecordStore
from tests.builders import candidate, judgement, review, review_task, sample
from tools.candidates import repair
from tools.checks import run_checks
from tools.endpoint.chat import ChatCall, ChatEndpoint, Completion, Fault
from tools.endpoint.http_transport import HttpTransport
from tools.people.asking import described
from tools.people.items import Item

LOUD = Check(kind="upper_case")
OF = sample("Explain how bees turn nectar into honey. Write in capital letters only.", checks=(LOUD,))
PLAIN = "Bees collect nectar from flowers. They carry it to the hive and fan it until it is thick."
DRAWN = [PLAIN, "Workers seal each cell with wax. The honey keeps there for a whole long winter, and for years."]


class Policy:
    """A model that answers from a list by draw, and notes what it was asked."""

    model = "scripted"
    limits = RateLimits()
    can = HttpTransport.can

    def __init__(self, texts: list[str]) -> None:
        self.texts = texts
        self.calls: list[ChatCall] = []

    async def complete(self, call: ChatCall, fault: Fault | None = None) -> Completion:
        self.calls.append(call)
        return Completion(text=self.texts[call.draw], finish_reason="stop", key=f"call-{call.draw}")


async def answered(
    tmp_path: Path, policy: Policy, of: Sample, judge: Endpoint | None = None, **sampling: int
) -> list[Candidate]:
    """Return a sample's candidates, by draw, after the node has run; and see to it that nothing is left to do."""
    database = Database(f"sqlite:///{tmp_path / 'corral.db'}")
    await database.create()
    store = RecordStore(database)
    await store.add("run", [of])

    async def open_endpoint(spec: Endpoint, run_id: str) -> ChatEndpoint:
        return policy  # type: ignore[return-value]  # the node calls complete alone

    models = Models(judge=judge or Endpoint())
    request = RunRequest(models=models, sampling=Sampling(candidates=2, **sampling))
    state = {"run_id": "run", "request": request, "ids": [of.id]}
    await make_respond(store, open_endpoint)(state)  # type: ignore[arg-type]  # the part of the state that it reads
    assert await PromptsToAnswer(store).ids(state, "", 10) == []  # type: ignore[arg-type]  # as above
    found = await store.find("run", Candidate)
    await database.close()
    return sorted(found, key=lambda c: (c.provenance, c.draw))


async def test_a_prompt_whose_checks_a_draw_passes_gets_no_more(tmp_path: Path) -> None:
    policy = Policy([PLAIN.upper(), PLAIN])
    found = await answered(tmp_path, policy, OF)
    assert [(c.provenance, c.draw) for c in found] == [("sampled", 0), ("sampled", 1)] and len(policy.calls) == 2


@pytest.mark.parametrize(("url", "begun"), [("embedded", []), ("http://127.0.0.1:9/v1", ["begun", "ended"])])
async def test_crewai_is_imported_while_answers_are_waited_for_where_a_crew_judges_them(
    url: str, begun: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen: list[str] = []

    @contextmanager
    def kept() -> Iterator[None]:
        seen.append("begun")
        yield
        seen.append("ended")

    monkeypatch.setattr(respond, "crews_kept", kept)
    await answered(tmp_path, Policy([PLAIN, PLAIN.upper()]), OF, Endpoint(base_url=url))
    assert seen == begun


async def test_a_prompt_without_checks_gets_no_more(tmp_path: Path) -> None:
    found = await answered(tmp_path, Policy(DRAWN), sample("Explain how bees turn nectar into honey."))
    assert {c.provenance for c in found} == {"sampled"}


async def test_where_no_draw_passes_there_are_examples_before_the_prompt_and_texts_put_right(tmp_path: Path) -> None:
    policy = Policy([*DRAWN, "HONEY IS NECTAR THAT BEES HAVE DRIED WITH THEIR WINGS.", "Honey is sweet and thick."])
    found = await answered(tmp_path, policy, OF)
    scaffolded = [call for call in policy.calls if call.draw >= 2]
    assert [len(call.messages) for call in policy.calls if call.draw < 2] == [1, 1]
    for call in scaffolded:
        roles = [message["role"] for message in call.messages]
        assert roles == ["user", "assistant"] * 2 + ["user"]
        assert call.messages[-1]["content"] == OF.prompt
        assert all(m["content"].isupper() for m in call.messages if m["role"] == "assistant")
    kinds = {(c.provenance, c.outcome) for c in found}
    assert kinds == {
        ("sampled", Outcome.PENDING),
        ("scaffolded", Outcome.PENDING),
        ("scaffolded", Outcome.REJECTED),
        ("repaired", Outcome.PENDING),
    }
    repaired = [c for c in found if c.provenance == "repaired"]
    assert [c.text for c in repaired] == [repair(OF, text) for text in DRAWN], "the two longest, in the order of draws"
    assert all(r.passed for c in repaired for r in run_checks(OF.checks, c.text))
    assert repaired[0].call == "call-0", "the call that its sentences were paid with"


async def test_a_text_that_copies_its_example_is_rejected_with_that_reason(tmp_path: Path) -> None:
    policy = Policy([*DRAWN, "AN UMBRELLA KEEPS BEES DRY WHEN IT RAINS.", "BEES ARE BUSY ALL SUMMER LONG."])
    found = await answered(tmp_path, policy, OF, repairs=0)
    reasons = [c.reasons for c in found if c.provenance == "scaffolded"]
    assert reasons == [("it is about the example before the prompt",), ()]


async def test_a_prompt_without_checks_gets_more_where_every_draw_is_degenerate(tmp_path: Path) -> None:
    of = sample("Explain how bees turn nectar into honey.")
    looping = "honey is sweet and " * 20
    found = await answered(tmp_path, Policy([looping, looping, PLAIN, PLAIN]), of)
    assert [c.draw for c in found if c.provenance == "scaffolded" and c.outcome == Outcome.PENDING] == [2, 3]
    fine = await answered(tmp_path / "fine", Policy([looping, PLAIN, PLAIN, PLAIN]), of)
    assert [(c.draw, c.provenance) for c in fine] == [(0, "sampled"), (1, "sampled")]


async def test_what_is_put_right_speaks_of_no_example_either(tmp_path: Path) -> None:
    policy = Policy(["", "", "An umbrella keeps all the bees dry in the rain.", ""])
    found = await answered(tmp_path, policy, OF)
    assert [c for c in found if c.provenance == "repaired"] == []
    plain = Policy(["An umbrella keeps all the bees dry in the rain.", "", "", ""])
    found = await answered(tmp_path / "plain", plain, OF)
    assert [c.text for c in found if c.provenance == "repaired"] == ["AN UMBRELLA KEEPS ALL THE BEES DRY IN THE RAIN."]


async def test_a_draw_that_cannot_be_had_fails_alone_and_keeps_its_kind(tmp_path: Path) -> None:
    class Failing(Policy):
        async def complete(self, call: ChatCall, fault: Fault | None = None) -> Completion:
            if call.draw in (1, 2):
                raise EndpointFailing(f"no answer to draw {call.draw}")
            return await super().complete(call)

    found = await answered(tmp_path, Failing([PLAIN, "", "", "BEES ARE BUSY ALL SUMMER LONG."]), OF, repairs=0)
    assert [(c.draw, c.provenance, c.outcome.value) for c in sorted(found, key=lambda c: c.draw)] == [
        (0, "sampled", "pending"),
        (1, "sampled", "failed"),
        (2, "scaffolded", "failed"),
        (3, "scaffolded", "pending"),
    ]
    assert any("no answer to draw 2" in reason for c in found for reason in c.reasons)


@pytest.mark.parametrize(("draws", "repairs"), [(0, 0), (2, 0), (0, 2), (1, 1)])
async def test_the_request_says_how_much_more(tmp_path: Path, draws: int, repairs: int) -> None:
    found = await answered(tmp_path, Policy([*DRAWN, *DRAWN]), OF, scaffold_draws=draws, repairs=repairs)
    count = [sum(c.provenance == name for c in found) for name in ("sampled", "scaffolded", "repaired")]
    assert count == [2, draws, repairs]


async def test_a_text_that_is_fine_but_was_cut_off_is_kept_beside_its_repair(tmp_path: Path) -> None:
    class CutOff(Policy):
        async def complete(self, call: ChatCall, fault: Fault | None = None) -> Completion:
            return (await super().complete(call)).model_copy(update={"finish_reason": "length"})

    found = await answered(tmp_path, CutOff([text.upper() for text in DRAWN]), OF, scaffold_draws=0)
    assert [(c.provenance, c.outcome.value) for c in found] == [("repaired", "pending")] * 2 + [
        ("sampled", "rejected")
    ] * 2
    assert len({c.id for c in found}) == 4


def test_a_word_for_an_end_that_nobody_knows_is_told() -> None:
    said = Completion(text="Four words stand here.", finish_reason="halted_by_host", key="k", thought=True)
    made = new_candidate(sample("How are you?"), 0, said, False)
    assert made.reasons == ("the answer did not end by itself: 'halted_by_host'",) and made.thought


def test_answers_of_which_none_ended_are_told_and_thinking_is_counted() -> None:
    asked = sample("How are you?")
    ends = [Completion(text=f"{n} is well.", finish_reason="length", key="k", thought=n > 1) for n in range(4)]
    drawn = [new_candidate(asked, n, said, False) for n, said in enumerate(ends)]
    answers = Answers()
    answers.count(drawn)
    none_ended, thinking = answers.notes(RunRequest())
    assert "ended by itself, of 4" in none_ended and "2 answers of " in thinking and ", of 4;" in thinking
    answers.count([drawn[0].model_copy(update={"ended": True})])
    assert len(answers.notes(RunRequest())) == 1


def test_what_people_approved_and_training_cannot_imitate_is_told() -> None:
    asked = sample("Name three rivers of Europe, in at most two words.", checks=(Check(kind="max_words", value=2),))
    good, long, unseen = (candidate(asked, text) for text in ("Rhine, Danube", "Rhine, Danube, Ebro", "A, b, c, d, e"))
    edited = candidate(asked, "The Rhine and the Danube.", provenance="edited")
    answers = Answers()
    reviews = [review(good.id), review(long.id), review(unseen.id, reviewer="policy:midpoint")]
    answers.count_approved([asked], [good, long, unseen, edited], reviews)
    (told,) = answers.notes(RunRequest())
    assert "2 answers that fail" in told and "(max_words: 2)" in told


def test_a_person_is_told_before_they_approve_what_training_cannot_imitate() -> None:
    asked = sample("Name three rivers of Europe, in at most two words.", checks=(Check(kind="max_words", value=2),))
    long = candidate(asked)

    def item(*checks: CheckResult) -> Item:
        made = judgement(long, checks=checks)
        return Item(task=review_task(long), sample=asked, candidates=(long,), judgements=(made,))

    failed = CheckResult(kind="max_words", passed=False, evidence="7 words, at most 2 asked")
    assert "fails a written check (max_words): edit it" in item(failed).caution
    assert "written check (max_words): edit it.\n" in described(item(failed), RunRequest())
    assert item().caution == item(failed.model_copy(update={"kind": "sums"})).caution == ""
