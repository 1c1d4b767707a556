"""RunRequest: everything an owner can set for a run. A run keeps the request it started with."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self
from urllib.parse import urlsplit
from warnings import catch_warnings

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from state.compatibility import with_present_names
from state.dimensions import DIMENSIONS
from state.masking import demand_plain, masked

WEIGHTS = "weights"
"""The name, in place of a URL, of sampling on this machine from a folder of weights."""
API = "/chat/completions"
"""The path, behind ``base_url``, at which a server is asked."""
EMBEDDED = "embedded"
"""The name, in place of a URL or a model folder, of the SmolLM2-135M that comes with the installation."""

CALLS_TOGETHER = 160
"""Calls in flight that keep two model processes busy while finished ones are written down."""

TaskType = Literal["general", "budgeting", "creative", "compliance", "data_quality", "strategy"]


class Section(BaseModel):
    """A closed, immutable group of settings. Its numbers are finite: JSON, in which they are kept, has no others."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _reads_former_names(cls, given: Any) -> Any:
        return with_present_names(cls.__name__, given)


class Batch(Section):
    """When calls wait for OpenAI's Batch API, which answers within a day, at half the price."""

    after: int = Field(50, ge=1, le=50_000)
    """Calls that wait together from which on they are sent as a batch; fewer are asked at once, at the full price."""
    within: str = Field("24h", pattern=r"^[1-9][0-9]{0,2}[hd]$")
    """How long the server may take, as it names it (``completion_window``); OpenAI knows ``24h`` alone."""


def below_accept(given: Any, usual: float) -> Any:
    """Return a section in which ``review_from``, where only ``accept`` is given, is not above it.

    Args:
        given: what is to be validated.
        usual: the default of ``review_from``.
    """
    if not isinstance(given, dict) or "review_from" in given:
        return given
    accept = given.get("accept")
    lower = isinstance(accept, int | float) and not isinstance(accept, bool) and accept < usual
    return given | {"review_from": accept} if lower else given


# pydantic warns of a field that has the name of its old method; nobody calls that here.
with catch_warnings(action="ignore", category=UserWarning):

    class Endpoint(Section):
        """An OpenAI-compatible server, or a model on this machine, and what its tokens cost."""

        base_url: str = Field(EMBEDDED, pattern=r"^([a-z]+|https?://\S+)$")
        """``embedded``; a URL such as ``https://api.openai.com/v1`` or ``http://127.0.0.1:8000/v1``; ``weights``, which
        samples plain text from a folder of weights, many calls together (set ``concurrency`` to a hundred or more); or
        ``langchain``, for any provider that LangChain knows."""
        model: str = Field("smollm2-135m-instruct", min_length=1)
        """The model's name, as the server knows it. With ``weights``: ``embedded``, a model's folder, a name on the
        hub, or the folder of a PEFT adapter. With ``langchain``: provider and model, such as
        ``anthropic:claude-sonnet-4-5``."""
        input_price: float | None = Field(None, ge=0)
        """Dollars for a million prompt tokens. ``null``: nothing for a model on this machine or in its network, else
        what the package genai-prices lists for ``base_url`` and ``model``; where it lists nothing, a cap needs it
        given."""
        output_price: float | None = Field(None, ge=0)
        """Dollars for a million completion tokens; as for ``input_price``."""
        concurrency: int = Field(8, ge=1, le=512)
        """Calls in flight at a time."""
        timeout: float = Field(120.0, gt=0, le=3600)
        """Seconds to wait for one answer."""
        attempts: int = Field(5, ge=1, le=20)
        """Tries of one call over rate limits, server errors and broken connections."""
        parameters: dict[str, str | int | float | bool | None] = Field({})
        """What the server calls OpenAI's parameters, such as ``{max_tokens: max_completion_tokens, seed: null}``: its
        name for one, ``null`` where it has none, or a value that is always sent, such as ``{temperature: 1}``. What a
        server refuses is found out by asking, too."""
        json: Literal["schema", "object", "prompt"] = "schema"  # type: ignore[assignment]  # hides pydantic's old method
        """How answers are held to a JSON schema: by the server (``json_schema``); as JSON by the server and in form by
        the prompt (``json_object``); or by the prompt alone. What a server refuses is found out by asking, too."""
        batch: Batch | None = None
        """Send the calls of ``generate``, ``respond`` and ``judge`` in batches, for a run that can wait a day for each,
        at half the price, such as ``{after: 50, within: 24h}``: at least so many together, and how long the server may
        take; ``null`` asks at once. For a server that has OpenAI's Batch API."""

        @field_validator("base_url")
        @classmethod
        def _parses(cls, url: str) -> str:
            if "://" in url and not urlsplit(url).hostname:
                raise ValueError(f"{masked(url)!r} names no host")
            plain = demand_plain(url, "api-version")
            path = urlsplit(plain).path.rstrip("/")
            if path.endswith(API):
                raise ValueError(f"it ends before {API}, which is added: {path.removesuffix(API) or '/'}")
            return plain

        def __hash__(self) -> int:
            return hash(self.model_dump_json())


