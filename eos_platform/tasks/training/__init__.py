"""How the bundled models were trained: ``python -m eos_platform.tasks.training --help``."""
