"""Where operators to attach come from: files, folders, MLflow's registry; and operators of other models."""

from __future__ import annotations

import copy
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

import eos_platform as eos
from eos_platform.common.errors import EosError
from eos_platform.models.runtime.operator_source import STUDIES, operator_from, save_operator
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Steering, Target


def made(layers: int = 4, grid: tuple[int, int] = (8, 8), **more: Any) -> OperatorSpec:
    fields = {"layer": layers // 2, "keep": grid[0] * grid[1] // 4, "score": {"norm": 1.0}, **more}
    return OperatorSpec(name="mine", target=Target(layers=layers, grid=grid), sites=(SiteSpec.model_validate(fields),))


def test_a_folder_holds_model_and_operator(small: Any, tmp_path: Path) -> None:
    model, spec = small.build(), made()
    assert eos.attach(model, spec) is model
    expected = model(**small.prompts()).logits
    model.save_pretrained(tmp_path)
    assert save_operator(spec, tmp_path) == tmp_path / "operator.json"
    again = type(model).from_pretrained(tmp_path, attn_implementation="sdpa").eval()
    eos.attach(again, tmp_path)
    assert eos.attached_operator(again) == spec
    assert (again(**small.prompts()).logits - expected).abs().max() < 1e-5
    eos.detach(again)
    assert eos.attached_operator(again) is None


def loaded(model: Any, folder: Path) -> Any:
    return type(model).from_pretrained(folder, attn_implementation="sdpa").eval()


def test_a_model_is_saved_with_its_operator_and_found_with_it(small: Any, tmp_path: Path) -> None:
    model, spec = small.build(), made()
    eos.attach(model, spec)
    pickle.loads(pickle.dumps(model)).save_pretrained(tmp_path / "pickled")
    expected = model(**small.prompts()).logits
    model.save_pretrained(tmp_path / "one")
    copy.deepcopy(model).save_pretrained(tmp_path / "copied")
    for name in ("one", "copied", "pickled"):
        again = eos.attach(loaded(model, tmp_path / name))
        assert eos.attached_operator(again) == spec
        assert (again(**small.prompts()).logits - expected).abs().max() < 1e-5
    twin = eos.detach(copy.deepcopy(model))
    for one in (eos.detach(model), twin):
        assert "save_pretrained" not in vars(one), "the model is as it was"
        one.save_pretrained(tmp_path / "plain")
    assert not (tmp_path / "plain" / "operator.json").exists()


def test_what_is_attached_for_a_while_is_saved_meanwhile(small: Any, tmp_path: Path) -> None:
    model = small.build()
    with eos.attached(model, made()):
        model.save_pretrained(tmp_path / "with")
    model.save_pretrained(tmp_path / "without")
    assert eos.attached_operator(eos.attach(loaded(model, tmp_path / "with"))) == made()
    with pytest.raises(EosError, match=r"no operator.json in .*without, where this model was loaded from"):
        eos.attach(loaded(model, tmp_path / "without"))
    with pytest.raises(EosError, match="loaded from no folder; say which one to attach"):
        eos.attach(model)


def test_a_folder_without_an_operator_says_so(tmp_path: Path) -> None:
    with pytest.raises(EosError, match=r"no operator\.json in this folder"):
        operator_from(tmp_path)


def test_an_operator_of_another_model_is_rescaled_when_asked(small: Any, model: Any) -> None:
    foreign = made(32, (24, 24), probe=(1.0, 2.0, 3.0))
    with pytest.raises(EosError, match="rescale"):
        eos.attach(model, made(32, (24, 24)))
    with eos.attached(model, foreign, rescale=True):
        spec = eos.attached_operator(model)
        assert spec is not None
        assert (spec.sites[0].layer, spec.sites[0].keep, spec.sites[0].probe) == (2, 16, ())
        changes = spec.provenance["rescaled_from"]["changes"]  # type: ignore[index, call-overload]
        assert changes == [
            "sites.0: its learned direction (3 numbers) cannot be transferred, and was left out",
            "sites.0: decoder layer 16 -> 2",
            "sites.0: keeps 144 of 576 -> 16 of 64",
        ]
        model(**small.prompts())


@pytest.mark.parametrize("name", ["", "llava-1.5"])
def test_an_operator_of_this_very_model_is_as_good_as_not_rescaled(model: Any, name: str) -> None:
    matrices = torch.randn(2, 2, 64, generator=torch.Generator().manual_seed(0))
    spec = made(probe=(0.5,) * 64, steering=Steering.of(*matrices))
    spec = spec.model_copy(update={"target": spec.target.model_copy(update={"model": name})})
    with eos.attached(model, spec, rescale=True):
        assert eos.attached_operator(model) == spec


def test_the_registry_gives_operators(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    mlflow = pytest.importorskip("mlflow")
    folder = tmp_path / "artifact"
    spec = made()
    save_operator(spec, folder)
    asked = []

    def download(artifact_uri: str, dst_path: str) -> str:
        asked.append((artifact_uri, mlflow.get_tracking_uri(), mlflow.get_registry_uri()))
        return str(folder)

    monkeypatch.setattr(mlflow.artifacts, "download_artifacts", download)
    monkeypatch.chdir(tmp_path)
    store = tmp_path / "eos-runs" / "mlflow.db"
    store.parent.mkdir()
    store.touch()
    assert operator_from("models:/mine@ratio-0.20") == spec
    ours, other = f"sqlite:///{store}", f"sqlite:///{folder / 'operator.json'}"
    assert asked.pop() == ("models:/mine@ratio-0_20", ours, ours)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", other)
    assert operator_from("models:/mine/7") == spec
    assert asked.pop() == ("models:/mine/7", other, other)


def test_the_registry_is_where_the_tracking_looks() -> None:
    from eos_platform.tracking.reading.studies import DEFAULT_URI

    assert STUDIES == DEFAULT_URI


@pytest.mark.parametrize("told", [None, "sqlite:///none.db", "file:none", "none"])
def test_a_registry_that_is_not_there_is_not_made(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, told: Any) -> None:
    pytest.importorskip("mlflow")
    monkeypatch.chdir(tmp_path)
    if told is not None:
        monkeypatch.setenv("MLFLOW_TRACKING_URI", told)
    with pytest.raises(EosError, match="no MLflow store at"):
        operator_from("models:/x@y")
    assert not list(tmp_path.iterdir())
