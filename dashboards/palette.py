"""One look for every figure: colours that survive colour blindness (Okabe and Ito, 2008) and a light theme.

A colour belongs to a thing: ``colour_of`` and ``operator_styles`` are the one mapping, and every figure, diagram,
report and MLflow run asks them. Plain constants, so that a colour can be had without loading plotly.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterable
from typing import Any, NamedTuple

INK = "#1f2328"
MUTED = "#6a737d"
GRID = "#e6e8eb"
PAPER = "#ffffff"

SEARCHED = "#0072b2"
UNREDUCED = INK
FAMILIES = {"searched": SEARCHED, "hand-designed": "#8a6d3b", "unreduced": UNREDUCED}

# of Plotly's buttons, none that uploads a figure to its makers
CONFIG: dict[str, Any] = {"displaylogo": False, "responsive": True, "showSendToCloud": False}


class Style(NamedTuple):
    """How a thing is drawn: told apart by symbol as well as by hue, and its lines by dashes."""

    colour: str
    symbol: str
    dash: str = "solid"


_KNOWN = {
    # controls: greys
    "random": Style("#8c9196", "x"),
    "stride": Style("#8c9196", "cross"),
    "downsample": Style("#5c6168", "hexagon"),
    "zero": Style("#5c6168", "circle-x"),
    "reweight": Style("#5c6168", "circle-cross"),
    # pooling: pinks
    "pool": Style("#b8609a", "triangle-up"),
    "adaptive-pool": Style("#b8609a", "triangle-down"),
    # merging: oranges
    "tome": Style("#d55e00", "square"),
    "tome-tower": Style("#d55e00", "square-x"),
    "diffrate": Style("#e69f00", "diamond-wide"),
    # by attention of the text: greens
    "fastv": Style("#009e73", "diamond"),
    "sparsevlm": Style("#2f7d32", "triangle-left"),
    "sparsevlm-v2": Style("#2f7d32", "triangle-right"),
    "mmtok": Style("#2f7d32", "triangle-nw"),
    "pyramiddrop": Style("#7aa60a", "star-triangle-up"),
    "vtw": Style("#7aa60a", "arrow"),
    "v2drop": Style("#7aa60a", "triangle-sw"),
    "adaptinfer": Style("#009e73", "diamond-tall"),
    # by attention inside the vision tower: violets
    "prumerge": Style("#6b5fb5", "pentagon"),
    "prumerge+": Style("#6b5fb5", "hexagon2"),
    "visionzip": Style("#9a4fc4", "bowtie"),
    "vispruner": Style("#9a4fc4", "hourglass"),
    "fastervlm": Style("#9a4fc4", "triangle-se"),
    "scope": Style("#9a4fc4", "star"),
    "flowcut": Style("#9a4fc4", "octagon"),
    "holov": Style("#6b5fb5", "triangle-ne"),
    "nuwa": Style("#6b5fb5", "octagon"),
    "tops": Style("#6b5fb5", "star-triangle-down"),
    # by diversity: browns and reds
    "divprune": Style("#7a5230", "star-diamond"),
    "dart": Style("#a03a3a", "star-square"),
    "cdpruner": Style("#a03a3a", "hexagram"),
    "cen-divprune": Style("#7a5230", "diamond-tall"),
    "cen-cdpruner": Style("#a03a3a", "triangle-down"),
    "zoo-prune": Style("#7a5230", "square-cross"),
    "prunesid": Style("#7a5230", "pentagon"),
    "d2pruner": Style("#a03a3a", "triangle-ne"),
    "todre": Style("#a03a3a", "square-cross"),
    # across the frames of films: ochres
    "whole-frames": Style("#8c9196", "square"),
    "evs": Style("#a67c00", "triangle-up"),
    "vidcom2": Style("#a67c00", "diamond"),
    "dycoke": Style("#a67c00", "pentagon"),
    "framefusion": Style("#e69f00", "square"),
}
_SPARE = (
    Style("#c08a00", "triangle-sw"),
    Style("#3f9fd1", "triangle-se"),
    Style("#7a5230", "triangle-ne"),
    Style("#6b5fb5", "star-triangle-down"),
    Style("#4d6b2f", "octagon"),
    Style("#a03a3a", "diamond-tall"),
)


def design_styles(names: Iterable[str]) -> dict[str, Style]:
    """A style for each design, the same in every figure: its own, else the spare one that its name picks.

    Of two that pick the same, the later in name order has the next that is free.
    """
    found: dict[str, Style] = {}
    for name in sorted(set(names)):
        place = zlib.crc32(name.encode()) % len(_SPARE)
        order = (*_SPARE[place:], *_SPARE[:place])
        found[name] = _KNOWN.get(name) or next((one for one in order if one not in found.values()), order[0])
    return found


def colour_of(family: str, design: str | None = None) -> str:
    """The colour of an operator: of its design, if it is one's, else of its family."""
    if family == "hand-designed" and design:
        return design_styles([design])[design].colour
    return FAMILIES.get(family, MUTED)


# several searched operators, or fronts of several studies, beside each other: shades of what is searched
SEARCHES = (SEARCHED, "#00838f", "#4a4fb0", "#5f93c4", "#00456e", "#12a3b8")
_FORMS = (("", "solid"), ("-open", "dash"), ("-dot", "dot"), ("-open-dot", "dashdot"))


