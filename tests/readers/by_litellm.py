"""Run by LiteLLM's own Python: asks the server at the first argument, and prints what it read."""

import json
import sys

import litellm

shared = {
    "model": "openai/current",
    "api_base": sys.argv[1],
    "api_key": "none",
    "messages": [{"role": "user", "content": "Hello."}],
    "max_tokens": 4,
    "temperature": 0,
}
whole = litellm.completion(**shared)
parts = list(litellm.completion(**shared, stream=True))
try:
    litellm.completion(**shared | {"model": "openai/nobody"})
    refused = ""
except litellm.NotFoundError as error:
    refused = str(error)
print(
    json.dumps(
        {
            "model": whole.model,
            "text": whole.choices[0].message.content,
            "tokens": whole.usage.completion_tokens,
            "streamed": "".join(part.choices[0].delta.content or "" for part in parts),
            "refused": refused,
        }
    )
)
