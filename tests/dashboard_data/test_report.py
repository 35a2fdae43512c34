"""The report of a study and of a comparison, as one file; pictures where Kaleido is, an error where not."""

import json
import re
import shutil
import sys

import numpy as np
import pytest
from browse_store import end_study, spec_of, write_study
from typer.testing import CliRunner

from eos_platform.analysis.stats.bitpack import pack
from eos_platform.cli.app import app
from eos_platform.common.errors import EosError
from eos_platform.dashboard_data import report
from eos_platform.dashboard_data.studies import Studies


@pytest.fixture(scope="module")
def of_study(studies):
    return report.of_study(studies, "small")


def test_a_study_has_every_figure(of_study):
    assert list(of_study.figures) == [
        "front",
        "operator-1",
        "operator-2",
        "operator-3",
        "tokens",
        "skills",
        "kept",
        "hypervolume",
        "trials",
        "importance",
        "parallel",
    ]
    assert "7 trials done of 8, 4 on the front" in of_study.lead
    assert of_study.front["name"].tolist() == ["trial 0", "trial 1", "trial 3", "trial 5"]


def test_the_tokens_kept_by_the_drawn_operators_are_in_it(of_study):
    shown = of_study.figures["kept"]
    above = [note.text for note in shown.layout.annotations]
    for heading in ("trial 0<br>compute 0.100", "trial 3<br>compute 0.250", "trial 5<br>compute 0.350"):
        assert f"<b>{heading}</b>" in above
    assert "<b>0</b>" not in above  # rows by ratio are another figure's
    assert len(shown.data) == 4  # pictures
    assert len(shown.to_json()) < 500_000
    page = report.html(of_study)
    assert f'aria-label="{report.EXAMPLES}"' in page
    # the picture, three operators: their answers to four questions, three of them right
    assert page.count("<figcaption>original</figcaption>") == 4
    assert page.count("<b class='right'>right</b>") == 9
    assert page.count("<b class='wrong'>wrong</b>") == 3
    assert "what color is picture 0? (answer: red)" in page


def test_without_the_model_the_pictures_are_left_out_and_it_says_so(tmp_path, monkeypatch):
    end_study(write_study(tmp_path, pictures=False))
    found = Studies(f"sqlite:///{tmp_path / 'mlflow.db'}")
    facts = found.facts("small")
    monkeypatch.setattr(found, "facts", lambda study: {**facts, "model": "/gone/llava"})
    made = report.of_study(found, "small")
    assert "kept" not in made.figures
    said = made.lead.splitlines()[-1]
    assert said.startswith("No pictures of the tokens kept by trial 0, trial 3, trial 5: Not recorded")


def test_the_page_is_one_file_that_asks_for_nothing(of_study):
    text = report.html(of_study)
    assert text.count('id="plotly-packed"') == 1
    assert len(text) < 3_000_000
    assert '<nav aria-label="Contents">' in text
    assert re.search(r"<td>fastv at 0.2</td>\s*<td>prune</td>\s*<td>0.2</td>\s*<td>60.0</td>", text)
    assert re.search(r"<td>model</td>\s*<td>bundled-small</td>", text)
    outside = re.sub(r"<script[^>]*>.*?</script>", "", text, flags=re.DOTALL)
    assert not re.search(r"<script[^>]*src=", text)
    assert not re.search(r"(src|href)=[\"']?https?:", outside)
    assert text.count('class="plotly-graph-div"') == len(of_study.figures) - 1  # kept tokens stand beside the answers
    assert re.search(r"<td>trial 3</td>\s*<td>hybrid</td>\s*<td>0.25</td>\s*<td>87.0</td>", text)


def test_from_the_command_line(store, tmp_path):
    out = tmp_path / "report.html"
    done = CliRunner().invoke(app, ["report", "small", "--studies", str(store), "--out", str(out)])
    assert done.exit_code == 0, done.output
    assert done.output == f"wrote {out}\n"
    assert "<h1>small</h1>" in out.read_text()


