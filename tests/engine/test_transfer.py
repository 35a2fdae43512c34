"""A transfer matrix measured by Ray's workers is the one that this process measures."""

from pathlib import Path

import pytest

from eos_platform.analysis.transfer.plan import WAYS, Settings
from eos_platform.analysis.transfer.run import Perform, here, run
from eos_platform.engine.cluster.ray_session import ray_session
from eos_platform.engine.transfer import on_ray

TOLD = ("status", "accuracy", "scores", "compute_ratio", "operator", "steps", "changes")


@pytest.mark.slow  # a matrix twice, once on a real Ray
def test_workers_measure_what_this_process_does(tmp_path: Path) -> None:
    settings = Settings.of(
        {
            "places": ("bundled-small:scenes-v2", "bundled-small-v2"), "budgets": (0.35,), "ways": tuple(WAYS),
            "steps": 4, "adapt_steps": 4, "questions": 16,
            "search": {"batch_size": 4, "search_questions": 16, "eval_questions": 16},
        }
    )  # fmt: skip

    def measured(name: str, perform: Perform) -> dict[str, list[object]]:
        records = run(settings, tmp_path / name, perform).records
        return {key: [record.get(field) for field in TOLD] for key, record in records.items()}

    with ray_session("local"):
        far = measured("far", on_ray("cpu"))
    near = measured("near", here("cpu"))
    assert len(near) == 2 + 2 + 2 * len(WAYS)
    assert far == near
