"""The small bundled model, loaded once, and a finished comparison on it."""

import pytest

from eos_platform.tasks import Workload, load_workload

QUICK = {"steps": 4, "batch_size": 4, "search_questions": 16, "eval_questions": 16}


@pytest.fixture(scope="session")
def small() -> Workload:
    return load_workload("bundled-small", device="cpu")


@pytest.fixture(scope="session")
def quick():
    return QUICK


@pytest.fixture(scope="session")
def finished(tmp_path_factory, small):
    """Folder of a comparison with every kind of entry."""
    from eos_platform.analysis.comparison import run as module
    from eos_platform.analysis.comparison.settings import Settings

    folder = tmp_path_factory.mktemp("comparison") / "out"
    settings = Settings.of(
        model="bundled-small",
        ratios=(0.3, 0.12),
        designs=("random", "fastv", "zero"),
        tune=2,
        questions=48,
        search=QUICK,
        batch=2,
        pictures=2,
        out=folder,
    )
    patch = pytest.MonkeyPatch()
    patch.setattr(module, "load_workload", lambda *args, **options: small)
    module.run(settings)
    patch.undo()
    return folder
