"""A chat completion as servers really send it, read into a reply."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any

from state.errors import CallRefused, EndpointFailing
from tools.endpoint.failures import TryAgain, in_its_words, said_by_server
from tools.endpoint.transport import Reply

BYTES_A_TOKEN = 4
"""Used only if a server does not report its tokens: the usual figure for English."""
MOST_TOKENS = 2**31
"""More than any model has given; a count above it is none."""
_STOPS = (
    *("", "stop", "eos", "eos_token", "eot", "end", "end_turn", "end_of_turn", "stop_sequence", "stop_token"),
    *("complete", "completed", "finished", "done", "normal", "tool_calls", "function_call"),
)
ENDS: Mapping[str, str] = MappingProxyType(
    dict.fromkeys(_STOPS, "stop")
    | dict.fromkeys(("length", "max_tokens", "max_length", "max_new_tokens", "token_limit"), "length")
    | dict.fromkeys(("content_filter", "safety", "recitation", "blocklist", "prohibited_content"), "content_filter")
    | dict.fromkeys(("error", "failed"), "error")
)
"""How a completion ended, by the servers' words for it in lower case; a word that is not here stays as it is."""


def read_completion(answer: Mapping[str, Any], body: Mapping[str, Any], url: str) -> Reply:
    """Return the reply in a chat completion.

    The text may be a string, a list of parts, the arguments of a tool call, or where the older API has it. Tokens that
    are not reported as a count are estimated.

    Args:
        answer: the server's, parsed.
        body: what was asked.
        url: the server's, for errors.

    Raises:
        TryAgain: it is no chat completion, it is empty without a count of tokens, or it says that the server failed.
        CallRefused: a content filter took the whole answer, or the model only reasoned.
    """
    choice = _choice(answer, url)
    message = _mapping(choice.get("message"))
    refusal = message.get("refusal")
    text = refusal if isinstance(refusal, str) and refusal else _text(choice, message, answer, url)
    ended = _ended(choice, body)
    if ended == "error":
        said = said_by_server(json.dumps(choice.get("error") or message.get("error") or answer.get("error") or ""))
        raise TryAgain(EndpointFailing(f"{url} ended its answer with an error{f': {said}' if said else ''}"))
    usage = _mapping(answer.get("usage"))
    completed, asked = _count(usage.get("completion_tokens")), _count(usage.get("prompt_tokens"))
    if not text.strip():
        _demand_text(message, ended, url)
        if not asked and (completed is None or asked == completed == 0):
            raise TryAgain(EndpointFailing(f"{url} gave an empty answer, and counted no tokens of it"))
    return Reply(
        text=text,
        finish_reason="refusal" if refusal else ended,
        prompt_tokens=asked or estimated_tokens(json.dumps(body["messages"], ensure_ascii=False)),
        completion_tokens=estimated_tokens(text) if completed is None else completed,
    )


def with_stops(reply: Reply, stop: Sequence[str], sent: Mapping[str, Any]) -> Reply:
    """Return a reply that ends where the call's stop words say, also where the server does not take them."""
    if "stop" in sent or not stop:
        return reply
    end = min((at for at in (reply.text.find(word) for word in stop) if at >= 0), default=None)
    return reply if end is None else reply.model_copy(update={"text": reply.text[:end], "finish_reason": "stop"})


def estimated_tokens(text: str) -> int:
    """Return about how many tokens a text has."""
    return -(-len(text.encode("utf-8", "surrogatepass")) // BYTES_A_TOKEN)


def no_completion(url: str, text: str) -> TryAgain:
    """Return the error for an answer that is none: a gateway's for one call, or a server's of another kind for all."""
    advice = "answers, but not as an OpenAI-compatible server. Check how base_url must end there (often /v1)."
    said = in_its_words(text) if text.strip() else " It sent nothing."
    return TryAgain(EndpointFailing(f"{url} {advice}{said}"))


def _mapping(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _choice(answer: Mapping[str, Any], url: str) -> Mapping[str, Any]:
    choices = answer.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], dict):
        return choices[0]
    if answer.get("error"):
        said = said_by_server(json.dumps(answer))
        raise TryAgain(EndpointFailing(f"{url} answered with an error: {said}"))
    raise no_completion(url, json.dumps(answer))


def _text(choice: Mapping[str, Any], message: Mapping[str, Any], answer: Mapping[str, Any], url: str) -> str:
    for content in (message.get("content"), choice.get("text")):
        if isinstance(content, str) and content:
            return content
        if isinstance(content, list):
            return "".join(filter(None, map(_part, content)))
    if isinstance(calls := message.get("tool_calls"), list) and calls:
        arguments = calls[0].get("function", {}).get("arguments") if isinstance(calls[0], dict) else None
        return arguments if isinstance(arguments, str) else json.dumps(arguments) if arguments else ""
    if (not message and "text" not in choice) or not isinstance(message.get("content"), str | None):
        raise no_completion(url, json.dumps(answer))
    return ""


def _part(part: Any) -> str:
    """Return the text of a part of a message; thinking, pictures and the like have none that is the answer."""
    if isinstance(part, str):
        return part
    if not isinstance(part, dict) or part.get("type") not in ("text", "output_text", None):
        return ""
    text = part.get("text")
    return text if isinstance(text, str) else ""


def _ended(choice: Mapping[str, Any], body: Mapping[str, Any]) -> str:
    said = choice.get("finish_reason") or choice.get("stop_reason") or ""
    return ENDS.get(str(said).strip().lower(), str(said).strip())


def _count(value: Any) -> int | None:
    """Return a count of tokens as servers write it; ``None`` for what is none."""
    if isinstance(value, str) and value.strip().isdigit():
        value = int(value) if len(value.strip()) < 12 else None
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < MOST_TOKENS:
        return None
    return int(value)


def _demand_text(message: Mapping[str, Any], ended: str, url: str) -> None:
    """Refuse an answer without text where the reason is known; a model that ends at once has answered.

    Raises:
        CallRefused: another try would end in the same way.
    """
    reasoning = message.get("reasoning_content") or message.get("reasoning")
    if isinstance(reasoning, str) and reasoning.strip():
        raise CallRefused(f"{url}: the model reasoned and gave no answer; raise max_tokens")
    if ended == "content_filter":
        raise CallRefused(f"{url}: the server's content filter took the whole answer")
