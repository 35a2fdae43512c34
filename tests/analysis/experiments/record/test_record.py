"""The record's own code path on a bundled model and hand-made benchmarks in their official layouts."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parents[3] / "tasks/benchmarks"))
from layouts import OFFICIAL, picture

from eos_platform.analysis.benchmark import run as asking
from eos_platform.analysis.experiments.own_data.export import export
from eos_platform.analysis.experiments.record.__main__ import main
from eos_platform.analysis.experiments.record.plan import load_plan
from eos_platform.analysis.experiments.record.report import markdown
from eos_platform.analysis.experiments.record.work import Outcome, fix_size
from eos_platform.common.errors import EosError
from eos_platform.models.bundled import folder
from eos_platform.models.loading.processors import load_processor
from eos_platform.operators.designs import suited
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks.chats import published
from eos_platform.tasks.prompts import made_by, prompt_text
from eos_platform.tasks.scenes.task import Scenes

PLAN: dict[str, Any] = {
    "tokens": [500, 64, 16],
    "designs": ["random", "downsample"],
    "search": {
        "data": "questions.jsonl", "rows": 60, "questions": 32, "steps": 4, "batch_size": 4, "validation": 8,
        "portfolio": False,
    },
    "benchmarks": {"pope": {"questions": 12}, "gqa": {"questions": 3}, "mmstar": {"questions": 1500}},
    "models": {
        "bundled-small": {
            "download": "none", "benchmarks": ["pope", "gqa", "mmstar"], "source": "nobody",
            "published": {"pope": {"value": 50, "within": 60}},
            "to_beat": {"64": {"value": 96.5, "source": "somebody"}},
            "designs": {"A": {"source": "some table", "values": {"random": {"64": 81.5}}}},
        }
    },
}  # fmt: skip


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    for name in ("pope", "gqa"):
        OFFICIAL[name](tmp_path / "root" / name)
    path = export(Scenes().of_grid(12), tmp_path / "root/search", {"search": 40, "validation": 8})
    picture(path.parent / "in-gqa.jpg", 1)  # the very picture that GQA asks about
    row = {"id": "x", "image": "in-gqa.jpg", "question": "what?", "answer": "x", "split": "search"}
    path.write_text(json.dumps(row) + "\n" + path.read_text())
    return tmp_path / "root"


def record(root: Path, plan: dict[str, Any], *more: str) -> None:
    Path("plan.json").write_text(json.dumps(plan))
    main(["--root", str(root), "--plan", "plan.json", "--device", "cpu", "--out", "out", *more])


def test_a_record_is_made_from_start_to_finish_and_gone_on_with(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    record(root, PLAN)
    assert "searching on 48 rows" in (err := capsys.readouterr().err)
    assert "1 are about pictures of a benchmark and left out" in err
    page = Path("out/bundled-small/record.md").read_text()
    assert "| pope | 12 | " in page
    assert "## 64 visual tokens" in page
    assert "## 16 visual tokens" in page
    for name in ("searched-64", "random-16", "downsample-64"):
        assert f"| {name} | " in page
    assert "| 81.5 A |" in next(line for line in page.splitlines() if line.startswith("| random-64 | "))
    assert "- A: some table." in page
    assert "- 500 tokens: the model has 144 visual tokens in all" in page
    assert "- mmstar: no download: " in page
    assert "The unreduced model scores 0 on a benchmark: nothing is a share of that." in page
    numbers = Path("out/bundled-small/table.csv").read_text()
    searched = OperatorSpec.load("out/bundled-small/operators/searched-16.json")
    assert searched.mean_tokens <= 16
    real, asked = asking.answers, []

    def counted(model: Any, processor: Any, questions: Any, *rest: Any, **more: Any) -> Any:
        asked.append(len(questions))
        return real(model, processor, questions, *rest, **more)

    monkeypatch.setattr(asking, "answers", counted)
    kept = Path("out/bundled-small/answers/pope.random-16.jsonl")
    kept.write_text("".join(kept.read_text().splitlines(keepends=True)[:5]))
    record(root, PLAN)
    assert sum(asked) == 12 - 5
    assert Path("out/bundled-small/table.csv").read_text() == numbers


def test_nothing_reduced_is_asked_of_a_model_that_answers_otherwise_than_published(root: Path) -> None:
    plan = json.loads(json.dumps(PLAN))
    plan["models"]["bundled-small"]["published"]["gqa"] = {"value": 99.5, "within": 0.5}
    with pytest.raises(EosError, match=r"does not answer as published: gqa 0\.0 \(published 99\.5 within 0\.5\)"):
        record(root, plan)
    assert {path.name for path in Path("out/bundled-small/answers").glob("*.jsonl")} == {
        "pope.unreduced.jsonl",
        "gqa.unreduced.jsonl",
    }
    assert "| gqa | 3 | 0.0 (0.0 .. 0.0) | 99.5 | 0.5 | NO |" in Path("out/bundled-small/record.md").read_text()


def test_a_model_whose_processor_resizes_is_asked_on_smaller_pictures(root: Path) -> None:
    """Of Qwen's kind: its tower is not reached into, so that is what downsampling is."""
    model = {"download": "none", "benchmarks": ["pope", "gqa"], "visual_tokens": 64}
    model |= {"published": {"pope": {"value": 50, "within": 60}}}
    plan = {**PLAN, "tokens": [16], "models": {"bundled-qwen": model}}
    plan["search"] = {**PLAN["search"], "data": "none.jsonl"}
    record(root, plan, "--limit", "4")
    page = Path("out/bundled-qwen/record.md").read_text()
    lines = {line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")}
    assert {"unreduced", "random-16", "downsample-16"} <= lines
    assert "nan" not in page
    smaller = Path("out/bundled-qwen/answers-downsample-16/pope.unreduced.jsonl")
    assert len(smaller.read_text().splitlines()) == 4


def test_a_dry_run_lists_downloads_time_and_disk(root: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(root, PLAN, "--dry-run", "--rate", "1", "--step-seconds", "2")
    out = capsys.readouterr().out
    assert "model bundled-small: bundled-small: there" in out
    assert f"benchmark mmstar: {root / 'mmstar'}: MISSING" in out
    assert "1,515 questions, 10 operators (2 designs and a searched one at 500, 64, 16 tokens, and none)" in out
    assert not Path("out").exists()
    main(["--root", "nowhere", "--dry-run"])
    out = capsys.readouterr().out
    assert "model llava-1.5-7b: nowhere/models/llava-1.5-7b: MISSING; llava-hf/llava-1.5-7b-hf, 14.1 GB" in out
    assert "downloads that are missing: " in out


def test_the_pinned_plan_is_what_the_field_prints() -> None:
    plan = load_plan()
    assert plan.tokens == (192, 128, 64, 16)
    assert set(plan.designs) == set(suited()) >= {"random", "downsample"}
    assert {"gqa", "mmbench", "mme", "pope", "scienceqa", "textvqa", "seed"} <= set(
        plan.models["llava-1.5-7b"].published
    )
    asked = {name for one in plan.models.values() for name in one.benchmarks}
    assert asked == set(plan.benchmarks)
    assert plan.models["llava-1.5-7b"].to_beat["64"].value == 96.5
    assert "16" not in plan.models["llava-1.5-7b"].to_beat  # none is published that can be repeated
    assert plan.models["llava-1.5-7b"].known("visionzip-128") == "96.8 A, 97 B"
    assert plan.models["llava-1.5-7b"].known("random-128") == ""


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"tokens": [0]}, "tokens"),
        ({"tokns": [1]}, "unknown key 'tokns'"),
        ({"designs": ["randm"]}, "unknown design 'randm'; did you mean 'random'"),
        (
            {
                "models": {
                    "m": {"download": "", "benchmarks": [], "designs": {"A": {"source": "", "values": {"fstv": {}}}}}
                }
            },
            "models.m: unknown design 'fstv'; did you mean 'fastv'",
        ),
        ({"benchmarks": {"popp": {"questions": 1}}}, "unknown benchmark 'popp'; did you mean 'pope'"),
        ({"models": {"m": {"download": "", "benchmarks": ["mme"]}}}, "models.m: unknown benchmark 'mme'"),
    ],
)
def test_plans_that_are_none(tmp_path: Path, change: dict[str, Any], says: str) -> None:
    (tmp_path / "plan.json").write_text(json.dumps({**PLAN, **change}))
    with pytest.raises(EosError, match=says):
        load_plan(tmp_path / "plan.json")


