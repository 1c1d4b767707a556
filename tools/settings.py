"""Settings: the only reader of the environment.

What belongs to one run is in its ``RunRequest``; what belongs to the machine or the person is here. The names of others
are the ecosystem's own; ours begin with ``CORRAL_``, and an unknown name of that kind is refused.
"""

from __future__ import annotations

import difflib
import getpass
import json
import os
from pathlib import Path
from typing import Annotated, Any, Literal

from platformdirs import user_cache_path
from pydantic import AliasChoices, Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from state.errors import BadInput
from state.masking import demand_plain
from state.names import demand_persons_name

PREFIX = "CORRAL_"
TOKEN_LENGTH = 16
"""Characters of a token at least: 96 bits in base64."""


def login_name() -> str:
    """Return the login name, or ``unknown`` where the system has none (a container without a passwd entry)."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return "unknown"


class Settings(BaseSettings):
    """What the environment says. Closed and immutable; secrets are never printed."""

    model_config = SettingsConfigDict(
        extra="forbid",
        frozen=True,
        case_sensitive=True,
        env_ignore_empty=True,
        populate_by_name=True,
        hide_input_in_errors=True,
        use_attribute_docstrings=True,
        validate_default=True,
    )

    home: Path = Field(Path(".corral"), validation_alias="CORRAL_HOME")
    """Where runs, datasets, adapters and the database live; made absolute against the working directory."""
    database_url: str = Field(
        default_factory=lambda data: f"sqlite:///{data['home'] / 'corral.db'}", validation_alias="CORRAL_DATABASE_URL"
    )
    """``sqlite:///FILE`` or ``postgresql://HOST/NAME``; a SQLite file in the home where it is not set."""
    cache: Path = Field(default_factory=lambda: user_cache_path("corral"), validation_alias="CORRAL_CACHE")
    """What can be made again at any time, such as the embedded model in the trainer's format."""
    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] | None = Field(None, validation_alias="CORRAL_LOG_LEVEL")
    """The least severe event that is logged. Where it is set, events go to standard error as well as to the log in the
    run's folder; where it is not, the log begins at INFO."""
    reviewer: str = Field(default_factory=login_name, min_length=1, validation_alias="CORRAL_REVIEWER")
    """The name that is written beside a person's decisions; the login name where it is not set."""
    serve_tokens: Annotated[dict[str, SecretStr], NoDecode] = Field({}, validation_alias="CORRAL_SERVE_TOKENS")
    """Who may use the web application, as a JSON object of names and secret tokens: ``{"ada": "TOKEN", ...}``. A token
    opens the pages (typed once, or as ``Authorization: Bearer TOKEN``), and its name is who decided. Without any, the
    application answers this machine alone."""
    serve_canary: float = Field(0.0, ge=0, lt=1, validation_alias="CORRAL_SERVE_CANARY")
    """Share of the users, always the same ones, that a new version serves until ratings show whether it is better; 0
    for none, so that it takes the place of the old one at once."""
    alert_webhook: SecretStr | None = Field(None, validation_alias="CORRAL_ALERT_WEBHOOK")
    """A URL that 'corral monitor' sends alerts to, as JSON with a ``text``, which Slack and many others take."""
    editor: str = Field("", validation_alias=AliasChoices("VISUAL", "EDITOR"))
    """The command that edits a text in a review; without one, it is edited on the terminal itself."""
    trusted_models: str = Field("", validation_alias="CORRAL_TRUSTED_MODELS")
    """Models, by folder or by name on the hub and separated by commas, whose pickled weights and own code are loaded:
    both can run anything on this machine. No other model's are."""
    serve_engine: Literal["llama.cpp", "vllm"] = Field("llama.cpp", validation_alias="CORRAL_SERVE_ENGINE")
    """What answers in ``corral serve``: llama.cpp in its own process, or the vLLM server at ``serve_url``."""
    serve_url: str = Field("", pattern=r"^(https?://\S+)?$", validation_alias="CORRAL_SERVE_URL")
    """The vLLM server, up to ``/v1``. It was started with ``--enable-lora`` and
    ``VLLM_ALLOW_RUNTIME_LORA_UPDATING=True``, and reads the registry's folder at the same place."""
    serve_parallel: int = Field(8, ge=1, le=256, validation_alias="CORRAL_SERVE_PARALLEL")
    """Answers that are written at the same time."""
    serve_queue: int = Field(64, ge=0, le=100_000, validation_alias="CORRAL_SERVE_QUEUE")
    """Requests that wait for their turn; one more gets 429 with ``Retry-After``."""
    serve_context: int = Field(2048, ge=64, le=1_048_576, validation_alias="CORRAL_SERVE_CONTEXT")
    """Tokens of prompt and answer together, at most; llama.cpp keeps memory for so many in each of
    ``serve_parallel``."""
    serve_drain: float = Field(28.0, ge=0, le=3600, validation_alias="CORRAL_SERVE_DRAIN")
    """Seconds that answers in flight may take to their end after SIGTERM or Ctrl-C; requests that wait are sent away
    at once. What takes longer is cut, and a second later the server is gone: within the 30 seconds of Kubernetes.
    ``docker stop`` kills after 10 unless ``--time 30`` says otherwise. Where more are left (Kubernetes'
    ``terminationGracePeriodSeconds``, systemd's ``TimeoutStopSec``), two fewer than that is right."""
    openai_api_key: SecretStr | None = Field(None, validation_alias="OPENAI_API_KEY")
    """The key for every server but the embedded one; several keys, separated by commas, are used in turn."""
    openai_base_url: str = Field(
        "https://api.openai.com/v1", pattern=r"^https?://\S+$", validation_alias="OPENAI_BASE_URL"
    )
    """The server of a model that is named without a URL."""
    openai_model: str = Field("", validation_alias=AliasChoices("OPENAI_MODEL", "OPENAI_MODEL_NAME"))
    """The model at ``OPENAI_BASE_URL`` that judges and writes where a config or a program names none."""
    ollama_base_url: str = Field("", pattern=r"^(https?://\S+)?$", validation_alias="OLLAMA_BASE_URL")
    """Ollama's server, with or without ``/v1``; this machine's where it is not set."""
    ollama_model: str = Field("", validation_alias="OLLAMA_MODEL")
    """The model of Ollama that does so; ``OPENAI_MODEL`` counts before it."""
    langsmith_api_key: SecretStr | None = Field(
        None, validation_alias=AliasChoices("LANGSMITH_API_KEY", "LANGCHAIN_API_KEY")
    )
    """LangSmith's key."""
    langsmith_tracing: bool = Field(
        False,
        validation_alias=AliasChoices(
            "LANGSMITH_TRACING_V2", "LANGCHAIN_TRACING_V2", "LANGSMITH_TRACING", "LANGCHAIN_TRACING"
        ),
    )
    """Whether steps and model calls are traced to LangSmith. The names are read in LangSmith's own order."""
    langsmith_project: str = Field(
        "default", validation_alias=AliasChoices("LANGSMITH_PROJECT", "LANGCHAIN_PROJECT", "LANGCHAIN_SESSION")
    )
    """The LangSmith project that traces go to."""
    langsmith_endpoint: str = Field(
        "https://api.smith.langchain.com", validation_alias=AliasChoices("LANGSMITH_ENDPOINT", "LANGCHAIN_ENDPOINT")
    )
    """The LangSmith server."""

    langsmith_hide_inputs: bool = Field(
        False, validation_alias=AliasChoices("LANGSMITH_HIDE_INPUTS", "LANGCHAIN_HIDE_INPUTS")
    )
    """Leave what was asked out of the traces, and comments of judges and people."""
    langsmith_hide_outputs: bool = Field(
        False, validation_alias=AliasChoices("LANGSMITH_HIDE_OUTPUTS", "LANGCHAIN_HIDE_OUTPUTS")
    )
    """The same of what was answered."""

    otel_endpoint: str = Field(
        "", validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")
    )
    """Where OpenTelemetry's spans over requests, steps and model calls are sent; nothing is traced where it is not set.
    OpenTelemetry reads it, and its other ``OTEL_*`` variables, by itself."""
    otel_protocol: Literal["http/protobuf", "grpc"] = Field(
        "http/protobuf",
        validation_alias=AliasChoices("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"),
    )
    """How they are sent."""
    otel_exporter: Literal["otlp", "none"] = Field("otlp", validation_alias="OTEL_TRACES_EXPORTER")
    """``none`` turns them off."""
    otel_disabled: bool = Field(False, validation_alias="OTEL_SDK_DISABLED")
    """Turns them off, too."""

    @field_validator("home", "cache", mode="after")
    @classmethod
    def _absolute(cls, path: Path) -> Path:
        try:
            return path.expanduser().absolute()
        except RuntimeError as error:
            raise ValueError(f"{path}: {error}") from error

    @field_validator("openai_api_key", "langsmith_api_key", mode="after")
    @classmethod
    def _fits_a_header(cls, given: SecretStr | None) -> SecretStr | None:
        keys = [key.strip() for key in given.get_secret_value().split(",")] if given else []
        for number, key in enumerate(keys, 1):
            if not all("!" <= character <= "~" for character in key):
                raise ValueError(
                    f"key {number} of {len(keys)} holds a space, a control character or a letter that is not plain "
                    "ASCII within it; copy it again"
                )
        return given

    @field_validator("serve_tokens", mode="before")
    @classmethod
    def _parsed(cls, given: Any) -> Any:
        if not isinstance(given, str):
            return given
        try:
            return json.loads(given)
        except ValueError:
            raise ValueError('it is no JSON object of names and tokens, such as {"ada": "TOKEN"}') from None

    @field_validator("serve_tokens", mode="after")
    @classmethod
    def _safe_tokens(cls, given: dict[str, SecretStr]) -> dict[str, SecretStr]:
        for name, secret in given.items():
            demand_persons_name(name)
            token = secret.get_secret_value()
            if len(token) < TOKEN_LENGTH or not all("!" <= character <= "~" for character in token):
                raise ValueError(
                    f"the token of {name} must be at least {TOKEN_LENGTH} plain ASCII characters without a space; "
                    "'python -c \"import secrets; print(secrets.token_urlsafe())\"' makes one"
                )
        if len({secret.get_secret_value() for secret in given.values()}) < len(given):
            raise ValueError("two names have the same token, so nobody could say who decided")
        return given

    @field_validator("openai_base_url", "ollama_base_url", "langsmith_endpoint", "serve_url", mode="after")
    @classmethod
    def _without_secrets(cls, url: str) -> str:
        return demand_plain(url)

    @field_validator("langsmith_tracing", "langsmith_hide_inputs", "langsmith_hide_outputs", mode="before")
    @classmethod
    def _as_langsmith_reads_it(cls, value: bool | str) -> bool | str:
        if value not in (True, False, "true", "false"):
            raise ValueError("LangSmith knows only 'true' and 'false', in lower case")
        return value

    @property
    def trusted(self) -> tuple[str, ...]:
        """The models of ``CORRAL_TRUSTED_MODELS``."""
        return tuple(name.strip() for name in self.trusted_models.split(",") if name.strip())

    @property
    def api_keys(self) -> tuple[str, ...]:
        """The keys of ``OPENAI_API_KEY``, in their order; empty where there is none."""
        given = self.openai_api_key.get_secret_value() if self.openai_api_key else ""
        return tuple(key.strip() for key in given.split(",") if key.strip())


def load_settings() -> Settings:
    """Read the environment.

    Raises:
        BadInput: an unknown ``CORRAL_`` variable, or a value that does not fit; one line that names the variable.
    """
    known = _variables()
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1, cutoff=0.0)[0]
            raise BadInput(f"environment: {name} is not a setting of Corral; did you mean {near}?")
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False)[0]
        raise BadInput(f"environment: {_as_set(str(first['loc'][0]))}: {first['msg']}") from None


def _as_set(alias: str) -> str:
    """Return the name the person used, where a setting has several; pydantic reports the first."""
    aliases = [field.validation_alias for field in Settings.model_fields.values()]
    names = next((a.choices for a in aliases if isinstance(a, AliasChoices) and alias in a.choices), [alias])
    return next((str(name) for name in names if os.environ.get(str(name))), alias)


def _variables() -> list[str]:
    aliases = [str(field.validation_alias) for field in Settings.model_fields.values()]
    return sorted(alias for alias in aliases if alias.startswith(PREFIX))
