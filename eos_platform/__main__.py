"""``python -m eos_platform`` is ``eos``."""

from eos_platform.cli import main

if __name__ == "__main__":
    main()