class Sources(Section):
    """Where instructions come from. Paths are relative to the working directory; ``seeds:NAME`` comes with Corral."""

    seeds: str = "seeds:seed_tasks"
    """Seed tasks in Self-Instruct's format, one JSON object a line."""
    prompts: str | None = "seeds:prompts"
    """Given prompts with verifiable checks, one JSON object a line; ``null`` for none."""
    gold: str | None = None
    """Answers of which is known whether they are good, as labels for ``corral calibrate``: ``{"prompt": "...",
    "output": "...", "rating": 5}``, one JSON object a line. From 4 on an answer is good, up to 2 it is not. Who reviews
    meets one now and then, and how often each person is right is told; ``null`` for none."""
    prompt_limit: int | None = Field(None, ge=1)
    """Use at most so many training prompts of the file, and as many held-out ones as ``evaluate.limit`` says."""


class Models(Section):
    """Which model does what."""

    generator: Endpoint = Endpoint()
    """Writes instructions."""
    policy: Endpoint = Endpoint(base_url=WEIGHTS, model=EMBEDDED, concurrency=CALLS_TOGETHER)
    """Answers prompts: the model being tuned. Where no ``base_url`` is given, ``base``, sampled from its weights."""
    judge: Endpoint = Endpoint()
    """Judges answers."""
    base: str = EMBEDDED
    """The policy's weights to train: ``embedded``, a local folder, or a name on the Hugging Face hub."""

    @model_validator(mode="before")
    @classmethod
    def _policy_is_the_base(cls, given: Any) -> Any:
        policy = given.get("policy", {}) if isinstance(given, dict) else None
        if not isinstance(policy, dict) or "base_url" in policy:
            return given
        base = given.get("base", EMBEDDED)
        return given | {"policy": {"base_url": WEIGHTS, "model": base, "concurrency": CALLS_TOGETHER} | policy}


class Budget(Section):
    """What the run may spend."""

    dollars: float | None = Field(None, ge=0)
    """The cap over all calls of the run; ``null`` for none. A call that would pass it is not made. Every model that may
    cost money needs a known price then; see ``models.*.input_price``."""


class Generation(Section):
    """Instruction generation, after Stanford Alpaca (``generate_instruction.py``)."""

    target: int = Field(24, ge=0, le=1_000_000)
    """Accepted instructions wanted; 0 turns generation off."""
    rounds: int = Field(3, ge=1, le=1000)
    """Rounds of generate and gate at most."""
    demonstrations: int = Field(3, ge=1, le=10)
    """Seed tasks shown in each prompt."""
    tasks_per_call: int = Field(20, ge=2, le=20)
    """Tasks asked in each prompt, the demonstrations among them."""
    temperature: float = Field(1.0, ge=0, le=2)
    """How freely a token is drawn; 0 always takes the likeliest."""
    top_p: float = Field(1.0, gt=0, le=1)
    """Tokens are drawn from the likeliest ones that together have this probability."""
    max_tokens: int = Field(768, ge=64, le=32_768)
    """Completion tokens of each call."""


