"""Names of other people's choosing on pages: nothing in them runs, closes a tag or a script, or hides."""

import json
import re

import pandas as pd
import pytest

from eos_platform.dashboards import comparison, explain, health, kept_tokens, operator, pareto, skills
from eos_platform.dashboards.page import alone, page

HOSTILE = "<img src=x onerror=alert(1)></script><script>alert(2)</script>\x1b[31m\u202e" + "n" * 5000
WORDS = {
    "name": HOSTILE,
    "design": HOSTILE,
    "regime": HOSTILE,
    "measured_on": HOSTILE,
    "operator": HOSTILE,
    "skill": HOSTILE,
    "state": HOSTILE,
    "parameter": HOSTILE,
    "objective": "accuracy",
    "variant": "tuned",
}
POINT = {
    "accuracy": 0.9,
    "accuracy_low": 0.8,
    "accuracy_high": 0.95,
    "compute_ratio": 0.2,
    "mean_tokens": 30.0,
    "trial": 1,
    "key": "k",
    "front": True,
    "family": "searched",
    f"skill:{HOSTILE}": 0.5,
    "layer": 0,
    "tokens": 5,
    "place": "decoder",
    "before": 9,
    "after": 5,
    "selector": HOSTILE,
    "share": 0.5,
    "end": 5.0,
    "start": 1.0,
    "ratio": 0.2,
}
ROW = pd.DataFrame([{**POINT, **WORDS}, {**POINT, **WORDS, "family": "hand-designed", "compute_ratio": 0.3}])
SITES = ROW.assign(transfer="", compensation="", what="")

FIGURES = {
    "pareto": lambda: pareto.pareto_figure(ROW, HOSTILE),
    "skills": lambda: skills.skills_figure(ROW, HOSTILE),
    "skills_beside": lambda: comparison.compared_skills(ROW, HOSTILE),
    "staircases": lambda: comparison.staircases(ROW, HOSTILE),
    "operator": lambda: operator.operator_figure(ROW[:1], SITES[:1], HOSTILE),
    "states": lambda: health.states_figure(ROW, HOSTILE),
    "importance": lambda: health.importance_figure(ROW, HOSTILE),
    "parallel": lambda: health.parallel_figure(ROW.assign(**{HOSTILE: HOSTILE}), [HOSTILE], HOSTILE),
    "kept": lambda: kept_tokens.kept_figure(ROW[:0], [], HOSTILE),
    "explain": lambda: explain.staircase_figure(ROW, HOSTILE, HOSTILE),
}


def texts(value):
    """Every string in a figure that plotly reads its own kind of markup in."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from [] if key == "ticktext" else texts(inner)  # of parallel coordinates: shown as it is
    elif isinstance(value, (list, tuple)):
        for inner in value:
            yield from texts(inner)
    elif isinstance(value, str):
        yield value


@pytest.mark.parametrize("which", FIGURES)
def test_names_are_no_markup_in_any_figure(which):
    figure = FIGURES[which]()
    found = [text for text in texts(json.loads(figure.to_json())) if "onerror" in text or "alert" in text]
    assert found, "the names are shown"
    for text in found:
        assert not re.search(r"<(img|script|/script|a)\b", text)
        assert "\x1b" not in text
        assert "\u202e" not in text
        assert len(text) < 3000
    whole = page(HOSTILE, HOSTILE, [figure], table=ROW[["name", "regime"]]) if which == "pareto" else alone(figure)
    assert "<img src=x" not in whole
    assert "</script><script>alert" not in whole
    assert "\x1b" not in whole
    assert "\u202e" not in whole
