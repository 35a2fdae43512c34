"""Loading models and tasks, and what accuracy means: the same as writing the answer with ``generate``."""

from pathlib import Path

import numpy as np
import pytest
import torch

from eos_platform.errors import EosError
from eos_platform.models.attach import attached
from eos_platform.models.bundled import GRIDS, folder
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Transfer
from eos_platform.tasks import Workload, evaluate, load_workload
from eos_platform.tasks.encode import first_questions
from eos_platform.tasks.render import render
from eos_platform.tasks.scenes import make_scene


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


@pytest.mark.parametrize("reduced", [False, True])
def test_accuracy_is_that_of_generated_answers(small: Workload, reduced: bool) -> None:
    questions = 40
    operator = merging(small) if reduced else OperatorSpec(target=small.target)
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


def test_unknown_split_is_refused(small: Workload) -> None:
    with pytest.raises(EosError, match="unknown split 'test'"):
        small.encoded("test", 8)  # type: ignore[arg-type]