class Gates(Section):
    """What an instruction must pass. ``accept`` and ``review_from`` are scores in [0, 1]."""

    preset: Literal["alpaca", "modern", "guide"] = "alpaca"
    """The rules on form: ``alpaca``, those of Stanford's ``generate_instruction.py``; ``modern``, which stop fewer
    good rows and more bad ones, as ``benchmarks/gates.py`` measures; or ``guide``, Alpaca's and a decision tree on
    quality (``tools/gates/tree.py``)."""
    language: str = Field("en", pattern=r"^(any|[a-z]{2})$")
    """What instructions must be in: ``en``, another code of ISO 639-1 such as ``da`` or ``zh``, or ``any``. For all but
    English, words are told apart in every script, and by letters where a script has no spaces."""
    off: tuple[str, ...] = ()
    """Rules that do not count, by the codes that reasons begin with, such as ``keyword``."""
    severity: dict[str, Literal["low", "medium", "high", "critical"]] = {}
    """How much a rule weighs, by its code, where that is not its own weight: ``low`` costs a tenth of the score,
    ``medium`` three, ``high`` half of it, and ``critical`` rejects."""
    min_words: int = Field(5, ge=0, le=10_000)
    """Words of an instruction at least, by the preset ``guide``."""
    max_words: int = Field(100, ge=1, le=100_000)
    """Words of an instruction at most, by the preset ``guide``."""
    min_output: int = Field(5, ge=0, le=100_000)
    """Characters of an output at least, by the preset ``guide``."""
    max_output: int = Field(1000, ge=1, le=1_000_000)
    """Characters of an output at most, by the preset ``guide``."""
    rouge_threshold: float = Field(0.7, gt=0, le=1)
    """An instruction with a ROUGE-L F-measure above this against any kept one is rejected."""
    accept: float = Field(0.8, ge=0, le=1)
    """Score from which an instruction is accepted."""
    review_from: float = Field(0.6, ge=0, le=1)
    """Score from which it waits for a person; below, it is rejected. Where ``accept`` is given alone, never above
    that."""
    min_diversity: float = Field(0.3, ge=0, le=1)
    """Below this share of novel rows among those offered in a round, the round counts as too alike."""
    record_similarity: bool = False
    """Keep with each row the ten most similar kept instructions with their ROUGE-L, and the mean over all, as
    Stanford's record does: exact, and some seventeen times the gate's own work."""
    opinion: bool = False
    """Ask the judge's model, too, whether instruction, input and output agree: one call a row."""

    @model_validator(mode="before")
    @classmethod
    def _accept_alone(cls, given: Any) -> Any:
        return below_accept(given, 0.6)

    @model_validator(mode="after")
    def _ordered(self) -> Self:
        if self.review_from > self.accept:
            raise ValueError(f"gates.review_from ({self.review_from}) must not be above gates.accept ({self.accept})")
        for least, most in (("min_words", "max_words"), ("min_output", "max_output")):
            if getattr(self, least) > getattr(self, most):
                raise ValueError(
                    f"gates.{least} ({getattr(self, least)}) must not be above gates.{most} ({getattr(self, most)})"
                )
        return self


class Sampling(Section):
    """Candidates of the policy."""

    candidates: int = Field(4, ge=1, le=64)
    """Draws for each prompt, each with its own seed."""
    temperature: float = Field(0.7, ge=0, le=2)
    """How freely a token is drawn; 0 always takes the likeliest."""
    top_p: float = Field(0.9, gt=0, le=1)
    """Tokens are drawn from the likeliest ones that together have this probability."""
    max_tokens: int = Field(144, ge=8, le=32_768)
    """Completion tokens of each answer, at most."""
    scaffold_draws: int = Field(2, ge=0, le=64)
    """More draws, with examples of the asked form before the prompt, where no candidate passes the prompt's checks."""
    repairs: int = Field(2, ge=0, le=64)
    """Candidates of such a prompt, at most, that are cut to whole sentences and put into the asked form."""


class OwnDimension(Section):
    """A dimension of your own, which a judge of its own scores beside the five."""

    weight: float = Field(gt=0, le=1)
    """Its share of the overall score; what is left is the five's."""
    rubric: str = Field(min_length=1)
    """What which score means, such as ``"90: names the season. 40: could be of any month."``."""
    goal: str = ""
    """What its judge looks at; by default the dimension's name."""


