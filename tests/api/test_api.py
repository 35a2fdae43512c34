"""What people type: a model's name, settings by keyword; results that can be read; one line where a type is wrong."""

import html.parser
import inspect
import io
import sys

import pytest
import torch

import eos_platform as eos
from eos_platform.api import calls, progress
from eos_platform.api.html import tokens_svg
from eos_platform.common.errors import EosError
from eos_platform.models.bundled import folder
from eos_platform.operators.designs import DESIGNS
from eos_platform.search import SearchResult

SHORT = {"budget": 0.3, "steps": 4, "batch_size": 2, "search_questions": 8, "eval_questions": 8, "portfolio": False}


@pytest.fixture(scope="module")
def found(small):
    return eos.search(small, quiet=True, **SHORT)


def test_a_name_and_a_budget_are_enough(found, capfd):
    result = eos.search("bundled-small", device="cpu", **SHORT)
    assert isinstance(result, SearchResult)
    assert result.operator == found.operator
    assert result.compute_ratio <= 0.3
    assert capfd.readouterr() == ("", "")  # nobody looks on


def test_one_operator_for_two_tasks(small):
    found = eos.search(small, also=[":crowds"], quiet=True, **SHORT)
    assert list(found.places) == ["bundled-small on scenes", "bundled-small on crowds 1"]
    assert found.accuracy == pytest.approx(sum(found.places.values()) / 2)
    assert found.remarks[0].startswith("in each place, deployed: bundled-small on scenes ")


@pytest.mark.parametrize(
    ("config", "settings"),
    [
        (eos.SearchConfig(**SHORT), {}),
        (None, SHORT),
        ({**SHORT, "budget": 0.5}, {"budget": 0.3}),
        (eos.SearchConfig(**{**SHORT, "budget": 0.5}), {"budget": 0.3}),
    ],
)
def test_settings_of_all_kinds_are_one_configuration(small, found, monkeypatch, config, settings):
    asked = []
    monkeypatch.setattr(calls, "run_search", lambda *given, **options: asked.append(given) or found)
    assert eos.search(small, config, **settings).operator == found.operator
    assert asked == [(small, eos.SearchConfig(**SHORT))]


@pytest.fixture
def at_once(found, monkeypatch):
    """A search that tells of its last step, and has the result ready."""

    def run(workload, config, *, report, **options):
        if report is not None:
            report(config.steps, {"loss": 0.5})
        return found

    monkeypatch.setattr(calls, "run_search", run)


def test_a_model_itself_is_searched_and_given_back_as_it_was(found, tmp_path):
    from transformers import AutoProcessor, LlavaForConditionalGeneration

    model = LlavaForConditionalGeneration.from_pretrained(folder("bundled-small"), dtype=torch.float32).train()
    assert eos.search(model, **SHORT).operator.sites == found.operator.sites
    assert model.training
    assert all(parameter.requires_grad for parameter in model.parameters())
    assert eos.attached_operator(model) is None
    model.name_or_path = model.config.name_or_path = ""
    with pytest.raises(EosError, match="loaded from no folder here; give its processor"):
        eos.search(model, **SHORT)
    processor = AutoProcessor.from_pretrained(folder("bundled-small"))
    assert eos.evaluate(model, found, questions=8, processor=processor).questions == 8
    eos.attach(model, found.operator)
    with pytest.raises(EosError, match="already attached"):
        eos.search(model, processor=processor, **SHORT)


def test_a_result_is_saved_and_drawn(small, found, tmp_path):
    file = found.save(tmp_path / "mine.json")
    assert found.save(tmp_path) == tmp_path / "operator.json"
    assert eos.OperatorSpec.load(file) == eos.OperatorSpec.load(tmp_path / "operator.json") == found.operator
    assert max(len(trace.y) for trace in found.plot().data) >= small.target.layers


def test_a_result_attaches(small, found):
    for way in (lambda: found.attach(small.model), lambda: eos.attach(small.model, found)):
        assert eos.attached_operator(way()) == found.operator
        eos.detach(small.model)