def operator_styles(operators: Iterable[tuple[str, str, str | None]]) -> dict[str, Style]:
    """A style for each operator (name, family, design), so that all shown at once are told apart.

    All of one design have its colour and differ by the form of the symbol and by dashes; searched ones are shades of
    the searched colour, the first of them that colour itself.
    """
    found: dict[str, Style] = {}
    counts: dict[tuple[str, str], int] = {}
    for name, family, design in operators:
        if name in found:
            continue
        thing = (family, design or "") if family == "hand-designed" else (family, "")
        number = counts[thing] = counts.get(thing, -1) + 1
        form, dash = _FORMS[number % len(_FORMS)]
        if family == "searched":
            found[name] = Style(SEARCHES[number % len(SEARCHES)], f"circle{form}", dash)
        elif family == "hand-designed" and design:
            own = design_styles([design])[design]
            found[name] = Style(own.colour, f"{own.symbol}{form}", dash)
        else:
            found[name] = Style(colour_of(family), f"{'star' if family == 'unreduced' else 'diamond'}{form}", dash)
    return found


def rgba(colour: str, alpha: float) -> str:
    """``#rrggbb`` with an opacity, as CSS."""
    red, green, blue = (int(colour[start : start + 2], 16) for start in (1, 3, 5))
    return f"rgba({red},{green},{blue},{alpha:g})"


def theme(title: str, subtitle: str = "") -> dict[str, Any]:
    """Layout settings shared by all figures."""
    heading: dict[str, Any] = {
        "text": f"<b>{title}</b>",
        "font": {"size": 21, "color": INK},
        "x": 0,
        "xref": "paper",
        "xanchor": "left",
        "y": 0.955,
        "yanchor": "top",
    }
    if subtitle:
        heading["subtitle"] = {"text": subtitle, "font": {"size": 14, "color": MUTED}}
    axis = {
        "showgrid": True,
        "gridcolor": GRID,
        "zeroline": False,
        "showline": True,
        "linecolor": MUTED,
        "ticks": "outside",
        "tickcolor": MUTED,
        "ticklen": 5,
        "title": {"font": {"size": 16}, "standoff": 14},
    }
    return {
        "title": heading,
        "font": {"family": "Inter, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif", "size": 14, "color": INK},
        "paper_bgcolor": PAPER,
        "plot_bgcolor": PAPER,
        "margin": {"l": 80, "r": 30, "t": 100, "b": 85},
        "hoverlabel": {"bgcolor": PAPER, "bordercolor": GRID, "font": {"size": 13, "color": INK}, "align": "left"},
        "xaxis": axis,
        "yaxis": axis,
    }


# what a site does, told by its symbol: the colour is the operator's
REGIMES = {
    "prune": "triangle-down",
    "merge": "circle",
    "pool": "square",
    "reweight": "diamond",
    "hybrid": "hexagon",
    "identity": "line-ew-open",
}
UNTOUCHED = "#8c9196"  # layers that all tokens still enter
# of a study's objectives, in their order
OBJECTIVES = ("#0072b2", "#d55e00", "#009e73")
STATES = {
    "complete": "#0072b2",
    "running": "#009e73",
    "pruned": "#c08a00",
    "failed": "#d55e00",
    "interrupted": "#8c9196",
}

# the same palette on a dark page: neutrals exchanged, deep hues lifted
_DARK = {
    INK: "#e8eaed",
    MUTED: "#a3acb8",
    GRID: "#30363d",
    PAPER: "#15181c",
    "#0072b2": "#56b4e9",
    "#00838f": "#35c4d0",
    "#4a4fb0": "#9a9ef2",
    "#5f93c4": "#9cc3ea",
    "#00456e": "#c3e4f8",
    "#12a3b8": "#7fe3ee",
    "#5c6168": "#a8adb3",
    "#8a6d3b": "#d0ab68",
    "#2f7d32": "#6cc070",
    "#6b5fb5": "#a59bf0",
    "#9a4fc4": "#c78be8",
    "#7a5230": "#c0946a",
    "#a03a3a": "#e88080",
    "#4d6b2f": "#93b86c",
    "#009e73": "#2fc79b",
    "#d55e00": "#f08030",
    "#b8609a": "#dd8cc2",
    # the ends of the scale of parallel coordinates: strong is light here
    "#b9c2cc": "#5a6570",
    "#004b87": "#d6efff",
}
_DARK_RGB = {
    ",".join(str(int(key[at : at + 2], 16)) for at in (1, 3, 5)): ",".join(
        str(int(value[at : at + 2], 16)) for at in (1, 3, 5)
    )
    for key, value in _DARK.items()
}


def darkened(figure: Any) -> Any:
    """A figure's plain form (``to_plotly_json``) for a dark page: the palette's colours exchanged."""
    if isinstance(figure, dict):
        return {
            key: value if key in ("customdata", "ids", "z", "source") else darkened(value)
            for key, value in figure.items()
        }
    if isinstance(figure, (list, tuple)):
        numbers = bool(figure) and isinstance(figure[-1], (int, float))  # a step of a colour scale ends in its colour
        return figure if numbers else [darkened(value) for value in figure]
    if isinstance(figure, str):
        return _dark_text(figure)
    return figure


def _dark_text(text: str) -> str:
    if text == "white":
        return _DARK[PAPER]
    if text in _DARK:
        return _DARK[text]
    if text.startswith("rgba("):
        rgb, _, alpha = text[5:].rpartition(",")
        if rgb in _DARK_RGB and 0.1 < float(alpha[:-1]) < 0.4:  # pale on white is all but gone on black
            alpha = f"{1.5 * float(alpha[:-1]):g})"
        return f"rgba({_DARK_RGB.get(rgb, rgb)},{alpha}"
    if "color:#" in text:
        for light, dark in _DARK.items():
            text = text.replace(f"color:{light}", f"color:{dark}")
    return text
