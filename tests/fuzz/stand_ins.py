"""What valid input would begin, and a fuzz has no time for: reaching it means that the input was accepted."""

from __future__ import annotations

import importlib
import os
from typing import Any

from .runner import ACCEPTED

LONG_WORK = (
    ("eos_platform.search", "search"),
    ("eos_platform.search.portfolio.find", "find"),
    ("eos_platform.search.scale.processes", "search_together"),
    ("eos_platform.search.front", "front"),
    ("eos_platform.bench.run", "bench"),
    ("eos_platform.analysis.explain.explain", "explain"),
    ("eos_platform.analysis.comparison.run", "measure"),
    ("eos_platform.analysis.comparison.run", "search"),
    ("eos_platform.engine.study", "ray_session"),
    ("eos_platform.engine.cluster.ray_session", "ray_session"),
    ("werkzeug.serving", "make_server"),
    ("eos_platform.dashboard_data.report", "export"),
)


def accepted(*_: Any, **__: Any) -> Any:
    os._exit(ACCEPTED)


def put_in() -> None:
    """Put them in, in a child process only, unless the case asks for the real thing."""
    import torch

    # torch makes its pool of threads anew after a fork, at first use, and two threads that load weights can find none
    torch.set_num_threads(1)
    if os.environ.get("EOS_FUZZ_REAL"):
        return
    for module, name in LONG_WORK:
        setattr(importlib.import_module(module), name, accepted)


def import_all() -> None:
    """Have every child find what it needs imported."""
    for module, _ in LONG_WORK:
        importlib.import_module(module)
    for module in (
        "eos_platform.cli",
        "eos_platform.terminal.tables",
        "eos_platform.terminal.progress",
        "eos_platform.dashboard_data.studies",
        "eos_platform.dashboard_data.report",
        "eos_platform.dashboards.app",
        "eos_platform.tracking.comparison",
        "eos_platform.analysis.comparison.report",
        "eos_platform.bench.shapes",
        "transformers.models.llava.modeling_llava",
        "transformers.models.llava.processing_llava",
        "transformers.models.clip.modeling_clip",
        "transformers.models.llama.modeling_llama",
        "mlflow.store.tracking.sqlalchemy_store",
    ):
        importlib.import_module(module)
