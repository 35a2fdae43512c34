"""``scenes-v2`` as a task: splits apart, groups, sizes by family, and the models that were trained on it."""

from types import SimpleNamespace

import numpy as np
import pytest

from eos_platform.common.errors import EosError
from eos_platform.models.adapters import FAMILIES
from eos_platform.models.bundled import MODELS
from eos_platform.protocols import SPLITS, Task
from eos_platform.tasks import evaluate, load_workload, scenes_v2
from eos_platform.tasks.choice import checked, default_for, open_task, options_of, parsed
from eos_platform.tasks.scenes_v2.sizes import ANY, sizes_for
from eos_platform.tasks.scenes_v2.task import ScenesV2


def test_it_is_a_task_by_name() -> None:
    task = open_task("scenes-v2")
    assert isinstance(task, ScenesV2)
    assert isinstance(task, Task)
    assert (task.name, task.version, task.exact) == ("scenes-v2", "2", True)
    assert checked({"name": "scenes-v2", "sizes": [[336, 112]]}) == {"name": "scenes-v2", "sizes": [[336, 112]]}
    assert open_task({"name": "scenes-v2", "sizes": [[336, 112]]}).sizes == ((336, 112),)
    assert open_task({"name": "scenes-v2", "sizes": 168}).sizes == ((168, 168),)


@pytest.mark.parametrize("text", ["336x112,168", "[[336, 112], [168, 168]]"])
def test_sizes_as_a_command_line_has_them(text: str) -> None:
    options = parsed("scenes-v2", [f"sizes={text}"])
    assert open_task({"name": "scenes-v2", **options}).sizes == ((336, 112), (168, 168))
    given = options_of({"name": "scenes-v2", "sizes": [[336, 112], [168, 168]]})
    assert parsed("scenes-v2", given[3:]) == {"sizes": "[[336, 112], [168, 168]]"}


@pytest.mark.parametrize(
    "sizes",
    [True, 100, 1000, "33", "336x", "[336", "x", "[[336]]", [], [336, 336], [[336]], [[336, 336.0]], [[336, 50]], {}],
)
def test_sizes_there_are_no_pictures_of(sizes: object) -> None:
    with pytest.raises(EosError, match=r"scenes-v2.*sizes.*112 to 672"):
        ScenesV2(sizes)


def test_the_same_questions_every_time_and_of_each_split_its_own() -> None:
    drawn = {}
    for split in SPLITS:
        first = ScenesV2([[168, 168], [224, 112]]).examples(split, 40)
        again = ScenesV2([[168, 168], [224, 112]]).examples(split, 60)[:40]
        reported = [(one.question, one.answers, one.group, one.key, one.subsets) for one in first]
        assert reported == [(one.question, one.answers, one.group, one.key, one.subsets) for one in again]
        drawn[split] = {one.opened().tobytes() for one in first}
        assert {one.opened().size for one in first} == {(168, 168), (224, 112)}
        assert np.array_equal(first[0].opened(), again[0].opened())
    assert not drawn["search"] & drawn["validation"]
    assert not drawn["heldout"] & (drawn["search"] | drawn["validation"])
    trained = {scenes_v2.picture("train", index, 168).tobytes() for index in range(6)}
    assert not trained & set.union(*drawn.values())
    with pytest.raises(EosError, match="unknown split 'train'"):
        ScenesV2().examples("train", 1)  # type: ignore[arg-type]


def test_questions_belong_to_a_skill_and_a_difficulty_and_answers_are_the_solvers() -> None:
    task = ScenesV2(336)
    for one in task.examples("validation", 60):
        assert one.group in scenes_v2.SKILLS
        assert len(one.subsets) == 1
        assert {one.group, *one.subsets} <= set(task.groups)
        index = int(one.key.split("-")[1])
        assert scenes_v2.solve(scenes_v2.make_scene("validation", index, 336), one.question) == one.answer
        assert task.score(f" {one.answer} ", one) == 1
        assert task.score(one.answer + "s", one) == 0


def _adapter(family: str, side: object) -> SimpleNamespace:
    (found,) = [one for one in {id(one): one for one in FAMILIES.values()}.values() if one.name == family]
    vision = SimpleNamespace() if side is None else SimpleNamespace(image_size=side)
    return SimpleNamespace(
        family=found,
        capabilities=SimpleNamespace(varies=found.varies),
        model=SimpleNamespace(config=SimpleNamespace(vision_config=vision)),
    )


@pytest.mark.parametrize(
    ("family", "side", "expected"),
    [
        ("LLaVA-1.5", 168, {(168, 168)}),
        ("Gemma 3", 896, {(672, 672)}),
        ("InternVL", [448, 448], {(448, 448)}),
        ("SmolVLM/Idefics3", 168, {(336, 336), (336, 168), (168, 336)}),
        ("SmolVLM/Idefics3", 512, set(ANY)),
        ("LLaVA-OneVision", 112, {(224, 224), (336, 112), (112, 336)}),
        ("LLaVA-NeXT", 336, {(672, 672)}),
        ("Qwen-VL", None, set(ANY)),
    ],
)
def test_pictures_are_of_sizes_a_family_is_made_for(family: str, side: object, expected: set[tuple[int, int]]) -> None:
    adapter = _adapter(family, side)
    assert set(sizes_for(adapter)) == expected  # type: ignore[arg-type]
    reported = ScenesV2(200)
    reported.suit(adapter)  # type: ignore[arg-type]
    assert reported.sizes == ((200, 200),)  # what somebody asked for stays


def test_a_bundled_model_means_the_task_it_was_trained_on() -> None:
    assert {name: default_for(name) for name in MODELS} == {name: reported.task for name, reported in MODELS.items()}
    assert default_for("bundled") == default_for("bundled-small") == default_for("some/folder") == "scenes"
    assert options_of("scenes-v2", "bundled-qwen") == options_of("scenes", "bundled") == options_of("scenes") == []
    assert options_of("scenes", "bundled-qwen") == ["--task", "scenes"]
    assert options_of("scenes-v2", "bundled") == ["--task", "scenes-v2"]


@pytest.mark.parametrize(("name", "least"), [("bundled-small-v2", 0.8), ("bundled-qwen", 0.75), ("bundled-gemma", 0.8)])
def test_a_bundled_model_answers_its_task(name: str, least: float) -> None:
    subject = load_workload(name, device="cpu")
    assert subject.source == "scenes-v2"
    assert subject.task == "scenes-v2 2"
    found = evaluate(subject, None, "heldout", 36)
    assert found.accuracy >= least
    assert set(found.per_skill) <= set(subject.skills)
    assert sum(found.subsets[name].sum() for name in found.subsets if name.startswith("difficulty")) == 36