def test_nothing_is_claimed_that_was_not_checked() -> None:
    """A mean above the published one is set against it only where every benchmark was run and the check holds."""
    plan = load_plan()
    of = plan.models["llava-1.5-7b"]
    row = {"number": "accuracy", "questions": 9, "value": 50.0, "of_unreduced": 99.0}
    rows = [{**row, "task": "gqa", "operator": name} for name in ("unreduced", "searched-64", "random-64")]
    near = {"task": "gqa", "measured": 62, "low": 61, "high": 63, "published": 62, "within": 1, "questions": 9}
    said = markdown(plan, Outcome("llava-1.5-7b", [{**near, "near": True}], rows))
    assert "published best 96.5 (MMTok, its own table)" in said
    assert "nothing is said" in markdown(plan, Outcome("llava-1.5-7b", [{**near, "near": False}], rows))
    assert "nothing is said" in markdown(
        plan, Outcome("llava-1.5-7b", [{**near, "near": True}], rows, {of.benchmarks[0]: "no download"})
    )
    assert "nothing vouches" in markdown(plan, Outcome("llava-1.5-7b", [], rows))


def test_the_published_prompt_of_llava() -> None:
    """Word for word that of LLaVA's evaluation (vicuna_v1), pictures padded to a square."""
    from PIL import Image

    from eos_platform.protocols import Example

    processor = published(load_processor(folder("bundled-small")), "llava-1.5")
    text = (
        "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
        "detailed, and polite answers to the user's questions. USER: <image>\nWhich?\nAnswer. ASSISTANT:"
    )
    assert prompt_text(processor, "Which?\nAnswer.") == text
    wide = Image.new("RGB", (40, 20), "white")
    prompt = next(made_by(processor, [Example(wide, "how many?", ("two",))]))
    pixels = prompt.inputs["pixel_values"][0].mean(0)
    assert pixels[len(pixels) // 2].mean() > pixels[0].mean() + 0.5  # white in the middle, the mean colour above
    assert processor.tokenizer.decode(prompt.answer).strip().startswith("two")
    with pytest.raises(EosError, match=r"unknown published prompt 'llava-1'; did you mean 'llava-1\.5'"):
        published(processor, "llava-1")


def test_every_picture_gets_the_same_number_of_tokens() -> None:
    from PIL import Image

    from eos_platform.protocols import Example

    processor = load_processor(folder("bundled-qwen"))
    fix_size(processor, 64)
    for size in ((500, 500), (60, 60), (400, 100)):
        prompt = next(made_by(processor, [Example(Image.new("RGB", size), "q", ("a",))]))
        _, rows, columns = prompt.inputs["image_grid_thw"][0].tolist()
        assert 48 <= rows * columns // processor.image_processor.merge_size**2 <= 64
    with pytest.raises(EosError, match="does not resize to a number of pixels"):
        fix_size(load_processor(folder("bundled-small")), 64)
