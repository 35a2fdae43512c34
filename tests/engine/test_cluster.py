"""Shares of a machine: how many searches at once, and what each gets."""

import pytest
from engine_fakes import study_file

from eos_platform.engine.cluster import share
from eos_platform.errors import EosError


@pytest.mark.parametrize(
    ("concurrent", "resources", "has", "cpu", "gpu", "at_once"),
    [
        (2, {}, {"CPU": 2.0}, 1, 0, 2),
        (8, {}, {"CPU": 2.0}, 1, 0, 2),
        (3, {"cpu": 0.5}, {"CPU": 2.0}, 0.5, 0, 3),
        (4, {"cpu": 2}, {"CPU": 4.0}, 2, 0, 2),
        (4, {}, {"CPU": 16.0, "GPU": 1.0}, 1, 0.25, 4),
        (3, {}, {"CPU": 16.0, "GPU": 1.0}, 1, 0.3333, 3),
        (12, {}, {"CPU": 64.0, "GPU": 8.0}, 1, 0.5, 12),
        (2, {}, {"CPU": 64.0, "GPU": 8.0}, 1, 1, 2),
        (8, {"gpu": 0.5}, {"CPU": 16.0, "GPU": 2.0}, 1, 0.5, 4),
        (8, {"gpu": 2}, {"CPU": 16.0, "GPU": 5.0}, 1, 2, 2),
        (8, {"gpu": 0}, {"CPU": 16.0, "GPU": 2.0}, 1, 0, 8),
    ],
)
def test_share(concurrent, resources, has, cpu, gpu, at_once):
    part = share(study_file(concurrent=concurrent, resources=resources), has)
    assert (part.cpu, part.gpu, part.concurrent) == (cpu, pytest.approx(gpu), at_once)
    assert part.gpu * part.concurrent <= has.get("GPU", 0) + 1e-9
    assert part.cpu * part.concurrent <= has["CPU"]


def test_threads_follow_the_cores():
    assert share(study_file(resources={"cpu": 4}), {"CPU": 8.0}).threads == 4
    assert share(study_file(resources={"cpu": 0.5}), {"CPU": 8.0}).threads == 1


def test_what_does_not_fit_is_said():
    with pytest.raises(EosError, match=r"resources\.cpu: a search wants 4 cores, there are 2"):
        share(study_file(resources={"cpu": 4}), {"CPU": 2.0})
    with pytest.raises(EosError, match=r"resources\.gpu: a search wants 1 GPUs, there are 0"):
        share(study_file(resources={"gpu": 1}), {"CPU": 2.0})
