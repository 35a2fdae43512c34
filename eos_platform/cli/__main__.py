"""``python -m eos_platform.cli``."""

from eos_platform.cli.app import main

main()
