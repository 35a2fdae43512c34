"""One of each of what another package can add to eos-platform (the entry points are in pyproject.toml)."""