class Expert(Section):
    """An expert of your own, in the place of the task type's."""

    role: str = Field(min_length=1)
    """Such as ``retail media planner``."""
    goal: str = Field("Decide how good the answer is as a whole for the person who asked.", min_length=1)
    """What the stars are to say."""
    backstory: str = ""
    """What the expert has seen, and what weighs most."""
    years_of_experience: int | None = Field(None, ge=0, le=80)
    """Of the role."""


class Judging(Section):
    """The crew, and the two thresholds between which a person decides."""

    task_type: TaskType = "general"
    """Picks the expert who gives the stars and the policy rules that apply."""
    weights: dict[str, float] = Field({name: dimension.weight for name, dimension in DIMENSIONS.items()})
    """Share of each of the five dimensions in the overall score; they sum to 1. Dimensions of your own take theirs
    before."""
    dimensions: dict[Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,40}$")], OwnDimension] = Field({})
    """Dimensions of your own, by name: ``{seasonality: {weight: 0.2, rubric: "90: fits the season. 40: does not."}}``.
    Where their weights sum to 1, the five are not asked."""
    expert: Expert | None = None
    """An expert of your own, who gives the stars: ``{role: ..., goal: ..., backstory: ..., years_of_experience: 15}``;
    ``null`` for the task type's."""
    context: dict[str, Any] = Field({})
    """What the judges should know of brand and readers, for all answers. ``brand``, ``brand_terms``, ``avoid_terms``,
    ``tone`` and ``reading_grade`` are checked, too; others, such as ``retailer`` and ``audience``, the judges read. A
    prompt's own ``context`` in the prompts file counts before it."""
    accept: float = Field(70.0, ge=0, le=100)
    """Overall score from which a candidate is accepted."""
    review_from: float = Field(55.0, ge=0, le=100)
    """Overall score from which it waits for a person; below, it is rejected. Where ``accept`` is given alone, never
    above that."""
    draws: int = Field(1, ge=1, le=16)
    """Repeated judgements of each candidate; their spread lowers the confidence."""
    max_tokens: int = Field(160, ge=32, le=8192)
    """Completion tokens of each judgement."""
    licence: float | None = Field(None, ge=-1, lt=1)
    """Refuse to train on a judge that is not licensed: in each mode in which the run uses it, ``corral calibrate`` must
    have shown a kappa whose lower bound is above this, more agreement than the longer answer, the first one, a constant
    and chance have on the same labels, and no more flips than ``max_flips``; ``null`` for no demand."""
    max_flips: float = Field(0.25, ge=0, le=1)
    """Share of pairs in which swapping the order may swap a licensed judge's choice."""
    band: Literal["fixed", "measured"] = "fixed"
    """``measured``: a person decides between the narrowest scores around the middle of ``review_from`` and ``accept``
    that keep ``band_error``, by all decisions that people had made on this judge's texts when the run began. While too
    few show any such scores, ``review_from`` and ``accept`` stay."""
    band_error: float = Field(0.1, gt=0, lt=1)
    """Of what the judge decides alone, the share at most that people would decide otherwise."""
    band_confidence: float = Field(0.9, gt=0, lt=1)
    """With which ``band_error`` is kept, over the draws of the labels."""

    @model_validator(mode="before")
    @classmethod
    def _accept_alone(cls, given: Any) -> Any:
        return below_accept(given, 55.0)

    @property
    def shares(self) -> dict[str, float]:
        """Share of each dimension that is judged in the overall score, the five first; they sum to 1."""
        left = 1 - sum(own.weight for own in self.dimensions.values())
        five = {name: self.weights[name] * left for name in DIMENSIONS} if left > 1e-6 else {}
        return five | {name: own.weight for name, own in self.dimensions.items()}

    @model_validator(mode="after")
    def _valid(self) -> Self:
        if self.review_from > self.accept:
            raise ValueError(f"judge.review_from ({self.review_from}) must not be above judge.accept ({self.accept})")
        if set(self.weights) != set(DIMENSIONS):
            raise ValueError(
                f"judge.weights must name exactly {', '.join(DIMENSIONS)}; one of your own has its weight in "
                "judge.dimensions"
            )
        if min(self.weights.values()) < 0 or abs(sum(self.weights.values()) - 1) > 1e-6:
            raise ValueError(f"judge.weights must be at least 0 and sum to 1, not {sum(self.weights.values()):g}")
        if taken := sorted(self.dimensions.keys() & {*DIMENSIONS, "expert", "pair"}):
            raise ValueError(f"judge.dimensions: the name {taken[0]} is taken; judge.weights weighs the five")
        if (own := sum(dimension.weight for dimension in self.dimensions.values())) > 1 + 1e-6:
            raise ValueError(f"judge.dimensions: their weights must sum to 1 at most, not {own:g}")
        return self


