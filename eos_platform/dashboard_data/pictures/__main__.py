"""Draw the pictures of README and studies/results again, light and dark.

``mistakes`` is drawn from the table of the comparison (``bundled.csv``) alone, ``other-models`` from
``other-models.csv``, ``designs`` from ``designs.csv`` and the searches of the other two, ``operator-bench`` from
``operator-bench.csv``, ``transfer`` from ``transfer.csv``. ``kept`` and ``asked`` run the stored operators and the
tuned designs on a few held-out questions of the bundled model, which a CPU does in a minute.

    python -m eos_platform.dashboard_data.pictures --results studies/results
"""

from __future__ import annotations

import argparse
import io
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pandas as pd
import plotly.graph_objects as go
from PIL import Image

from eos_platform.analysis.transfer.plan import CALIBRATED, ZERO_SHOT
from eos_platform.common import console as terminal
from eos_platform.common.boundary import report_error
from eos_platform.common.errors import EosError
from eos_platform.common.files import write_atomic
from eos_platform.dashboard_data.pictures.kept import asked_figure, stored_figure
from eos_platform.dashboard_data.report import Report, export
from eos_platform.dashboards.comparing.transfer import transfer_figure
from eos_platform.dashboards.palette import darkened
from eos_platform.dashboards.pictures.designs import SEARCHED, designs_figure
from eos_platform.dashboards.pictures.mistakes import mistakes_figure
from eos_platform.dashboards.pictures.optimisers import optimisers_figure
from eos_platform.dashboards.pictures.other_models import other_models_figure

TABLE, OTHERS, DESIGNS, OPERATORS = "bundled.csv", "other-models.csv", "designs.csv", "operators"
TRANSFER = "transfer.csv"
BENCH = "operator-bench.csv"
MODELS = {
    "bundled-qwen": "Qwen2.5-VL",
    "bundled-gemma": "Gemma 3",
    "bundled-smolvlm": "SmolVLM",
    "bundled-small": "LLaVA-1.5, task 1 (tuned on)",
    "bundled-small-v2": "LLaVA-1.5 (tuned on)",
    "bundled-onevision": "LLaVA-OneVision (tuned on)",
}
COLUMNS = {
    "bundled": "LLaVA, 576",
    "bundled-small": "LLaVA, 144",
    "bundled-small-v2": "LLaVA, v2",
    "trained/crowds": "crowds",
    "trained/fabrics": "fabrics",
    "bundled-onevision": "OneVision",
    "bundled-qwen": "Qwen2.5-VL",
    "bundled-gemma": "Gemma 3",
    "bundled-smolvlm": "SmolVLM",
}
SHOWN = (0.2, 0.1)  # compute ratios of the panels
PANELS = {
    "merging and pooling": ("tome", "tome-tower", "diffrate", "pool", "adaptive-pool"),
    "pruning by the text's attention": ("fastv", "sparsevlm", "sparsevlm-v2", "pyramiddrop"),
    "pruning by the vision tower's attention": ("visionzip", "vispruner", "prumerge", "prumerge+"),
    "pruning by diversity; controls": ("divprune", "cdpruner", "dart", "random", "stride", "downsample"),
}


def mistakes(results: Path) -> go.Figure:
    """Every tuned design, every seed of the searches."""
    points = pd.read_csv(results / TABLE)
    shown = points[(points["variant"] == "tuned") | (points["family"] != "hand-designed")]
    asked = int(points["questions"].max())
    return mistakes_figure(
        shown,
        PANELS,
        "Wrong answers against compute",
        f"576-token model, {asked:,} held-out questions; dots: seeds, bars: 95 % intervals, designs tuned",
    )


def other_models(results: Path) -> go.Figure:
    """Searches and the best designs on models of several families."""
    cells = pd.read_csv(results / OTHERS)
    return other_models_figure(
        cells,
        MODELS,
        "Searched operators and the best design on six models",
        f"bundled models, {int(cells['questions'].max()):,} held-out questions; designs tuned",
    )


