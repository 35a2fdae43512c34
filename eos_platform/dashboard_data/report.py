"""The static report: one HTML file with the dashboard's figures, of a study or a comparison's folder; and pictures."""

from __future__ import annotations

import datetime
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pandas as pd
import plotly.graph_objects as go

from eos_platform.common.errors import EosError
from eos_platform.common.files import check_writable, write_atomic
from eos_platform.dashboard_data import ranking
from eos_platform.dashboard_data.describe import layers_of, sites_of
from eos_platform.dashboard_data.studies import Studies
from eos_platform.dashboards.comparison import compared_skills, staircases
from eos_platform.dashboards.examples import examples_html
from eos_platform.dashboards.health import hypervolume_figure, importance_figure, parallel_figure, states_figure
from eos_platform.dashboards.kept_tokens import kept_figure
from eos_platform.dashboards.operator import operator_figure
from eos_platform.dashboards.palette import Style, operator_styles
from eos_platform.dashboards.pareto import pareto_figure
from eos_platform.dashboards.skills import skills_figure
from eos_platform.objectives import DEFAULT, front_title
from eos_platform.operators.spec import OperatorSpec
from eos_platform.protocols import Objective

if TYPE_CHECKING:
    from eos_platform.analysis.stats.ranks import Ranking

DIAGRAMS = 3  # operators drawn each by itself: the cheapest, the middle and the dearest of the front
FORMATS = ("png", "svg")
EXAMPLES = "Example questions and answers"
WIDTH = 1100  # pixels of an exported picture


@dataclass
class Report:
    """What the file holds; ``figures`` by the name that pictures are saved under."""

    title: str
    lead: str
    figures: dict[str, go.Figure] = field(default_factory=dict)
    front: pd.DataFrame = field(default_factory=pd.DataFrame)
    axes: tuple[Objective, ...] = DEFAULT  # of the study
    tables: dict[str, pd.DataFrame] = field(default_factory=dict)  # further ones, by heading
    parts: dict[str, str] = field(default_factory=dict)  # HTML, by heading


def of_study(studies: Studies, study: str) -> Report:
    """The report of a study in the tracking store.

    Raises:
        EosError: no such study, or nothing measured yet.
    """
    operators, facts, counts = studies.operators(study), studies.facts(study), studies.remaining(study)
    measured, axes = operators[operators["accuracy"].notna()], studies.axes(study)
    if measured.empty:
        raise EosError(f"study '{study}': nothing is measured yet")
    front = operators[operators["front"]].sort_values("compute_ratio")
    done = f"{counts['done']} trials done" + (f" of {counts['target']}" if counts["target"] else "")
    asked = "".join(f" ({name} questions)" for name in front["measured_on"].dropna().unique())
    lead = f"{facts['description']}\nModel {facts['model']}, task {facts['task']}; {done}, "
    lead += f"{len(front)} on the front{asked}."
    report = Report(study, lead.strip(), front=front, axes=axes)
    report.tables = {"Hand-designed operators": _designs(measured), "Settings": _settings(studies, study)}
    report.figures["front"] = pareto_figure(measured, front_title(axes), axes=axes)
    specs = [(str(row["name"]), studies.operator(study, row["key"])) for row in _spread(front)]
    styles = operator_styles((name, "searched", None) for name, _ in specs)
    _operators(report, [(name, spec) for name, spec in specs if spec], styles)
    _skills(report, front, styles)
    _ranks(report, ranking.ranking_over_ratios(ranking.blocks_of_study(studies, study)))
    if over_all := studies.ranks():
        report.figures["ranks-of-store"], words = over_all
        report.parts["Mean ranks over all comparisons of this store"] = f"<p>{escape(words)}</p>"
    _kept(report, studies, study, front)
    trials = studies.settings(study)
    if len(trials):
        report.figures["hypervolume"] = hypervolume_figure(studies.progress(study), axes=axes)
        report.figures["trials"] = states_figure(trials)
        report.figures["importance"] = importance_figure(studies.importance(study))
        report.figures["parallel"] = parallel_figure(
            trials, studies.varied(study), axes=axes, log=studies.log_varied(study)
        )
    return report