def record(key, name, family, accuracy, ratio, **changes):
    operator = None if family == "unreduced" else json.loads(spec_of(0).to_json())
    return {
        "key": key,
        "name": name,
        "family": family,
        "variant": "",
        "design": "",
        "ratio": ratio,
        "seed": None,
        "status": "measured",
        "accuracy": accuracy,
        "samples": 0,
        "compute_ratio": ratio or 1.0,
        "flops": 1e6,
        "counted_flops": 1e6,
        "whole_model_ratio": 1.0,
        "seconds": 1.0,
        "mean_tokens": 9.0,
        "tokens_left": 9,
        "regime": "merge",
        "questions": 10,
        "knobs": {},
        "per_skill": {"count": accuracy},
        "correct": pack(np.arange(10) < 10 * accuracy),
        "operator": operator,
        "kept": [],
        **changes,
    }


def test_a_comparison_is_reported_from_its_folder(tmp_path):
    header = {
        "uid": "1f",
        "model": "bundled-small",
        "questions": 10,
        "task": "scenes",
        "device": "CPU",
        "examples": [],
        "batch": 1,
        "dtype": "float32",
        "torch": "2",
        "python": "3",
        "layers": 6,
        "grid": [12, 12],
        "text_tokens": 9,
        "settings": {},
        "samples": 0,
    }
    (tmp_path / "comparison.json").write_text(json.dumps(header))
    lines = [
        record("a", "unreduced", "unreduced", 0.9, None),
        record("b", "searched at 0.2", "searched", 0.8, 0.2),
        record("c", "fastv at 0.2", "hand-designed", 0.5, 0.2, design="fastv", variant="published"),
    ]
    (tmp_path / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    out = tmp_path / "mine.html"
    done = CliRunner().invoke(app, ["report", str(tmp_path), "--out", str(out)])
    assert done.exit_code == 0, done.output
    text = out.read_text()
    assert "10 held-out questions" in text
    assert "fastv" in text
    assert "searched at 0.2</td>" in text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["smal"], "unknown study 'smal'; did you mean 'small'"),
        (["small", "--format", "gif", "--figures", "x"], "unknown format 'gif'; known: png, svg"),
        (["small", "--out", "."], "it is a folder"),
    ],
)
def test_bad_input_is_one_line(store, arguments, said, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["report", "--studies", str(store), *arguments])
    assert done.exit_code == 2
    assert said in done.output
    assert not list(tmp_path.iterdir())


def test_without_kaleido_it_says_what_to_install(of_study, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "kaleido", None)
    with pytest.raises(EosError, match=r"pip install 'eos-platform\[figures\]'"):
        report.export(of_study, tmp_path, "png")


@pytest.mark.slow  # a browser draws every figure: half a minute
@pytest.mark.skipif(shutil.which("chromium") is None, reason="no chromium on PATH (Debian: apt-get install chromium)")
@pytest.mark.parametrize("form", ["png", "svg"])
def test_pictures(of_study, tmp_path, form):
    pytest.importorskip("kaleido")
    few = report.Report("r", "", {name: of_study.figures[name] for name in ("front", "operator-1")})
    written = report.export(few, tmp_path, form)
    assert [path.name for path in written] == [f"front.{form}", f"operator-1.{form}"]
    head = written[0].read_bytes()[:200]
    assert head.startswith(b"\x89PNG") if form == "png" else b"<svg" in head


@pytest.mark.parametrize("name", ["a" * 300, "/dev/zero", "nowhere.db"])
def test_a_store_that_no_file_can_be_is_one_line(tmp_path, monkeypatch, name):
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["report", "small", "--tracking", f"sqlite:///{name}"])
    assert done.exit_code == 2
    (line,) = done.stderr.splitlines()
    assert "MLflow store" in line
    assert list(tmp_path.iterdir()) == []
