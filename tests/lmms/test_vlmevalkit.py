"""VLMEvalKit's side that can be had without VLMEvalKit: messages, names, a run of a stand-in with its interface."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
from PIL import Image

from eos_platform.common.errors import EosError
from eos_platform.lmms.vlmevalkit import EosVlm, asked, run
from eos_platform.operators.spec import OperatorSpec, SiteSpec
from eos_platform.tasks import load_workload
from eos_platform.tasks.answers.generate import answers
from eos_platform.tasks.scenes.task import Scenes


def test_messages(tmp_path: Path) -> None:
    picture = tmp_path / "a.png"
    Image.new("RGB", (8, 8)).save(picture)
    image, text = {"type": "image", "value": str(picture)}, {"type": "text", "value": "What?"}
    assert asked([image, text]) == ("What?", [picture])
    assert asked([image, image, text]) == ("What?", [picture, picture])
    assert asked([text, image]) == ("What?\n<image>", [picture])
    assert asked([str(picture), "What?"]) == ("What?", [picture])
    assert asked("What?") == ("What?", [])
    for wrong in ([{"type": "video", "value": "a.mp4"}], [3], [{"type": "text"}]):
        with pytest.raises(EosError, match="a message of texts and pictures is expected"):
            asked(wrong)


def test_answers_are_those_of_the_projects_own_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small = load_workload("bundled-small", device="cpu")
    site = SiteSpec.model_validate({"layer": 0, "keep": 10, "score": {"norm": 1.0}})
    operator = OperatorSpec(target=small.target, sites=(site,))
    path = operator.save(tmp_path / "o.json")
    questions = Scenes().of_grid(12).examples("heldout", 6)
    for number, one in enumerate(questions):
        one.opened().save(tmp_path / f"{number}.png")
    model, plain = EosVlm("bundled-small", path, device="cpu"), EosVlm("bundled-small", device="cpu")
    assert model.name != plain.name
    assert plain.name.endswith("-none")

    class Table:
        def evaluate(self, file: str, **judge: Any) -> dict[str, Any]:
            return {"file": Path(file).name, **judge}

    def infer(asked_: EosVlm, work_dir: str, model_name: str, dataset: Table, limit: int | None) -> None:
        said = [
            asked_.generate(
                [{"type": "image", "value": str(tmp_path / f"{n}.png")}, {"type": "text", "value": q.question}]
            )
            for n, q in enumerate(questions)
        ]
        Path(work_dir, f"{model_name}_mine.tsv").write_text("\n".join(said))

    for name, content in (
        ("vlmeval", {}),
        ("vlmeval.dataset", {"build_dataset": lambda name: Table() if name == "mine" else None}),
        ("vlmeval.inference", {"infer_data_job": infer}),
    ):
        module = ModuleType(name)
        vars(module).update(content)
        monkeypatch.setitem(sys.modules, name, module)
    result = run(model, "mine", tmp_path / "out")
    assert result == {"file": f"{model.name}_mine.tsv", "model": "exact_matching"}
    said = Path(tmp_path, "out", f"{model.name}_mine.tsv").read_text().split("\n")
    own = [
        text
        for some in answers(small.model, small.processor, questions, operator, batch=3, most=64)  # type: ignore[attr-defined]
        for _, text in some
    ]
    assert said == own
    with pytest.raises(EosError, match="VLMEvalKit knows no benchmark 'min'"):
        run(SimpleNamespace(name="x"), "min", tmp_path)  # type: ignore[arg-type]


def test_without_it_the_command_that_installs_it_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "vlmeval", None)
    with pytest.raises(EosError, match=r"VLMEvalKit cannot be imported .*pip install ms-vlmeval"):
        run(SimpleNamespace(name="x"), "mine", tmp_path)  # type: ignore[arg-type]
