"""The ``eos`` command, one file a command."""

from eos_platform.cli.app import main as main
