"""Measuring: what is planned, what a record holds, and that nothing is measured twice."""

import json
import subprocess
import sys

import numpy as np
import pytest

from eos_platform.analysis.comparison import run as run_module
from eos_platform.analysis.comparison import store
from eos_platform.analysis.comparison.__main__ import main
from eos_platform.analysis.comparison.plan import plan
from eos_platform.analysis.comparison.run import run
from eos_platform.analysis.comparison.settings import Settings, parse_designs, parse_ratios, parse_search
from eos_platform.analysis.stats.bitpack import pack, unpack
from eos_platform.common.errors import EosError
from eos_platform.costs.flops import compute_ratio
from eos_platform.costs.match import match
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tasks import evaluate


def of(**values):
    return Settings.of(**{"model": "bundled-small", "questions": 48, "batch": 2, "pictures": 2, **values})


@pytest.fixture
def loaded(small, monkeypatch):
    monkeypatch.setattr(run_module, "load_workload", lambda *args, **options: small)
    return small


def test_bits_come_back():
    for count in (1, 7, 8, 9, 4096):
        correct = np.random.default_rng(count).random(count) < 0.7
        text = pack(correct)
        assert unpack(text, count).tolist() == correct.tolist()
    assert len(text) < 700


def test_every_entry_has_a_whole_record(finished, small):
    records = {record["name"]: record for record in store.read_records(finished)}
    names = {"unreduced", "zero"}
    for ratio in ("0.3", "0.12"):
        names |= {f"random at {ratio}", f"random at {ratio}, tuned", f"fastv at {ratio}", f"fastv at {ratio}, tuned"}
        names |= {f"searched at {ratio}, seed 0"}
    assert set(records) == names
    for name, record in records.items():
        correct = unpack(record["correct"], 48)
        assert correct.mean() == pytest.approx(record["accuracy"])
        assert record["flops"] == pytest.approx(record["counted_flops"], rel=0.01)
        assert record["prefill_ms"] > 0
        assert "memory_mb" not in record  # no GPU
        if record["ratio"] is not None:
            assert record["compute_ratio"] <= record["ratio"]
        if name != "unreduced":
            spec = OperatorSpec.model_validate(record["operator"])
            assert spec.mean_tokens == pytest.approx(record["mean_tokens"])
            for sites in record["kept"]:
                assert len(sites[-1]["origin"]) == len(sites[-1]["size"]) == spec.tokens_left
                assert sites[-1]["origin"] == sorted(sites[-1]["origin"])
                assert all(0 <= place < 144 for place in sites[-1]["origin"])
            assert len(record["kept"]) == 2
    fastv = records["fastv at 0.3"]
    operator = match("fastv", 0.3, small.target, small.shape, small.text_tokens)
    found = evaluate(small, operator, "heldout", 48)
    assert found.correct.tolist() == unpack(fastv["correct"], 48).tolist()
    assert fastv["compute_ratio"] == pytest.approx(compute_ratio(operator, small.shape, small.text_tokens))
    searched = records["searched at 0.3, seed 0"]
    tuned = records["fastv at 0.3, tuned"]
    most = store.read_header(finished)["samples"]
    assert 32 < searched["samples"] <= most
    assert tuned["samples"] == 2 * tuned["tuning"]["questions"] == most
    saved = OperatorSpec.load(finished / "operators" / "searched-at-0.3-seed-0.json")
    assert saved == OperatorSpec.model_validate(searched["operator"])


def test_going_on_measures_only_what_is_new(tmp_path, loaded, monkeypatch):
    measured = []
    real = run_module.measure

    def watched(workload, operator, **options):
        measured.append(operator.name if operator else "unreduced")
        if len(measured) == 3:
            raise KeyboardInterrupt
        return real(workload, operator, **options)

    monkeypatch.setattr(run_module, "measure", watched)
    settings = of(ratios=(0.3,), designs=("random", "stride", "fastv"), seeds=0, out=tmp_path / "out")
    with pytest.raises(KeyboardInterrupt):
        run(settings)
    assert len(store.read_records(tmp_path / "out")) == 2
    uid = store.read_header(tmp_path / "out")["uid"]
    with (tmp_path / "out" / store.RESULTS).open("a") as stream:
        stream.write('{"key": "half a li')  # a crash while writing
    records = run(settings)
    assert len(measured) == 5
    assert [record["name"] for record in records] == ["unreduced", "random at 0.3", "stride at 0.3", "fastv at 0.3"]
    assert run(settings) == records
    assert len(measured) == 5
    assert store.read_header(tmp_path / "out")["uid"] == uid
    with pytest.raises(EosError, match="a comparison with questions 48, not 24; use another --out"):
        run(of(questions=24, ratios=(0.3,), designs=("random",), seeds=0, out=tmp_path / "out"))


def test_a_ratio_out_of_reach_is_a_result(tmp_path, loaded):
    settings = of(ratios=(0.04,), designs=("random",), seeds=0, pictures=0, out=tmp_path / "out")
    record = run(settings)[-1]
    assert record["status"] == "unreachable"
    assert "cannot reach compute ratio 0.04" in record["reason"]


