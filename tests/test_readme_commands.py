"""Every command of README.md and studies/README.md is one that the command-line parser accepts, and one that runs.

The fast part parses all of them. The slow part runs them in order in one folder, as they stand there, on the models and
files they name; only the amount of work (steps, questions, repetitions of measurements) is reduced, so that a CPU can
do it in minutes.
"""

import functools
import importlib
import inspect
import os
import re
import runpy
import shlex
import shutil
import sys
from pathlib import Path

import pytest
import typer
import yaml
from PIL import Image
from typer.testing import CliRunner

import eos_platform
from eos_platform.cli import app as cli
from eos_platform.engine.schema import study_file
from eos_platform.models.bundled import folder

ROOT = Path(__file__).parents[1]
PAGES = ("README.md", "studies/README.md")
TYPED = re.compile(r"^    ((?:eos|python -m eos_platform\.)[^#\n]*)", re.MULTILINE)
TOLD = re.compile(r"`((?:eos (?!-)|python -m eos_platform\.)[^`\n]+)`")
GROUP = typer.main.get_command(cli.app)
# not on a CPU in minutes, each by itself run elsewhere
NOT_HERE = {
    "eos search --cost prefill_ms --budget 8ms": "milliseconds of a GPU; tests/search/test_cost.py has a CPU's",
    "eos search --budget 12ms --device-profile device.json": "as above; tests/costs/device has a made-up device's",
    "eos study run quickstart": "minutes; my-study.yaml is the same with fewer questions",
    "eos study run my-study.yaml --set trials=40 --set search.steps=120": "40 searches; my-study.yaml runs without",
    "eos bench searched-like fastv --shape llava-1.5-7b --modes eager,captured,compiled": "a GPU with room for 7B",
    "eos benchmark --model my-model --operator mine.json --tasks pope,gqa,textvqa --root downloads": "the downloads",
    "eos compare --model bundled --ratios .3,.2,.15,.1,.05 --seeds 5 --tune 20": "as the ones above, hours on a GPU",
    "python -m eos_platform.engine.benchmarks.early_stopping early-stopping --seeds 2": "two studies of 480 steps",
}


def commands(pattern):
    """Every command of the pages, once, in order."""
    texts = [re.sub(r"\n", "\n", (ROOT / page).read_text("utf-8")) for page in PAGES]
    return list(dict.fromkeys(found.strip() for text in texts for found in pattern.findall(text)))


def take(words, group=GROUP):
    """What the command makes of its words; raises where it does not take them."""
    name, *rest = words
    command = group.commands[name]
    return take(rest, command) if hasattr(command, "commands") else command.make_context(name, rest)


def test_commands_are_found():
    assert len(commands(TYPED)) >= 20
    assert "eos evaluate operator.json --model bundled" in commands(TYPED)
    assert "eos plugins --all" in commands(TOLD)
    assert set(NOT_HERE) | set(LONG) <= set(commands(TYPED))
    with pytest.raises(Exception, match="No such option"):
        take(["evaluate", "operator.json", "--modell", "bundled"])


@pytest.mark.parametrize("line", [line for line in commands(TYPED) + commands(TOLD) if line.startswith("eos ")])
def test_the_words_are_taken(line):
    words = shlex.split(line)[1:]
    try:
        take(words)
    except Exception as error:  # typer carries a click of its own
        if type(error).__name__ != "MissingParameter" or len(words) > 2:  # "eos compare" by name
            raise