def of_comparison(folder: Path) -> Report:
    """The report of a comparison's folder (``eos compare``).

    Raises:
        EosError: no comparison there, or nothing measured yet.
    """
    from eos_platform.analysis.comparison import store
    from eos_platform.analysis.comparison.overlays import kept_of
    from eos_platform.analysis.comparison.points import points_of
    from eos_platform.analysis.ranking.comparisons import blocks_of

    header, records = store.read_header(folder), store.read_records(folder)
    points = points_of(records)
    if points.empty:
        raise EosError(f"{folder}: nothing is measured yet")
    lead = (
        f"Deployed operators of '{header['model']}' on {header['questions']:,} held-out questions of the task "
        f"'{header['task']}', hand-designed ones matched to the compute of the searched; {header['device']}."
    )
    searched = points[points["family"] == "searched"].sort_values("compute_ratio")
    report = Report("Searched and hand-designed operators", lead, front=searched.assign(measured_on="held-out"))
    report.figures["front"] = pareto_figure(points)
    known = {record["key"]: record.get("operator") for record in records}
    specs = [(row["name"], known.get(row["key"])) for row in _spread(searched)]
    styles = operator_styles((str(name), "searched", None) for name, _ in specs)
    _operators(report, [(name, OperatorSpec.of(spec, name)) for name, spec in specs if spec], styles)
    report.figures["skills"] = skills_figure(points)
    _ranks(report, ranking.ranking_over_ratios(blocks_of([folder])))
    designed = points.loc[points["family"] == "hand-designed", "variant"]
    shown = [variant for variant in ("tuned", "published") if (designed == variant).any()]
    for variant in shown or ["published"]:
        kept = kept_of(records, points, header["examples"], variant)
        if len(kept):
            title = "Tokens kept at the end" + (f", designs as {variant}" if shown else "")
            report.figures[f"kept-{variant}"] = kept_figure(kept, header["examples"], title)
    return report


def _designs(measured: pd.DataFrame) -> pd.DataFrame:
    rows = measured[measured["family"] == "hand-designed"].sort_values(["design", "compute_ratio"])
    return pd.DataFrame(
        {
            "operator": rows["name"],
            "regime": rows["regime"],
            "compute ratio": rows["compute_ratio"].astype(float).round(3),
            "accuracy (%)": (100 * rows["accuracy"].astype(float)).round(1),
            "95 % from": (100 * rows["accuracy_low"].astype(float)).round(1),
            "to": (100 * rows["accuracy_high"].astype(float)).round(1),
            "mean tokens": rows["mean_tokens"].astype(float).round(1),
        }
    )


def _settings(studies: Studies, study: str) -> pd.DataFrame:
    """What the study was run with, in words; and when this was written."""
    lines = {**studies.plan(study), "report written": f"{datetime.datetime.now():%Y-%m-%d %H:%M}"}
    return pd.DataFrame({"setting": list(lines), "value": list(lines.values())})