def operator_bench(results: Path) -> go.Figure:
    """Optimisers on OperatorBench."""
    table = pd.read_csv(results / BENCH)
    seeds = int(table["seeds"].max())
    return optimisers_figure(
        table,
        {model: model for model in sorted(table["model"].unique())},
        "Hypervolume missed by optimisers on OperatorBench",
        f"error and compute ratio; lines: means of {seeds} seeds, bands: from the worst to the best",
    )


def designs(results: Path) -> go.Figure:
    """Every design on every model, and searches where there are some."""
    cells = pd.read_csv(results / DESIGNS)
    others = pd.read_csv(results / OTHERS)
    bundled = pd.read_csv(results / TABLE)
    found = pd.concat(
        [
            others[others["kind"] == "portfolio"].rename(columns={"heldout": "accuracy"}),
            bundled[bundled["family"] == "searched"].assign(model="bundled"),
        ]
    )
    searched = found.groupby(["model", "ratio"], as_index=False)["accuracy"].mean().assign(design=SEARCHED)
    return designs_figure(
        pd.concat([cells, searched]),
        COLUMNS,
        SHOWN,
        "Accuracy kept by each design",
        "per cent of the unreduced model's; better of published and tuned; empty: not possible or not measured",
    )


def transfer(results: Path) -> go.Figure:
    """What operators keep elsewhere, without a step of search; calibrated, once most cells are."""
    cells = pd.read_csv(results / TRANSFER)
    whole = (cells["kind"] == ZERO_SHOT).sum()
    ways = [way for way in (ZERO_SHOT, CALIBRATED) if (cells["kind"] == way).sum() > whole / 2]
    return transfer_figure(cells[cells["kind"].isin(ways)], ways)


def kept(results: Path) -> go.Figure:
    """Searched operators and tuned designs on one picture."""
    return stored_figure(results / OPERATORS, pd.read_csv(results / TABLE))


def asked(results: Path) -> go.Figure:
    """The cheapest searched operator on one picture under several questions."""
    return asked_figure(results / OPERATORS / "bundled-0.05.json")


PICTURES: dict[str, Callable[[Path], go.Figure]] = {
    "mistakes": mistakes,
    "other-models": other_models,
    "operator-bench": operator_bench,
    "designs": designs,
    "transfer": transfer,
    "kept": kept,
    "asked": asked,
}


WIDE = 1600  # pixels: sharp where a page gives a picture 800
QUALITY = 86


def small(png: bytes) -> bytes:
    """The picture as WebP: photographs of a few hundred kilobytes in a tenth of that."""
    picture = Image.open(io.BytesIO(png)).convert("RGB")
    picture = picture.resize((WIDE, round(picture.height * WIDE / picture.width)), Image.Resampling.LANCZOS)
    stream = io.BytesIO()
    picture.save(stream, "WEBP", quality=QUALITY, method=6)
    return stream.getvalue()


def draw(results: Path, out: Path, names: list[str]) -> list[Path]:
    """Write each picture twice; their paths.

    Raises:
        EosError: no browser to draw with, or what is stored cannot be read.
    """
    drawn = Report("", "", front=pd.DataFrame())
    for name in names:
        figure = PICTURES[name](results)
        drawn.figures[name] = figure
        drawn.figures[f"{name}-dark"] = go.Figure(darkened(figure.to_plotly_json()))
    with TemporaryDirectory() as folder:
        written = [
            (out / png.with_suffix(".webp").name, png.read_bytes()) for png in export(drawn, Path(folder), "png")
        ]
    out.mkdir(parents=True, exist_ok=True)
    for path, png in written:
        write_atomic(path, small(png))
    return [path for path, _ in written]


def main() -> int:
    """The command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--results", type=Path, default=Path("studies/results"), help="where the results are stored")
    parser.add_argument("--out", type=Path, help="where the pictures go; default: beside the results")
    parser.add_argument("--only", nargs="+", choices=PICTURES, default=list(PICTURES), help="some of the pictures")
    given = parser.parse_args()
    try:
        for path in draw(given.results, given.out or given.results, given.only):
            terminal.say(str(path))
    except EosError as error:
        return report_error(error)
    return 0


if __name__ == "__main__":
    terminal.run(main)