class Reviewing(Section):
    """The human at the interrupt."""

    page: int = Field(10, ge=1, le=100)
    """Items shown at one interrupt."""
    raters: int = Field(1, ge=1, le=9)
    """People that rate each item, blind to each other. What most of them say counts; a tie goes to one more."""
    audit_share: float = Field(0.1, ge=0, le=1)
    """Share of what the machines decided alone that people decide, too, drawn by ``seed``: their error follows from it.
    An unattended run asks nobody."""
    human_share: float = Field(0.0, ge=0, le=1)
    """Share of the training prompts of which people compare two answers, drawn by ``seed``; the guide takes 0.1."""
    unattended: Literal["reject", "midpoint", "approve"] = "midpoint"
    """What an unattended run does with a borderline item: reject it, approve it from the middle between the two
    thresholds, or approve it. The policy's name is recorded as the reviewer. A policy is no person and changes no
    stars: what it approves is imitated only where the judges gave it four or five."""


class Training(Section):
    """SFT and DPO, of a LoRA adapter or of all weights.

    The defaults were found on the embedded model of 135M parameters and a CPU. Alpaca's, for a full fine-tune of 7B,
    are in ``seeds/alpaca_7b.yaml``; ``seeds/large.yaml`` has what of them fits LoRA.
    """

    method: Literal["lora", "full"] = "lora"
    """``lora``: an adapter on every linear layer. ``full``: all weights, as Alpaca did; what is kept is still a PEFT
    adapter, as large as the base, which llama.cpp does not serve: merge it by ``corral export --adapter merged``. It
    takes some 20 bytes of memory for each weight."""
    recipe: str = Field("sft", pattern=r"^[a-z]+(\+[a-z]+)*$")
    """The phases of the training, in order, joined by ``+``; all of them train one adapter. ``sft`` imitates the chosen
    answers, ``dpo`` turns from rejected ones to chosen ones, ``sft+dpo`` does both. On the small model SFT on guarded
    answers did best, and DPO after it undid some of the gain."""
    completions: int = Field(2, ge=1, le=64)
    """Good completions of one prompt, at most, that SFT imitates."""
    seed_share: float = Field(0.5, ge=0, le=1)
    """Share of the seed tasks whose own outputs SFT imitates beside the completions. People wrote them: without them
    the language of a small model narrows to that of its own answers. The others measure the perplexity."""
    length_ratio: float = Field(2.0, ge=1, le=100)
    """The longer completion of a DPO pair has at most so many times the words of the other, or length is what is
    learned (Singhal et al. 2023)."""
    rounds: int = Field(2, ge=1, le=10)
    """Trainings at most: one that came out worse than the base is tried again with half the learning rate."""
    epochs: float = Field(2.0, gt=0, le=100)
    """Passes over the rows, in each phase; a part of one is a part of the rows. Alpaca took 3 for 7B."""
    batch_size: int = Field(8, ge=1, le=1024)
    """Rows of one optimiser step, over all processes. What does not fit into memory together follows by gradient
    accumulation. 8 was best for the 135M model and a few hundred rows; Alpaca took 128 for 7B and 52,000 rows."""
    learning_rate: float = Field(3e-4, gt=0, lt=1)
    """Peak of the SFT, for a LoRA adapter on a small model: it rises over ``warmup_ratio``, then goes by ``scheduler``.
    4e-4 gained no more and made answers shorter, 8e-4 cost language (docs/experiments.md). LoRA on 7B takes
    about 2e-4, Alpaca's full fine-tune took 2e-5."""
    scheduler: Literal["cosine", "linear", "constant", "cosine_with_restarts", "polynomial"] = "cosine"
    """The course of the learning rates after their peak, by its name in transformers; ``constant`` stays there."""
    warmup_ratio: float = Field(0.1, ge=0, lt=1)
    """Share of the steps over which a learning rate rises to its peak; Alpaca took 0.03."""
    dpo_learning_rate: float = Field(5e-5, gt=0, lt=1)
    """Peak of the DPO, of the same course. At 3e-4 the small model learned to repeat itself."""
    dpo_beta: float = Field(0.1, gt=0, le=10)
    """How strongly DPO holds the adapter to its reference: the factor on the log-probability ratios. The paper's
    0.1."""
    lora_rank: int = Field(32, ge=1, le=512)
    """Inner width of the adapter's two matrices on every linear layer; its size is in proportion."""
    lora_alpha: int = Field(64, ge=1, le=1024)
    """The adapter's product is scaled by ``lora_alpha / lora_rank``: twice, by default."""
    lora_dropout: float = Field(0.0, ge=0, lt=1)
    """Share of the adapter's inputs that are dropped at each training step."""
    max_length: int = Field(512, ge=32, le=131_072)
    """Tokens of prompt and completion together; longer rows are refused by the trainer with a count."""
    save_steps: int = Field(10, ge=1)
    """Optimiser steps between checkpoints."""
    accelerate_config: str | None = None
    """``gpu``, ``cpu``, ``cpus``, ``fsdp`` or ``zero3`` for a config that comes with Corral, or a file for
    ``accelerate launch --config_file``; ``null`` for one process, on the GPU where there is one. ``fsdp`` was tried
    with one GPU, ``zero3`` with none. A file of yours must gather what it saves: FSDP of version 2 with
    ``FULL_STATE_DICT``, ZeRO-3 with ``zero3_save_16bit_model``."""
    quantise: Literal["none", "4bit"] = "none"
    """``4bit``: QLoRA, the frozen base in NF4 with double quantisation, computing in bfloat16. Needs a GPU and the
    package bitsandbytes."""
    min_examples: int = Field(1, ge=1, le=10_000_000)
    """Rows that each phase needs; with fewer, nothing is trained."""
    max_hours: float | None = Field(None, gt=0)
    """A training that is estimated to take longer is not begun; ``null`` for no limit."""
    report_to: Literal["none", "wandb", "tensorboard", "mlflow"] = "none"
    """Where the trainer's own figures go at each step, beside Corral's: a service of that name, whose package must be
    installed. Its own variables say where it writes, such as ``WANDB_MODE=offline``; files go into the training's
    folder."""
    wait_minutes: float = Field(60.0, ge=0, le=10_080)
    """How long an unattended run waits for resources that are taken by others, before it fails and can be resumed."""

    @model_validator(mode="after")
    def _possible(self) -> Self:
        if self.method == "full" and self.quantise != "none":
            raise ValueError(
                f"train.method full trains the weights themselves, which train.quantise {self.quantise} "
                "freezes; set one of them otherwise"
            )
        return self


