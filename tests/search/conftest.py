"""The small bundled model, loaded once, and a search of seconds."""

import pytest
import torch

from eos_platform.search import SearchConfig
from eos_platform.tasks import Workload, load_workload


@pytest.fixture(autouse=True, scope="module")
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def small() -> Workload:
    return load_workload("bundled-small", device="cpu")


@pytest.fixture(scope="session")
def tiny() -> SearchConfig:
    """Of few questions: its accuracies are measured in batches of four, each as dear as a step without its gradient."""
    return SearchConfig(budget=0.15, steps=10, batch_size=4, search_questions=32, eval_questions=8)
