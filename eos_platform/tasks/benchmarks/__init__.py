"""Public benchmarks in their own files: official layouts, prompts and metrics."""