class Evaluation(Section):
    """Base against adapter on held-out prompts."""

    heldout_share: float = Field(0.1, ge=0, lt=1)
    """Share of prompts without a stated split that is held out, by a hash of the prompt."""
    limit: int | None = Field(None, ge=1)
    """Held-out prompts at most."""
    max_tokens: int = Field(144, ge=8, le=32_768)
    """Completion tokens of each answer, at most."""
    primary: Literal["guarded", "checks", "rougeL"] = "guarded"
    """The metric of the verdict, fixed before training. ``guarded``: the checks pass, the text does not repeat
    itself and it ended by itself."""
    stemmer: bool = False
    """Compare words for ROUGE by Porter's stems, as some evaluations of Alpaca do: ``walks`` and ``walking`` are one.
    The diversity gate, whose verdicts are Stanford's, does not."""
    max_perplexity: float = Field(1.05, gt=0)
    """An adapter whose perplexity on held-out text is more than so many times its base's is not deployed by an
    unattended run, and a person is warned: a gain in the checks that costs the language is no gain."""
    resamples: int = Field(10_000, ge=100, le=1_000_000)
    """Draws of the paired bootstrap."""
    sampled_draws: int = Field(1, ge=0, le=64)
    """Answers drawn for each prompt beside the greedy one, at the temperature of ``sampling``; 0 for none."""
    judged_pairs: int = Field(24, ge=0, le=100_000)
    """Prompts whose two greedy answers the judge compares, in both orders; 0 for none. They are paid for like every
    other call of the judge."""
    ifeval: str | None = None
    """IFEval's prompts as Google publishes them (``input_data.jsonl``): base and adapter answer a fixed sample of them,
    too, in at most 512 tokens, and the scoreboard has the four accuracies. They are no part of the verdict; what
    repeats one of the file's prompts is not trained on."""
    ifeval_prompts: int = Field(200, ge=1)
    """Prompts of that sample, at most: the same ones in every run."""


