"""1 of 5: an expert's stars in place of a person's, for one answer and for many.

    python -m examples.rlhf.feedback

The judge is the model that OPENAI_API_KEY, OPENAI_MODEL or OLLAMA_MODEL names; without one, the embedded model, which
relies on checks.
"""

from __future__ import annotations

import pandas

from corral import SyntheticFeedback, SyntheticFeedbackGenerator

PROMPT = "Allocate a budget of $2.5M across Amazon, Walmart and Target for the launch, with a reason for each."
RIGHT = "Amazon $1.2M, Walmart $800K, Target $500K. Amazon leads, since most of the launch's searches begin there."
WRONG = RIGHT.replace("$500K", "$900K")


def main() -> list[SyntheticFeedback]:
    """Rate a right and a wrong allocation, and print why."""
    generator = SyntheticFeedbackGenerator("budgeting", context={"audience": "a marketing director"})
    rated = generator.generate_batch([{"prompt": PROMPT, "model_output": text} for text in (RIGHT, WRONG)])
    for feedback in rated:
        print(f"{feedback.overall_rating} stars, chosen: {feedback.is_chosen}\n{feedback.detailed_feedback}\n")
    print(pandas.DataFrame(rated)[["overall_rating", "is_chosen", "confidence"]])
    print(f"${generator.spent:.4f}")
    return rated


if __name__ == "__main__":
    main()
