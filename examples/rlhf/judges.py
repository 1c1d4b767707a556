"""2 of 5: five judges with a score each, beside a dimension and an expert of your own.

python -m examples.rlhf.judges
"""

from __future__ import annotations

from corral import CrewEvaluation, MultiAgentRLHF

PROMPT = "Write two sentences that announce our autumn sale on rain jackets."
ANSWER = "Autumn rain is coming, and our jackets are 20% off until Sunday. Find your size at Northwind before it does."
OWN = {"seasonality": {"weight": 0.2, "rubric": "90: speaks of this season. 40: could be of any month."}}
EXPERT = {
    "role": "retail copy chief",
    "backstory": "Has edited seasonal campaigns; a claim without a date costs a star.",
    "years_of_experience": 15,
}


def main() -> CrewEvaluation:
    """Score one answer for a brand."""
    judges = MultiAgentRLHF("creative", dimensions=OWN, expert=EXPERT, accept=60)
    context = {"brand": "Northwind", "avoid_terms": ["cheap"], "tone": "friendly"}
    found = judges.evaluate(PROMPT, ANSWER, context)
    for name, said in found.detailed_feedback.items():
        score = found.score_of(name)  # None where nothing speaks to it, as for much without a model that judges
        print(f"{name:16} {'-' if score is None else f'{score:.1f}':>5}  {said}")
    print(f"overall {found.overall_score}, acceptable: {found.is_acceptable}, judged by {found.judge}")
    return found


if __name__ == "__main__":
    main()
