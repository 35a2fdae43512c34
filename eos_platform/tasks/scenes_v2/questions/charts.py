"""Questions about the chart: reading a value, the extreme one, comparing two, how far they are apart."""

from __future__ import annotations

from eos_platform.tasks.scenes_v2.draws import Draws
from eos_platform.tasks.scenes_v2.questions.phrasing import Found, Names, yes
from eos_platform.tasks.scenes_v2.scene import Chart, Scene


def _chart(scene: Scene) -> Chart | None:
    return next((panel for panel in scene.panels if isinstance(panel, Chart)), None)


def _call(chart: Chart, number: int, by_color: bool) -> str:
    return f"{chart.colors[number]} bar" if by_color else f"{chart.kind} at {chart.labels[number].text}"


def _by_color(chart: Chart, draws: Draws) -> bool:
    return chart.kind == "bar" and draws.chance(0.5)


def value(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """How high is the <red bar | bar at may | line at may>?"""
    chart = _chart(scene)
    if chart is None:
        return None
    number = draws.below(len(chart.values))
    text = f"how high is the {_call(chart, number, _by_color(chart, draws))}?"
    return Found(text, str(chart.values[number]), 2, 2 * len(chart.values) - 2, (chart.place(number),))


def extreme(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """At which month is the bar or line highest? What color is the highest bar?"""
    chart = _chart(scene)
    if chart is None:
        return None
    which = draws.pick(("highest", "lowest"))
    wanted = max(chart.values) if which == "highest" else min(chart.values)
    if chart.values.count(wanted) > 1:
        return None
    number = chart.values.index(wanted)
    if _by_color(chart, draws):
        text, answer = f"what color is the {which} bar?", chart.colors[number]
    else:
        text, answer = f"at which month is the {chart.kind} {which}?", chart.labels[number].text
    return Found(text, answer, 1 + (chart.kind == "line"), 2 * len(chart.values) - 2, (chart.place(number),))


def _two(chart: Chart, draws: Draws) -> tuple[int, int] | None:
    pairs = [(a, b) for a, u in enumerate(chart.values) for b, v in enumerate(chart.values) if u != v]
    return draws.pick(pairs) if pairs else None


def higher(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """Is A higher than B?"""
    chart = _chart(scene)
    pair = chart and _two(chart, draws)
    if not chart or not pair:
        return None
    a, b = pair
    by_color = _by_color(chart, draws)
    text = f"is the {_call(chart, a, by_color)} higher than the {_call(chart, b, by_color)}?"
    places = (chart.place(a), chart.place(b))
    return Found(text, yes(chart.values[a] > chart.values[b]), 2, 2 * len(chart.values) - 2, places)


def difference(scene: Scene, names: Names, draws: Draws) -> Found | None:
    """How much higher is A than B?"""
    chart = _chart(scene)
    pair = chart and _two(chart, draws)
    if not chart or not pair:
        return None
    a, b = pair if chart.values[pair[0]] > chart.values[pair[1]] else pair[::-1]
    by_color = _by_color(chart, draws)
    text = f"how much higher is the {_call(chart, a, by_color)} than the {_call(chart, b, by_color)}?"
    places = (chart.place(a), chart.place(b))
    return Found(text, str(chart.values[a] - chart.values[b]), 3, 2 * len(chart.values), places)
