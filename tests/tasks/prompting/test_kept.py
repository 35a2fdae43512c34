"""Encoded prompts from disk: to the last bit what is made anew, and nothing of another model, processor or picture."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image
from task_folders import questions_file
from task_processors import MADE
from torch.utils._pytree import tree_leaves

from eos_platform.common.errors import EosError
from eos_platform.models.conformance.subjects import fresh
from eos_platform.models.conformance.zoo import SAMPLES
from eos_platform.search import objective
from eos_platform.tasks import Workload, cache
from eos_platform.tasks.examples import EncodedExamples
from eos_platform.tasks.files import Files
from eos_platform.tasks.on_task import OnTask
from eos_platform.tasks.prompting import kept
from eos_platform.tasks.prompting.encoder import Encoder


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv(cache.FOLDER, str(tmp_path / "cache"))
    monkeypatch.setattr(kept, "CHUNK", 16)
    return tmp_path / "cache"


@pytest.fixture
def seen(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Prompts that go through an encoder."""
    prompts: list[int] = []
    true = Encoder.__call__
    monkeypatch.setattr(Encoder, "__call__", lambda self, one: prompts.append(one.picture) or true(self, one))
    return prompts


def mixed(folder: Path, pictures: int = 20) -> Path:
    """Two questions about each picture, of two sizes, in no order."""
    path = questions_file(folder, pictures)
    for number in range(0, pictures, 3):
        with Image.open(folder / f"pictures/{number}.png") as picture:
            larger = picture.resize((24, 16))
        larger.save(folder / f"pictures/{number}.png")
    lines = path.read_text().splitlines()
    random.Random(0).shuffle(lines)
    path.write_text("\n".join(line.replace("}", ', "split": "search"}') for line in lines))
    return path


def subject(model: Any, processor: Any, data: Path, **options: Any) -> OnTask:
    return OnTask(model, processor, Files(data, **options))


def alike(one: EncodedExamples, other: EncodedExamples) -> None:
    """Hold two encodings against each other: every input, every feature, and a batch."""
    assert one.units == other.units
    assert one.longest == other.longest
    for first, second in zip(one.prompts, other.prompts, strict=True):
        facts = [
            (p.answer, p.picture, p.skill, p.most, p.example.question if p.example else "") for p in (first, second)
        ]
        assert facts[0] == facts[1]
        assert first.inputs.keys() == second.inputs.keys()
        for name, value in first.inputs.items():
            assert value.dtype == second.inputs[name].dtype
            assert torch.equal(value, second.inputs[name])
    assert one.seen.keys() == other.seen.keys()
    for number, output in one.seen.items():
        assert type(output) is type(other.seen[number])
        pairs = zip(tree_leaves(output.pooler_output), tree_leaves(other.seen[number].pooler_output), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
    assert one.encoder.received.keys() == (one.seen.keys() if one.encoder.keeps else set())
    for number, received_n in one.encoder.received.items():
        assert torch.equal(received_n, other.encoder.received[number])
    index_b = torch.tensor(one.groups[one.usual][:3])
    assert torch.equal(one.batch(index_b).x_bsd, other.batch(index_b).x_bsd)


@pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")  # of PaliGemma's processor
@pytest.mark.parametrize("family", MADE)
def test_of_other_families(family: str, tmp_path: Path, seen: list[int]) -> None:
    data, model, processor = mixed(tmp_path), fresh(SAMPLES[family]), MADE[family]()

    def encoded() -> EncodedExamples:
        return subject(model, processor, data).encoded("search", 40)

    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.FOLDER, "off")
        without = encoded()
    made = encoded()
    seen.clear()
    found = encoded()
    assert not seen
    alike(without, made)
    alike(without, found)
    found.seeing(None, 2)()  # pictures themselves are opened again for that


