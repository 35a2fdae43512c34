"""Methods ranked over the comparisons of a store: drawn where more than one model was compared, silent before."""

import pytest
from browse_store import end_study, point, write_study

from eos_platform.dashboard_data.ranking import (
    blocks_of_store,
    blocks_of_study,
    lacking_words,
    ranking_of,
    ranking_over_ratios,
    table_of,
    words_over_ratios,
)
from eos_platform.dashboard_data.report import html, of_study
from eos_platform.dashboard_data.studies import Studies
from eos_platform.tracking.comparison import ComparisonLog


def record(name, family, accuracy, ratio, **changes):
    return {
        "key": name,
        "name": name,
        "family": family,
        "status": "measured",
        "regime": "prune",
        "variant": "tuned",
        "design": "",
        "ratio": ratio,
        "seed": 0,
        "knobs": {},
        "accuracy": accuracy,
        "questions": 100,
        "per_skill": {},
        "operator": None,
        "compute_ratio": ratio,
        **changes,
    }


def compared(folder, model, *records):
    log = ComparisonLog(f"sqlite:///{folder / 'mlflow.db'}", f"compare {model}", model, (folder / "files").as_uri())
    log.describe("", "A comparison", {"model": model, "task": "scenes"}, {})
    log.operators(records, {one["key"]: (0.4, 0.9) for one in records})
    log.close("FINISHED")


def methods(lacks=()):
    made = [
        record("searched at 0.2, seed 0", "searched", 0.9, 0.2, variant=""),
        record("searched at 0.2, seed 1", "searched", 0.8, 0.2, variant="", seed=1),
        record("fastv at 0.2, tuned", "hand-designed", 0.7, 0.2, design="fastv"),
        record("tome at 0.2, tuned", "hand-designed", 0.84, 0.2, design="tome"),
        record("unreduced", "unreduced", 0.99, None, variant=""),
        record("mine", "searched", 1.0, 0.2, variant="given"),
    ]
    return [one for one in made if one["design"] not in lacks]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    found = tmp_path_factory.mktemp("compared")
    compared(found, "llava", *methods())
    return found


def test_one_model_is_no_ranking_and_two_are(folder):
    studies = Studies(f"sqlite:///{folder / 'mlflow.db'}")
    assert studies.ranks() is None
    compared(folder, "qwen", *methods(lacks=("tome",)))
    again = Studies(f"sqlite:///{folder / 'mlflow.db'}")
    blocks = blocks_of_store(again)
    scores = {"searched": pytest.approx(0.85), "fastv tuned": 0.7, "tome tuned": 0.84}
    assert blocks["llava", "scenes", 0.2] == scores
    assert set(blocks["qwen", "scenes", 0.2]) == {"searched", "fastv tuned"}
    ranking = ranking_of(blocks)
    assert ranking.mean_rank == {"searched": 1.0, "fastv tuned": 2.5, "tome tuned": 2.5}
    assert table_of(ranking)["measured in (of 2)"].tolist() == [2, 2, 1]
    (said,) = lacking_words(ranking, last=True)
    assert said.startswith("tome tuned: ranked last in 1 of 2 comparisons, relative rank 0.50")
    figure, words = again.ranks()
    assert "2 comparisons" in words
    assert "searched" in figure.to_json()
    assert again.ranks()[0] is figure  # worked out once


def test_a_study_ranks_designs_at_the_ratios_of_its_front_and_its_report_shows_it(tmp_path):
    recorder = write_study(tmp_path)
    for ratio, accuracy in (
        (0.098, 0.75),
        (0.148, 0.6),
        (0.34, 0.95),
    ):  # the second is better than the front at .1 alone
        name = f"tome at {ratio}"
        recorder.point(point(name, "hand-designed", accuracy, ratio, design="tome"), None)
    end_study(recorder)
    studies = Studies(f"sqlite:///{tmp_path / 'mlflow.db'}")
    blocks = blocks_of_study(studies, "small")
    scores = {at[2]: {name: round(score, 2) for name, score in block.items()} for at, block in blocks.items()}
    assert scores == {
        0.1: {"searched": 0.69, "tome": 0.75},
        0.15: {"searched": 0.79, "tome": 0.6},
        0.35: {"searched": 0.91, "tome": 0.95},
    }  # fastv at .2 is nearest to no operator of the front
    found = ranking_over_ratios(blocks)
    assert found.mean_rank == {"tome": pytest.approx(4 / 3), "searched": pytest.approx(5 / 3)}
    assert "2 methods at 3 compute ratios of one model" in words_over_ratios(found)
    page = html(of_study(studies, "small"))
    assert "Ranks over the compute ratios" in page
    assert "Mean ranks over the compute ratios" in page
    assert ranking_over_ratios(dict(list(blocks.items())[:1])) is None