def test_reprs_are_a_few_lines(small, found):
    shown = eos.evaluate(small, found, questions=40)
    for value in (small, shown, found, found.operator):
        assert str(value) == repr(value)
        assert len(repr(value)) < 500, repr(value)
    study = eos.Study("quickstart", runs="elsewhere")
    assert repr(study).startswith("Study: quickstart (bundled-small on scenes, 6 trials proposed by qmc) in ")
    assert repr(small) == ("Workload: bundled-small (llava, 6 decoder layers, 144 visual tokens) on scenes, cpu")
    assert repr(shown).startswith(f"Evaluation: {100 * shown.accuracy:.1f} % of 40 questions (")
    first, second, *sites = repr(found).splitlines()
    assert first.startswith(f"accuracy {100 * found.accuracy:.1f} % on 8 validation questions at compute ratio 0.")
    assert second.startswith(f"operator 'searched-0.3': {found.operator.regime}, 144 -> ")
    assert len(sites) == len(found.operator.sites)
    assert "before layer 0: 144 -> " in sites[0]


class _Tags(html.parser.HTMLParser):
    def __init__(self):
        super().__init__()
        self.opened, self.closed = [], []

    def handle_starttag(self, tag, attrs):
        self.opened.append(tag)

    def handle_endtag(self, tag):
        self.closed.append(tag)


def test_a_notebook_shows_a_table_and_a_picture(found):
    tags = _Tags()
    tags.feed(found._repr_html_())
    assert tags.opened.count("tr") == 1 + len(found.operator.sites)
    assert tags.opened.count("rect") == found.operator.target.layers
    assert "script" not in tags.opened
    assert sorted(tag for tag in tags.opened if tag not in ("line",)) == sorted(
        tag for tag in tags.closed if tag not in ("line",)
    )


@pytest.mark.parametrize("name", ["fastv", "tome-tower", "downsample", "vtw"])
def test_every_kind_of_operator_is_drawn(small, name):
    operator = DESIGNS.get_named(name).build(small.target, 72)
    assert tokens_svg(operator).count("<rect") == small.target.layers
    assert len(repr(operator)) < 1000


def test_parts_of_an_operator_are_short_too(found):
    assert all(len(repr(site)) < 1500 for site in found.operator.sites)


class _Shell:
    kernel = object()


def test_progress_in_a_notebook(small, at_once, monkeypatch):
    shown = []

    class Handle:
        def update(self, said):
            shown.append(said)

    class Display:
        HTML = staticmethod(lambda text: text)

        @staticmethod
        def display(said, display_id):
            shown.append(said)
            return Handle()

    class IPython:
        get_ipython = staticmethod(_Shell)
        display = Display

    monkeypatch.setitem(sys.modules, "IPython", IPython)
    monkeypatch.setitem(sys.modules, "IPython.display", Display)
    eos.search(small, **SHORT)
    assert "0 of 4 steps" in shown[0]
    assert '<progress value="4" max="4">' in shown[-2]
    assert "search ended after" in shown[-1]
    shown.clear()
    eos.search(small, quiet=True, **SHORT)
    assert not shown


