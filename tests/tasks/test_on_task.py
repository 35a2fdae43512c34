"""Models of any family on tasks: loaded from folders, judged as what they generate is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from task_folders import model_folder, questions_file
from task_processors import MADE, UNSAID

from eos_platform.common.errors import EosError
from eos_platform.models.adapters import FAMILIES
from eos_platform.models.conformance.subjects import built
from eos_platform.models.conformance.zoo import SAMPLES
from eos_platform.models.runtime.attach import attached
from eos_platform.operators.spec import OperatorSpec, SiteSpec
from eos_platform.protocols import Example
from eos_platform.tasks import Workload, evaluate, load_workload
from eos_platform.tasks.files import Files
from eos_platform.tasks.on_task import OnTask
from eos_platform.tasks.prompts import prompt_text

FAMILIES_TRIED = ("LLaVA-NeXT", "Idefics3")


def written(subject: OnTask, example: Any, operator: OperatorSpec | None, most: int = 6) -> tuple[str, bool]:
    """What ``generate`` writes, and whether it came to an end and is all words."""
    text = prompt_text(subject.processor, example.question)
    inputs = subject.processor(text=[text], images=[example.opened()], return_tensors="pt")
    options = {"max_new_tokens": most, "do_sample": False, "eos_token_id": [2, 70], "pad_token_id": 0}
    if operator is None:
        out = subject.model.generate(**inputs, **options)
    else:
        with attached(subject.model, operator):
            out = subject.model.generate(**inputs, **options)
    *ids, last = out[0, inputs["input_ids"].shape[1] :].tolist()
    text = subject.processor.tokenizer.decode(ids, skip_special_tokens=True)
    return text, last in (2, 70) and len(text.split()) == len(ids)


@torch.no_grad()
@pytest.mark.parametrize("family", FAMILIES_TRIED)
def test_scores_are_those_of_what_is_generated(tmp_path: Path, family: str) -> None:
    folder = model_folder(tmp_path / "model", family)
    data = questions_file(tmp_path)
    subject = load_workload(folder, {"name": "files", "data": str(data)}, "cpu")
    assert isinstance(subject, OnTask)
    head = subject.model.lm_head.weight
    head[UNSAID] = 0.0  # words only
    subject.model.generation_config.eos_token_id = [2, 70]
    head[2] = 0.3 * torch.randn(head.shape[1], generator=torch.Generator().manual_seed(0))  # and often an end
    site = SiteSpec.model_validate({"layer": 1, "keep": 5, "score": {"norm": 1.0}, "transfer": {"gamma": 1.0}})
    operator = OperatorSpec(target=subject.target, sites=(site,))
    examples = subject.on.examples("search", 12)
    judged = []
    for one in (None, operator):
        said, ended = zip(*(written(subject, example, one) for example in examples), strict=True)
        # some of what is written is right, in other letters; of some there is a second answer
        rows = [
            {
                "image": str(example.image.args[0]),
                "question": example.question,
                "answers": ["w3 w3", said[number].upper() or "w3"] if number % 3 else ["w3"],
                "group": ("odd", "even")[number % 2],
            }
            for number, example in enumerate(examples)
        ]
        (tmp_path / "again.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        task = Files(tmp_path / "again.jsonl")
        again = OnTask(subject.model, subject.processor, task)
        found = evaluate(again, one, "search", 12)
        assert found.scores.dtype == float
        expected = [task.score(text, example) for text, example in zip(said, task.examples("search", 12), strict=True)]
        short = np.flatnonzero(ended)
        np.testing.assert_array_equal(found.scores[short], np.asarray(expected)[short])
        assert found.per_group == found.per_skill
        assert found.accuracy == found.scores.mean()
        judged += found.scores[short].tolist()
    assert {0.0, 1.0} == set(judged)


@pytest.mark.parametrize("family", FAMILIES_TRIED)
def test_scenes_on_other_families(tmp_path: Path, family: str) -> None:
    subject = load_workload(model_folder(tmp_path, family), "scenes", "cpu")
    assert isinstance(subject, OnTask)
    found = evaluate(subject, None, "validation", 6)
    assert found.questions == 6
    assert set(found.skills) <= set(subject.skills)
    with pytest.raises(EosError, match="unknown split 'test'"):
        subject.encoded("test", 3)  # type: ignore[arg-type]


def test_files_on_the_bundled_model(tmp_path: Path, small: Workload) -> None:
    """The pictures of ``scenes`` as files are answered as the task itself says."""
    encoded = small.encoded("heldout", 40)
    rows = []
    for number in range(40):
        example = encoded.example(number)
        name = f"{example.key}.png"
        example.opened().save(tmp_path / name)
        rows.append({"image": name, "question": example.question, "answer": example.answer, "group": example.group})
    (tmp_path / "q.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    task = Files(tmp_path / "q.jsonl")
    subject = OnTask(small.model, small.processor, task, name="bundled-small")
    whole = evaluate(small, None, "heldout", 40)
    known = {(row["question"], row["image"]): right for row, right in zip(rows, whole.correct, strict=True)}
    seen = 0
    for split in ("search", "validation", "heldout"):
        if not task._rows[split]:  # of four pictures, not every split has one
            continue
        found = evaluate(subject, None, split, 100)
        for example, score in zip(task.examples(split, 100), found.scores, strict=True):
            assert score == known[example.question, Path(example.image.args[0]).name]
            seen += 1
    assert seen == 40
    assert whole.correct.any()


def test_models_that_cannot_be_searched_are_told_before_they_are_loaded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "idefics3"}')
    monkeypatch.setattr(type(FAMILIES["idefics3"]), "relaxable", False)
    with pytest.raises(EosError, match=r"a search cannot run on SmolVLM/Idefics3 models"):
        load_workload(tmp_path, "scenes", "cpu")


def test_operators_that_read_the_tower_are_refused_in_words(tmp_path: Path, small: Workload) -> None:
    subject = OnTask(small.model, small.processor, Files(questions_file(tmp_path)))
    site = SiteSpec(layer=0, keep=30, score={"vision": 1.0})
    with pytest.raises(EosError, match="reads vision in the vision tower"):
        subject.check(OperatorSpec(target=small.target, sites=(site,)))
    with pytest.raises(EosError, match="acts in the vision tower"):
        subject.check(OperatorSpec(target=small.target, image=(7, 6)))


class Odd:
    """A task of somebody else's, with something wrong."""

    name, version, groups = "odd", "1", ("one",)

    def __init__(self, examples: Any, worth: Any = 0.5) -> None:
        self.given, self.worth = examples, worth

    def examples(self, split: str, count: int) -> Any:
        return self.given() if callable(self.given) else self.given[:count]

    def score(self, output: str, example: Example) -> Any:
        return self.worth() if callable(self.worth) else self.worth