def test_processes_share_out_what_is_to_be_encoded(small: Workload, tmp_path: Path, seen: list[int]) -> None:
    """Pictures that come up in several of their chunks among them."""
    data = mixed(tmp_path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(cache.FOLDER, "off")
        without = subject(small.model, small.processor, data).encoded("search", 40)
        subject(small.model, small.processor, data).warm("search", 40, 0, 2)
    seen.clear()
    for part in (1, 0):
        subject(small.model, small.processor, data).warm("search", 40, part, 2)
        assert len(seen) == {1: 16, 0: 40}[part]
    subject(small.model, small.processor, data).warm("search", 40, 0, 1)
    alike(without, subject(small.model, small.processor, data).encoded("search", 40))
    assert len(seen) == 40


def test_bundled(small: Workload, tmp_path: Path, place: Path, seen: list[int]) -> None:
    data = mixed(tmp_path)
    first = subject(small.model, small.processor, data).encoded("search", 40)
    assert len(seen) == 40
    assert len(list(place.glob("*.features"))) == 3  # of 16, 16 and 8
    del seen[:]
    alike(first, subject(small.model, small.processor, data).encoded("search", 40))
    assert not seen
    more = subject(small.model, small.processor, data).encoded("search", 32)  # the first ones are there
    assert not seen
    assert len(more) == 32


def test_what_was_encoded_before_an_interrupt_is_kept(
    small: Workload, tmp_path: Path, seen: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    data, true = mixed(tmp_path), Encoder.__call__

    def stopped(self: Encoder, prompt: Any) -> Any:
        if len(seen) == 30:
            raise KeyboardInterrupt
        return true(self, prompt)

    with monkeypatch.context() as patch:
        patch.setattr(Encoder, "__call__", stopped)
        with pytest.raises(KeyboardInterrupt):
            subject(small.model, small.processor, data).encoded("search", 40)
    del seen[:]
    subject(small.model, small.processor, data).encoded("search", 40)
    assert len(seen) == 24  # the first 16 of the 30 were whole


def test_nothing_is_taken_that_would_be_otherwise(small: Workload, tmp_path: Path, seen: list[int]) -> None:
    data = mixed(tmp_path)

    def asked(**options: Any) -> int:
        del seen[:]
        subject(small.model, small.processor, data, **options).encoded("search", 16)
        return len(seen)

    assert asked() == 16
    assert asked() == 0
    weight, template = small.model.model.multi_modal_projector.linear_1.weight, small.processor.chat_template
    with torch.no_grad():
        weight[0, 0] += 1
        assert asked() == 16
        weight[0, 0] -= 1
    assert asked() == 0
    small.processor.chat_template = str(template) + " "
    assert asked() == 16
    small.processor.chat_template = template
    images = small.processor.image_processor
    images.do_normalize = not images.do_normalize
    assert asked() == 16
    images.do_normalize = not images.do_normalize
    assert asked(prompt="short") == 16
    assert asked() == 0
    rows = [json.loads(line) for line in data.read_text().splitlines()]
    with Image.open(tmp_path / rows[0]["image"]) as picture:
        picture.rotate(90).save(tmp_path / rows[0]["image"])
    assert asked() == 16


@pytest.mark.parametrize("spoilt", ["cut", "of another set"])
def test_a_spoilt_file_is_made_again(
    spoilt: str, small: Workload, tmp_path: Path, place: Path, seen: list[int]
) -> None:
    data = mixed(tmp_path)
    first = subject(small.model, small.processor, data).encoded("search", 40)
    files = sorted(place.glob("*.features"), key=lambda path: path.stat().st_mtime_ns)
    other = files[2].read_bytes()
    files[0].unlink()  # what is mapped stays
    files[0].write_bytes(other[:200] if spoilt == "cut" else other)
    del seen[:]
    alike(first, subject(small.model, small.processor, data).encoded("search", 40))
    assert len(seen) == 16


def test_a_set_larger_than_the_cache_leaves_off(
    small: Workload, tmp_path: Path, place: Path, monkeypatch: pytest.MonkeyPatch, seen: list[int]
) -> None:
    """Else its last files would push out the first, and none be found again."""
    data = mixed(tmp_path)
    subject(small.model, small.processor, data).encoded("search", 40)
    size = max(path.stat().st_size for path in place.iterdir())
    for path in place.iterdir():
        path.unlink()
    monkeypatch.setenv(cache.LIMIT, str(1.05 * size / 1e9))
    for expected in (40, 24):
        del seen[:]
        subject(small.model, small.processor, data).encoded("search", 40)
        assert len(seen) == expected
        assert len(list(place.glob("*.features"))) == 1


def test_own_answers_are_kept_too(
    small: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, seen: list[int]
) -> None:
    from eos_platform.tasks.answers import own_answers

    monkeypatch.setattr(own_answers, "MANY", 8)
    data = mixed(tmp_path)
    first = subject(small.model, small.processor, data, answers="none").encoded("search", 20)
    with monkeypatch.context() as patch:
        patch.setattr(own_answers, "written", lambda *given: pytest.fail("the model was asked again"))
        alike(first, subject(small.model, small.processor, data, answers="none").encoded("search", 20))
        with pytest.raises(pytest.fail.Exception, match="asked again"):
            subject(small.model, small.processor, data, answers="none", max_tokens=3).encoded("search", 20)


def test_what_the_unreduced_model_says_is_kept(
    small: Workload, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A second search, or one that goes on, does not ask it again; another model is asked."""
    monkeypatch.setattr(objective, "MANY", 8)
    data = mixed(tmp_path)

    def asked(**options: Any) -> tuple[torch.Tensor, int]:
        encoded = subject(small.model, small.processor, data, **options).encoded("search", 20)
        with monkeypatch.context() as patch:
            portions: list[int] = []
            true = objective._asked
            patch.setattr(objective, "_asked", lambda *given: portions.append(1) or true(*given))
            return objective.teacher_states(small.model, encoded), len(portions)

    first, again, own = asked(), asked(), asked(answers="none")
    assert (first[1], again[1], own[1]) == (1, 0, 1)
    assert torch.equal(first[0], again[0])
    weight = small.model.model.language_model.layers[0].mlp.up_proj.weight
    with torch.no_grad():
        weight[0, 0] += 1
        assert asked()[1] == 1
        weight[0, 0] -= 1
    assert asked()[1] == 0


def test_a_picture_that_is_gone_is_told(small: Workload, tmp_path: Path) -> None:
    data = mixed(tmp_path)
    task = Files(data)
    gone = json.loads(data.read_text().splitlines()[20])["image"]
    (tmp_path / gone).unlink()
    with pytest.raises(EosError, match="picture not found"):
        OnTask(small.model, small.processor, task).encoded("search", 40)
