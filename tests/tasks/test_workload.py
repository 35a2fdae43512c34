"""Loading models and tasks, and what accuracy means: the same as writing the answer with ``generate``."""

from collections.abc import Collection
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from eos_platform.common.errors import EosError
from eos_platform.models.bundled import GRIDS, folder
from eos_platform.models.runtime.attach import attached
from eos_platform.models.vision.encoding import encode_images
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Transfer
from eos_platform.tasks import Workload, evaluate, load_workload
from eos_platform.tasks.scenes import encode, make_scene
from eos_platform.tasks.scenes.encode import Encoded, first_questions
from eos_platform.tasks.scenes.render import render


def merging(workload: Workload) -> OperatorSpec:
    """Two sites, one before the language model; small enough to make mistakes."""
    move = Transfer(gamma=1.0, tau=0.05)
    weigh = {"last_text": 0.6, "uniqueness": 0.5, "vision": 0.3}
    return OperatorSpec(
        target=workload.target,
        sites=(
            SiteSpec(layer=0, keep=30, score=weigh, transfer=move, beta=1.0),
            SiteSpec(layer=3, keep=11, score=weigh, transfer=move, beta=0.5),
        ),
    )


def looking_less(small: Workload, how: str) -> OperatorSpec:
    """Operators that act in the vision tower; harsh enough to make mistakes."""
    target, move = small.target, Transfer(gamma=1.0)
    in_tower = SiteSpec(place="tower", layer=2, keep=40, score={"vision": 1.0}, transfer=move, beta=1.0)
    late = SiteSpec(
        layer=1, keep=16, score={"next_vision": 1.0, "relevance": 1.0}, similarity="keys", transfer=move, beta=1.0
    )
    if how == "image":
        return OperatorSpec(target=target, image=(7, 6))
    if how == "tower":
        return OperatorSpec(target=target, sites=(in_tower,))
    return OperatorSpec(target=target, image=(9, 9), sites=(in_tower, late))


@pytest.mark.parametrize("kind", ["identity", "merging", "image", "tower", "all"])
def test_accuracy_is_that_of_generated_answers(small: Workload, kind: str) -> None:
    questions = 40
    reduced = kind != "identity"
    if kind in ("identity", "merging"):
        operator = merging(small) if reduced else OperatorSpec(target=small.target)
    else:
        operator = looking_less(small, kind)
    judged = evaluate(small, operator, "heldout", questions).correct
    pictures, asked = first_questions("heldout", questions, small.config)
    images = [render(make_scene("heldout", index, small.config)) for index in pictures]
    inputs = small.processor(images=images, text=["<image>" + q.text for q in asked], padding=True, return_tensors="pt")
    with attached(small.model, operator):
        out = small.model.generate(**inputs, max_new_tokens=6)
    said = small.processor.batch_decode(out[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True)
    right = np.asarray([s == " " + q.answer for s, q in zip(said, asked, strict=True)])
    np.testing.assert_array_equal(judged, right)
    assert right.any()
    if reduced:
        assert not right.all()  # the operator is harsh enough to be wrong somewhere


def test_bundled_small_answers_and_operators_cost_accuracy(small: Workload) -> None:
    whole = evaluate(small, None, "heldout", 256)
    assert whole.accuracy > 0.9
    assert set(whole.per_skill) == set(small.skills)
    assert whole.questions == 256
    assert evaluate(small, merging(small), "heldout", 256).accuracy < whole.accuracy


def test_identity_operator_answers_like_the_model(small: Workload) -> None:
    identity = OperatorSpec(target=small.target)
    np.testing.assert_array_equal(
        evaluate(small, identity, "search", 64).correct, evaluate(small, None, "search", 64).correct
    )


def test_evaluation_does_not_depend_on_the_batch_size(small: Workload) -> None:
    one, many = (evaluate(small, merging(small), "validation", 48, batch_size=size).correct for size in (7, 48))
    np.testing.assert_array_equal(one, many)


def test_pictures_are_seen_again_only_when_they_look_different(
    small: Workload, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[tuple[int, int] | None, frozenset[str]]] = []

    def spy(model: Any, pixels: torch.Tensor, operator: OperatorSpec | None, names: Collection[str]) -> Any:
        asked.append((operator and operator.image, frozenset(names)))
        return encode_images(model, pixels, operator, names)

    monkeypatch.setattr(encode, "encode_images", spy)
    monkeypatch.setenv("EOS_CACHE", "off")
    encoded = Encoded(small.model, small.processor.tokenizer, "search", 30, small.config)
    assert asked == [(None, {"vision"})]
    assert encoded.encoded_with(merging(small)) is encoded
    assert len(asked) == 1
    shrunk = looking_less(small, "image")
    view = encoded.encoded_with(shrunk)
    assert view is not encoded
    assert asked[1:] == [((7, 6), {"vision"})]
    later = merging(small).sites[1].model_copy(update={"keep": 9})
    assert encoded.encoded_with(shrunk.model_copy(update={"name": "other", "sites": (later,)})) is view
    assert view.encoded_with(merging(small)) is encoded
    assert len(asked) == 2
    layout = next(iter(view.batches(4))).layout
    assert layout.seen is not None
    assert layout.seen.index_br.shape == (4, 42)
    assert layout.features["vision"].shape == (4, 42)
    assert "keys" not in layout.features
    keyed = merging(small).sites[0].model_copy(update={"similarity": "keys"})
    before = encoded.features_mnd
    assert encoded.encoded_with(OperatorSpec(target=small.target, sites=(keyed,))) is encoded
    assert asked[2:] == [(None, {"vision", "keys"})]
    assert encoded.features_mnd is before
    assert "keys" in next(iter(encoded.batches(4))).layout.features
    assert encoded.encoded_with(merging(small)) is encoded
    assert len(asked) == 3


def test_bundled_models_are_what_the_names_say() -> None:
    for name, side in GRIDS.items():
        workload = load_workload(name, device="cpu")
        assert workload.target.grid == (side, side)
        assert workload.model.config.image_seq_length == side * side
        assert not any(parameter.requires_grad for parameter in workload.model.parameters())
    total = sum(path.stat().st_size for name in GRIDS for path in folder(name).glob("*.safetensors"))
    assert total <= 25e6


def test_a_folder_is_a_model_too(small: Workload, tmp_path: Path) -> None:
    small.model.save_pretrained(tmp_path / "mine")
    small.processor.save_pretrained(tmp_path / "mine")
    mine = load_workload(tmp_path / "mine", device="cpu")
    state = small.model.state_dict()
    assert all(torch.equal(value, state[name]) for name, value in mine.model.state_dict().items())


@pytest.mark.parametrize(
    ("model", "task", "message"),
    [
        ("bundled-smal", "scenes", "did you mean 'bundled-small'"),
        ("bundled", "scens", "unknown task 'scens'; did you mean 'scenes'"),
        ("/", "scenes", "has no config.json"),
    ],
)
def test_misspelt_names_are_refused(model: str, task: str, message: str) -> None:
    with pytest.raises(EosError, match=message):
        load_workload(model, task)


def test_a_device_that_is_not_there_is_refused_in_a_line() -> None:
    for device in ("nowhere", "cuda:99"):
        with pytest.raises(EosError, match=f"device '{device}' cannot be used: ") as refused:
            load_workload("bundled-small", device=device)
        assert "\n" not in str(refused.value)


def test_unknown_split_is_refused(small: Workload) -> None:
    with pytest.raises(EosError, match="unknown split 'test'"):
        small.encoded("test", 8)  # type: ignore[arg-type]