def fails() -> Any:
    raise ValueError("not today\nnor tomorrow")


GOOD = Example(Image.new("RGB", (16, 16)), "w5", "w7", "one")


@pytest.mark.parametrize(
    ("task", "says"),
    [
        (Odd(fails), "task 'odd': not today"),
        (Odd([]), "task 'odd': there are no examples of the split 'search'"),
        (Odd(["what is it?"]), "task 'odd': an Example is expected, not 'what is it?'"),
        (Odd([replace(GOOD, group="on")]), "task 'odd': an example is of unknown group 'on'; did you mean 'one'?"),
        (Odd([replace(GOOD, image=fails)]), "examples.0: its picture: not today"),
        (Odd([GOOD], fails), "task 'odd': its score: not today"),
        (Odd([GOOD], float("nan")), "is nan, not from 0 to 1"),
        (Odd([GOOD], 2), "is 2.0, not from 0 to 1"),
        (Odd([GOOD], "much"), "task 'odd': its score: could not convert string to float: 'much'"),
    ],
)
def test_what_a_task_of_another_package_does_wrong_is_one_line(task: Odd, says: str) -> None:
    subject = OnTask(built(SAMPLES["Idefics3"]), MADE["Idefics3"](), task)
    with pytest.raises(EosError) as caught:
        evaluate(subject, None, "search", 1)
    assert says in str(caught.value)
