"""The cost of reducers, on a layer small enough for a CPU."""

import json

import pytest
import torch

from eos_platform.analysis.experiments.reducer_cost import Bench, main, squarest, table
from eos_platform.operators.designs import suited
from eos_platform.operators.spec import OperatorSpec, SiteSpec, Target

torch.set_num_threads(1)


def test_every_design_has_a_row(tmp_path, capsys):
    out = tmp_path / "costs.json"
    assert main(["--width", "64", "--tokens", "36", "--batch", "1", "2", "--device", "cpu", "--out", str(out)]) == 0
    rows = json.loads(out.read_text())
    assert len(rows) == 2 * len(suited())
    assert {row["batch"] for row in rows} == {1, 2}
    reasons = {row["design"]: row["reason"] for row in rows if "reason" in row}
    assert not reasons, reasons
    for row in rows:
        assert row["layer_ms"] > 0
        if "reason" not in row:
            assert row["eager_ms"] > 0
            assert row["eager_share"] == pytest.approx(row["eager_ms"] / row["layer_ms"])
            assert row["graph_ms"] is None  # no GPU
            assert row["mean_tokens"] <= 36
    shown = capsys.readouterr().out.splitlines()
    assert shown[-len(suited()) - 1 :] == table(rows).splitlines()
    assert [line.split()[0] for line in shown[-len(suited()) :]] == list(suited())
    assert "36 x 1" in table(rows)


def test_a_design_that_fails_spoils_nothing_and_rows_are_on_disk_at_once(tmp_path, capsys, monkeypatch):
    out, reducer, before = tmp_path / "costs.json", Bench.reducer, []

    def broken(self, operator):
        before.append(len(json.loads(out.read_text())) if out.exists() else 0)
        if operator.provenance["design"] == "tome":
            raise RuntimeError("out of memory\nand much more")
        return reducer(self, operator)

    monkeypatch.setattr(Bench, "reducer", broken)
    words = ["--designs", "stride", "tome", "fastv", "--width", "64", "--tokens", "36", "--batch", "1"]
    assert main([*words, "--device", "cpu", "--out", str(out)]) == 0
    assert before == [0, 1, 2]
    rows = json.loads(out.read_text())
    assert [row.get("reason") for row in rows] == [None, "out of memory", None]
    last = capsys.readouterr().out.splitlines()[-4:]
    assert [line.split()[1] for line in last[2:]] == ["failed", f"{rows[2]['eager_share']:.2f}"]


def test_the_reducer_does_what_the_operator_says():
    bench = Bench(64, 36, 10, 2, torch.device("cpu"))
    sites = (
        SiteSpec(layer=0, keep=20, score={"last_text": 1.0}, positions="renumber"),
        SiteSpec(layer=3, keep=5, selector="spaced"),
    )
    left = bench.reducer(OperatorSpec(target=bench.target, sites=sites))()
    assert left.shape == (2, 5 + 10, 64)
    less = OperatorSpec(target=bench.target, image=(3, 3))
    assert bench.reducer(less)().shape == (2, 9 + 10, 64)


def test_grids_and_bad_words(capsys):
    assert [squarest(tokens) for tokens in (576, 2880, 7)] == [(24, 24), (48, 60), (1, 7)]
    assert main(["--designs", "tomee"]) == 2
    assert "did you mean 'tome'" in capsys.readouterr().err
    assert main(["--device", "nowhere"]) == 2
    assert capsys.readouterr().err.startswith("reducer_cost: device 'nowhere' cannot be used: ")


def test_prompts_are_a_first_token_then_visual_ones_then_text():
    bench = Bench(64, 36, 10, 2, torch.device("cpu"))
    assert bench.target == Target(layers=32, grid=(6, 6), vision_layers=23)
    layout = bench.layout(OperatorSpec(target=bench.target))
    assert layout.valid_bs.all()
    assert layout.valid_bs.shape == (2, 46)
    assert layout.visual_bn.tolist() == [list(range(1, 37))] * 2
    assert layout.text_bs.tolist() == [[place > 36 for place in range(46)]] * 2
    assert layout.last_b.tolist() == [45, 45]
    assert layout.seen is None
    less = bench.layout(OperatorSpec(target=bench.target, image=(3, 4)))
    assert less.seen is not None
    assert less.seen.size_br.tolist() == [[3.0] * 12] * 2
    assert less.seen.index_br[0, [0, -1]].tolist() == [0, 35]
    assert (less.features["vision"].shape, less.features["keys"].shape) == ((2, 12), (2, 12, 64))


def test_flops_of_reducers_are_counted_without_a_device(capsys):
    """What picks by place costs nothing; comparing all pairs is 2 n^2 d over a layer's FLOPs, and grows with n."""
    from eos_platform.analysis.experiments.reducer_flops import main as count

    assert count(["--designs", "stride,divprune,prunesid", "--tokens", "576", "2880"]) == 0
    rows = {line.split()[0]: line.split()[1:] for line in capsys.readouterr().out.splitlines()[1:]}
    assert rows["stride"] == ["0.0000", "0.0000"]
    layer = 2 * 4096 * (4 * 4096 + 3 * 11008) * 636 + 4 * 4096 * 636**2
    assert float(rows["divprune"][0]) == pytest.approx(2 * 576**2 * 4096 / layer, abs=1e-4)
    assert float(rows["prunesid"][1]) == pytest.approx(2 * float(rows["divprune"][1]), abs=2e-4)
    assert count(["--designs", "divprun"]) == 2
