"""``eos explain`` from end to end on the small model."""

import json

import pandas as pd
import pytest
from typer.testing import CliRunner

from eos_platform.cli import app as cli
from eos_platform.cli.explain import staircase
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target, Transfer

RUNNER = CliRunner()
SMALL = Target(layers=6, grid=(12, 12), model="bundled-small", vision_layers=4)


def eos(*words):
    return RUNNER.invoke(cli.app, [str(word) for word in words], env={"COLUMNS": "120"})


def saved(folder, name="operator.json", **fields):
    first = SiteSpec(layer=0, keep=30, score={"norm": 1.0, "vision": 0.5}, transfer=Transfer(gamma=1.0))
    last = SiteSpec(layer=3, keep=10, score={"last_text": 1.0})
    operator = OperatorSpec(**{"name": "[red]mine", "target": SMALL, "sites": (first, last)} | fields)
    return operator.save(folder / name)


def test_words_a_picture_ablations_and_a_folder(tmp_path):
    out = tmp_path / "there" / "out"
    done = eos("explain", saved(tmp_path), "--questions", 8, "--pictures", 1, "--out", out)
    assert done.exit_code == 0, done.output
    for words in (
        "[red]mine: hybrid, on bundled-small",
        "site 1, before the language model: 144 -> 30 tokens (21% stay), merge",
        "dropped tokens are merged into their most similar kept token (tau 0), averaged (nu 1)",
        "layers 0-2   30  ████████▍···",
        "layers 3-5   10  ██▊···",
        "nearest hand-designed operator",
        "gamma 0 (pruning)",
        "these rows are not matched",
    ):
        assert words in done.stdout
    frame = pd.read_csv(out / "explain.csv")
    assert "site removed, site 2" in set(frame["name"])
    data = json.loads((out / "explain.json").read_text())
    assert data["tokens_entering_each_layer"] == [30, 30, 30, 10, 10, 10]
    assert "## Effect of each parameter" in (out / "explain.md").read_text()
    page = (out / "explain.html").read_text()
    for words in (
        "Effect of each parameter",
        "Visual tokens entering each decoder layer",
        "Tokens kept after each",
    ):
        assert words in page


def test_a_bar_for_every_stage():
    tower = SiteSpec(place="tower", layer=2, keep=100, score={"vision": 1.0})
    last = SiteSpec(layer=5, keep=0, selector="drop_all")
    output = staircase(OperatorSpec(target=SMALL, image=(11, 11), sites=(tower, last)))
    assert [line.split()[:3] for line in output[:2]] == [
        ["picture", "121", output[0].split()[2]],
        ["tower", "2", "100"],
    ]
    assert output[2].startswith("layers 0-4  100  ███")
    assert output[3] == "layer 5       0  " + 40 * "·"
    (only,) = staircase(OperatorSpec(target=SMALL))
    assert only == "layers 0-5  144  " + 40 * "█"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("missing.json",), "operator file not found: missing.json"),
        (
            ("other.json",),
            "which is neither a bundled model nor a folder; say where it is with --model",
        ),
        (("other.json", "--model", "bundled-smal"), "did you mean 'bundled-small'?"),
        (("other.json", "--model", "bundled-small"), "is for 7 decoder layers; the model has 6"),
        (("operator.json", "--task", "scene"), "unknown task 'scene'; did you mean 'scenes'?"),
        (("operator.json", "--out", "operator.json"), "operator.json is not a folder"),
        (("broken.json",), "broken.json: not JSON"),
    ],
)
def test_bad_input_is_one_line(tmp_path, monkeypatch, words, said):
    monkeypatch.chdir(tmp_path)
    saved(tmp_path)
    saved(tmp_path, "other.json", target=SMALL.model_copy(update={"model": "LLaVA", "layers": 7}))
    (tmp_path / "broken.json").write_text("{")
    done = eos("explain", *words)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert done.stderr.startswith("eos: ")
