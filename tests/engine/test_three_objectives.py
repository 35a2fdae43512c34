"""A real study of three objectives on the small bundled model: accuracy, milliseconds of another device, KV bytes."""

from __future__ import annotations

import io
import sys
from pathlib import Path

import pytest
import torch
from engine_fakes import study_file
from rich.console import Console

from eos_platform.analysis.stats.pareto import front_of, hypervolume, worst_of
from eos_platform.common.errors import EosError
from eos_platform.engine.store import optuna_store as store
from eos_platform.engine.study import Study
from eos_platform.tasks import load_workload

sys.path.insert(0, str(Path(__file__).parents[1] / "costs" / "device"))  # its helpers

from made_up_device import profile_for

THREE = {"accuracy": "maximise", "prefill_ms": "minimise", "kv_bytes": "minimise"}
METRICS = list(THREE)


@pytest.mark.parametrize("field", ["cost_batch", "cost_mode", "device_profile"])
def test_how_costs_are_taken_is_one_for_all_searches_of_a_study(field):
    with pytest.raises(EosError, match=f"a study has one cost that all its budgets are about; set search.{field}"):
        study_file(space={field: {"choice": [1, 2]}, "learning_rate": {"float": [0.01, 0.1]}})


def test_what_comes_of_a_profile_is_labelled_so_and_workers_get_its_whole_path(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    search = {"steps": 9, "device_profile": "h200.json", "cost_batch": 16}
    file = study_file(search=search, objectives=THREE)
    assert [one.label for one in file.axes] == ["accuracy", "prefill ms, device profile", "KV cache bytes"]
    assert file.setting.profile == str(tmp_path / "h200.json")
    assert file.setting.batch == 16
    plain = study_file(objectives=THREE)
    assert [one.label for one in plain.axes][1] == "prefill ms"


@pytest.mark.slow  # a whole study on a real Ray, with real searches
@pytest.mark.usefixtures("ray_local")
def test_a_study_of_three_objectives_has_a_front_in_three_dimensions(tmp_path):
    torch.set_num_threads(1)
    small = load_workload("bundled-small", device="cpu")
    path = profile_for(small.shape, small.target).save(tmp_path / "made-up.json")
    search = {"steps": 6, "eval_every": 2, "batch_size": 4, "search_questions": 32, "eval_questions": 32}
    file = study_file(
        model="bundled-small",
        task="scenes",
        objectives=THREE,
        search={**search, "cost": "prefill_ms", "device_profile": str(path)},
        space={"budget": {"choice": ["1.6ms", "2ms", "2.6ms"]}, "learning_rate": {"float": [0.02, 0.1]}},
        scheduler={"name": "moasha", "grace": 2, "reduction": 2, "min_searches": 2},
        trials=4,
        concurrent=1,
        final={"questions": 32, "baselines": ["random"], "ratios": 1},
    )
    study = Study(file, runs=tmp_path / "runs", console=Console(file=io.StringIO()))
    points = study.run()
    with store.open_store(study.folder, create=False) as optuna_study:
        assert optuna_study.metric_names == METRICS
        trials = [trial for trial in optuna_study.trials if trial.values]
    assert len(trials) >= 2
    for trial in trials:
        assert trial.values == [trial.user_attrs["measured"][name] for name in METRICS]
        assert trial.values[1] <= trial.params["budget"] * 1.05
    assert points[METRICS].notna().all().all()  # the unreduced model and the baseline too, by the profile
    searched = points[front_of(points, file.axes)]
    assert len(searched) >= 1
    assert hypervolume(searched, worst_of(points, file.axes), file.axes) > 0
    assert [line for line in study.check() if "compute_ratio" not in line] == []
