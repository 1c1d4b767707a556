"""distilabel's part of ``benchmarks/peers.py``: a task for the answers and a task for the scores.

Each task is a process, and both work at once. A batch is as large as the calls that may be in flight. The answers' task
gives six rows for each answer, so that no third process is needed for that. The last line printed is the number of
answers and scores that are in its dataset.
"""

import json
import sys
from pathlib import Path
from typing import Any

from distilabel.models import OpenAILLM
from distilabel.pipeline import Pipeline
from distilabel.steps import StepInput
from distilabel.steps.tasks import TextGeneration


class Answers(TextGeneration):
    """Answers prompts; for each answer it gives a row for each judge."""

    judges: list[str]

    @property
    def outputs(self) -> list[str]:
        """The columns of a row."""
        return ["instruction", "answer"]

    def process(self, inputs: StepInput) -> Any:  # distilabel reads the hint: no future annotations here
        """Answer a batch."""
        for rows in super().process(inputs):
            yield [
                {
                    "instruction": judge.replace("<<PROMPT>>", row["instruction"]).replace(
                        "<<ANSWER>>", row["generation"] or ""
                    ),
                    "answer": row["generation"],
                }
                for row in rows
                for judge in self.judges
            ]


def main(url: str, in_flight: int, work: Path) -> int:
    given = json.loads(work.read_text())

    def model() -> OpenAILLM:
        kwargs = {"temperature": 0.7, "max_new_tokens": 160}
        return OpenAILLM(model="bench", base_url=url, api_key="none", generation_kwargs=kwargs)

    plain = {"add_raw_input": False, "add_raw_output": False, "input_batch_size": in_flight, "use_cache": False}
    with Pipeline("race", enable_metadata=False) as pipeline:
        answers = Answers(name="answers", llm=model(), judges=given["judges"], **plain)
        scores = TextGeneration(name="scores", llm=model(), **plain)
        answers >> scores
    prompts = [{"instruction": prompt} for prompt in given["prompts"]]
    made = pipeline.run(dataset=prompts, dataset_batch_size=len(prompts), use_cache=False)["default"]["train"]
    scored = sum("score" in json.loads(text or "{}") for text in made["generation"])
    return sum(map(bool, made["answer"])) // len(given["judges"]) + scored


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3])))
