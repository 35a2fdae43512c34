"""``eos bench`` on a tiny model: that it times what it says, not how long it takes."""

import json
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

from eos_platform.bench.operators import SEARCHED, operators_for, searched_like
from eos_platform.bench.run import Plan, bench
from eos_platform.bench.shapes import SHAPES, random_model
from eos_platform.bench.work import Bench
from eos_platform.cli import app as cli
from eos_platform.common.errors import EosError
from eos_platform.dashboards.speed import speed_figure
from eos_platform.models.attention.queries import GIVEN
from eos_platform.models.conformance.subjects import fresh
from eos_platform.models.conformance.zoo import SAMPLES
from eos_platform.operators.rescale import rescale
from eos_platform.operators.spec import OperatorSpec, SiteSpec
from eos_platform.search.config import SearchConfig

GRID, TEXT = (8, 8), 12


@pytest.fixture(scope="module")
def tiny():
    return random_model("tiny", torch.device("cpu"))


@pytest.fixture
def setup(tiny):
    return Bench.of(tiny, GRID, batch=2, text=TEXT)


@pytest.mark.parametrize("tokens", [60, 32, 12, 3])
def test_a_searched_like_operator_has_the_mean_it_is_asked_for(setup, tokens):
    operator = searched_like(setup.target, tokens, 64)
    assert operator.mean_tokens == pytest.approx(tokens, abs=1)
    assert [site.layer for site in operator.sites] == [0, 5 * setup.target.layers // 8]
    assert {site.steering.rank for site in operator.sites if site.steering} == {SearchConfig().steering_rank}


@pytest.mark.parametrize("name", [SEARCHED, "fastv", "pyramiddrop", "tome"])
def test_the_lower_bound_has_as_many_tokens_at_each_layer_as_the_operator(setup, name):
    operator = operators_for([name], setup.target, 20, 64)[0][1]
    seen = {}

    def lengths(way, run):
        found = []
        hooks = [
            layer.self_attn.register_forward_pre_hook(
                lambda module, args, call: found.append((args or (call["hidden_states"],))[0].shape[1]),
                with_kwargs=True,
            )
            for layer in setup.parts.layers
        ]
        with torch.inference_mode(), way:
            cache = run()[1]
        for hook in hooks:
            hook.remove()
        kept = [cache.get_seq_length(layer) for layer in range(setup.target.layers)]
        assert kept == found
        return found

    seen["deployed"] = lengths(setup.reduced(operator), setup.prefill)
    seen["lower bound"] = lengths(setup.lower_bound(operator.counts), setup.shortened(operator.counts).prefill)
    assert seen["deployed"] == seen["lower bound"] == [count + TEXT for count in operator.counts]


def test_fused_sites_answer_as_plain_ones(setup, monkeypatch):
    # traced as ever, and run as traced: code generation is the compiler's own affair, and takes a minute here
    from eos_platform.models.runtime import compile as fused

    fused.compile_step.cache_clear()
    compile_ = torch.compile
    monkeypatch.setattr(fused.torch, "compile", lambda act, **given: compile_(act, **given, backend="aot_eager"))
    operator = searched_like(setup.target, 20, 64)
    with torch.inference_mode():
        with setup.reduced(operator):
            plain = setup.prefill()[0]
        with setup.reduced(operator, compiled=True):
            assert torch.equal(setup.prefill()[0], plain)
    fused.compile_step.cache_clear()


def test_every_shape_has_a_configuration_of_its_size():
    for name, shape in SHAPES.items():
        text = shape.config().text_config
        assert text.hidden_size % text.num_attention_heads == 0, name


def test_an_operator_of_another_model_is_refused(setup, tmp_path):
    other = Bench.of(setup.model, (4, 4), 1, TEXT)
    path = searched_like(other.target, 8, 64).save(tmp_path / "op.json")
    with pytest.raises(EosError, match="16 tokens, not for"):
        operators_for([str(path)], setup.target, 8, 64)


def test_an_operator_with_tokens_of_its_own_is_timed_once():
    plan = Plan(["mine.json", "fastv", "zero"], [192, 64], [1, 16])
    assert [plan.named(tokens) for tokens in plan.tokens] == [["mine.json", "fastv", "zero"], ["fastv"]]
    assert plan.measurements == 2 * (1 + 4)


def test_the_command_writes_rows_a_table_and_a_page(tmp_path):
    words = ["bench", "searched-like", "fastv", "--shape", "tiny", "--tokens", "20,8", "--batch", "1"]
    words += ["--repeats", "2", "--new", "2", "--text", "12", "--device", "cpu", "--modes", "eager"]
    done = CliRunner().invoke(cli.app, [*words, "--out", str(tmp_path / "b")], env={"COLUMNS": "200"})
    assert done.exit_code == 0, done.output
    rows = [json.loads(line) for line in (tmp_path / "b" / "bench.jsonl").read_text().splitlines()]
    assert [row["operator"] for row in rows] == ["unreduced", "searched-like", "fastv", "searched-like", "fastv"]
    for row in rows:
        assert row["eager_first_token_ms"] == pytest.approx(row["encode_ms"] + row["eager_prefill_ms"])
    for row in rows[1:]:
        assert row["eager_over_bound"] > 0
        assert row["eager_answers_s"] > 0
    assert (tmp_path / "b" / "bench.csv").read_text().startswith("model,batch")
    assert "Prefill time of operators" in (tmp_path / "b" / "bench.html").read_text()


def test_the_figure_has_a_line_for_each_operator():
    import pandas as pd

    rows = [{"operator": "unreduced", "batch": 1, "tokens": 64, "eager_prefill_ms": 9.0, "eager_bound_ms": None}]
    rows += [
        {"operator": "fastv", "batch": 1, "tokens": n, "eager_prefill_ms": n / 8, "eager_bound_ms": n / 9}
        for n in (32, 16)
    ]
    figure = speed_figure(pd.DataFrame(rows))
    assert [trace.name for trace in figure.data] == ["unreduced", "fastv (eager)", "lower bound: fastv"]
    assert list(figure.data[1].x) == [16, 32]
    assert (figure.data[0].x, figure.data[0].y) == ((0, 64), (9, 9))  # seen, however few operators there are
    assert figure.layout.yaxis.type != "log"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["fastvv"], "did you mean 'fastv'"),
        (["--shape", "llava-1.5-7"], "did you mean 'llava-1.5-7b'"),
        (["--modes", "fast"], "one of eager, captured, compiled"),
        (["--batch", "0"], "must be 1 or more"),
        (["--shape", "tiny", "--model", "bundled"], "not both"),
        (["--model", "bundle"], "did you mean 'bundled'"),
    ],
)
def test_bad_input_is_one_line(words, says, tmp_path):
    given = words if "--shape" in words or "--model" in words else [*words, "--shape", "tiny"]
    done = CliRunner().invoke(cli.app, ["bench", *given, "--device", "cpu", "--out", str(tmp_path / "b")])
    assert done.exit_code == 2
    assert says in done.stderr
    assert not (tmp_path / "b" / "bench.jsonl").exists()


