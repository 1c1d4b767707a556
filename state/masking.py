"""Secrets out of texts that are shown or kept: keys, and passwords in URLs."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import parse_qsl, urlsplit

MASK = "[secret]"
SHORTEST_SECRET = 6
"""A shorter key is a placeholder such as ``none`` or ``EMPTY``, and masking it would maim ordinary words."""
SECRETS = re.compile(
    r"\b(?:sk-|gsk_|xai-|hf_|lsv2_)[A-Za-z0-9_-]{12,}"  # keys of OpenAI, Groq, xAI, Hugging Face, LangSmith
    r"|(?<=Bearer )[^\s\"']+"
    r"|(?<=Authorization: Basic )\S+"
    r"|(?<=://)[^\s/@'\"]*:[^\s@'\"]*(?=@)|(?<=://)[^\s/@'\"]+(?=@)"  # name and password in a URL
    r"|(?<=api[-_]key=)[^\s&\"']+|(?<=password=)[^\s&\"']+"
)


IN_QUERY = re.compile(r"([?&][\w-]*(?:key|token|secret|password|sig)=)[^\s&\"']+", re.IGNORECASE)
"""A key in a URL's query."""
FRAGMENT = 8
"""Characters of a known key in a row that are masked, too: servers quote its head or its end."""


def masked(text: str, secrets: Iterable[str] = ()) -> str:
    """Return a text with each secret replaced by ``MASK``.

    Args:
        text: any text, such as an error's.
        secrets: keys that are known, masked as a whole or in part; what looks like a key or like a password in a URL is
            masked too.
    """
    for secret in secrets:
        if len(secret) >= SHORTEST_SECRET:
            text = _without_fragments(text.replace(secret, MASK), secret)
    return masked_query(SECRETS.sub(MASK, text))


def masked_query(text: str) -> str:
    """Return a text without the keys and passwords in the queries of its URLs."""
    return IN_QUERY.sub(rf"\1{MASK}", text)


def demand_plain(url: str, *queries: str) -> str:
    """Return a URL that carries no secret.

    Args:
        url: the URL.
        *queries: names that its query may give a value to.

    Raises:
        ValueError: it has a name, a password, or a query of other names; the message shows none of them.
    """
    parts = urlsplit(url)
    if parts.username is not None or parts.password is not None:
        raise ValueError(f"the URL of {parts.hostname} must not carry a name or a password; a key has a variable")
    if parts.fragment or any(name not in queries for name, _ in parse_qsl(parts.query, keep_blank_values=True)):
        raise ValueError(f"the URL of {parts.hostname} must end with its path, without what follows '?' or '#'")
    return url


def _without_fragments(text: str, secret: str) -> str:
    parts = {secret[start : start + FRAGMENT] for start in range(len(secret) - FRAGMENT + 1)}
    told, at = "", 0
    while at < len(text):
        if text[at : at + FRAGMENT] not in parts:
            told, at = told + text[at], at + 1
            continue
        end = at + FRAGMENT
        while text[end - FRAGMENT + 1 : end + 1] in parts:
            end += 1
        told, at = told + MASK, end
    return told
