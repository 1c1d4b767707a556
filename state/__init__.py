"""What a run carries, and how it is kept: records, request, state, store, checkpoints."""
