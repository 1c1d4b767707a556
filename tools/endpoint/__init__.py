"""The one way to a model: OpenAI-compatible endpoints behind the ledger."""
