"""PipelineConfig: what the guide's pipeline does, and the request that a run makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pydantic import AliasChoices, Field, ValidationError

from corral.judges import judging_of
from state.errors import BadInput
from state.faults import first_fault
from state.request import EMBEDDED, Endpoint, Evaluation, Judging, RunRequest, Sampling, Section, Training
from tools.config import read_request

_TRAIN, _SAMPLE = Training(), Sampling()


class PipelineConfig(Section):
    """What a pipeline does, in the guide's words; other usual names of a field are taken, too.

    The defaults are the runs' own, found by measurement on the embedded model: see the settings that are named.
    """

    base_model: str = Field(EMBEDDED, validation_alias=AliasChoices("base_model", "base_model_name", "model_name"))
    """The weights to train: ``embedded``, a folder, or a name on the hub (``models.base``)."""
    num_variations: int = Field(
        _SAMPLE.candidates,
        ge=1,
        le=64,
        validation_alias=AliasChoices("num_variations", "variations_per_prompt", "num_candidates", "candidates"),
    )
    """Answers to each prompt (``sampling.candidates``)."""
    temperature: float = Field(_SAMPLE.temperature, ge=0, le=2)
    """How freely they are drawn (``sampling.temperature``)."""
    max_tokens: int = Field(
        _SAMPLE.max_tokens, ge=8, le=32_768, validation_alias=AliasChoices("max_tokens", "max_new_tokens")
    )
    """Tokens of each, at most (``sampling.max_tokens``)."""
    accept: float = Field(
        Judging().accept,
        ge=0,
        le=100,
        validation_alias=AliasChoices("accept", "acceptance_threshold", "quality_threshold", "min_quality_score"),
    )
    """Overall score from which an answer is acceptable (``judge.accept``)."""
    weights: dict[str, float] | None = Field(None, validation_alias=AliasChoices("weights", "dimension_weights"))
    """Share of each of the five dimensions (``judge.weights``); ``None`` for the guide's."""
    dimensions: dict[str, Any] = Field({})
    """Dimensions of your own (``judge.dimensions``)."""
    expert: dict[str, Any] | None = None
    """An expert of your own (``judge.expert``)."""
    context: dict[str, Any] = Field({})
    """What the judges should know of brand and readers (``judge.context``); a prompt's own counts before it."""
    human_feedback_ratio: float = Field(
        0.0,
        ge=0,
        le=1,
        validation_alias=AliasChoices("human_feedback_ratio", "human_feedback_percentage", "human_share"),
    )
    """Share of the prompts of which people compare two answers (``review.human_share``); the guide takes 0.1. Above 0
    the run waits for people."""
    training_method: str = Field(
        _TRAIN.recipe, validation_alias=AliasChoices("training_method", "training_type", "method", "recipe")
    )
    """``sft``, ``dpo`` or ``sft+dpo`` (``train.recipe``)."""
    num_epochs: float = Field(
        _TRAIN.epochs, gt=0, le=100, validation_alias=AliasChoices("num_epochs", "num_train_epochs", "epochs")
    )
    """Passes over the rows (``train.epochs``)."""
    batch_size: int = Field(
        _TRAIN.batch_size, ge=1, le=1024, validation_alias=AliasChoices("batch_size", "per_device_train_batch_size")
    )
    """Rows of one step (``train.batch_size``)."""
    learning_rate: float | None = Field(None, gt=0, lt=1)
    """Of all phases; ``None`` for 3e-4 in SFT (``train.learning_rate``) and 5e-5 in DPO
    (``train.dpo_learning_rate``)."""
    dpo_beta: float = Field(_TRAIN.dpo_beta, gt=0, le=10, validation_alias=AliasChoices("dpo_beta", "beta"))
    """How strongly DPO holds to its reference (``train.dpo_beta``)."""
    lora_r: int = Field(_TRAIN.lora_rank, ge=1, le=512, validation_alias=AliasChoices("lora_r", "lora_rank"))
    """The adapter's inner width (``train.lora_rank``)."""
    lora_alpha: int = Field(_TRAIN.lora_alpha, ge=1, le=1024)
    """Its scale (``train.lora_alpha``)."""
    lora_dropout: float = Field(_TRAIN.lora_dropout, ge=0, lt=1)
    """Share of its inputs that are dropped (``train.lora_dropout``)."""
    max_length: int = Field(
        _TRAIN.max_length, ge=32, le=131_072, validation_alias=AliasChoices("max_length", "max_seq_length")
    )
    """Tokens of a row (``train.max_length``)."""
    eval_split: float = Field(
        Evaluation().heldout_share,
        gt=0,
        lt=1,
        validation_alias=AliasChoices("eval_split", "test_size", "heldout_share", "validation_split"),
    )
    """Share of the prompts that is held out for the evaluation, at least one (``evaluate.heldout_share``)."""
    output_dir: str | None = Field(
        None, validation_alias=AliasChoices("output_dir", "adapter_dir", "adapter_registry", "registry")
    )
    """The registry of adapters (``deploy.registry``); ``None`` for the one in Corral's home."""
    budget: float | None = Field(None, ge=0, validation_alias=AliasChoices("budget", "max_cost", "budget_usd"))
    """Dollars that the run may spend (``budget.dollars``); ``None`` for no cap."""
    unattended: bool = True
    """Never wait for a person: a named policy reviews, and an adapter is deployed only if it is shown to be better."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Every draw follows from it (``seed``)."""
    settings: dict[str, Any] = Field({})
    """Any other setting of a run, by section: ``{"evaluate": {"judged_pairs": 0}}``. It counts before all above."""

    def __init__(self, **given: Any) -> None:
        try:
            super().__init__(**given)
        except ValidationError as error:
            raise BadInput(f"PipelineConfig: {first_fault(error)}{self._known_instead(error, given)}") from None

    @classmethod
    def _known_instead(cls, error: ValidationError, given: Mapping[str, Any]) -> str:
        """Return what a word that is not known may mean: a field that is given by two of its names, or any field."""
        fault = error.errors(include_url=False, include_input=False)[0]
        if fault["type"] != "extra_forbidden":
            return ""
        for name, field in cls.model_fields.items():
            names = field.validation_alias.choices if isinstance(field.validation_alias, AliasChoices) else [name]
            if fault["loc"][0] in names:
                other = next((one for one in names if one in given and one != fault["loc"][0]), name)
                return f", since it means the same as {other}, which is given, too"
        return f"; its fields are {', '.join(cls.model_fields)}"