class Deployment(Section):
    """Where a signed adapter goes."""

    registry: str | None = None
    """A folder with one sub-folder a version and a ``current`` pointer; ``null`` for ``registry`` in Corral's home."""


class Improving(Section):
    """The next adapter, from what people said of the one that is deployed: ``corral improve``."""

    from_feedback: bool = False
    """Whether the run is one of improvement, which begins with that feedback; ``corral improve`` sets it."""
    rule: Literal["guide", "interval"] = "guide"
    """When to retrain. ``guide``: ``ratings`` in ``days``, and their mean ``below`` so many stars. ``interval``: the
    first ratings of ``raters``, and the upper end of the 95% interval of their mean ``below``; it stays valid however
    often one looks. Both count the ratings of the deployed version alone."""
    ratings: int = Field(100, ge=1)
    """Fewest ratings, by the rule ``guide``."""
    days: float = Field(7.0, gt=0, le=3650)
    """Days back to which ratings count, by the rule ``guide``."""
    below: float = Field(3.5, ge=1, le=5)
    """Mean stars below which to retrain."""
    raters: int = Field(30, ge=1)
    """Fewest raters, by the rule ``interval``."""
    similar: int = Field(24, ge=0, le=100_000)
    """Prompts to write that are similar to those whose answers were rated low; they pass through all gates."""
    start: Literal["deployed", "base"] = "deployed"
    """What the training begins with: the ``deployed`` adapter, or a fresh one on the ``base``. The answers that it
    learns from are drawn from the same."""


class RunRequest(Section):
    """Everything an owner can set for one run."""

    name: str = Field("run", pattern=r"^[a-z0-9][a-z0-9-]{0,40}$")
    """The head of the run's name: lower-case letters, digits and hyphens."""
    seed: int = Field(0, ge=0, lt=2**31)
    """Every draw of the run follows from it: on one machine, with one version of the libraries, the same request gives
    the same datasets, adapter and verdict, byte for byte, whatever else the machine does, however many calls are in
    flight, and wherever it was killed and resumed. That cannot be promised where a model answers from a URL or through
    ``langchain`` (the seed is sent along, and the server may ignore it, or batch the call with others), nor on a GPU,
    where libraries choose their kernels by themselves (one H200 gave one adapter the same bytes three times, twice
    after a kill; docs/hardware.md). Another processor, another number of cores or another version of
    torch may round in another way, and a person may decide in another way."""
    unattended: bool = False
    """Never wait for a person: a named policy reviews, and an adapter is deployed only if it is shown to be better, no
    tripwire flagged its training, and its perplexity stays within ``evaluate.max_perplexity``."""
    sources: Sources = Sources()
    models: Models = Models()
    budget: Budget = Budget()
    generation: Generation = Generation()
    gates: Gates = Gates()
    sampling: Sampling = Sampling()
    judge: Judging = Judging()
    review: Reviewing = Reviewing()
    train: Training = Training()
    evaluate: Evaluation = Evaluation()
    deploy: Deployment = Deployment()
    improve: Improving = Improving()
    preview: bool = False
    """End before the training; ``corral run --preview`` sets it."""
