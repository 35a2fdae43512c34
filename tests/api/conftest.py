"""The small bundled model, loaded once for the folder."""

import pytest

import eos_platform as eos


@pytest.fixture(scope="session")
def small():
    return eos.load_workload("bundled-small", device="cpu")
