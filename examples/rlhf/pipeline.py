"""4 of 5: from prompts to a measured adapter in one call, which goes on where it ended when it is made again.

    python -m examples.rlhf.pipeline

Without a key it answers, judges and trains with the embedded model: about ten minutes on two cores.
"""

from __future__ import annotations

from corral import AutomatedRLHFPipeline, PipelineConfig
from corral.stages import PipelineResult

TOPICS = (
    "kettles",
    "ladders",
    "lanterns",
    "anchors",
    "saddles",
    "marbles",
    "bridges",
    "candles",
    "violins",
    "harbours",
)
PROMPTS = [
    {
        "prompt": f"Write {count} sentences for a shop that sells {topic}. Mention Northwind.",
        "checks": [{"kind": "max_sentences", "value": count}, {"kind": "must_include", "value": "Northwind"}],
    }
    for topic in TOPICS
    for count in (2, 3)
]


def main(config: PipelineConfig | None = None, adapter_name: str = "northwind_v1") -> PipelineResult:
    """Do all of it, and print each stage."""
    config = config or PipelineConfig(context={"brand": "Northwind", "tone": "friendly"}, eval_split=0.3)
    pipeline = AutomatedRLHFPipeline(config, task_type="creative")
    result = pipeline.run_full_pipeline(prompts=PROMPTS, adapter_name=adapter_name)
    for name in type(result.stages).model_fields:
        print(f"{name:11} {result.stages[name]}")
    print(
        f"{result.adapter_name}: {result.standing}, ${result.spent:.4f}; 'corral show {result.adapter_name}' shows it"
    )
    return result


if __name__ == "__main__":
    main()