def request_of(
    config: PipelineConfig, task_type: str, judge: Endpoint, policy: Endpoint | None, name: str
) -> RunRequest:
    """Return the request of a pipeline; its prompts are not in it yet. Pure.

    Raises:
        BadInput: a setting is unknown or out of bounds.
    """
    rates = (
        {}
        if config.learning_rate is None
        else dict.fromkeys(("learning_rate", "dpo_learning_rate"), config.learning_rate)
    )
    weights = {} if config.weights is None else {"weights": config.weights}
    judged = {"dimensions": config.dimensions, "expert": config.expert, "context": config.context, **weights}
    models: dict[str, Any] = {"judge": judge.model_dump(), "base": config.base_model}
    if policy is not None:
        models["policy"] = policy.model_dump()
    sections: dict[str, Any] = {
        "name": "".join(c if c.isalnum() and c.isascii() else "-" for c in name.lower()).strip("-")[:40] or "run",
        "seed": config.seed,
        "unattended": config.unattended and not config.human_feedback_ratio,
        "models": models,
        "budget": {"dollars": config.budget},
        "generation": {"target": 0},
        "sampling": {
            "candidates": config.num_variations,
            "temperature": config.temperature,
            "max_tokens": config.max_tokens,
        },
        "judge": {"task_type": task_type, "accept": config.accept, **judged},
        "review": {"human_share": config.human_feedback_ratio},
        "train": {
            "recipe": config.training_method.lower(),
            "epochs": config.num_epochs,
            "batch_size": config.batch_size,
            "dpo_beta": config.dpo_beta,
            "lora_rank": config.lora_r,
            "lora_alpha": config.lora_alpha,
            "lora_dropout": config.lora_dropout,
            "max_length": config.max_length,
            **rates,
        },
        "deploy": {"registry": config.output_dir},
    }
    judging_of(sections["judge"])  # its faults in the words of the judges
    for section, values in config.settings.items():
        there = sections.get(section)
        sections[section] = {**there, **values} if isinstance(there, dict) and isinstance(values, Mapping) else values
    return read_request(sections, "PipelineConfig")
