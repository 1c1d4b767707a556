"""OpenAI's chat completions request, and the guide's own, as what is asked of an engine."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from jsonschema.exceptions import SchemaError
from jsonschema.validators import validator_for
from pydantic import BaseModel, ConfigDict, Field, field_validator

from serving.chat.errors import ApiError
from tools.engine.asked import CURRENT, Asked
from tools.files import writable

UNKNOWN_HERE = ("tools", "functions", "audio", "logit_bias", "prediction", "web_search_options")
"""What would change the answer, and no engine here can do. Other fields that are not known change nothing."""
MOST_CHOICES = 8
MOST_STOPS = 16
Penalty = Annotated[float, Field(ge=-2, le=2)]


class _Given(BaseModel):
    model_config = ConfigDict(extra="allow", allow_inf_nan=False)


class TextPart(_Given):
    """A part of a message."""

    type: Literal["text"]
    text: str


class Message(_Given):
    """A turn of the chat."""

    role: Literal["system", "developer", "user", "assistant"]
    content: str | list[TextPart]

    def turn(self) -> dict[str, str]:
        """Return it as the chat template reads it."""
        text = self.content if isinstance(self.content, str) else "".join(part.text for part in self.content)
        return {"role": "system" if self.role == "developer" else self.role, "content": writable(text)}


class StreamOptions(_Given):
    """What a stream tells beside the answer."""

    include_usage: bool = False


class JsonSchema(_Given):
    """The schema that an answer must have."""

    name: str = ""
    json_schema: dict[str, Any] = Field(alias="schema")


class ResponseFormat(_Given):
    """The form of the answer."""

    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None

    def asked(self) -> dict[str, Any] | None:
        """Return the schema; an empty one for any object, ``None`` for plain text.

        Raises:
            ApiError: there should be one, and is none.
        """
        if self.type == "text":
            return None
        if self.type == "json_object":
            return {}
        if self.json_schema is None:
            raise ApiError(400, "response_format.json_schema is missing", param="response_format")
        schema = self.json_schema.json_schema
        try:
            validator_for(schema).check_schema(schema)
        except SchemaError as error:
            raise ApiError(400, f"the JSON schema is none: {error.message}", param="response_format") from error
        except (TypeError, AttributeError, RecursionError) as error:
            raise ApiError(400, f"the JSON schema is none: {error}", param="response_format") from error
        return schema


class ChatRequest(_Given):
    """OpenAI's request."""

    model: str = Field(min_length=1)
    messages: list[Message] = Field(min_length=1)
    max_tokens: int | None = Field(None, ge=1)
    max_completion_tokens: int | None = Field(None, ge=1)
    temperature: float | None = Field(None, ge=0, le=2)
    top_p: float | None = Field(None, gt=0, le=1)
    n: int | None = Field(None, ge=1, le=MOST_CHOICES)
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    stop: list[str] | None = Field(None, max_length=MOST_STOPS)
    seed: int | None = None
    presence_penalty: Penalty | None = None
    frequency_penalty: Penalty | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = Field(None, ge=0, le=20)
    response_format: ResponseFormat | None = None
    user: str | None = Field(None, max_length=200)
    """Whom the client asks for: the same user is served the same version, and rates as that."""

    @field_validator("stop", mode="before")
    @classmethod
    def _several(cls, given: Any) -> Any:
        return [given] if isinstance(given, str) else given

    def asked(self) -> Asked:
        """Return what is asked of the engine.

        Raises:
            ApiError: a field asks for what no engine here can do.
        """
        for name in UNKNOWN_HERE:
            if (self.model_extra or {}).get(name):
                raise ApiError(400, f"{name} is not supported here; leave it out", "unsupported", param=name)
        if self.top_logprobs is not None and not self.logprobs:
            raise ApiError(400, "top_logprobs needs logprobs: true", param="top_logprobs")
        return Asked(
            turns=tuple(message.turn() for message in self.messages),
            choices=self.n or 1,
            max_tokens=self.max_completion_tokens or self.max_tokens,
            temperature=1.0 if self.temperature is None else self.temperature,
            top_p=self.top_p or 1.0,
            seed=self.seed,
            stop=tuple(text for text in self.stop or () if text),
            presence_penalty=self.presence_penalty or 0.0,
            frequency_penalty=self.frequency_penalty or 0.0,
            logprobs=(self.top_logprobs or 0) if self.logprobs else None,
            json_schema=self.response_format.asked() if self.response_format else None,
        )


class GenerateRequest(BaseModel):
    """The guide's request."""

    model_config = ConfigDict(extra="forbid", allow_inf_nan=False)

    instruction: str = Field(min_length=1)
    input: str = ""
    max_tokens: int = Field(256, ge=1)
    temperature: float = Field(0.7, ge=0, le=2)
    model: str = Field(CURRENT, min_length=1)
    user: str = Field("", max_length=200)
    """Whom the client asks for."""

    def asked(self) -> Asked:
        """Return what is asked of the engine: the prompt as the adapter was trained on it."""
        instruction, given = writable(self.instruction), writable(self.input)
        turn = {"role": "user", "content": f"{instruction}\n\n{given}" if given else instruction}
        return Asked(
            turns=(turn | ({"input": given} if given else {}),),
            max_tokens=self.max_tokens,
            temperature=self.temperature,
        )
