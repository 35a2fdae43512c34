"""Without answers the unreduced model's own stand there; several pictures a question go through any family."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from task_folders import model_folder, questions_file

from eos_platform.operators.spec import OperatorSpec, SiteSpec
from eos_platform.search import SearchConfig, search
from eos_platform.tasks import Workload, evaluate, load_workload
from eos_platform.tasks.files import Files
from eos_platform.tasks.on_task import OnTask


def scenes_as_files(small: Workload, folder: Path, questions: int = 60) -> Path:
    encoded = small.encoded("heldout", questions)
    rows = []
    for number in range(questions):
        example = encoded.example(number)
        example.opened().save(folder / f"{example.key}.png")
        row = {"image": f"{example.key}.png", "question": example.question, "answer": example.answer}
        rows.append(row | {"split": ("search", "validation", "heldout")[number // 10 % 3]})
    path = folder / "q.jsonl"
    for row in rows:  # scenes has several questions a picture
        row["split"] = next(one["split"] for one in rows if one["image"] == row["image"])
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


@torch.no_grad()
def test_the_unreduced_model_keeps_its_own_answers(tmp_path: Path, small: Workload) -> None:
    """They are what ``generate`` writes; as the bundled model is nearly always right, nearly all are the right ones."""
    path = scenes_as_files(small, tmp_path)
    own = OnTask(small.model, small.processor, Files(path, answers="none"), name="bundled-small")
    reported = OnTask(small.model, small.processor, Files(path), name="bundled-small")
    assert evaluate(own, None, "search", 100).accuracy == 1.0
    encoded, right = own.encoded("search", 100), reported.encoded("search", 100)
    scores = evaluate(reported, None, "search", 100).correct
    for number, prompt in enumerate(encoded.prompts):
        out = small.model.generate(
            **small.processor(
                text=["<image>" + encoded.example(number).question],
                images=[encoded.example(number).opened()],
                return_tensors="pt",
            ),
            max_new_tokens=16,
            do_sample=False,
        )[0, len(prompt.inputs["input_ids"][0]) :].tolist()
        assert list(prompt.answer) == out
        assert (prompt.answer == right.prompts[number].answer) == scores[number]
    site = SiteSpec.model_validate({"layer": 0, "keep": 4, "score": {"norm": 1.0}})
    worse = evaluate(own, OperatorSpec(target=own.target, sites=(site,)), "search", 100)
    assert worse.accuracy < 1.0
    assert worse.exact


def test_a_search_without_answers(tmp_path: Path, small: Workload) -> None:
    path = scenes_as_files(small, tmp_path)
    own = OnTask(small.model, small.processor, Files(path, answers="none"), name="bundled-small")
    config = SearchConfig(budget=0.5, steps=4, batch_size=4, search_questions=16, eval_questions=8)
    found = search(own, config)
    assert found.compute_ratio <= 0.5
    assert 0.0 <= found.accuracy <= 1.0


@pytest.mark.parametrize("family", ["LLaVA-NeXT", "Idefics3"])
def test_several_pictures_a_question(tmp_path: Path, family: str) -> None:
    folder = model_folder(tmp_path / "model", family)
    rows = [json.loads(line) for line in questions_file(tmp_path).read_text().splitlines()]
    for number, row in enumerate(rows):
        row["images"] = [row.pop("image"), f"pictures/{number % 3}.png"]
        row["split"] = "search"
    rows[0]["question"] = "w5 <image> w6 <image> w7"
    (tmp_path / "two.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows[:8]))
    plain = load_workload(folder, "scenes", "cpu")
    subject = OnTask(plain.model, plain.processor, Files(tmp_path / "two.jsonl"))
    encoded = subject.encoded("search", 8)
    one = encoded.prompts[1].inputs["input_ids"][0].tolist()
    parted = encoded.prompts[0].inputs["input_ids"][0].tolist()
    assert len(parted) == len(one) + 2
    site = SiteSpec.model_validate({"layer": 1, "keep": 5, "score": {"norm": 1.0}})
    found = evaluate(subject, OperatorSpec(target=subject.target, sites=(site,)), "search", 8)
    assert found.questions == 8
