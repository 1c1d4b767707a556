"""5 of 5: whether feedback keeps its level, and whether a new version gets more; traced where there is a key.

python -m examples.rlhf.monitor
"""

from __future__ import annotations

from corral import LangSmithTracer, RLHFMonitor, SyntheticFeedbackGenerator, load_settings
from corral.monitor import VersionComparison

PROMPT = "Explain in at most two sentences why our delivery is late."
CHECKS = [{"kind": "max_sentences", "value": 2}]
OLD = "Things happen. Trucks are slow. Roads are long. We do not know. Please wait."
NEW = "Snow closed the pass between our warehouse and you. Your parcel is on its way and arrives on Thursday."


def main() -> VersionComparison:
    """Rate the answers of two versions, watch the level, and compare them."""
    tracer = LangSmithTracer()
    generator = SyntheticFeedbackGenerator()
    monitor = RLHFMonitor(tracer, settings=load_settings())
    rated = {}
    for version, answer in (("v1", OLD), ("v2", NEW)):
        with tracer.trace_feedback_collection(user_id="example", task_type="general", version=version) as trace:
            examples = [{"prompt": f"{PROMPT} ({n})", "model_output": answer, "checks": CHECKS} for n in range(8)]
            rated[version] = generator.generate_batch(examples)
            quality = monitor.track_feedback_quality(rated[version], version=version)
            trace.note(average_rating=quality.average_rating)
        print(f"{version}: {quality.average_rating} stars on average. {quality.alert or 'No alert.'}")
    compared = monitor.compare_model_versions("v1", "v2", rated["v1"], rated["v2"])
    print(compared.summary)
    return compared


if __name__ == "__main__":
    main()