def test_progress_in_a_terminal(small, at_once, monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setenv("COLUMNS", "100")
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    eos.search(small, **SHORT)
    assert "searching" in screen.getvalue()
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    eos.search(small, quiet=True, **SHORT)
    assert screen.getvalue() == ""
    assert not progress.in_notebook()


def test_help_says_what_can_be_given():
    assert list(inspect.signature(eos.search).parameters)[:3] == ["model", "config", "quiet"]


WRONG = {
    "search: nothing": (lambda w: eos.search(None), "model: a model, its folder, or the name .* is expected, not None"),
    "search: a number": (lambda w: eos.search(5), "model: .* expected, not 5"),
    "search: an operator": (lambda w: eos.search(OPERATOR), "model: .* expected, not a OperatorSpec"),
    "search: a budget": (lambda w: eos.search(w, 0.3), r"config: .*keyword \(budget=0.2\), is expected, not 0.3"),
    "search: misspelt": (lambda w: eos.search(w, budgett=1), "unknown setting 'budgett'; did you mean 'budget'"),
    "search: misspelt own": (lambda w: eos.search(w, quite=1), "unknown setting 'quite'; did you mean 'quiet'"),
    "search: out of bounds": (lambda w: eos.search(w, budget=7), "search: budget: .* less than or equal to 1"),
    "search: type": (lambda w: eos.search(w, budget="x"), "search: budget: "),
    "search: loaded": (lambda w: eos.search(w, task="scenes"), "task: this workload is loaded already"),
    "search: report": (lambda w: eos.search(w, report=5), "report: a function of step and curves is expected, not 5"),
    "search: start": (lambda w: eos.search(w, start=5), "start: a search's result is expected, not 5"),
    "search: checkpoint": (lambda w: eos.search(w, checkpoint=5), "checkpoint: a path is expected, not 5"),
    "search: also": (lambda w: eos.search(w, also=5), "also: a list of places, .* expected, not 5"),
    "search: also no task": (lambda w: eos.search(w, also=[":crowd"]), "did you mean 'crowds'"),
    "search: also and start": (lambda w: eos.search(w, also=["x"], start={"keep": 1}), "cannot start from an earlier"),
    "search: also twice": (lambda w: eos.search(w, also=w), "is there twice"),
    "search: device of a model": (lambda w: eos.search(w.model, device="cpu"), "stays where it is"),
    "search: processor of a name": (lambda w: eos.search("bundled-small", processor=5), "goes with a model"),
    "search: processor": (lambda w: eos.search(w.model, processor=5), "processor: .* is expected, not 5"),
    "attach: no model": (lambda w: eos.attach(w, OPERATOR), "not to Workload"),
    "attach: a number": (lambda w: eos.attach(w.model, 5), "operator: an operator, its file, .* is expected, not 5"),
    "attach: swapped": (lambda w: eos.attach(OPERATOR, w.model), "operator: .* not a LlavaForConditionalGeneration"),
    "attached: None": (lambda w: eos.attached(w.model, None).__enter__(), "operator: .* expected, not None"),
    "detach: a name": (lambda w: eos.detach("bundled"), "model: a model is expected, not 'bundled'"),
    "detach: None": (lambda w: eos.detach(None), "model: a model is expected, not None"),
    "attached_operator": (lambda w: eos.attached_operator(w), "model: a model is expected, not a Workload"),
    "target_of": (lambda w: eos.target_of("x"), "not to str"),
    "save_operator": (lambda w: eos.save_operator(5, "x"), "operator: .* is expected, not 5"),
    "save_operator: folder": (lambda w: eos.save_operator(OPERATOR, None), "folder: .* expected, not None"),
    "rescale": (lambda w: eos.rescale("x", w.target), "operator: .* expected, not 'x'"),
    "rescale: a model": (lambda w: eos.rescale(OPERATOR, w.model), r"target: what eos.target_of\(model\) gives"),
    "load_workload": (lambda w: eos.load_workload(None), "model: .* is expected, not None"),
    "load_workload: task": (lambda w: eos.load_workload("bundled", 5), "task: a name, or a mapping"),
    "evaluate: a number": (lambda w: eos.evaluate(5), "model: .* is expected, not 5"),
    "evaluate: operator": (lambda w: eos.evaluate(w, 5), "operator: .* is expected, not 5"),
    "evaluate: no file": (lambda w: eos.evaluate(w, "none.json"), "operator file not found: none.json"),
    "evaluate: questions": (lambda w: eos.evaluate(w, questions="x"), "questions: a whole number from 1 is expected"),
    "evaluate: none": (lambda w: eos.evaluate(w, questions=0), "questions: a whole number from 1 is expected, not 0"),
    "evaluate: batch": (lambda w: eos.evaluate(w, batch_size=0, questions=4), "batch_size: a whole number"),
    "evaluate: split": (lambda w: eos.evaluate(w, split=3), "unknown split 3"),
    "evaluate: misspelt": (lambda w: eos.evaluate(w, devise="cpu"), "unknown argument 'devise'; did you mean 'device'"),
    "load": (lambda w: eos.OperatorSpec.load(None), "a path is expected, not None"),
    "save": (lambda w: OPERATOR.save(5), "a path is expected, not 5"),
    "from_json": (lambda w: eos.OperatorSpec.from_json(5), "JSON text is expected, not 5"),
    "Study": (lambda w: eos.Study(5), "study: a study's name or its file is expected, not 5"),
    "Study: overrides": (lambda w: eos.Study("quickstart", 5), "overrides: .* expected, not 5"),
    "Study: runs": (lambda w: eos.Study("quickstart", runs=5), "runs: a path is expected, not 5"),
}
OPERATOR = eos.OperatorSpec(target={"layers": 6, "grid": (12, 12)})


@pytest.mark.parametrize("name", WRONG)
def test_a_wrong_type_is_one_line(small, name):
    call, said = WRONG[name]
    with pytest.raises(EosError, match=said):
        call(small)


def test_one_change_of_a_study_needs_no_list():
    assert eos.Study("quickstart", "trials=3").file.trials == 3
