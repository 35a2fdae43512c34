"""What a study ran with: enough to tell why two runs of one study file differ."""

from __future__ import annotations

import os
import platform
import sys
from functools import cache
from importlib import metadata

PACKAGES = ("eos-platform", "torch", "transformers", "ray", "optuna", "mlflow", "numpy", "pandas")


@cache
def environment() -> dict[str, str]:
    """Versions of what matters, and the machine in words."""
    versions = {}
    for name in PACKAGES:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    versions["python"] = platform.python_version()
    versions["platform"] = f"{platform.system()} {platform.machine()}, {os.cpu_count()} CPU cores"
    torch = sys.modules.get("torch")  # never loaded for this alone
    if torch is not None and torch.cuda.is_available():
        versions["accelerator"] = f"{torch.cuda.device_count()} x {torch.cuda.get_device_name()}"
    return versions
