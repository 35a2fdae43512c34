"""How the bundled models of the second task are trained: ``python -m eos_platform.tasks.scenes_v2.training --help``."""