def run_module(words):
    """``python -m`` in this process, which has imported most of what is needed; the exit status."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", list(words))
        with pytest.raises(SystemExit) as left:
            runpy.run_module(words[0], run_name="__main__", alter_sys=True)
    return left.value.code


@pytest.mark.slow  # together they import the whole package
@pytest.mark.filterwarnings("ignore:.*found in sys.modules:RuntimeWarning")
@pytest.mark.parametrize("line", [line for line in commands(TYPED) + commands(TOLD) if line.startswith("python")])
def test_the_options_of_modules_exist(line, capsys):
    _, _, module, *words = shlex.split(line)
    assert not run_module([module, "--help"])
    shown = capsys.readouterr().out
    for word in words:
        assert not word.startswith("--") or word in shown


# more of the same work on the largest of the bundled models: run with EOS_ALL_COMMANDS=1
LONG = {
    "eos transfer bundled-small bundled-small-v2 bundled-onevision --budgets .2,.1": "six "
    "searches, 36 transfers; tests/analysis/transfer has a matrix",
    "eos transfer bundled-qwen:sizes=224 bundled-qwen:sizes=448 --budgets .2 --ways unchanged,zero-shot": "the same",
    "eos front --budgets .33,.22,.15,.1,.05": "five searches",
    "eos search --cost kv_bytes --budget 1.5MB": "a second search; tests/search/test_cost.py has it on a small model",
    "eos compare --ratios .33,.22,.15,.11,.05 --tune 16": "searches and tuning; eos compare operator.json is run",
    "python -m eos_platform.analysis.comparison --model bundled --ratios .2,.1 --tune 16 --out eos-compare": "the same",
}
LEFT_OUT = NOT_HERE if os.environ.get("EOS_ALL_COMMANDS") else NOT_HERE | LONG
FEW = {"steps": 4, "batch_size": 2, "search_questions": 8, "eval_questions": 8}


@pytest.fixture
def little_work(monkeypatch):
    """The same commands with few steps, questions and repetitions."""

    def put(module, name, change):
        home = importlib.import_module(module) if isinstance(module, str) else module
        made = getattr(home, name)

        @functools.wraps(made)
        def changed(*given, **options):
            bound = inspect.signature(made).bind(*given, **options)
            return made(**change(bound.arguments))

        monkeypatch.setattr(home, name, changed)

    from eos_platform.analysis.comparison.settings import Settings
    from eos_platform.search.config import SearchConfig

    of, settings = SearchConfig.of, Settings.of
    monkeypatch.setattr(SearchConfig, "of", lambda values, where="search": of({**FEW, **values}, where))
    less = {"questions": 8, "designs": ("random", "tome"), "batch": 1, "pictures": 1}

    def some(**given):
        ratios, tune = given.get("ratios"), given.get("tune") or 0
        return settings(**{**given, **less, "ratios": ratios and ratios[:2], "tune": min(1, tune)})

    monkeypatch.setattr(Settings, "of", some)
    from eos_platform.search.portfolio import find

    for name, few in {
        "LOOK": 8,
        "JUDGED": 8,
        "WALK": 2,
        "RACERS": 1,
        "DESIGNS": {"random": None, "tome": None},
    }.items():
        monkeypatch.setattr(find, name, few)
    put("eos_platform.tasks", "evaluate", lambda options: {**options, "questions": 8})
    put("eos_platform.analysis.explain.explain", "explain", lambda options: {**options, "questions": 8})
    # what is timed is timed once
    monkeypatch.setattr("eos_platform.costs.prefill_time.PATIENCE", 0.1)
    monkeypatch.setattr("eos_platform.costs.measured.pays.FURTHER", ())
    put("eos_platform.bench.profiling.measure", "measured", lambda options: {**options, "rounds": 1})
    plan = {"batches": [1], "repeats": 1, "new": 2, "tokens": [64], "modes": ("eager",)}
    put("eos_platform.bench.run", "Plan", lambda options: {**options, **plan})
    put("werkzeug.serving", "make_server", lambda options: options)
    serving = importlib.import_module("werkzeug.serving")
    monkeypatch.setattr(serving.ThreadedWSGIServer, "serve_forever", lambda self, *given: self.server_close())


def furnish(place):
    """What a person has who types the commands: a study of their own, a model, pictures and questions."""
    study = yaml.safe_load(study_file.packaged()["quickstart"].read_text("utf-8"))
    study |= {"name": "my-study", "trials": 2, "search": {**study["search"], **FEW}}
    study["final"] |= {"questions": 32, "baselines": ["random"], "ratios": 1}
    (place / "my-study.yaml").write_text(yaml.safe_dump(study))
    shutil.copytree(folder("bundled-small"), place / "my-model")
    (place / "photos").mkdir()
    rows = []
    for number in range(60):
        colour = ("red", "green", "blue")[number % 3]
        Image.new("RGB", (96 + number, 96), colour).save(place / "photos" / f"{number}.png")
        rows.append(f'{{"image": "photos/{number}.png", "question": "what color is it?", "answer": "{colour}"}}\n')
    for name in ("questions.jsonl", "my.jsonl"):
        (place / name).write_text("".join(rows))


@pytest.mark.slow  # some twenty commands, minutes: a step of .ci/run
def test_every_command_runs_as_it_stands_there(tmp_path, monkeypatch, little_work):
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    furnish(tmp_path)
    runner, ran = CliRunner(), []
    for line in commands(TYPED):
        if line in LEFT_OUT:
            continue
        program, *words = shlex.split(line)
        if program == "eos":
            done = runner.invoke(cli.app, words)
            assert done.exit_code == 0, f"{line}: {done.output} {done.stderr}"
        else:
            assert not run_module(words[1:]), line
        ran.append(line)
    assert len(ran) == len(commands(TYPED)) - len(LEFT_OUT)
    for name in ("operator.json", "explained/explain.md", "report.html", "eos-compare/report.md", "eos-bench"):
        assert (tmp_path / name).exists(), name
    assert eos_platform.OperatorSpec.load(tmp_path / "operator.json").target.tokens in (144, 576)
