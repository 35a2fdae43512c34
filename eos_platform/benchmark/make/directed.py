"""The learned directions of the space: from a short search before each layer that a composed site can stand at."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from eos_platform.common import strict_json
from eos_platform.common.files import write_atomic
from eos_platform.search.config import SearchConfig
from eos_platform.search.run import search
from eos_platform.tasks.workload import load_workload

# by layer: budget, steps and candidate sites, of which the first is taken
SEARCHES: dict[int, tuple[float, int, tuple[int, ...]]] = {
    0: (0.15, 160, (0, 4)),
    2: (0.42, 100, (2,)),
    3: (0.56, 100, (3,)),
    4: (0.72, 100, (4,)),
}
SAID = ("budget", "steps", "batch_size", "search_questions", "seed", "layers")


def directions(models: Sequence[str], device: str, path: Path, say: Callable[[str], None]) -> None:
    """Search them anew and write their file; other ones are another space, and need another table."""
    found: dict[str, dict[str, Any]] = {}
    for model in models:
        workload = load_workload(model, device=device)
        for layer, (budget, steps, layers) in SEARCHES.items():
            settings = SearchConfig(
                budget=budget,
                steps=steps,
                layers=layers,
                batch_size=16,
                search_questions=1024,
                budget_warm_up=1.0,
                portfolio=False,
            )
            operator = search(workload, settings, measured=False).operator
            site = operator.sites[0]
            assert site.layer == layer
            assert site.steering is not None
            found.setdefault(model, {})[str(layer)] = {
                "search": {name: strict_json.plain(getattr(settings, name)) for name in SAID},
                "probe": list(site.probe),
                "steering": site.steering.model_dump(),
            }
            say(f"{model}, layer {layer}: {site.keep} tokens")
    write_atomic(path, strict_json.dumps(found) + "\n")
