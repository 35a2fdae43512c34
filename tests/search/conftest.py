"""The small bundled model, loaded once."""

import pytest

from eos_platform.tasks import Workload, load_workload


@pytest.fixture(scope="session")
def small() -> Workload:
    return load_workload("bundled-small", device="cpu")
