"""Installed commands as the shell at hand finds them."""

from __future__ import annotations

import os
import shlex
import shutil
import sys
from pathlib import Path


def command(name: str) -> str:
    """A command of this environment as it is typed: its name, or its path where the environment is not the shell's."""
    installed, ours = shutil.which(name), Path(sys.executable).with_name(name)
    if not ours.exists() or (installed and Path(installed).samefile(ours)):
        return name
    near = os.path.relpath(ours)
    return shlex.quote(str(ours) if near.startswith("..") else os.path.join(".", near))
