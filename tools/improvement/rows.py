"""What people said of served answers, as rows that a run trains on. Pure: the same feedback gives the same rows."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from statistics import fmean

from state.feedback import Feedback, ServedAnswer
from state.records import Candidate, DecisionKind, Outcome, Review, Sample, content_hash
from tools.gates import DiversityIndex, categorise
from tools.people.decisions import edited_id
from tools.sources.prompts import prompt_key

CHOSEN_FROM, REJECTED_TO = 4.0, 2.0
"""Mean stars from which an answer is imitated, and up to which it is turned from."""


@dataclass
class FeedbackRows:
    """Rows for the store, and how many answers gave none."""

    samples: list[Sample] = field(default_factory=list)
    candidates: list[Candidate] = field(default_factory=list)
    reviews: list[Review] = field(default_factory=list)
    corrected: int = 0
    rejected: int = 0
    chosen: int = 0
    undecided: int = 0
    """Rated between good and bad."""
    several_turns: int = 0
    """Part of a conversation, or with a system turn: a row of a dataset has one prompt."""
    heldout: int = 0
    """As good as a held-out prompt, which no training may see."""

    @property
    def left_out(self) -> int:
        """Answers that were rated and gave no row."""
        return self.undecided + self.several_turns + self.heldout


def feedback_rows(
    answers: Iterable[ServedAnswer],
    feedback: Sequence[Feedback],
    heldout: Sequence[Sample],
    threshold: float = 0.7,
) -> FeedbackRows:
    """Return a sample for each prompt that people rated, its served answers, and what people decided on them.

    A corrected answer has the place of a person's own text, an answer with a mean of four stars or more is approved,
    one with two or fewer rejected; the raters are named as reviewers.

    Args:
        answers: what was served; withdrawn ones give nothing.
        feedback: on these answers.
        heldout: prompts that must stay unseen.
        threshold: ROUGE-L above which a prompt is as good as a held-out one, as in the diversity gate.
    """
    said: defaultdict[str, list[Feedback]] = defaultdict(list)
    for one in feedback:
        said[one.answer_id].append(one)
    unseen = {prompt_key(sample.prompt) for sample in heldout}
    near = DiversityIndex(threshold)
    for sample in heldout:
        near.add(sample.instruction)
    rows, by_text = FeedbackRows(), defaultdict[tuple[str, str], list[ServedAnswer]](list)
    for answer in answers:
        if answer.withdrawn or answer.id not in said:
            continue
        if len(answer.messages) != 1 or answer.messages[0].role != "user":
            rows.several_turns += 1
            continue
        prompt = answer.messages[0].content.strip()
        if prompt_key(prompt) in unseen or near.match(prompt) is not None:
            rows.heldout += 1
            continue
        by_text[prompt, answer.text].append(answer)
    samples: dict[str, Sample] = {}
    for (prompt, text), served in sorted(by_text.items(), key=lambda item: item[0]):
        sample = samples.get(prompt) or feedback_sample(prompt)
        told = sorted((f for a in served for f in said[a.id]), key=lambda one: (one.given_at, one.id))
        if _add_answer(rows, sample, text, served, told):
            samples[prompt] = sample
    rows.samples = list(samples.values())
    return rows


def feedback_sample(prompt: str) -> Sample:
    """Return the sample of a prompt that was asked of a served version."""
    return Sample(
        id=content_hash("feedback", prompt),
        instruction=prompt,
        origin="feedback",
        category=categorise(prompt),
        outcome=Outcome.ACCEPTED,
    )


def served_candidate_id(sample_id: str, text: str) -> str:
    """Return the id of a served answer as a candidate, by which what came of an answer is found again."""
    return content_hash("served", sample_id, text)


def low_rated(rows: FeedbackRows) -> list[Sample]:
    """Return the prompts of which an answer was rejected or corrected."""
    bad = {one.sample_id for one in rows.candidates if one.outcome == Outcome.REJECTED}
    return [sample for sample in rows.samples if sample.id in bad]


def _add_answer(
    rows: FeedbackRows, sample: Sample, text: str, served: Sequence[ServedAnswer], said: Sequence[Feedback]
) -> bool:
    """Add the rows of one text; return whether there are any."""
    corrections: Mapping[str, Feedback] = {one.corrected: one for one in reversed(said) if one.corrected.strip()}
    stars = [one.stars for one in said if one.stars is not None]
    mean = fmean(stars) if stars else None
    decision: DecisionKind | None = None
    if mean is not None and mean >= CHOSEN_FROM and not corrections:
        decision = "approve"
    elif (mean is not None and mean <= REJECTED_TO) or (corrections and (mean is None or mean < CHOSEN_FROM)):
        decision = "reject"
    if decision is None and not corrections:
        rows.undecided += len(served)
        return False
    candidate = Candidate(
        id=served_candidate_id(sample.id, text),
        sample_id=sample.id,
        draw=sum(one.sample_id == sample.id for one in rows.candidates),
        text=text,
        ended=all(answer.ended for answer in served),
        provenance="served",
        outcome=Outcome.ACCEPTED if decision == "approve" else Outcome.REJECTED,
        reasons=() if decision == "approve" else ("rated: " + _rated(mean, said),),
    )
    last = said[-1]
    if decision is not None:
        rows.candidates.append(candidate)
        rows.reviews.append(_review(candidate.id, decision, last, _rated(mean, said)))
        rows.chosen += decision == "approve"
        rows.rejected += decision == "reject"
    for corrected, one in corrections.items():
        own = candidate.model_copy(
            update={
                "id": edited_id(candidate.id, corrected),
                "text": corrected,
                "ended": True,
                "provenance": "edited",
                "outcome": Outcome.ACCEPTED,
                "reasons": (),
            }
        )
        rows.candidates.append(own)
        rows.reviews.append(_review(own.id, "approve", one, "corrected by a person"))
        rows.corrected += 1
    return True


def _review(item: str, decision: DecisionKind, by: Feedback, comment: str) -> Review:
    return Review(
        id=content_hash("review", "feedback", item),
        item_id=item,
        kind="completion",
        decision=decision,
        comment=comment,
        reviewer=by.rater,
        decided_at=by.given_at,
    )


def _rated(mean: float | None, said: Sequence[Feedback]) -> str:
    raters = len({one.rater for one in said})
    return f"{raters} {'rater' if raters == 1 else 'raters'}, " + ("no stars" if mean is None else f"{mean:.2f} stars")
