"""Models loaded by several threads at once: each whole, and the next one too."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch

from eos_platform.models.loading.one_at_a_time import one_at_a_time
from eos_platform.tasks.workload import load_workload


def test_threads_that_load_at_once_all_get_whole_models():
    begin = threading.Barrier(4)

    def loaded(number):
        begin.wait()
        return load_workload("bundled-small", device="cpu").model.lm_head.weight

    with ThreadPoolExecutor(4) as pool:
        weights = list(
            pool.map(loaded, range(4))
        )  # one raised "its weights lack 'lm_head.weight'" in three of four runs
    after = load_workload("bundled-small", device="cpu").model.lm_head.weight
    assert all(torch.equal(weight, after) for weight in weights)


def test_what_loads_may_load_in_turn_and_errors_let_the_next_in():
    @one_at_a_time
    def deep(depth):
        if depth:
            return deep(depth - 1)
        raise ValueError("no such file")

    for _ in range(2):
        with pytest.raises(ValueError, match="no such file"):
            deep(2)
    done = threading.Thread(target=one_at_a_time(lambda: None))
    done.start()
    done.join(10)
    assert not done.is_alive()