def _spread(front: pd.DataFrame) -> list[dict[str, Any]]:
    rows = front.to_dict("records")
    places = dict.fromkeys([0, len(rows) // 2, len(rows) - 1]) if rows else {}
    return [{str(name): value for name, value in rows[place].items()} for place in places]


def _operators(report: Report, specs: Sequence[tuple[str, OperatorSpec]], styles: Mapping[str, Style]) -> None:
    for number, (name, spec) in enumerate(specs[:DIAGRAMS], 1):
        report.figures[f"operator-{number}"] = operator_figure(
            layers_of(spec), sites_of(spec), name, height=340, colour=styles[name].colour
        )
    if len(specs) > 1:
        layers = [layers_of(spec).query("place == 'decoder'").assign(operator=name) for name, spec in specs]
        report.figures["tokens"] = staircases(pd.concat(layers), styles=styles)


def _skills(report: Report, front: pd.DataFrame, styles: Mapping[str, Style]) -> None:
    rows = [
        {"operator": row["name"], "skill": name.removeprefix("skill:"), "accuracy": value}
        for row in _spread(front)
        for name, value in row.items()
        if name.startswith("skill:") and not pd.isna(value)
    ]
    if rows:
        report.figures["skills"] = compared_skills(pd.DataFrame(rows), styles=styles)


def _ranks(report: Report, found: Ranking | None) -> None:
    """Methods ranked over the compute ratios, where two or more were measured at two or more of them."""
    if found is not None:
        report.figures["ranks"] = ranking.figure_of(found, "Mean ranks over the compute ratios")
        table = ranking.table_of(found).to_html(index=False, border=0)
        report.parts["Ranks over the compute ratios"] = f"<p>{escape(ranking.words_over_ratios(found))}</p>{table}"


def _kept(report: Report, studies: Studies, study: str, front: pd.DataFrame) -> None:
    """The pictures of the operators drawn above, or a sentence in the lead where there are none."""
    keys = [row["key"] for row in _spread(front)]
    rows, pictures, why = studies.kept(study, keys, wait=True)
    if len(rows):
        ratios = dict(zip(front["name"], front["compute_ratio"], strict=True))
        columns = rows["column"].map(lambda name: f"{name}, compute {ratios[name]:.3f}")
        report.figures["kept"] = kept_figure(rows.assign(column=columns), pictures)
        report.parts[EXAMPLES] = examples_html(rows, pictures)
    for reason in dict.fromkeys(why.values()):
        names = ", ".join(name for name, reason_given in why.items() if reason_given == reason)
        report.lead += f"\nNo pictures of the tokens kept by {names}: {reason}"


def html(report: Report) -> str:
    """The page: a table of the front, then every figure; plotly's code is in it once."""
    from eos_platform.dashboards.page import page

    columns = {
        "name": "operator",
        "regime": "regime",
        "compute_ratio": "compute ratio",
        "accuracy": "accuracy (%)",
        "accuracy_low": "95 % from",
        "accuracy_high": "to",
        "measured_on": "measured on",
        "mean_tokens": "mean tokens",
    }
    columns |= {"note": "note"} if "note" in report.front and report.front["note"].notna().any() else {}
    further = [one for one in report.axes if one.metric not in columns]
    columns |= {one.metric: one.label for one in further}
    table = report.front.reindex(columns=list(columns)).copy()
    for name in ("accuracy", "accuracy_low", "accuracy_high"):
        table[name] = (100 * table[name].astype(float)).round(1)
    table["compute_ratio"] = table["compute_ratio"].astype(float).round(3)
    table["mean_tokens"] = table["mean_tokens"].astype(float).round(1)
    for one in further:
        table[one.metric] = ["" if pd.isna(value) else one.show(value) for value in table[one.metric]]
    return page(
        report.title,
        report.lead,
        _placed(report),
        table=table.rename(columns=columns),
        more=report.tables,
        parts=report.parts,
    )


def _placed(report: Report) -> list[go.Figure | list[go.Figure]]:
    """Diagrams of operators side by side; pictures with answers instead of those without."""
    diagrams = [figure for name, figure in report.figures.items() if name.startswith("operator-")]
    placed: list[go.Figure | list[go.Figure]] = []
    for name, figure in report.figures.items():
        if name == "operator-1":
            placed.append(diagrams)
        elif not name.startswith("operator-") and not (name == "kept" and EXAMPLES in report.parts):
            placed.append(figure)
    return placed


def check_export(folder: Path, form: str) -> None:
    """Whether ``export`` can do its work, as far as can be told beforehand.

    Raises:
        EosError: no Kaleido or no browser here, another format, or the folder cannot be written.
    """
    if form not in FORMATS:
        raise EosError(f"unknown format '{form}'; known: {', '.join(FORMATS)}")
    check_writable(folder / f"front.{form}")
    try:
        import kaleido
    except ImportError:
        raise EosError("pictures need Kaleido: pip install 'eos-platform[figures]'") from None
    try:
        kaleido.start_sync_server(silence_warnings=True)
    except Exception as error:
        raise EosError(f"pictures need a Chromium on the PATH: {error}") from None
    kaleido.stop_sync_server(silence_warnings=True)


def export(report: Report, folder: Path, form: str) -> list[Path]:
    """Every figure as a picture.

    Raises:
        EosError: as ``check_export``, or the browser fails.
    """
    check_export(folder, form)
    import kaleido

    folder.mkdir(parents=True, exist_ok=True)
    written = []
    try:
        kaleido.start_sync_server(silence_warnings=True)  # one browser for all
    except Exception as error:
        raise EosError(f"pictures need a Chromium on the PATH: {error}") from None
    try:
        for name, figure in report.figures.items():
            path = folder / f"{name}.{form}"
            size = {"width": figure.layout.width or WIDTH, "height": figure.layout.height or 560, "scale": 2}
            write_atomic(path, kaleido.calc_fig_sync(figure, opts={"format": form, **size}))
            written.append(path)
    except Exception as error:  # the browser's own errors have no common class
        raise EosError(f"cannot draw pictures: {type(error).__name__}: {error}") from None
    finally:
        kaleido.stop_sync_server(silence_warnings=True)
    return written