@pytest.mark.parametrize("name", [SEARCHED, "sparsevlm-v2", "pyramiddrop", "tome", "divprune"])
def test_positions_of_several_axes_are_timed_too(name):
    model = fresh(SAMPLES["Qwen2.5-VL"])
    setup = Bench.of(model, GRID, batch=2, text=TEXT)
    operator = operators_for([name], setup.target, 20, setup.x_bsd.shape[-1])[0][1]
    with torch.inference_mode(), setup.reduced(operator):
        state_bsd = setup.prefill()[0]
    assert state_bsd.isfinite().all()


@pytest.mark.parametrize("name", ["vision", "next_vision", "relevance", "keys"])
@pytest.mark.parametrize("grid", [GRID, (8, 16)])  # one picture a prompt, and two as one grid
def test_operators_are_given_what_the_vision_tower_says(tiny, name, grid):
    assert name in GIVEN
    setup = Bench.of(tiny, grid, batch=2, text=TEXT)
    scored = (
        {"score": {"norm": 1.0}, "similarity": "keys", "selector": "dpp"} if name == "keys" else {"score": {name: 1}}
    )
    site = SiteSpec.model_validate({"layer": 1, "keep": 9, **scored})
    operator = OperatorSpec(target=setup.target, sites=(site,))
    seen, (whole, _) = setup.encoded_with(operator), setup.prefill()
    reported = seen.layout.features
    assert set(reported) == {name} - {"relevance"}
    for tensor in reported.values():
        assert tensor.shape[:2] == (2, grid[0] * grid[1])
        assert tensor.std() > 0
    with torch.inference_mode(), seen.reduced(operator):
        _, cache = seen.prefill()
    assert cache.get_seq_length(3) == TEXT + 9
    assert setup.layout.features == {}
    assert whole.isfinite().all()


def test_searched_operators_that_read_the_tower_are_timed(tmp_path):
    """Those that are shipped, and designs."""
    shipped = sorted((Path(__file__).parents[2] / "studies" / "results" / "operators").glob("*.json"))
    model, grid = random_model("tiny", torch.device("cpu")), GRID
    target = Bench.of(model, grid, 1, TEXT).target
    files = [rescale(OperatorSpec.load(path), target).operator.save(tmp_path / path.name) for path in shipped]
    assert any("vision" in site.score for path in files for site in OperatorSpec.load(path).sites)
    names = [*map(str, files), "visionzip", "vispruner"]
    plan = Plan(operators=names, tokens=[20], batches=[1], text=TEXT, repeats=1, modes=("eager",), decode=False)
    rows = list(bench(model, grid, plan))
    assert [row["operator"] for row in rows] == ["unreduced", *(path.stem for path in files), "visionzip", "vispruner"]
    assert all(row["eager_first_token_ms"] > row["eager_prefill_ms"] for row in rows)


def test_a_tower_that_is_not_reached_into_is_told_before_anything_is_timed():
    sample = SAMPLES["Qwen2.5-VL"]
    plan = Plan(operators=["visionzip"], tokens=[100], batches=[1], text=TEXT, repeats=1, modes=("eager",))
    reported = []
    with pytest.raises(EosError, match="vision tower is not reached into"):
        list(bench(fresh(sample), (16, 16), plan, reported.append))
    assert reported == []
