"""DataDesigner's part of ``benchmarks/peers.py``: a column for the answer and one for each judge.

Its scheduler starts a judge as soon as the answer of its row is there. The last line printed is the number of answers
and scores that are in its dataset.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

import data_designer.config as dd
import pandas as pd
from data_designer.interface import DataDesigner
from pydantic import BaseModel


class Rating(BaseModel):
    """What a judge answers."""

    score: int
    reason: str


def main(url: str, in_flight: int, work: Path, out: Path) -> int:
    given = json.loads(work.read_text())
    pd.DataFrame({"prompt": given["prompts"]}).to_parquet(out / "prompts.parquet")
    provider = dd.ModelProvider(name="local", endpoint=url, provider_type="openai", api_key="none")
    parameters = dd.ChatCompletionInferenceParams(max_parallel_requests=in_flight, temperature=0.7, max_tokens=160)
    model = dd.ModelConfig(
        alias="bench", model="bench", provider="local", inference_parameters=parameters, skip_health_check=True
    )
    builder = dd.DataDesignerConfigBuilder(model_configs=[model])
    builder.with_seed_dataset(dd.LocalFileSeedSource(path=str(out / "prompts.parquet")))
    builder.add_column(dd.LLMTextColumnConfig(name="answer", prompt="{{ prompt }}", model_alias="bench"))
    judges = [f"judge_{number}" for number in range(len(given["judges"]))]
    for name, prompt in zip(judges, given["judges"], strict=True):
        asked = prompt.replace("<<PROMPT>>", "{{ prompt }}").replace("<<ANSWER>>", "{{ answer }}")
        builder.add_column(
            dd.LLMStructuredColumnConfig(name=name, prompt=asked, model_alias="bench", output_format=Rating)
        )
    designer = DataDesigner(artifact_path=out / "artifacts", model_providers=[provider])
    native = dd.JinjaRenderingEngine.NATIVE
    designer.set_run_config(dd.RunConfig(otel_metrics_port=None, jinja_rendering_engine=native))
    rows = designer.create(builder, num_records=len(given["prompts"])).load_dataset()
    return int(rows[["answer", *judges]].notna().sum().sum())


if __name__ == "__main__":
    print(main(sys.argv[1], int(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])))
