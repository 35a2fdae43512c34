"""The words on MLflow's pages: what a study is, on what, how to run it again; what an operator does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from eos_platform.analysis.explain.describe import place_words, site_words
from eos_platform.common.printable import markdown
from eos_platform.operators.spec import OperatorSpec
from eos_platform.tracking import names
from eos_platform.tracking.mlflow_ui.views import NAMES, view_url

RAN_WITH = ("eos-platform", "torch", "transformers")


def study_note(
    study: str,
    description: str,
    params: Mapping[str, Any],
    plan: Mapping[str, Any],
    environment: Mapping[str, str],
    experiment_id: str,
    run_id: str,
) -> str:
    """Markdown for the parent run.

    Args:
        params: model, task, what varies, what is fixed.
        plan: trials, sampler, seed.
        environment: versions and machine.
    """
    fixed = ", ".join(
        f"{name.removeprefix('fixed.')} {value}" for name, value in params.items() if name.startswith("fixed.")
    )
    # a link within the page: wherever MLflow is served, its address is the page's own
    views = " · ".join(f"[{name}]({view_url(experiment_id, key, '').removeprefix('/')})" for key, name in NAMES.items())
    facts = {
        "Model": f"{markdown(params.get('model', 'unknown'))}, frozen",
        "Task": markdown(params.get("task", "unknown")),
        "Varied": params.get("varied", ""),
        "Fixed": fixed or "all defaults",
        "Plan": ", ".join(f"{name} {value}" for name, value in plan.items()),
        "Ran with": ", ".join(
            f"{name} {environment[name]}" for name in ("eos-platform", "torch") if name in environment
        ),
        "On": ", ".join(environment[name] for name in ("accelerator", "platform") if environment.get(name)),
    }
    facts |= {name: markdown(facts[name]) for name in ("Varied", "Fixed", "Plan", "On")}
    rows = "\n".join(f"| {name} | {value} |" for name, value in facts.items() if value)
    metrics = "\n".join(f"| `{name}` | {meaning} |" for name, meaning in names.MEANING.items())
    return f"""{markdown(description)}

Each trial searches one operator (where visual tokens are reduced, how many stay, where the others go) by gradient;
together they make a front of accuracy against compute. Views: {views}. The front with its hand-designed company:
`pareto.html` among the artifacts.

| | |
|---|---|
{rows}

**Run it again**: download `{names.STUDY_FILE}` from the artifacts, then

```
eos study run {names.STUDY_FILE}
```

**Read it back**

```python
from eos_platform.tracking import read_study
trials = read_study("{study}")
```

**Take an operator home**

{_take_home(f"models:/{study}@champion")}

Colours: searched operators are blue (pale when another beats them), each hand-designed one has its design's colour,
the same as in the dashboard, and the unreduced model is black. The tag `pareto` says whether a trial is on the front:
the searched operators that no other searched one beats, on held-out questions once the study has asked them, on
validation questions until then.

| metric | meaning |
|---|---|
{metrics}

Study run `{run_id}`. All versions: `{names.ENVIRONMENT_FILE}`.
"""


def operator_note(operator: OperatorSpec, reference: str) -> str:
    """Markdown for the run or the model version of one operator.

    Args:
        reference: what ``load_operator`` takes.
    """
    kept = f"{operator.mean_tokens:.1f} of {operator.target.tokens} visual tokens a decoder layer on average"
    parts = [f"**{operator.regime}**: {kept}, {operator.tokens_left} at the end."]
    for number, (site, arriving) in enumerate(zip(operator.sites, operator.incoming, strict=True)):
        words = "; ".join(site_words(operator, number))
        parts.append(f"- {place_words(site)}, {arriving} to {site.keep} tokens: {words}")
    parts.append(f"\n{_take_home(reference)}")
    return "\n".join(parts)


def _take_home(reference: str) -> str:
    # fenced: an indented block after a list would be read as a part of it
    return f"""```python
import eos_platform as eos
from eos_platform.tracking import load_operator
eos.attach(model, load_operator("{reference}"))
```"""