def test_operator_files_are_compared_at_their_own_compute(tmp_path, small):
    operator = match("tome", 0.3, small.target, small.shape, small.text_tokens).model_copy(update={"provenance": {}})
    file = operator.save(tmp_path / "mine.json")
    entries = plan(of(operators=(file,), designs=("random",)), small)
    cost = compute_ratio(operator, small.shape, small.text_tokens)
    given, random = entries[1:]
    assert (given.family, given.variant, given.given) == ("searched", "given", operator)
    assert cost <= given.ratio < cost + 1e-4
    assert (random.family, random.ratio) == ("hand-designed", given.ratio)
    entries = plan(of(operators=(file,), designs=(), ratios=(0.5, 0.1), seeds=2), small)
    assert entries[1].ratio == 0.5
    assert [(entry.ratio, entry.seed) for entry in entries[2:]] == [(0.5, 0), (0.5, 1), (0.1, 0), (0.1, 1)]
    design = match("tome", 0.3, small.target, small.shape, small.text_tokens).save(tmp_path / "tome.json")
    entry = plan(of(operators=(design,), designs=()), small)[1]
    assert (entry.family, entry.design) == ("hand-designed", "tome")
    other = operator.model_copy(update={"target": operator.target.model_copy(update={"layers": 9, "model": "b"})})
    with pytest.raises(EosError, match=r"other\.json: made for b, not for 'bundled-small'"):
        plan(of(operators=(other.save(tmp_path / "other.json"),)), small)


def test_fixed_designs_stand_once(small):
    entries = plan(of(ratios=(0.3, 0.1), designs=("zero", "reweight", "random"), tune=2, search={"steps": 4}), small)
    fixed = [entry for entry in entries if entry.design in ("zero", "reweight")]
    assert [(entry.design, entry.ratio, entry.variant) for entry in fixed] == [
        ("zero", None, "published"),
        ("reweight", None, "published"),
    ]
    assert len({entry.key for entry in entries}) == len(entries)


@pytest.mark.parametrize(
    ("values", "says"),
    [
        ({"ratios": (0.0,)}, "ratios"),
        ({"designs": ("fastvv",)}, "did you mean 'fastv'"),
        ({"search": {"stepz": 3}}, "did you mean 'steps'"),
        ({"search": {"budget": 0.3}}, "budgets are --ratios of compute here"),
        ({"search": {"steps": 4, "batch_size": 2}, "tune": 9999}, "--tune 9999 trials of the 1288 questions"),
        ({"questions": 0}, "questions"),
    ],
)
def test_bad_settings_are_one_line(values, says):
    with pytest.raises(EosError, match=says):
        of(**values)


def test_words_of_the_command_line():
    assert parse_ratios(".33,.22") == (0.33, 0.22)
    assert parse_ratios(None) is None
    for nothing in ("a,b", ",", ""):
        with pytest.raises(EosError, match="expected numbers separated by commas"):
            parse_ratios(nothing)
    assert parse_designs("a, b") == ("a", "b")
    assert parse_designs("none") == ()
    assert parse_search(["steps=480", "support=nearest", "layers=[0,2]", "learning_rate=.1"]) == {
        "steps": 480,
        "support": "nearest",
        "layers": [0, 2],
        "learning_rate": 0.1,
    }
    assert of(search=parse_search(["learning_rate=.1"])).search_config(0.2, 0).learning_rate == 0.1
    with pytest.raises(EosError, match="expected key=value"):
        parse_search(["steps"])


def test_a_line_that_is_no_record_is_said(finished, tmp_path):
    first = (finished / store.RESULTS).read_text().split("\n")[0]
    (tmp_path / store.RESULTS).write_text(f"{first}\nnonsense\n")
    with pytest.raises(EosError, match="line 2 is no record"):
        store.read_records(tmp_path)
    (tmp_path / store.HEADER).write_text("[]")
    with pytest.raises(EosError, match="not a comparison's header"):
        store.read_header(tmp_path)


def test_measuring_alone_from_the_command_line(tmp_path, loaded, capsys):
    words = ["--model", "bundled-small", "--ratios", ".3", "--designs", "stride", "--seeds", "0", "--questions", "16"]
    assert main([*words, "--out", str(tmp_path / "out"), "--batch", "1", "--pictures", "0"]) == 0
    output = capsys.readouterr().err
    assert "[2/2] stride at 0.3: " in output
    assert "eos compare --report-only" in output
    lines = (tmp_path / "out" / store.RESULTS).read_text().splitlines()
    assert [json.loads(line)["name"] for line in lines] == ["unreduced", "stride at 0.3"]
    assert main(["--ratios", "7", "--out", str(tmp_path / "x")]) == 2
    assert capsys.readouterr().err.startswith("compare: ")
    assert not (tmp_path / "x").exists()


def test_measuring_needs_little():
    code = (
        "import sys, eos_platform.analysis.comparison.__main__\n"
        "found = {name.split('.')[0] for name in sys.modules}\n"
        "print(*found & {'pandas', 'plotly', 'mlflow', 'optuna', 'ray', 'rich', 'typer'})"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""
