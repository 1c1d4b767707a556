"""From judged candidates to training files: which completion is chosen, which rejected, and the bytes on disk."""
